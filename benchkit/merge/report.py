"""What a merge writes down: notes of the manifest, and `merge_report.json` beside the weights."""

import json
from pathlib import Path
from typing import Any

from benchkit.core.recipes import MergeRecipe
from benchkit.merge.bert import layer_tensors
from benchkit.merge.checkpoints import encoder_weights
from benchkit.merge.compatibility import Inputs
from benchkit.merge.evidence import Evidence
from benchkit.merge.mergers import Encoders, Fit, Merger
from benchkit.merge.search import Tried

REPORT_FILE = "merge_report.json"


def notes_of(
    *,
    recipe: MergeRecipe,
    inputs: Inputs,
    evidence: Evidence,
    tried: list[Tried],
    chosen: Tried,
    fit: list[Fit],
    warnings: list[str],
) -> dict[str, Any]:
    """Return everything found on the way that a reader of the merged model has to know, as plain JSON values."""
    control = next(one for one in tried if one.scale == 0)
    return {
        "scale": chosen.scale,
        "scale_was": "searched" if recipe.scale is None else "given",
        "validation": chosen.scores,
        "control": {"scale": 0.0, "head": recipe.head.mode, "validation": control.scores},
        "donor_validation": evidence.donor_scores,
        "baseline": evidence.majority_scores,
        "search": [{"scale": one.scale, "validation": one.scores, "head_r2": one.head_r2} for one in tried],
        "configurations_tried": len(tried),
        "fit": fit,
        "calibration": {
            "digest": evidence.calibration_digest,
            "texts": len(evidence.calibration),
            "tokens": evidence.calibration.tokens,
        },
        "head": {
            "mode": recipe.head.mode,
            "texts": len(evidence.head_texts),
            "r2": chosen.head_r2,
            "pooler": "made by the head: a pooler has no task vector where the donor's source has none",
        },
        "inputs": {role: artifact.manifest.id for role, artifact in inputs.by_role().items()},
        "data": evidence.data,
        "warnings": warnings,
    }


def plan_of(merger: Merger, encoders: Encoders, scale: float, recipe: MergeRecipe) -> list[dict[str, Any]]:
    """Return, for each tensor of the merged model, where it comes from and how far it was moved.

    `moved` is the norm of the change over the norm of the base's tensor; None where the base's is zero.
    """
    base, merged = encoder_weights(encoders.base), encoder_weights(merger.encoder)
    origin = {
        name: {"from": donor_name, "share": placement.share}
        for placement in merger.placements
        for name, donor_name in zip(
            layer_tensors(placement.base_layer), layer_tensors(placement.donor_layer), strict=True
        )
    }
    rows: list[dict[str, Any]] = []
    for name, tensor in base.items():
        if name not in origin:
            rows.append({"tensor": f"bert.{name}", "action": "base"})
            continue
        norm = float(tensor.norm())
        moved = float((merged[name] - tensor).norm()) / norm if norm > 0 else None
        action = f"{recipe.method}, width {recipe.project.width}"
        rows.append({"tensor": f"bert.{name}", "action": action, "scale": scale, **origin[name], "moved": moved})
    head = ("bert.pooler.dense.weight", "bert.pooler.dense.bias", "classifier.weight", "classifier.bias")
    return rows + [{"tensor": name, "action": f"head {recipe.head.mode}"} for name in head]


def write_report(out: Path, notes: dict[str, Any], plan: list[dict[str, Any]]) -> None:
    """Write `merge_report.json`. No times are in it, so that the same merge gives the same artifact id."""
    text = json.dumps(notes | {"plan": plan}, indent=2, sort_keys=True, allow_nan=False)
    (out / REPORT_FILE).write_text(text + "\n", encoding="utf-8")

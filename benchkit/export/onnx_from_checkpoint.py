"""A checkpoint folder -> an ONNX artifact that computes the same, proved on the spot.

The graph is made by `tracing`, the proof by `parity`; smaller number formats are left to `quantize`.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchkit.core.artifacts import Artifact, copy_companions
from benchkit.core.errors import BenchkitError
from benchkit.core.manifest import ONNX_FILE, write_manifest
from benchkit.core.progress import Progress, silent
from benchkit.core.recipes import ExportRecipe
from benchkit.export.parity import compare, random_feeds, reference_outputs, sentence_feeds
from benchkit.export.tracing import add_metadata, trace
from benchkit.runtimes.protocol import Feed
from benchkit.runtimes.torch import LoadedCheckpoint, load_checkpoint
from benchkit.tasks.tokenization import TextTokenizer, load_tokenizer

EXPORTER = "torch-torchscript"
NO_TOKENIZER = "no tokenizer beside the checkpoint: the artifact can be profiled, not scored"


def export_checkpoint(
    recipe: ExportRecipe,
    *,
    checkpoint: Artifact,
    name: str,
    out: Path,
    sentences: Sequence[str] | None = None,
    allow_pickle: bool = False,
    progress: Progress = silent,
) -> None:
    """Export a checkpoint to `out` and compare both on the same inputs.

    Args:
        recipe: Opset, and the difference that still passes.
        checkpoint: Artifact of kind "checkpoint".
        name: Name of the new artifact.
        out: Empty folder to fill.
        sentences: Real text to compare on, beside random token ids; left out for a checkpoint without tokenizer.
        allow_pickle: Read pickled weights too, tensors only.
        progress: Told of each stage.

    Raises:
        BenchkitError: No checkpoint, an unsupported architecture, a tokenizer that does not fit, or a
            difference above the tolerance.
    """
    if checkpoint.manifest.kind != "checkpoint" or checkpoint.folder is None:
        raise BenchkitError(
            f"'{checkpoint.path}' is {checkpoint.manifest.kind}, and only a checkpoint can be exported",
            remedy="give the checkpoint folder it was made from",
        )
    tokenizer = _tokenizer(checkpoint.folder)
    progress(f"load {checkpoint.manifest.name}", 0.0)
    loaded = load_checkpoint(checkpoint.model_file, attention="eager", allow_pickle=allow_pickle)
    feeds, inputs = _feeds(loaded, tokenizer, sentences)
    references = reference_outputs(loaded, feeds)
    progress(f"trace {loaded.architecture}, opset {recipe.opset}", 0.2)
    trace(loaded, out / ONNX_FILE, opset=recipe.opset)
    facts = _facts(loaded)
    del loaded  # onnxruntime loads its own copy of the weights; two at once are enough.
    add_metadata(out / ONNX_FILE, _properties(checkpoint, facts))
    progress(f"compare {name} with its checkpoint", 0.7)
    parity = compare(out / ONNX_FILE, feeds, references, output=facts["output"], inputs=inputs)
    parity.check(recipe.tolerance)
    copy_companions(checkpoint.folder, out)
    warnings = [*facts["warnings"], *(() if tokenizer is not None else (NO_TOKENIZER,))]
    notes = {"parity": {**dataclasses.asdict(parity), "tolerance": recipe.tolerance}, "warnings": warnings}
    source = checkpoint.manifest
    write_manifest(
        out,
        kind="onnx",
        name=name,
        recipe={"step": "export", "exporter": EXPORTER, **recipe.model_dump(mode="json")},
        candidate=source.candidate,
        task=source.task,
        seed=source.seed,
        precision="fp32",
        weights=source.weights,
        parents=(source.id,),
        notes=facts | notes,
    )


def _facts(loaded: LoadedCheckpoint) -> dict[str, Any]:
    return {
        "architecture": loaded.architecture,
        "inputs": list(loaded.input_names),
        "output": loaded.output_name,
        "warnings": list(loaded.warnings),
    }


def _feeds(
    loaded: LoadedCheckpoint, tokenizer: TextTokenizer | None, sentences: Sequence[str] | None
) -> tuple[list[Feed], str]:
    """Return what both sides are run on, and its name."""
    feeds = random_feeds(loaded)
    if tokenizer is None or not sentences:
        return feeds, "random token ids"
    # Random ids too: sentences alone need not be long, or many enough for every batch size.
    return [*sentence_feeds(loaded, tokenizer, sentences), *feeds], "sentences and random token ids"


def _tokenizer(folder: Path) -> TextTokenizer | None:
    """Return the folder's tokenizer, checked against the model; None when there is none at all."""
    present = any((folder / name).is_file() for name in ("tokenizer.json", "vocab.txt"))
    return load_tokenizer(folder) if present else None


def _properties(checkpoint: Artifact, facts: dict[str, Any]) -> dict[str, str]:
    return {
        "benchkit.task": checkpoint.manifest.task or "",
        "benchkit.source_name": checkpoint.manifest.name,
        "benchkit.source_id": checkpoint.manifest.id,
        "benchkit.architecture": facts["architecture"],
        "benchkit.exporter": f"{EXPORTER} {torch.__version__}",
    }

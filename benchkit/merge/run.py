"""The merge step: a fine-tuned donor and an un-tuned base in, a classifier of the base's shape out.

The maths is in the modules beside this one; here they are put in order, and what they found is written down.
"""

import time
from pathlib import Path

import torch
from torch import Tensor

from benchkit.core.artifacts import Artifact
from benchkit.core.errors import BenchkitError
from benchkit.core.manifest import write_manifest
from benchkit.core.progress import Progress, silent
from benchkit.core.recipes import MergeRecipe, SplitRecipe
from benchkit.merge.bert import Deltas, layer_tensors
from benchkit.merge.checkpoints import encoder_weights, load_classifier, load_encoder, save_merged
from benchkit.merge.compatibility import Inputs, check_compatible
from benchkit.merge.evidence import Evidence, gather, scores, weakness
from benchkit.merge.heads import HEADS, Head, HeadInputs
from benchkit.merge.mergers import Encoders, Fit, Merger, assign, make_merger
from benchkit.merge.report import notes_of, plan_of, write_report
from benchkit.merge.search import Tried, best_of, scales_to_try, search
from benchkit.merge.texts import first_states
from benchkit.tasks.table import Task


def merge(
    recipe: MergeRecipe,
    *,
    donor: Artifact,
    donor_base: Artifact | None,
    base: Artifact,
    task: Task,
    data: Path,
    splits: SplitRecipe,
    name: str,
    candidate: str,
    out: Path,
    progress: Progress = silent,
) -> None:
    """Merge a donor into a base and write the merged checkpoint, its manifest and `merge_report.json`.

    The scale is chosen on carved validation, with a head fitted anew for every scale. A donor that does no
    better than the commonest class is named before anything is merged, and in the notes; the merge goes on.

    Args:
        recipe: How to merge.
        donor: Fine-tuned checkpoint with its classifier.
        donor_base: The encoder that the donor was fine-tuned from; None when the method needs no task vector.
        base: The encoder to merge into.
        task: Row of the task table.
        data: Folder that holds the task's folder.
        splits: How the train file is carved; the donor's own.
        name: Name of the artifact.
        candidate: The model behind it, task aside.
        out: Existing empty folder.
        progress: Told of each stage and each scale.

    Raises:
        BenchkitError: The checkpoints do not fit together (see `compatibility`), are damaged or of another
            architecture; or the data cannot be read.
    """
    began_s = time.perf_counter()
    inputs = Inputs(donor=donor, donor_base=donor_base, base=base)
    warnings = check_compatible(inputs, recipe, splits)
    progress(f"{name}: loading donor and base", 0.0)
    classifier = load_classifier(donor, "donor")
    encoders = Encoders(
        donor=classifier.bert,
        donor_base=None if donor_base is None else load_encoder(donor_base, "donor_base"),
        base=load_encoder(base, "base"),
    )
    evidence = gather(recipe, classifier, donor=donor, base=base, task=task, data=data, splits=splits)
    weak = weakness(evidence)
    warnings += [*evidence.warnings, *([weak] if weak is not None else [])]
    for warning in warnings:
        progress(f"{name}: warning: {warning}")
    merger = make_merger(recipe, encoders, evidence.calibration.batches, progress)
    attempts = _Attempts(merger, evidence, recipe, name, progress)
    scales, extend_to = scales_to_try(recipe)
    tried = search(scales, extend_to, attempts)
    chosen = _chosen(tried, recipe)
    if chosen.scale == 0:
        warnings.append(
            "the chosen scale is 0: the merged model is the base with a head, and holds nothing of the donor"
        )
    weights, head, fit = attempts.kept(chosen.scale)
    assign(merger.encoder, weights)
    save_merged(merger.encoder, head.tensors(), task, base.path, out)
    notes = notes_of(
        recipe=recipe, inputs=inputs, evidence=evidence, tried=tried, chosen=chosen, fit=fit, warnings=warnings
    )
    write_report(out, notes, plan_of(merger, encoders, chosen.scale, recipe))
    write_manifest(
        out,
        kind="checkpoint",
        name=name,
        candidate=candidate,
        task=task.name,
        seed=donor.manifest.seed,
        recipe={"step": "merge", "task": task.name, **recipe.model_dump(mode="json"),
                "splits": splits.model_dump(mode="json")},
        weights="trained",
        parents=tuple(artifact.manifest.id for artifact in inputs.by_role().values()),
        notes=notes | {"seconds": time.perf_counter() - began_s,
                       "seconds_by_scale": [[one.scale, one.seconds] for one in tried]},
    )  # fmt: skip
    progress(f"{name}: scale {chosen.scale:g}, {_shown(task, chosen)} on carved validation", 1.0)


class _Attempts:
    """Tries scales, and keeps the weights and head of the best one so far."""

    def __init__(self, merger: Merger, evidence: Evidence, recipe: MergeRecipe, name: str, progress: Progress) -> None:
        self._merger = merger
        self._evidence = evidence
        self._recipe = recipe
        self._name = name
        self._progress = progress
        self._tried: list[Tried] = []
        self._kept: dict[float, tuple[Deltas, Head, list[Fit]]] = {}

    def __call__(self, scale: float) -> Tried:
        began_s = time.perf_counter()
        fit = self._merger.apply(scale)
        _check_finite(self._merger, scale)
        head = fit_head(self._merger, self._evidence, self._recipe)
        states = first_states(self._merger.encoder, self._evidence.validation)
        found = scores(self._evidence.task, head.logits(states), self._evidence.validation_labels)
        tried = Tried(scale=scale, scores=found, head_r2=head.r2, seconds=time.perf_counter() - began_s)
        self._tried.append(tried)
        if _chosen(self._tried, self._recipe) is tried:
            self._kept = {scale: (self._merged_weights(), head, fit)}
        self._progress(f"{self._name}: scale {scale:g}: {_shown(self._evidence.task, tried)} on carved validation")
        return tried

    def kept(self, scale: float) -> tuple[Deltas, Head, list[Fit]]:
        """Return layer weights, head and fit of the chosen scale."""
        return self._kept[scale]

    def _merged_weights(self) -> Deltas:
        weights = encoder_weights(self._merger.encoder)
        placed = self._merger.placements
        return {name: weights[name].clone() for one in placed for name in layer_tensors(one.base_layer)}


def fit_head(merger: Merger, evidence: Evidence, recipe: MergeRecipe) -> Head:
    """Fit the recipe's head on the merged encoder as it is now."""
    inputs = HeadInputs(
        states=first_states(merger.encoder, evidence.head_texts),
        donor_states=evidence.donor_states,
        donor_head=evidence.donor_head,
        labels=evidence.head_labels,
        outputs=evidence.task.outputs,
    )
    return HEADS[recipe.head.mode].fit(inputs, recipe.head)


def _chosen(tried: list[Tried], recipe: MergeRecipe) -> Tried:
    """Return the best scale, or the recipe's fixed one."""
    if recipe.scale is None:
        return best_of(tried)
    return next((one for one in tried if one.scale == recipe.scale), tried[0])


def _check_finite(merger: Merger, scale: float) -> None:
    for name, weights in encoder_weights(merger.encoder).items():
        if not _is_finite(weights):
            raise BenchkitError(
                f"at scale {scale:g} the merged tensor '{name}' is not finite",
                remedy="lower the scale, or raise project.ridge",
            )


def _is_finite(weights: Tensor) -> bool:
    return bool(torch.isfinite(weights).all())


def _shown(task: Task, tried: Tried) -> str:
    score = tried.scores[task.metrics[0]]
    return f"{task.metrics[0]} " + ("undefined" if score is None else f"{score:.4f}")

"""What a teacher answers: its logits on text, and what a checkpoint keeps to say of it.

A teacher is any artifact folder with a head for the task, a checkpoint or an ONNX model as it is deployed: with a small
one and no gold labels this is weak-to-strong training (Burns et al., arXiv 2312.09390). Learning from the answers is
left to `objectives`, the inside of a teacher to `layer_matching`.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from benchkit.core.artifacts import Artifact, load_artifact
from benchkit.core.errors import BenchkitError
from benchkit.core.progress import Progress, silent
from benchkit.core.recipes import SplitRecipe
from benchkit.core.registry import RUNTIMES
from benchkit.runtimes.protocol import Array, SessionOptions
from benchkit.tasks.label_order import LabelOrder, label_order
from benchkit.tasks.metrics import evaluate
from benchkit.tasks.readers import Examples
from benchkit.tasks.table import Task
from benchkit.tasks.tokenization import load_tokenizer

_BATCH_SIZE = 64
_RUNTIME_BY_KIND = {"checkpoint": "torch", "onnx": "onnxruntime"}


def teacher_logits(
    teacher: Path, examples: Examples, task: Task, *, max_length: int, device: str = "cpu", progress: Progress = silent
) -> npt.NDArray[np.float32]:
    """Return a teacher's logits, by its own tokenizer and without dropout.

    Batches are made of examples of like length. A dynamically quantized teacher answers a little differently in other
    batches; the same examples give the same batches.

    Args:
        teacher: Artifact folder, checkpoint or ONNX, whose head is for the task's labels, in whatever order.
        examples: Text to answer; labels are not looked at.
        task: Row of the task table.
        max_length: Most tokens of an example; the teacher's own limit where that is lower.
        device: "cpu" or "cuda".
        progress: Told after each batch.

    Returns:
        float32 array of shape (n, outputs): rows in the order of the examples, columns in that of the task's labels.

    Raises:
        BenchkitError: No artifact, random weights, no head, other labels or another number of them, or logits
            that are not finite.
        EnvironmentLacks: The device or the runtime is not here.
    """
    return _logits(teacher_artifact(teacher), examples, task, max_length=max_length, device=device, progress=progress)


def teacher_facts(
    teacher: Path, task: Task, validation: Examples, *, max_length: int, splits: SplitRecipe, device: str = "cpu"
) -> dict[str, Any]:
    """Return what a student's checkpoint keeps of its teacher: who it was, and its own score beside the student's.

    Args:
        teacher: As for `teacher_logits`.
        task: Row of the task table.
        validation: The labelled part that the student is scored on too.
        max_length: As for `teacher_logits`.
        splits: How the student's train file was carved.
        device: "cpu" or "cuda".

    Returns:
        name, id, kind, precision, task, seed, "validation" (each metric; None where it is not defined) and
        "warnings"; plain JSON.

    Raises:
        BenchkitError: As `teacher_logits`.
    """
    artifact = teacher_artifact(teacher)
    manifest = artifact.manifest
    logits = _logits(artifact, validation, task, max_length=max_length, device=device, progress=silent)
    scores = evaluate(task, logits, np.array(validation.labels))
    return {
        "name": manifest.name,
        "id": manifest.id,
        "kind": manifest.kind,
        "precision": manifest.precision,
        "task": manifest.task,
        "seed": manifest.seed,
        "validation": {metric: value if math.isfinite(value) else None for metric, value in scores.items()},
        "warnings": _warnings(artifact, task, splits, validation),
    }


def teacher_artifact(teacher: Path) -> Artifact:
    """Open a teacher's folder.

    Raises:
        BenchkitError: No artifact folder, or random weights.
    """
    artifact = load_artifact(teacher)
    if artifact.folder is None:
        raise BenchkitError(
            f"the teacher '{teacher}' is a bare file: without config.json and tokenizer it cannot read text",
            remedy="give the folder that holds the model, config.json and tokenizer.json",
        )
    if artifact.manifest.weights == "random":
        raise BenchkitError(
            f"the teacher '{artifact.manifest.name}' has random weights", remedy="give a fine-tuned model's folder"
        )
    return artifact


def teacher_order(artifact: Artifact, task: Task) -> LabelOrder:
    """Match a teacher's labels with the task's; other labels, or another number, are an error that names both."""
    return label_order(artifact.config(), task, f"teacher '{artifact.manifest.name}'")


def _warnings(artifact: Artifact, task: Task, splits: SplitRecipe, examples: Examples) -> list[str]:
    """Say what a reader of both scores has to know; `examples` are a part of the student's train file."""
    manifest = artifact.manifest
    found = [teacher_order(artifact, task).warning]
    if manifest.task not in (None, task.name):
        found.append(f"the teacher '{manifest.name}' was fine-tuned on {manifest.task}, not on {task.name}")
    carved, digests = manifest.recipe.get("splits"), manifest.notes.get("data", {})
    known = carved == splits.model_dump(mode="json") and digests.get(examples.source) == examples.sha256
    if not known:
        how = "does not say how its train file was carved" if carved is None else "had another file or carving of it"
        found.append(
            f"the teacher '{manifest.name}' {how}: it may have learned from the validation and unlabelled parts of "
            f"{examples.source}, and then its score there is too high"
        )
    return [warning for warning in found if warning]


def _logits(
    artifact: Artifact, examples: Examples, task: Task, *, max_length: int, device: str, progress: Progress
) -> npt.NDArray[np.float32]:
    order = teacher_order(artifact, task)
    tokenizer = load_tokenizer(artifact.path)
    limit = min(max_length, tokenizer.max_positions or max_length)
    encoded = tokenizer.encode(examples.first, examples.second, max_length=limit)
    session = RUNTIMES.get(_RUNTIME_BY_KIND[artifact.manifest.kind])().open(artifact.model_file, _options(device))
    logits = np.empty((len(encoded), task.outputs), dtype=np.float32)
    by_length = np.argsort(-encoded.lengths(), kind="stable")
    for start in range(0, len(by_length), _BATCH_SIZE):
        rows = by_length[start : start + _BATCH_SIZE]
        output = session.call(session.prepare(tokenizer.pad(encoded.take(rows))))
        logits[rows] = _checked(output, len(rows), artifact, task)
        done = start + len(rows)
        progress(f"{artifact.manifest.name} answers {done:,} of {len(encoded):,} examples", done / len(encoded))
    session.close()
    _check_finite(logits, artifact)
    return logits[:, list(order.order)]


def _options(device: str) -> SessionOptions:
    # The threads that training has, so that opening a torch session changes none of them.
    return SessionOptions(
        device=device, threads=torch.get_num_threads(), inter_op_threads=torch.get_num_interop_threads()
    )


def _checked(output: Array, rows: int, artifact: Artifact, task: Task) -> Array:
    if output.shape == (rows, task.outputs):
        return output
    name = artifact.manifest.name
    if output.ndim != 2:
        raise BenchkitError(
            f"the teacher '{name}' has no classification head: its output for {rows} examples has shape {output.shape}",
            remedy="fine-tune it first: benchkit train",
        )
    raise BenchkitError(
        f"the teacher '{name}' gives {output.shape[1]} outputs, and task '{task.name}' has {task.outputs}"
        + (f": {', '.join(task.labels)}" if task.labels else ", a score"),
        remedy="give a teacher that was fine-tuned on this task",
    )


def _check_finite(logits: npt.NDArray[np.float32], artifact: Artifact) -> None:
    broken = int((~np.isfinite(logits)).any(axis=1).sum())
    if broken:
        raise BenchkitError(
            f"the teacher '{artifact.manifest.name}' gives {broken:,} of {len(logits):,} examples logits that are "
            "not finite",
            remedy="give another teacher: this one is damaged, or overflows in its precision",
        )

"""What a fine-tuning learns from and is judged on: parts of a carved train split, cut into tokens.

Reading and carving are left to `tasks`; a teacher's answers, to `teacher`.
"""

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from benchkit.core.errors import BenchkitError, unknown_name
from benchkit.core.progress import Progress
from benchkit.core.recipes import SplitRecipe, TrainRecipe
from benchkit.tasks.readers import Examples, read_split
from benchkit.tasks.splits import Carved, carve
from benchkit.tasks.table import Task
from benchkit.train.loop import Feature
from benchkit.train.teacher import teacher_logits


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """Examples of a fine-tuning.

    Attributes:
        source: File that was read, as it is named in its folder.
        sha256: Digest of that file.
        carved: Its parts.
        part: What is learned from: of the train part or the unlabelled part, all or what was drawn.
    """

    source: str
    sha256: str
    carved: Carved
    part: Examples

    def labelled(self) -> Examples:
        """Return examples whose labels tell the shares of the classes."""
        return self.part if self.part.labels is not None else self.carved.train

    def counts(self) -> dict[str, int]:
        """Return how many examples each part has, and how many of those that are learned from hold no text."""
        return {
            "train": len(self.part),
            "train_available": len(self.carved.train),
            "validation": len(self.carved.validation),
            "unlabelled": len(self.carved.unlabelled),
            "empty": _empty(self.part),
        }


def read_material(recipe: TrainRecipe, task: Task, data: Path, splits: SplitRecipe) -> Material:
    """Read and carve the train file, and draw what is learned from; raises as `read_split` and `carve`."""
    examples = read_split(task, "train", data)
    carved = carve(examples, splits)
    unlabelled = recipe.distill is not None and recipe.distill.on == "unlabelled"
    part = drawn(carved.unlabelled if unlabelled else carved.train, recipe.max_examples, recipe.seed)
    return Material(source=examples.source, sha256=examples.sha256, carved=carved, part=part)


def drawn(examples: Examples, most: int | None, seed: int) -> Examples:
    """Return at most so many of the examples, drawn by the seed, in the order of the file."""
    if most is None or most >= len(examples):
        return examples
    rows = sorted(np.random.default_rng(seed).choice(len(examples), size=most, replace=False).tolist())
    return examples.take(rows)


def add_teacher(
    features: list[Feature], teacher: Path, examples: Examples, task: Task, *, recipe: TrainRecipe, progress: Progress
) -> None:
    """Put a teacher's answers to the examples beside their tokens; raises as `teacher_logits`."""
    logits = teacher_logits(
        teacher, examples, task, max_length=recipe.max_length, device=recipe.device, progress=progress
    )
    for feature, row in zip(features, logits, strict=True):
        feature["teacher_logits"] = row


def class_weights_of(recipe: TrainRecipe, task: Task, examples: Examples) -> tuple[float, ...] | None:
    """Return the weight of each class, in the task's order; None when all weigh the same.

    "balanced" gives n / (classes x examples of the class), whose mean over the examples is 1.

    Raises:
        BenchkitError: A label that the task has not, or a regression.
    """
    asked = recipe.class_weights
    if asked is None:
        return None
    if task.is_regression:
        raise BenchkitError(
            f"class_weights weigh classes, and task '{task.name}' is a regression",
            remedy="leave class_weights out of [train]",
        )
    if isinstance(asked, dict):
        for label in asked:
            if label not in task.labels:
                raise unknown_name("label", label, task.labels, where="class_weights")
        return tuple(asked.get(label, 1.0) for label in task.labels)
    count: Counter[Any] = Counter(examples.labels)
    # A class that never occurs is never weighed.
    return tuple(len(examples) / (task.outputs * max(1, count[number])) for number in range(task.outputs))


def _empty(examples: Examples) -> int:
    """Count examples of which a text holds nothing but space."""
    columns = [examples.first] if examples.second is None else [examples.first, examples.second]
    return sum(1 for texts in zip(*columns, strict=True) if not all(text.strip() for text in texts))

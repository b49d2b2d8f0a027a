"""What the steps that read data are made from: where a task's files lie, and which contents they have."""

import dataclasses
from pathlib import Path
from typing import Any

from benchkit.core.errors import BenchkitError
from benchkit.core.store import digest, file_sha256
from benchkit.tasks.table import Task


def folder_of(task: Task, data: Path) -> Path:
    """Return the folder that holds the task's folder: a user's own task says itself where it lies."""
    return task.home or data


def split_file(task: Task, split: str, data: Path) -> Path:
    """Return the file of a split, whether it is there or not.

    Raises:
        BenchkitError: The task has no such split.
    """
    files = task.layout.files
    if split not in files:
        raise BenchkitError(
            f"task '{task.name}' has no {split} file, only {', '.join(files)}", remedy=f"add '{split}' to the task file"
        )
    return task.folder_in(data) / files[split]


def train_digest(task: Task, data: Path) -> str:
    """Return the SHA-256 of the task's train file.

    Raises:
        BenchkitError: There is none.
    """
    path = split_file(task, "train", data)
    if not path.is_file():
        remedy = "correct the path in the task file" if task.origin == "own" else "--data DIR in GLUE's layout"
        raise BenchkitError(f"no training data for '{task.name}' at '{path}'", remedy=remedy)
    return file_sha256(path)


def task_facts(task: Task) -> dict[str, Any]:
    """Return what names a task in the inputs of a step; of a user's own one, everything its file says."""
    if task.origin != "own":
        return {"task": task.name}
    facts = dataclasses.asdict(dataclasses.replace(task, home=None))
    return {"task": task.name, "task_file": digest(facts)}

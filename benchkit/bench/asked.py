"""Which tasks an artifact is scored on: its own, or those of the tasks asked for that its head is made for."""

from collections.abc import Sequence
from pathlib import Path

from benchkit.core.artifacts import Artifact
from benchkit.core.errors import BenchkitError
from benchkit.tasks.formats import SUFFIX_FORMATS
from benchkit.tasks.label_order import label_names
from benchkit.tasks.own import Columns
from benchkit.tasks.table import TASKS, Task, task_named

# A diagnostic set without a train split of its own, answered by the models of another task.
_ANSWERED_BY = {"ax": "mnli"}


def own_task(artifact: Artifact) -> Task:
    """Return the task that an artifact says it is made for.

    Raises:
        BenchkitError: It names none, or one that is described by a file.
    """
    called, name = artifact.manifest.name, artifact.manifest.task
    if name is None:
        where = "has no artifact.json" if artifact.foreign else "names no task in its artifact.json"
        raise BenchkitError(
            f"'{called}' {where}, so it does not say what it is to be scored on",
            remedy="--task sst2, or another task, or the path of a task file",
        )
    if name not in TASKS:
        raise BenchkitError(
            f"'{called}' was made for the task '{name}', which is not one that benchkit knows by name",
            remedy="give its task file: --task FILE.toml",
        )
    return TASKS[name]


def asked_tasks(artifact: Artifact, names: Sequence[str], columns: Columns | None) -> list[Task]:
    """Return the tasks among those asked for that fit an artifact; [] where its head is for another one.

    Of one's own tasks nothing but their labels says which artifact fits, and these are compared when it is scored.

    Args:
        artifact: What is to be scored.
        names: Names in the table, task files, or data files.
        columns: What a data file holds where; without labels the model's own label names are taken.

    Raises:
        BenchkitError: No such task, or a file that does not describe one.
    """
    is_data = [Path(name).suffix.lower() in SUFFIX_FORMATS for name in names]
    tasks = []
    for name, from_data in zip(names, is_data, strict=True):
        # Columns beside names only are told to be wrong by the first of them.
        given = (
            _named_as_the_model(columns, artifact) if columns is not None and (from_data or not any(is_data)) else None
        )
        tasks.append(task_named(name, columns=given))
    return [task for task in tasks if _fits(artifact, task)]


def _fits(artifact: Artifact, task: Task) -> bool:
    own = artifact.manifest.task
    return task.origin == "own" or own not in TASKS or own in (task.name, _ANSWERED_BY.get(task.name))


def _named_as_the_model(columns: Columns, artifact: Artifact) -> Columns:
    """Return the columns with the model's own labels where none are given; one output is a regression."""
    if columns.labels:
        return columns
    names = label_names(artifact.config(), f"'{artifact.manifest.name}'")
    if len(names) == 1:
        return columns.model_copy(update={"kind": "regression"})
    return columns.model_copy(update={"labels": names})

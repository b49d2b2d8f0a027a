"""GLUE from the hub, written as files in the layout of GLUE's own download, which every other room reads."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets

from benchkit.core.errors import BenchkitError, EnvironmentLacks
from benchkit.core.progress import Progress, silent
from benchkit.core.store import explained_writes
from benchkit.tasks.layouts import Layout
from benchkit.tasks.table import Task
from benchkit.train.quiet import quiet_libraries

REPOSITORY = "nyu-mll/glue"

# The hub's names of splits and sentence columns, where they differ from ours; None is a split that it lacks.
_HUB_SPLITS: dict[str, dict[str, str | None]] = {
    "mnli": {"validation": "validation_matched", "test": "test_matched"},
    "ax": {"validation": None},
}
_HUB_COLUMNS = {
    "cola": ("sentence",),
    "sst2": ("sentence",),
    "qqp": ("question1", "question2"),
    "mnli": ("premise", "hypothesis"),
    "qnli": ("question", "sentence"),
    "ax": ("premise", "hypothesis"),
}
# What would end a line or a column of the file. Each becomes one space, so that the text keeps its length.
_BREAKS = str.maketrans("\t\r\n", "   ")


def fetch_glue(tasks: Sequence[Task], *, out: Path, progress: Progress = silent) -> None:
    """Write every split of each task that the hub has below `out`, such as SST-2/train.tsv.

    Test files have no label column where the hub has no labels, as in GLUE's own download.

    Args:
        tasks: Rows of the task table.
        out: Existing folder; its keeper makes it appear whole or not at all.
        progress: Told of each split.

    Raises:
        BenchkitError: A task that is not on the hub.
        EnvironmentLacks: The hub cannot be reached, or the disk is full.
    """
    for task in tasks:
        if task.origin != "glue":
            raise BenchkitError(f"task '{task.name}' is not on the hub", remedy="give its folder: --data DIR")
    wanted = [(task, split) for task in tasks for split in task.layout.files]
    for number, (task, split) in enumerate(wanted):
        hub_split = _HUB_SPLITS.get(task.name, {}).get(split, split)
        if hub_split is None:
            continue
        progress(f"{REPOSITORY}: {task.name} {split}", number / len(wanted))
        rows = _rows(task, hub_split)
        path = out / task.folder / task.layout.files[split]
        with explained_writes(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w", encoding="utf-8", newline="\n") as file:
                file.writelines(_lines(task, split, rows))


def _rows(task: Task, split: str) -> Iterable[Mapping[str, Any]]:
    try:
        with quiet_libraries():  # The hub client tells of each of its retries.
            rows: Iterable[Mapping[str, Any]] = datasets.load_dataset(REPOSITORY, task.name, split=split)
    # ConnectionError of datasets and of the hub's client are both OSErrors; ValueError: not in the cache either.
    except (OSError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise EnvironmentLacks(
            f"the hub did not give {REPOSITORY}, {task.name}: {reason[:160]}",
            remedy="where the hub can be reached, run benchkit data fetch glue -o DIR and bring the folder here: "
            f"--data DIR, the folder that holds {task.folder}/ as GLUE's own download lays it out",
        ) from error
    return rows


def _lines(task: Task, split: str, rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    layout, texts = task.layout.of_split(split), _HUB_COLUMNS.get(task.name, ("sentence1", "sentence2"))
    remaining = iter(rows)
    first = next(remaining, None)
    labelled = not split.startswith("test") or (first is not None and first["label"] >= 0)
    columns = _columns(layout, split, labelled)
    if not layout.headless or split.startswith("test"):
        yield "\t".join(columns) + "\n"
    for number, row in enumerate(itertools.chain([] if first is None else [first], remaining)):
        value = {"index": str(number), layout.first: _clean(row[texts[0]])}
        if labelled:
            value[layout.label] = _label(task, layout, row["label"])
        if layout.second is not None:
            value[layout.second] = _clean(row[texts[1]])
        yield "\t".join(value.get(column, "") for column in columns) + "\n"


def _columns(layout: Layout, split: str, labelled: bool) -> tuple[str, ...]:
    if layout.headless and not split.startswith("test"):
        return layout.headless
    asked = ("index" if split.startswith("test") else None, layout.first, layout.second)
    return tuple(column for column in (*asked, layout.label if labelled else None) if column is not None)


def _label(task: Task, layout: Layout, label: float) -> str:
    if layout.written == "score":
        return f"{label:.6g}"
    return task.labels[int(label)] if layout.written == "name" else str(int(label))


def _clean(text: str) -> str:
    """Keep a sentence on its line and in its column."""
    return str(text).translate(_BREAKS)

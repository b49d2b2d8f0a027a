"""GLUE from the hub, written as files in the layout of GLUE's own download, which every other room reads."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets

from benchkit.core.errors import BenchkitError, EnvironmentLacks
from benchkit.core.progress import Progress, silent
from benchkit.tasks.layouts import Layout
from benchkit.tasks.table import Task

REPOSITORY = "nyu-mll/glue"

# The hub's names of splits and sentence columns, where they differ from ours.
_HUB_SPLITS = {"mnli": {"validation": "validation_matched"}}
_HUB_COLUMNS = {
    "cola": ("sentence",),
    "sst2": ("sentence",),
    "qqp": ("question1", "question2"),
    "mnli": ("premise", "hypothesis"),
    "qnli": ("question", "sentence"),
}


def fetch_glue(tasks: Sequence[Task], *, out: Path, progress: Progress = silent) -> None:
    """Write train and validation of each task below `out`, as TASK/train.tsv and TASK/dev.tsv.

    Raises:
        BenchkitError: A task that is not on the hub.
        EnvironmentLacks: The hub cannot be reached.
    """
    for number, task in enumerate(tasks):
        if task.origin != "glue":
            raise BenchkitError(f"task '{task.name}' is not on the hub", remedy="give its folder: --data DIR")
        progress(f"asking the hub for {REPOSITORY}, {task.name}", number / len(tasks))
        layout = task.layout
        for split in ("train", "validation"):
            hub_split = _HUB_SPLITS.get(task.name, {}).get(split, split)
            rows = _rows(task, hub_split)
            path = out / task.folder / layout.files[split]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(_lines(task, layout, rows)), encoding="utf-8", newline="\n")


def _rows(task: Task, split: str) -> Iterable[Mapping[str, Any]]:
    try:
        rows: Iterable[Mapping[str, Any]] = datasets.load_dataset(REPOSITORY, task.name, split=split)
    # ConnectionError of datasets and of the hub's client are both OSErrors; ValueError: not in the cache either.
    except (OSError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise EnvironmentLacks(
            f"no data folder is given, and the hub did not give {REPOSITORY}: {reason[:160]}",
            remedy=f"--data DIR, the folder that holds {task.folder}/ as GLUE's own download lays it out",
        ) from error
    return rows


def _lines(task: Task, layout: Layout, rows: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    texts = _HUB_COLUMNS.get(task.name, ("sentence1", "sentence2"))
    columns = layout.headless or tuple(
        column for column in (layout.first, layout.second, layout.label) if column is not None
    )
    if not layout.headless:
        yield "\t".join(columns) + "\n"
    for row in rows:
        value = {layout.first: _clean(row[texts[0]]), layout.label: _label(task, layout, row["label"])}
        if layout.second is not None:
            value[layout.second] = _clean(row[texts[1]])
        yield "\t".join(value.get(column, "") for column in columns) + "\n"


def _label(task: Task, layout: Layout, label: float) -> str:
    if layout.written == "score":
        return f"{label:.6g}"
    return task.labels[int(label)] if layout.written == "name" else str(int(label))


def _clean(text: str) -> str:
    """Keep a sentence on its line and in its column."""
    return " ".join(str(text).replace("\t", " ").splitlines())

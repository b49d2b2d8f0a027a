"""The table of tasks: what is asked, in which files, with which labels, judged by which metric.

Source: Wang et al., "GLUE" (arXiv 1804.07461), table 1; label order as in the `nyu-mll/glue` card.
"""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from benchkit.core.errors import BenchkitError, unknown_name
from benchkit.tasks import layouts
from benchkit.tasks.layouts import Layout

if TYPE_CHECKING:
    from benchkit.tasks.own import Columns


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One task.

    Attributes:
        name: As in commands and records ("sst2").
        folder: Folder name in the original download's layout ("SST-2").
        labels: Label names in the order of the logits; empty for a regression.
        metrics: Metrics, the headline first.
        pair: True when an example is a pair of sentences.
        layout: Its files and their columns.
        origin: "glue"; "toy" for the tasks that benchkit makes itself and never shows as GLUE; "own" for a user's.
        home: Folder that holds the task's folder, where it does not depend on --data; None where it does.
    """

    name: str
    folder: str
    labels: tuple[str, ...]
    metrics: tuple[str, ...]
    pair: bool
    layout: Layout
    origin: Literal["glue", "toy", "own"] = "glue"
    home: Path | None = None

    @property
    def is_regression(self) -> bool:
        """Tell whether the answer is a number instead of a label."""
        return not self.labels

    def folder_in(self, data: Path) -> Path:
        """Return the folder of its files: below `data`, or where a task that knows its own home lies."""
        return (self.home or data) / self.folder

    @property
    def outputs(self) -> int:
        """Width of the logits."""
        return len(self.labels) or 1


_ENTAILMENT = ("entailment", "not_entailment")

TASKS = {
    task.name: task
    for task in (
        Task(
            name="cola",
            folder="CoLA",
            labels=("unacceptable", "acceptable"),
            metrics=("matthews",),
            pair=False,
            layout=layouts.COLA,
        ),
        Task(
            name="sst2",
            folder="SST-2",
            labels=("negative", "positive"),
            metrics=("accuracy",),
            pair=False,
            layout=layouts.ONE_SENTENCE,
        ),
        Task(
            name="mrpc",
            folder="MRPC",
            labels=("not_equivalent", "equivalent"),
            metrics=("f1", "accuracy"),
            pair=True,
            layout=layouts.MRPC,
        ),
        Task(
            name="stsb", folder="STS-B", labels=(), metrics=("spearman", "pearson"), pair=True, layout=layouts.BY_SCORE
        ),
        Task(
            name="qqp",
            folder="QQP",
            labels=("not_duplicate", "duplicate"),
            metrics=("f1", "accuracy"),
            pair=True,
            layout=layouts.QQP,
        ),
        Task(
            name="mnli",
            folder="MNLI",
            labels=("entailment", "neutral", "contradiction"),
            metrics=("accuracy",),
            pair=True,
            layout=layouts.MNLI,
        ),
        Task(name="qnli", folder="QNLI", labels=_ENTAILMENT, metrics=("accuracy",), pair=True, layout=layouts.QNLI),
        Task(name="rte", folder="RTE", labels=_ENTAILMENT, metrics=("accuracy",), pair=True, layout=layouts.BY_NAME),
        Task(
            name="wnli",
            folder="WNLI",
            labels=("not_entailment", "entailment"),
            metrics=("accuracy",),
            pair=True,
            layout=layouts.BY_NUMBER,
        ),
        Task(
            name="ax",
            folder="AX",
            labels=("entailment", "neutral", "contradiction"),
            metrics=("matthews",),
            pair=True,
            layout=layouts.AX,
        ),
        Task(
            name="toy-sentiment",
            folder="toy-sentiment",
            labels=("negative", "positive"),
            metrics=("accuracy",),
            pair=False,
            layout=layouts.ONE_SENTENCE,
            origin="toy",
        ),
        Task(
            name="toy-entailment",
            folder="toy-entailment",
            labels=_ENTAILMENT,
            metrics=("accuracy",),
            pair=True,
            layout=layouts.BY_NAME,
            origin="toy",
        ),
        Task(
            name="toy-similarity",
            folder="toy-similarity",
            labels=(),
            metrics=("spearman", "pearson"),
            pair=True,
            layout=layouts.BY_SCORE,
            origin="toy",
        ),
    )
}


def task_named(text: str, *, beside: Path | None = None, columns: "Columns | None" = None) -> Task:
    """Return the task of that name, or the one that a file describes.

    Args:
        text: A name in the table; the path of a task file (.toml); or, with `columns`, of a data file.
        beside: Folder that a relative path starts from; None takes the working directory.
        columns: What a data file holds where.

    Raises:
        BenchkitError: No such name (the nearest one is named), or a file that does not describe a task.
    """
    if text in TASKS and columns is None:
        return TASKS[text]
    from benchkit.tasks.own import SUFFIXES, task_from  # A name in the table needs no settings models.

    if Path(text).suffix.lower() in SUFFIXES:
        return task_from(text, beside=beside, columns=columns)
    if text in TASKS:
        raise BenchkitError(
            f"task '{text}' knows its own columns", remedy="give columns with a data file only, such as reviews.csv"
        )
    problem = unknown_name("task", text, TASKS)
    raise BenchkitError(str(problem), remedy=f"{problem.remedy}; or the path of a task file, such as reviews.toml")

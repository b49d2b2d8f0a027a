"""Is a file of GLUE the official one, a part of it, or something else?

The official figures are in `official_figures`.
"""

import collections
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from benchkit.core.errors import BenchkitError
from benchkit.tasks.official_figures import KNOWN_STAND_INS, OFFICIAL, Figures
from benchkit.tasks.readers import Examples, stream_split
from benchkit.tasks.table import TASKS, Task

State = Literal["complete", "subset", "altered", "unofficial"]

# The hub keeps scores as float32, of which six digits are written.
_SCORE_SUM_TOLERANCE = 0.05


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DataState:
    """What examples are, held against the official file.

    Attributes:
        state: "complete" for the official examples, whole; "subset" for fewer rows; "altered" for as many or more
            with other figures; "unofficial" where there are no official figures: toy tasks and one's own.
        rows: Examples that there are.
        official_rows: Examples of the official file; None where there is none.
        said: Why, as a sentence without its full stop.
    """

    state: State
    rows: int
    official_rows: int | None
    said: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FileState:
    """What `benchkit data check` says of one file.

    Attributes:
        task: Name of the task.
        split: Name of the split.
        file: File below the data folder, such as "SST-2/dev.tsv".
        state: As in `DataState`; "absent" where there is no such file.
        rows: Examples; None where the file is absent or broken.
        official_rows: Examples of the official file.
        labels: Examples by label; None where there are none, or scores.
        score_mean: Mean score of a regression; None elsewhere.
        said: Why, as a sentence without its full stop.
    """

    task: str
    split: str
    file: str
    state: Literal["complete", "subset", "altered", "absent"]
    rows: int | None
    official_rows: int
    labels: Mapping[str, int] | None = None
    score_mean: float | None = None
    said: str = ""


@dataclasses.dataclass(slots=True)
class Tally:
    """Figures of examples, summed up chunk by chunk.

    Attributes:
        rows: Examples so far.
        text_bytes: UTF-8 bytes of all their sentences.
        labels: Examples by label; None where there are none, or scores.
        score_sum: Sum of the scores of a regression; None elsewhere.
        sha256: Digest of the file.
    """

    rows: int = 0
    text_bytes: int = 0
    labels: dict[str, int] | None = None
    score_sum: float | None = None
    sha256: str = ""

    def add(self, task: Task, examples: Examples) -> None:
        """Count a chunk of a task's examples."""
        self.rows += len(examples)
        self.text_bytes += sum(len(text.encode()) for text in (*examples.first, *(examples.second or ())))
        self.sha256 = examples.sha256
        if examples.labels is None:
            return
        if task.is_regression:
            self.score_sum = (self.score_sum or 0.0) + sum(examples.labels)
            return
        counts = collections.Counter(examples.labels)
        before = self.labels or dict.fromkeys(task.labels, 0)
        self.labels = {name: before[name] + counts[number] for number, name in enumerate(task.labels)}


def state_of(
    task: Task,
    split: str,
    *,
    rows: int,
    labels: Mapping[str, int] | None,
    sha256: str,
    text_bytes: int | None = None,
    score_sum: float | None = None,
) -> DataState:
    """Hold the figures of some examples against those of the official file.

    Args:
        task: Row of the task table, or one's own task.
        split: Name of the split.
        rows: Examples that there are.
        labels: Examples by label; None where there are none, or scores.
        sha256: Digest of the file.
        text_bytes: UTF-8 bytes of all sentences together; None leaves the text uncompared where the digest differs.
        score_sum: Sum of the scores of a regression; None leaves them uncompared likewise.
    """
    figures = OFFICIAL.get((task.name, split)) if task.origin == "glue" else None
    if figures is None:
        return DataState(
            state="unofficial",
            rows=rows,
            official_rows=None,
            said=f"there are no official figures of {task.name} {split}",
        )

    def answer(state: State, said: str) -> DataState:
        return DataState(state=state, rows=rows, official_rows=figures.rows, said=said)

    if sha256 == figures.sha256:
        return answer("complete", "the official file, byte for byte")
    if rows < figures.rows:
        stands_in = KNOWN_STAND_INS.get(sha256)
        return answer("subset", f"{rows:,} of {figures.rows:,} rows" + (f"; {stands_in}" if stands_in else ""))
    differences = _differences(figures, rows, labels, text_bytes, score_sum)
    if differences:
        return answer("altered", "; ".join(differences))
    compared = "rows, labels and text" if labels is not None or score_sum is not None else "rows and text"
    if figures.text_bytes is None or text_bytes is None:
        return answer("complete", "as many rows and labels as the official file; the text was not compared")
    return answer("complete", f"{compared} as in the official file, other columns or line ends differ")


def check_folder(data: Path) -> list[FileState]:
    """Return the state of every file of every GLUE task below a folder, in the order of the task table.

    Files are read in chunks; a broken one is "altered".
    """
    return [
        _file_state(task, split, data)
        for task in TASKS.values()
        if task.origin == "glue"
        for split in task.layout.files
    ]


def _file_state(task: Task, split: str, data: Path) -> FileState:
    figures = OFFICIAL[task.name, split]
    file = f"{task.folder}/{task.layout.files[split]}"
    found = FileState(
        task=task.name, split=split, file=file, state="absent", rows=None, official_rows=figures.rows, said="not there"
    )
    if not (data / file).exists():
        return found
    tally = Tally()
    try:
        for chunk in stream_split(task, split, data):
            tally.add(task, chunk)
    except BenchkitError as error:
        return dataclasses.replace(found, state="altered", said=str(error).replace(f"{data / file}", file))
    state = state_of(
        task,
        split,
        rows=tally.rows,
        labels=tally.labels,
        sha256=tally.sha256,
        text_bytes=tally.text_bytes,
        score_sum=tally.score_sum,
    )
    assert state.state != "unofficial"
    return dataclasses.replace(
        found,
        state=state.state,
        rows=tally.rows,
        labels=tally.labels,
        score_mean=None if tally.score_sum is None else tally.score_sum / tally.rows,
        said=state.said,
    )


def _differences(
    figures: Figures, rows: int, labels: Mapping[str, int] | None, text_bytes: int | None, score_sum: float | None
) -> list[str]:
    found = []
    if rows != figures.rows:
        found.append(f"{rows:,} rows, and the official file has {figures.rows:,}")
    if figures.labels is not None and labels is None:
        found.append("no labels, and the official file has them")
    for name, official in (figures.labels or {}).items():
        if labels is not None and labels.get(name, 0) != official:
            found.append(f"label '{name}' occurs {labels.get(name, 0):,} times, and officially {official:,}")
    if figures.text_bytes is not None and text_bytes not in (None, figures.text_bytes):
        found.append(f"the sentences have {text_bytes:,} bytes, and officially {figures.text_bytes:,}")
    if (
        figures.score_sum is not None
        and score_sum is not None
        and abs(score_sum - figures.score_sum) > _SCORE_SUM_TOLERANCE
    ):
        found.append(f"the scores add up to {score_sum:,.3f}, and officially to {figures.score_sum:,.3f}")
    return found

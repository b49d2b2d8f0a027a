"""Read the files of a task in the layout of the original GLUE download.

Which columns a file has is in the task's layout. Carving a train split is left to `splits`, turning
text into token ids to `tokenization`.

Source: the files of https://gluebenchmark.com/tasks; tab-separated, UTF-8, quotes are ordinary characters.
"""

import codecs
import dataclasses
import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from benchkit.core.errors import BenchkitError, unknown_name
from benchkit.tasks.table import Task

Labels = tuple[int, ...] | tuple[float, ...]
_T = TypeVar("_T")

_RESTORE = "restore the file from the GLUE download, or give another folder: --data DIR"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """The examples of one split, in the order of the file.

    Attributes:
        task: Name of the task.
        split: "train", "validation", ...; a carved part is named "train:validation".
        first: First or only sentence of each example.
        second: Second sentence of each example; None for tasks on one sentence.
        labels: Index into the task's labels, or the score of a regression; None when not known.
        source: File below the data folder, such as "SST-2/dev.tsv".
        sha256: SHA-256 of that file.
    """

    task: str
    split: str
    first: tuple[str, ...]
    second: tuple[str, ...] | None
    labels: Labels | None
    source: str
    sha256: str

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.first)


def read_split(task: Task, split: str, data: Path) -> Examples:
    """Read one split of a task.

    Args:
        task: Row of the task table.
        split: "train", "validation" or "test"; MNLI has "validation_mismatched" and "test_mismatched" too.
        data: The folder that holds the task's folder.

    Raises:
        BenchkitError: No such split, folder or file; or the file is empty, is not UTF-8, lacks a column, or
            has a line with a wrong number of columns or with a label that the task does not have.
    """
    layout = task.layout
    if split not in layout.files:
        raise unknown_name("split", split, layout.files, where=f"task '{task.name}'")
    source = f"{task.folder}/{layout.files[split]}"
    content = _content(data, task, source)
    headless = layout.headless if not split.startswith("test") else ()
    columns, rows = _table(_text(content, data / source), headless, data / source)
    return Examples(
        task=task.name,
        split=split,
        first=_texts(columns, rows, layout.first, data / source),
        second=None if layout.second is None else _texts(columns, rows, layout.second, data / source),
        labels=_labels(task, split, columns, rows, data / source),
        source=source,
        sha256=hashlib.sha256(content).hexdigest(),
    )


@dataclasses.dataclass(frozen=True, slots=True)
class _Row:
    line: int
    fields: list[str]


def _content(data: Path, task: Task, source: str) -> bytes:
    if not (data / task.folder).is_dir():
        raise BenchkitError(
            f"no folder '{data / task.folder}' with the files of task '{task.name}'",
            remedy=f"give the folder that holds {task.folder}/: --data DIR",
        )
    try:
        return (data / source).read_bytes()
    except FileNotFoundError:
        present = ", ".join(sorted(path.name for path in (data / task.folder).iterdir())) or "nothing"
        raise BenchkitError(
            f"no file '{data / source}'; the folder has {present}",
            remedy=f"give the folder that holds {source}: --data DIR",
        ) from None
    except OSError as error:
        raise BenchkitError(f"cannot read '{data / source}': {error.strerror}", remedy=_RESTORE) from error


def _text(content: bytes, path: Path) -> str:
    body = content.removeprefix(codecs.BOM_UTF8)  # MRPC's files begin with one.
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        raise BenchkitError(f"{path}:{line}: not UTF-8: byte {body[error.start]:#04x}", remedy=_RESTORE) from None


def _table(text: str, headless: tuple[str, ...], path: Path) -> tuple[list[str], list[_Row]]:
    """Split into columns and rows; every row has as many fields as there are columns."""
    # Only line feeds end a line: str.splitlines would also split at the U+2028 and U+0085 inside sentences.
    lines = text.removesuffix("\n").split("\n")
    rows = [_Row(number, line.removesuffix("\r").split("\t")) for number, line in enumerate(lines, 1)]
    columns = list(headless) or rows.pop(0).fields
    if not text.strip() or not rows:
        raise BenchkitError(f"{path}:1: no examples: the file is empty", remedy=_RESTORE)
    for row in rows:
        if len(row.fields) != len(columns):
            raise BenchkitError(
                f"{path}:{row.line}: {len(row.fields)} columns where {len(columns)} belong ({', '.join(columns)})",
                remedy="columns are separated by one tab, and quotes are ordinary characters; " + _RESTORE,
            )
    return columns, rows


def _position(columns: list[str], name: str, path: Path) -> int:
    if name not in columns:
        raise BenchkitError(f"{path}:1: no column '{name}' in the header: {', '.join(columns)}", remedy=_RESTORE)
    return columns.index(name)


def _texts(columns: list[str], rows: list[_Row], name: str, path: Path) -> tuple[str, ...]:
    position = _position(columns, name, path)
    return tuple(row.fields[position] for row in rows)


def _labels(task: Task, split: str, columns: list[str], rows: list[_Row], path: Path) -> Labels | None:
    layout = task.layout
    if split.startswith("test") and layout.label not in columns:
        return None  # GLUE keeps the labels of its test sets to itself.
    position = _position(columns, layout.label, path)
    if layout.written == "score":
        return tuple(_parsed(row, position, _score, "a score from 0 to 5", path) for row in rows)
    spelled = task.labels if layout.written == "name" else tuple(str(number) for number in range(len(task.labels)))
    number_by_spelling = {spelling: number for number, spelling in enumerate(spelled)}
    allowed = "one of " + ", ".join(spelled)
    return tuple(_parsed(row, position, number_by_spelling.__getitem__, allowed, path) for row in rows)


def _parsed(row: _Row, position: int, parse: Callable[[str], _T], allowed: str, path: Path) -> _T:
    try:
        return parse(row.fields[position])
    except (KeyError, ValueError):
        raise BenchkitError(
            f"{path}:{row.line}: label '{row.fields[position]}' is not {allowed}", remedy=_RESTORE
        ) from None


def _score(text: str) -> float:
    score = float(text)
    if not math.isfinite(score) or not 0 <= score <= 5:
        raise ValueError(text)
    return score

"""Read the examples of a task: texts, and labels as numbers, whole or in chunks.

Which columns a file has is in the task's layout, how rows are written in `formats`. Carving a train split is left to
`splits`, turning text into token ids to `tokenization`.
"""

import dataclasses
import difflib
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePath
from typing import Any

from benchkit.core.errors import BenchkitError, unknown_name
from benchkit.core.store import file_sha256
from benchkit.tasks.formats import Row, columns_of, no_examples, place, rows_of
from benchkit.tasks.layouts import Format, Layout
from benchkit.tasks.table import Task

Labels = tuple[int, ...] | tuple[float, ...]

_RESTORE = "restore the file from the GLUE download, or give another folder: --data DIR"
_MEND = "mend the file, or name other columns or labels in the task file"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """The examples of one split, in the order of the file.

    Attributes:
        task: Name of the task.
        split: "train", "validation", ...; a carved part is named "train:validation".
        first: First or only sentence of each example; may be empty.
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

    def take(self, rows: Iterable[int]) -> "Examples":
        """Return some of the examples, in the order given."""
        rows = list(rows)
        return dataclasses.replace(
            self,
            first=tuple(self.first[row] for row in rows),
            second=None if self.second is None else tuple(self.second[row] for row in rows),
            labels=None if self.labels is None else tuple(self.labels[row] for row in rows),
        )


def read_split(task: Task, split: str, data: Path) -> Examples:
    """Read one split of a task; arguments and errors as for `stream_split`."""
    return _joined(list(stream_split(task, split, data)))


def stream_split(task: Task, split: str, data: Path, *, rows: int = 8192) -> Iterator[Examples]:
    """Yield the examples of one split in chunks, so that memory does not grow with the file.

    Args:
        task: Row of the task table, or one's own task, which knows its folder.
        split: "train", "validation" or "test"; MNLI has "validation_mismatched" and "test_mismatched" too.
        data: The folder that holds the task's folder.
        rows: Most examples of a chunk.

    Yields:
        Chunks in the order of the file; each has the digest of the whole file.

    Raises:
        BenchkitError: No such split, folder or file; or the file is empty, is not UTF-8, lacks a column, or
            has a line with a wrong number of columns, without text, or with a label that the task does not have.
        EnvironmentLacks: A Parquet file without pyarrow.
    """
    path, source = _located(task, split, data)
    layout = task.layout.of_split(split)
    headless = layout.headless if not split.startswith("test") else ()
    sha256 = _digest(path)
    present = columns_of(path, layout.format, headless)
    # GLUE keeps the labels of its test sets to itself.
    labelled = layout.label in present or not split.startswith("test")
    texts = [layout.first] if layout.second is None else [layout.first, layout.second]
    wanted = [*texts, layout.label] if labelled else texts
    check_columns(wanted, present, path, layout.format, own=task.origin == "own")
    numbered = _Numbered(task, layout, path)
    found = rows_of(path, layout.format, wanted, headless)
    empty = True
    while chunk := list(itertools.islice(found, rows)):
        empty = False
        columns = [_texts(chunk, at, name, path, layout.format) for at, name in enumerate(texts)]
        yield Examples(
            task=task.name,
            split=split,
            first=columns[0],
            second=columns[1] if len(columns) > 1 else None,
            labels=tuple(numbered(row.number, row.values[-1]) for row in chunk) if labelled else None,
            source=source,
            sha256=sha256,
        )
    if empty:
        raise no_examples(path)


def as_written(value: object) -> str:
    """Return a label as text: JSON and Parquet hold numbers and truth values, too; a null is ""."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    # A whole number becomes a float where a table had gaps once.
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def check_columns(wanted: Sequence[str], present: Sequence[str], path: Path, form: Format, *, own: bool) -> None:
    """Raise the error for the first column that a file lacks or has twice, with the nearest one that it has."""
    for name in wanted:
        if name in present and (form == "jsonl" or present.count(name) == 1):
            continue
        if name in present:
            raise BenchkitError(f"{path}:1: column '{name}' occurs more than once", remedy="rename one of them")
        near = difflib.get_close_matches(name, present, n=1)
        hint = f"did you mean '{near[0]}'? " if near else ""
        raise BenchkitError(
            f"{path}:1: no column '{name}' in the header: {', '.join(present)}",
            remedy=hint + ("name the columns that the file has" if own else _RESTORE),
        )


class _Numbered:
    """Turns a label as it is written into its number, or into a score."""

    def __init__(self, task: Task, layout: Layout, path: Path) -> None:
        self._layout, self._path = layout, path
        self._remedy = _MEND if task.origin == "own" else _RESTORE
        names = task.labels if layout.written == "name" else [str(number) for number in range(len(task.labels))]
        self._numbers = {name: number for number, name in enumerate(names)}

    def __call__(self, row: int, value: object) -> Any:
        if self._layout.written == "score":
            return self._score(row, value)
        written = value if isinstance(value, str) else as_written(value)
        number = self._numbers.get(written)
        if number is None:
            raise self._wrong(row, written, f"one of {', '.join(self._numbers)}")
        return number

    def _score(self, row: int, value: object) -> float:
        low, high = self._layout.scores
        allowed = "a number" if low is None and high is None else f"a score from {low:g} to {high:g}"
        try:
            score = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            score = math.nan
        if not math.isfinite(score) or (low is not None and score < low) or (high is not None and score > high):
            raise self._wrong(row, as_written(value), allowed)
        return score

    def _wrong(self, row: int, written: str, allowed: str) -> BenchkitError:
        where = place(self._path, self._layout.format, row)
        return BenchkitError(f"{where}: label '{written}' is not {allowed}", remedy=self._remedy)


def _located(task: Task, split: str, data: Path) -> tuple[Path, str]:
    files = task.layout.files
    if split not in files:
        if task.origin == "own":
            raise BenchkitError(
                f"task '{task.name}' names no file for its {split} split, only for {', '.join(files) or 'none'}",
                remedy=f'write {split} = "FILE" into its task file, or choose another split',
            )
        raise unknown_name("split", split, files, where=f"task '{task.name}'")
    root = data if task.home is None else task.home
    path = root / task.folder / files[split]
    named = PurePath(files[split])
    source = named.name if named.is_absolute() else (PurePath(task.folder) / named).as_posix()
    if task.home is None and not (root / task.folder).is_dir():
        raise BenchkitError(
            f"no folder '{root / task.folder}' with the files of task '{task.name}'",
            remedy=f"give the folder that holds {task.folder}/: --data DIR",
        )
    return path, source


def _digest(path: Path) -> str:
    try:
        return file_sha256(path)
    except FileNotFoundError:
        folder = path.parent
        present = ", ".join(sorted(one.name for one in folder.iterdir())[:20]) if folder.is_dir() else ""
        raise BenchkitError(
            f"no file '{path}'; the folder has {present or 'nothing'}",
            remedy=f"give the folder that holds {folder.name}/{path.name}: --data DIR",
        ) from None
    except OSError as error:
        raise BenchkitError(f"cannot read '{path}': {error.strerror}", remedy=_RESTORE) from error


def _texts(chunk: Sequence[Row], at: int, name: str, path: Path, form: Format) -> tuple[str, ...]:
    texts = tuple(row.values[at] for row in chunk)
    if form not in ("jsonl", "parquet"):
        return texts
    for row, text in zip(chunk, texts, strict=True):
        if isinstance(text, str) and (text.isascii() or _is_unicode(text)):
            continue
        where = place(path, form, row.number)
        if isinstance(text, str):
            raise BenchkitError(f"{where}: '{name}' holds half a surrogate pair", remedy="mend the text of that row")
        what = "null: the text is missing" if text is None else f"{str(text)[:60]!r}, which is no text"
        raise BenchkitError(
            f"{where}: '{name}' is {what}", remedy='write "" for an empty sentence, or leave the row out'
        )
    return texts


def _is_unicode(text: str) -> bool:
    r"""Tell whether a text can be written as UTF-8: JSON may escape half a pair, such as "\ud83d"."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _joined(chunks: Sequence[Examples]) -> Examples:
    if len(chunks) == 1:
        return chunks[0]
    head = chunks[0]
    return dataclasses.replace(
        head,
        first=tuple(itertools.chain.from_iterable(chunk.first for chunk in chunks)),
        second=None
        if head.second is None
        else tuple(itertools.chain.from_iterable(chunk.second or () for chunk in chunks)),
        labels=None
        if head.labels is None
        else tuple(itertools.chain.from_iterable(chunk.labels or () for chunk in chunks)),
    )

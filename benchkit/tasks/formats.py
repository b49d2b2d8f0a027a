"""Rows of the files that hold examples, one after the other: GLUE's own form, CSV, TSV, JSON lines and Parquet.

A file is never held whole. What the values mean is left to `readers`.
"""

import codecs
import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchkit.core.errors import BenchkitError, EnvironmentLacks
from benchkit.tasks.layouts import Format

SUFFIX_FORMATS: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}

# A quote that is never closed swallows the rest of the file: this many characters are no sentence.
_LONGEST_FIELD = 1 << 24
_PARQUET_ROWS = 1024


class Row(NamedTuple):
    """One example as it is written.

    Attributes:
        number: The line that it begins on, from 1; in Parquet the number of the row.
        values: Values of the columns that were asked for, in that order; None for a null.
    """

    number: int
    values: tuple[Any, ...]


def place(path: Path, form: Format, number: int) -> str:
    """Return where a row stands, for messages."""
    return f"{path}: row {number}" if form == "parquet" else f"{path}:{number}"


def columns_of(path: Path, form: Format, headless: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the columns that a file has; in JSON lines the keys of its first object.

    Args:
        path: The file.
        form: How it is written.
        headless: Columns of a file without header line.

    Raises:
        BenchkitError: The file is empty, or is not of that format.
        EnvironmentLacks: Parquet without pyarrow.
    """
    if headless:
        return tuple(headless)
    if form == "parquet":
        return tuple(_parquet_file(path).schema_arrow.names)
    if form == "jsonl":
        first = next(_objects(path), None)
        columns = None if first is None else tuple(first[1])
    else:
        first_row = next(_fields(path, form), None)
        columns = None if first_row is None else tuple(first_row.values)
    if columns is None:
        raise no_examples(path)
    return columns


def rows_of(path: Path, form: Format, wanted: Sequence[str], headless: Sequence[str] = ()) -> Iterator[Row]:
    """Yield the rows of a file with the values of the columns asked for, which have to be there.

    Raises:
        BenchkitError: A line that does not fit the header or the format; names file and line.
        EnvironmentLacks: Parquet without pyarrow.
    """
    if form == "parquet":
        yield from _parquet_rows(path, wanted)
    elif form == "jsonl":
        yield from _json_rows(path, wanted)
    else:
        yield from _table_rows(path, form, wanted, headless)


def no_examples(path: Path) -> BenchkitError:
    """Build the error for a file without a single example."""
    return BenchkitError(
        f"{path}:1: no examples: the file is empty", remedy="restore the file, or give another one with examples"
    )


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line, its line end included.

    Only line feeds end a line: text mode or str.splitlines would also split at the U+2028 and U+0085 inside sentences.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            body = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line  # MRPC's files begin with one.
            try:
                yield number, body.decode("utf-8")
            except UnicodeDecodeError as error:
                raise BenchkitError(
                    f"{path}:{number}: not UTF-8: byte {body[error.start]:#04x}",
                    remedy="write the file in UTF-8, or restore it from where it came",
                ) from None


def _fields(path: Path, form: Format) -> Iterator[Row]:
    """Yield every field of every line, that of the header too."""
    if form != "glue":
        yield from _quoted_fields(path, form)
        return
    for number, line in _lines(path):
        yield Row(number, tuple(line.removesuffix("\n").removesuffix("\r").split("\t")))


def _quoted_fields(path: Path, form: Format) -> Iterator[Row]:
    csv.field_size_limit(_LONGEST_FIELD)  # Python's own limit, 128 KiB, is that of the process.
    lines = (line for _, line in _lines(path))
    reader = csv.reader(lines, delimiter="," if form == "csv" else "\t", strict=True)
    number = 1
    while True:
        try:
            values = next(reader, None)
        except csv.Error as error:
            raise BenchkitError(
                f"{path}:{number}: {error}",
                remedy="close the quotes and double those inside a field; where quotes are ordinary characters in a "
                'tab-separated file, write format = "glue" in the task file',
            ) from None
        if values is None:
            return
        if values:  # A blank line is no row.
            yield Row(number, tuple(values))
        number = reader.line_num + 1


def _table_rows(path: Path, form: Format, wanted: Sequence[str], headless: Sequence[str]) -> Iterator[Row]:
    columns = columns_of(path, form, headless)
    positions = [columns.index(name) for name in wanted]
    rows = _fields(path, form)
    if not headless:
        next(rows)
    separator = "comma" if form == "csv" else "tab"
    for number, values in rows:
        if len(values) != len(columns):
            quotes = "are ordinary characters" if form == "glue" else "enclose a field that holds one"
            raise BenchkitError(
                f"{path}:{number}: {len(values)} columns where {len(columns)} belong ({', '.join(columns)})",
                remedy=f"one {separator} separates columns, and quotes {quotes}; mend the line or restore the file",
            )
        yield Row(number, tuple(values[position] for position in positions))


def _objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in _lines(path):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise _no_object(path, number, f"not JSON: {error}") from None
        if not isinstance(value, dict):
            raise _no_object(path, number, f"not an object: {line.strip()[:60]}")
        yield number, value


def _no_object(path: Path, number: int, problem: str) -> BenchkitError:
    return BenchkitError(
        f"{path}:{number}: {problem}", remedy='JSON lines have one object a line, such as {"text": "...", "label": 1}'
    )


def _json_rows(path: Path, wanted: Sequence[str]) -> Iterator[Row]:
    for number, value in _objects(path):
        missing = [name for name in wanted if name not in value]
        if missing:
            raise BenchkitError(
                f"{path}:{number}: no key '{missing[0]}'; the object has {', '.join(value) or 'none'}",
                remedy="give every line the same keys",
            )
        yield Row(number, tuple(value[name] for name in wanted))


def _parquet_file(path: Path) -> Any:
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise EnvironmentLacks(
            f"'{path}' is a Parquet file, and the package '{error.name}' that reads it is not installed",
            remedy="pip install 'benchkit[parquet]', or write the file as CSV or JSON lines",
        ) from error
    try:
        # Without pre-buffering: it would hold all columns of a row group, which may be the whole file.
        return parquet.ParquetFile(path, pre_buffer=False)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError, OSError) as error:
        raise BenchkitError(
            f"{path}: not a readable Parquet file: {str(error).splitlines()[0]}", remedy="write the file anew"
        ) from error


def _parquet_rows(path: Path, wanted: Sequence[str]) -> Iterator[Row]:
    number = 0
    file = _parquet_file(path)
    with file:
        for batch in file.iter_batches(batch_size=_PARQUET_ROWS, columns=list(wanted)):
            columns = [batch.column(name).to_pylist() for name in wanted]
            for number, values in enumerate(zip(*columns, strict=True), number + 1):  # noqa: B020 - counts on
                yield Row(number, values)

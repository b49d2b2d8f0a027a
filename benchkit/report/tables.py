"""A table as a fact: columns, rows and cells that terminal, Markdown, CSV, JSON and HTML all draw alike.

What stands in the columns of a comparison is left to `columns`; how a cell is drawn, to the writers.
"""

import dataclasses
from collections.abc import Sequence
from typing import Literal

from benchkit.core.quantities import UNIT_SUFFIXES, quantity_named
from benchkit.core.records import Record
from benchkit.report import columns as comparison_columns
from benchkit.report.cells import Column, TableCell
from benchkit.report.entries import Entry, entries_of
from benchkit.report.front import groups_of, starred
from benchkit.report.notes import notes_of


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row.

    Attributes:
        record_id: The record behind it.
        state: "void" and "noisy" rows are shown and marked.
        on_front: Whether it carries the star.
        cells: One for each column.
    """

    record_id: str
    state: Literal["", "noisy", "void"] = ""
    on_front: bool = False
    cells: tuple[TableCell, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table and what has to be said under it."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()


def comparison(records: Sequence[Record]) -> Table:
    """Build the comparison: one row for each artifact and profiled cell, with the scores of the same artifact.

    Artifacts that were scored and never profiled get a row too. Records of other kinds are counted in a note.
    The result does not depend on the order of `records`.
    """
    entries = entries_of(records)
    stars = starred(groups_of(entries))
    columns = comparison_columns.columns_for(entries)
    rows = tuple(_row(entry, columns, entry.record.record_id in stars) for entry in entries)
    shown = tuple(column for column in columns if not column.is_detail)
    return Table(columns=columns, rows=rows, notes=notes_of(records, entries, shown, bool(stars)))


def _row(entry: Entry, columns: Sequence[Column], on_front: bool) -> Row:
    noise = entry.profile.noise.verdict if entry.profile is not None else "clean"
    cells = tuple(comparison_columns.cell_of(column, entry, on_front) for column in columns)
    state: Literal["", "noisy", "void"] = "void" if noise == "invalid" else "noisy" if noise == "noisy" else ""
    return Row(record_id=entry.record.record_id, state=state, on_front=on_front, cells=cells)


def machine_name(column: Column, bound: str = "") -> str:
    """Return the column's name for CSV and JSON, with the base unit as its suffix: latency_p50_low_s."""
    parts = [column.key, bound]
    if column.quantity is not None:
        parts.append(UNIT_SUFFIXES[quantity_named(column.quantity).unit])
    return "_".join(filter(None, parts))

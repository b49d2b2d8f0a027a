"""A table for programs: CSV and JSON in base units with the unit in the name; an absence is empty, with its reason."""

import csv
import io
import json
from collections.abc import Iterator

from benchkit.report.cells import Column, TableCell
from benchkit.report.tables import Row, Table, machine_name

SCHEMA = "benchkit.table/1"

# A spreadsheet takes a cell that begins with one of these for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv_text(table: Table) -> str:
    """Return the table as CSV: for each measured column its value and bounds, and the reasons of absences last."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*(name for column in table.columns for name in _names(column)), "on_front", "notes", "record_id"])
    for row in table.rows:
        values = [v for c, cell in zip(table.columns, row.cells, strict=True) for v in _values(c, cell)]
        writer.writerow([_inert(v) for v in [*values, str(row.on_front).lower(), _notes(table, row), row.record_id]])
    return text.getvalue()


def json_text(table: Table) -> str:
    """Return the table as one JSON object; only ASCII, so that no terminal or script can trip over it."""
    value = {
        "schema": SCHEMA,
        "columns": [_column(column) for column in table.columns],
        "rows": [_row(table, row) for row in table.rows],
        "notes": list(table.notes),
    }
    return json.dumps(value, indent=2, allow_nan=False) + "\n"


def _names(column: Column) -> Iterator[str]:
    yield machine_name(column)
    if _has_bounds(column):
        yield machine_name(column, "low")
        yield machine_name(column, "high")


def _values(column: Column, cell: TableCell) -> Iterator[object]:
    yield cell.value
    if _has_bounds(column):
        yield cell.low
        yield cell.high


def _has_bounds(column: Column) -> bool:
    return column.quantity is not None and column.key != "artifact_size"


def _notes(table: Table, row: Row) -> str:
    reasons = [
        f"{column.title}: {cell.note or cell.text}"
        for column, cell in zip(table.columns, row.cells, strict=True)
        if cell.tone in ("absent", "void", "noisy")
    ]
    return " | ".join(reasons)


def _inert(value: object) -> object:
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA) else value
    # repr keeps every digit of a float; None is an empty field.
    return repr(value) if isinstance(value, float) else value


def _column(column: Column) -> dict[str, object]:
    return {"name": machine_name(column), "title": column.title, "better": column.better, "quantity": column.quantity}


def _row(table: Table, row: Row) -> dict[str, object]:
    cells: dict[str, object] = {
        machine_name(column): _cell(column, cell) for column, cell in zip(table.columns, row.cells, strict=True)
    }
    return {"record_id": row.record_id, "state": row.state or "clean", "on_front": row.on_front} | cells


def _cell(column: Column, cell: TableCell) -> object:
    if column.quantity is None:
        return cell.value
    if cell.value is None:
        return {"value": None, "reason": cell.note or cell.text}
    bounds = {"low": cell.low, "high": cell.high} if _has_bounds(column) else {}
    return {"value": cell.value} | bounds | ({"note": cell.note} if cell.note else {})

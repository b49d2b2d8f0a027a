"""Rich displays for notebooks: the comparison table, and a progress bar. IPython is only used where it runs."""

import html
import importlib
import sys
from collections.abc import Sequence
from typing import Any

from benchkit.core.progress import Progress, silent
from benchkit.core.records import Record
from benchkit.report.cells import TableCell
from benchkit.report.paired import paired
from benchkit.report.plain import clean
from benchkit.report.tables import Table, comparison

# Notebooks align the cells of tables to the right, which suits figures and no sentences.
_LEFT = 'style="text-align:left"'


def records_html(records: Sequence[Record]) -> str:
    """Return the comparison table of records as HTML, for `_repr_html_`."""
    return table_html(comparison(records))


def comparison_html(record: Record) -> str:
    """Return a paired comparison (a record of kind "compare") as HTML: the verdict, and what it rests on."""
    one = paired(record)
    rows = "".join(
        f"<tr><th {_LEFT}>{html.escape(name)}</th><td {_LEFT}>{html.escape(text)}</td></tr>"
        for name, text in one.facts
        if name != "verdict"
    )
    return f"<b>{html.escape(one.names)}: {html.escape(one.verdict)}</b><table><tbody>{rows}</tbody></table>"


def table_html(table: Table) -> str:
    """Return a table as plain HTML that a notebook styles by itself."""
    shown = [number for number, column in enumerate(table.columns) if not column.is_detail]
    heads = (table.columns[number] for number in shown)
    head = "".join(f"<th>{_said(column.title, column.subtitle)}</th>" for column in heads)
    rows = [[row.cells[number] for number in shown] for row in table.rows]
    body = "".join(f"<tr>{''.join(_cell(cell) for cell in row)}</tr>" for row in rows)
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in table.notes)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table><ul>{notes}</ul>"


def _cell(cell: TableCell) -> str:
    return f'<td title="{html.escape(cell.note)}">{_said(cell.text, cell.below)}</td>'


def _said(text: str, below: str) -> str:
    return html.escape(clean(text)) + (f"<br><small>{html.escape(clean(below))}</small>" if below else "")


def default_progress() -> Progress:
    """Return a progress bar where a notebook's kernel runs, silence elsewhere."""
    if "ipykernel" not in sys.modules:
        return silent
    return NotebookBar(importlib.import_module("IPython.display"))


class NotebookBar:
    """One bar that redraws itself below the cell."""

    def __init__(self, display: Any) -> None:
        """Draw by the module `IPython.display`, or by what stands in for it in a test."""
        self._display = display
        self._handle: Any = None

    def __call__(self, message: str, done: float | None = None) -> None:
        """Take a line of talk; see `benchkit.core.progress.Progress`."""
        share = "" if done is None else f' value="{min(1.0, done):.3f}"'
        drawn = self._display.HTML(f"<progress{share}></progress> {html.escape(message)}")
        if self._handle is None:
            self._handle = self._display.display(drawn, display_id=True)
        else:
            self._handle.update(drawn)

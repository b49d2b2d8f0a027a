"""A table for the terminal: as wide as the terminal, plain where colour is not wanted."""

import io
import os
import shutil
import sys
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from benchkit.report.cells import Column, TableCell
from benchkit.report.plain import clean
from benchkit.report.tables import Row, Table

# Where there is no terminal to ask, such as in a CI log: as wide as most logs are read without wrapping.
_LOG_WIDTH = 120
_NARROWEST_NAME = 18
_MATTERS = 2  # Columns of this rank and below are left out only when nothing is left to fold.
_GAP = 2  # A space of padding and the box's own space between columns.

_STYLES = {"absent": "dim", "void": "red", "noisy": "yellow", "clean": "green", "": ""}


def table_text(table: Table, *, width: int | None = None, color: bool | None = None) -> str:
    """Return the table and its notes, cut to a width.

    Where the width is short, the precision moves beneath the artifact's name and columns of low rank are left out; a
    last line names those. Where a column that matters would have to go, the other settings move beneath the name too.
    No row is ever left out, and no setting that tells two rows apart.

    Args:
        table: The table.
        width: Columns of text; None asks the terminal.
        color: Whether to colour; None colours on a terminal unless NO_COLOR is set.
    """
    width = _terminal_width() if width is None else width
    color = sys.stdout.isatty() and not os.environ.get("NO_COLOR") if color is None else color
    shown, folded, dropped = _fitted(table, width)
    text = io.StringIO()
    console = Console(
        file=text,
        width=width,
        force_terminal=color,
        color_system="standard" if color else None,
        no_color=not color,
        highlight=False,
    )
    console.print(_drawn(table, shown, folded))
    for note in table.notes:
        console.print(Text(f"• {clean(note)}", style="dim"), soft_wrap=False)
    if dropped:
        names = ", ".join(column.title for column in dropped)
        console.print(Text(f"• left out at this width: {names}; --format csv has them all", style="dim"))
    lines = [line if color else line.rstrip() for line in text.getvalue().splitlines()]
    return "\n".join(lines).strip("\n") + "\n"


def _fitted(table: Table, width: int) -> tuple[list[int], list[int], list[Column]]:
    """Return the columns to show, those folded beneath the name, and those left out."""
    columns = table.columns
    everything = [number for number, column in enumerate(columns) if not column.is_detail]
    settings = [number for number in everything if columns[number].folds]
    precision = [number for number in settings if columns[number].key == "precision"]
    shown, folded, dropped = everything, list[int](), list[int]()
    for folded in ([], precision, settings):
        shown, dropped = [number for number in everything if number not in folded], []
        while _width(table, shown, folded) > width:
            least = max(shown, key=lambda number: (columns[number].rank, number))
            if columns[least].rank == 0:
                break
            shown.remove(least)
            dropped.append(least)
        fits = _width(table, shown, folded) <= width
        if fits and (not dropped or (folded and min(columns[number].rank for number in dropped) > _MATTERS)):
            break
    return shown, folded, [columns[number] for number in sorted(dropped)]


def _terminal_width() -> int:
    return shutil.get_terminal_size((_LOG_WIDTH, 24)).columns


def _drawn(table: Table, shown: Sequence[int], folded: Sequence[int]) -> RichTable:
    drawn = RichTable(
        box=SIMPLE_HEAD, pad_edge=False, padding=(0, _GAP - 1, 0, 0), header_style="bold", show_edge=False
    )
    for number in shown:
        column = table.columns[number]
        is_name = column.key == "artifact"
        drawn.add_column(
            Text("\n".join(_heading(column)), style="bold"),
            justify="right" if column.is_number else "left",
            no_wrap=not is_name,
            overflow="fold",
            min_width=_NARROWEST_NAME if is_name else None,
        )
    for row in table.rows:
        drawn.add_row(*(_cell(table, row, number, folded) for number in shown))
    return drawn


def _heading(column: Column) -> list[str]:
    """Return the heading's lines: a word or two each, so that no heading is wider than its figures."""
    words = column.title.replace("per example", "per-example").split()
    return [word.replace("-", " ") if word == "per-example" else word for word in words] + [column.subtitle]


def _cell(table: Table, row: Row, number: int, folded: Sequence[int]) -> Text:
    cell, column = row.cells[number], table.columns[number]
    style = _STYLES[cell.tone] or ("dim" if row.state == "void" else "")
    if column.key == "artifact" and row.on_front:
        style = "bold green"
    text = Text(clean(cell.text), style=style)
    below = _below(table, row, cell, column, folded)
    if below:
        text.append(f"\n{clean(below)}", style="dim")
    return text


def _below(table: Table, row: Row, cell: TableCell, column: Column, folded: Sequence[int]) -> str:
    if not folded or column.key != "artifact":
        return cell.below
    return ", ".join(_folded(table.columns[number], row.cells[number]) for number in folded if row.cells[number].value)


def _folded(column: Column, cell: TableCell) -> str:
    """Return a setting as it reads without its heading."""
    if column.key == "threads":
        return f"{cell.text} thread{'' if cell.text == '1' else 's'}"
    says_itself = column.key in ("precision", "scenario", "runtime", "device", "load")
    return cell.text if says_itself else f"{column.title} {cell.text}"


def _width(table: Table, shown: Sequence[int], folded: Sequence[int]) -> int:
    """Return the width that the columns need: the artifact's at its narrowest, every other at its widest cell."""
    total = 0
    for number in shown:
        column = table.columns[number]
        texts = _heading(column)
        for row in table.rows:
            cell = row.cells[number]
            texts += [cell.text, _below(table, row, cell, column, folded)]
        widest = max(len(text) for text in texts)
        if column.key == "artifact":  # Drawn no narrower than its least width, folded where it is wider than some.
            widest = max(min(widest, _NARROWEST_NAME + 8), _NARROWEST_NAME)
        total += widest + _GAP
    return total

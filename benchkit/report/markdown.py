"""Tables and whole reports as GitHub Markdown, for pull requests, step summaries and people without a browser."""

import html
import re
from collections.abc import Sequence

from benchkit.report.cells import Column, Listing, TableCell
from benchkit.report.contents import Contents
from benchkit.report.details import RowDetails
from benchkit.report.plain import clean
from benchkit.report.tables import Row, Table

# Characters that Markdown or the HTML within it would give a meaning to. Letters, digits and ". , ( ) -" stay, so that
# figures and file names read as they are; "_" and "*" inside words are escaped too, since names hold them.
_SPECIAL = re.compile(r"([\\`*_\[\]{}#|~!$])")
# What makes a list or a rule of a line that begins with it.
_OPENING = re.compile(r"^(\d*)([-+=]|[.)](?=\s|$))")


def table_text(table: Table) -> str:
    """Return the table, and under it its notes as a list."""
    columns = [(number, column) for number, column in enumerate(table.columns) if not column.is_detail]
    lines = [
        _line([escaped(_heading(column)) for _, column in columns]),
        _line(["---:" if column.is_number else ":---" for _, column in columns]),
        *(_line([_cell(row, column, row.cells[number]) for number, column in columns]) for row in table.rows),
    ]
    notes = [f"- {escaped(note)}" for note in table.notes]
    return "\n".join([*lines, *([""] if notes else []), *notes]) + "\n"


def report_text(contents: Contents) -> str:
    """Return the whole report without its charts."""
    parts = [f"# {escaped(contents.title)}", escaped(contents.subtitle)]
    parts += ["## In short", _bullets(contents.findings.answers)]
    parts += ["What is not known:", _bullets(contents.findings.caveats)] if contents.findings.caveats else []
    parts += ["## Comparison", table_text(contents.table).rstrip("\n")]
    parts += ["## Scores by task", table_text(contents.scores).rstrip("\n")] if contents.scores else []
    parts += [f"## {escaped(contents.paired.title)}", *_listing(contents.paired)] if contents.paired else []
    if contents.details.rows:
        parts += ["## Behind the rows", escaped(contents.details.remark)]
        parts += [text for row in contents.details.rows for text in _row_details(row)]
    for listing in contents.listings:
        parts += [f"## {escaped(listing.title)}", *_listing(listing)]
    return "\n\n".join(part for part in parts if part) + "\n"


def escaped(text: str) -> str:
    """Escape everything that Markdown or HTML would act upon; links and mentions are broken, not made."""
    safe = clean(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    safe = _OPENING.sub(r"\1\\\2", _SPECIAL.sub(r"\\\1", safe))
    # GitHub links bare addresses and notifies people by @name; an invisible joint keeps the look and stops both.
    return safe.replace("://", ":&#8203;//").replace("@", "&#64;").replace("www.", "www&#8203;.")


def _row_details(row: RowDetails) -> list[str]:
    """Return one row's details, folded where the reader's Markdown can fold."""
    state = "" if row.state == "clean" else f" [{row.state}]"
    parts = [f"<details><summary>{_in_html(('★ ' if row.on_front else '') + row.title + state)}</summary>"]
    for part in row.parts:
        parts += [f"**{escaped(part.title)}**", *_listing(part)]
    return [*parts, "</details>"]


def _in_html(text: str) -> str:
    """Escape text for a line of HTML, which Markdown leaves as it is."""
    safe = html.escape(clean(text), quote=False)
    return safe.replace("://", ":&#8203;//").replace("@", "&#64;").replace("www.", "www&#8203;.").replace("`", "&#96;")


def _listing(listing: Listing) -> list[str]:
    parts = [escaped(listing.lead)] if listing.lead else []
    if listing.rows and listing.heads:
        rows = [_line([escaped(text) for text in row]) for row in listing.rows]
        parts.append("\n".join([_line(list(map(escaped, listing.heads))), _line([":---"] * len(listing.heads)), *rows]))
    elif listing.rows:
        parts.append("\n".join(f"- {escaped(' '.join(row))}" for row in listing.rows))
    return parts


def _bullets(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {escaped(sentence)}" for sentence in sentences)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _heading(column: Column) -> str:
    return " ".join(filter(None, [column.title, column.subtitle]))


def _cell(row: Row, column: Column, cell: TableCell) -> str:
    text = escaped(cell.text)
    if column.key == "artifact" and row.on_front:
        text = f"**{text}**"
    if not cell.below:
        return text
    return f"{text} ({escaped(cell.below)})" if cell.tone != "absent" else f"{text}: {escaped(cell.below)}"

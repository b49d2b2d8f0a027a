"""One door to every text form of a table, for `--format`."""

from benchkit.core.errors import unknown_name
from benchkit.report import machine, markdown, terminal
from benchkit.report.tables import Table

_WRITERS = {
    "text": terminal.table_text,
    "json": machine.json_text,
    "csv": machine.csv_text,
    "markdown": markdown.table_text,
}
FORMATS = tuple(_WRITERS)


def render(table: Table, format: str) -> str:  # noqa: A002 - the name of the flag
    """Return the table as "text", "json", "csv" or "markdown".

    Raises:
        BenchkitError: Unknown format.
    """
    if format not in _WRITERS:
        raise unknown_name("format", format, FORMATS)
    return _WRITERS[format](table)

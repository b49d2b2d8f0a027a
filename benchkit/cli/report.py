"""`benchkit report RECORDS... -o DIR`: a page is a function of records."""

from pathlib import Path
from typing import Annotated

import typer

from benchkit.cli import options
from benchkit.core.errors import Exit


def command(
    records: Annotated[list[Path], typer.Argument(metavar="RECORDS...", help="Record files (JSON lines).")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of index.html, report.md and comparison.csv.")],
    title: Annotated[str, typer.Option("--title", help="Heading of the page.")] = "benchkit report",
    quiet: options.QuietOption = False,
) -> Exit:
    """Draw the comparison page, its Markdown and its CSV; the same records give the same bytes."""
    from benchkit.core.store import read_records
    from benchkit.report.page import why_no_page, write_report

    loaded = [record for path in records for record in read_records(path)]
    for path in write_report(loaded, out, title=title):
        typer.echo(str(path))
    problem = why_no_page()
    if problem and not quiet:
        typer.echo(f"warning: {problem}", err=True)
    return Exit.OK

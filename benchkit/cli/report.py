"""`benchkit report RECORDS... -o DIR`: a page is a function of records, and a figure a function of raw values."""

from pathlib import Path
from typing import Annotated

import typer

from benchkit.cli import options
from benchkit.core.errors import BenchkitError, Exit


def command(
    records: Annotated[list[Path], typer.Argument(metavar="RECORDS...", help="Record files (JSON lines).")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder of index.html, report.md and comparison.csv.")
    ] = None,
    title: Annotated[str, typer.Option("--title", help="Heading of the page.")] = "benchkit report",
    recompute: Annotated[
        bool,
        typer.Option("--recompute", help="Make every figure again from the raw values; exit code 1 if one differs."),
    ] = False,
    quiet: options.QuietOption = False,
) -> Exit:
    """Draw the comparison page, its Markdown and its CSV; the same records give the same bytes."""
    if out is None and not recompute:
        raise BenchkitError("no folder to draw the page in", remedy="-o DIR, or --recompute to check the figures only")
    if recompute:
        code = _recomputed(records)
        if out is None or code is not Exit.OK:
            return code
    assert out is not None
    from benchkit.core.store import read_records
    from benchkit.report.page import why_no_page, write_report

    loaded = [record for path in records for record in read_records(path)]
    if not loaded:
        raise _nothing_in(records)
    for path in write_report(loaded, out, title=title):
        typer.echo(str(path))
    problem = why_no_page()
    if problem and not quiet:
        typer.echo(f"warning: {problem}", err=True)
    return Exit.OK


def _nothing_in(paths: list[Path]) -> BenchkitError:
    return BenchkitError(
        f"there is no record in {', '.join(map(repr, map(str, paths)))}",
        remedy="measure first: benchkit profile TARGET --output records.jsonl",
    )


def _recomputed(paths: list[Path]) -> Exit:
    from benchkit.judge.recompute import exit_of, in_words, recompute_file

    results = [result for path in paths for result in recompute_file(path)]
    if not results:
        raise _nothing_in(paths)
    typer.echo(in_words(results))
    return exit_of(results)

"""Records -> a report folder: index.html, report.md and tables as CSV. The same records give the same bytes."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from benchkit.core.errors import EnvironmentLacks
from benchkit.core.records import Record
from benchkit.core.store import write_text
from benchkit.report.contents import contents_of
from benchkit.report.html import page_text
from benchkit.report.machine import csv_text
from benchkit.report.markdown import report_text

PAGE, MARKDOWN, CSV, SCORES_CSV = "index.html", "report.md", "comparison.csv", "scores.csv"

_REMEDY = "pip install 'benchkit[report]'"


def why_no_page() -> str | None:
    """Say what keeps this installation from writing HTML pages and what to do, or None when nothing does."""
    missing = [name for name in ("jinja2", "vl_convert") if importlib.util.find_spec(name) is None]
    if not missing:
        return None
    return f"no {PAGE}: it needs {' and '.join(missing)}, not installed; for the page: {_REMEDY}"


def write_report(
    records: Sequence[Record], out: Path, *, title: str = "benchkit report", html: bool | None = None
) -> list[Path]:
    """Write a report; what was in `out` under the same names is replaced, each file whole or not at all.

    Args:
        records: Profiles and scores, in any order.
        out: Folder; made when it is not there. The records themselves are the caller's to put beside the report.
        title: Heading of the page and the Markdown.
        html: True insists on the page, False leaves it out; None writes it where the extra `report` is installed, and
            leaves it out otherwise: `why_no_page` then says so.

    Returns:
        The files written, the page first.

    Raises:
        EnvironmentLacks: The page was insisted on and cannot be made here, or `out` cannot be written to.
    """
    problem = why_no_page()
    if html and problem:
        raise EnvironmentLacks(problem.partition(";")[0], remedy=_REMEDY)
    contents = contents_of(records, title)
    texts = {MARKDOWN: report_text(contents), CSV: csv_text(contents.table)}
    if contents.scores is not None:
        texts[SCORES_CSV] = csv_text(contents.scores)
    if html is not False and problem is None:
        texts = {PAGE: page_text(contents, records)} | texts
    for name, text in texts.items():
        write_text(out / name, text)
    return [out / name for name in texts]

"""The page: one file with everything in it, that asks nobody for anything and works with scripts off.

What it says is left to `contents`, the drawing of charts to `svg`; this fills the template in `templates/`.
"""

import base64
import dataclasses
import hashlib
import importlib.resources
from collections.abc import Mapping, Sequence
from typing import Any

from benchkit.core.records import Record
from benchkit.core.store import canonical_json
from benchkit.report.chart_facts import Chart
from benchkit.report.charts import charts_of
from benchkit.report.contents import Contents
from benchkit.report.details import MANY_ROWS
from benchkit.report.heatmaps import heatmaps_of
from benchkit.report.svg import svg_from_spec

# One file, offline, no request to anywhere: a page that a mail or a chat still takes.
MOST_BYTES = 1_500_000
# A longer list within a record is one value a call; it is what makes records large, and is left out like raw values.
_LONGEST_LIST = 64


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Figure:
    chart: Chart
    svg: str


def page_text(contents: Contents, records: Sequence[Record]) -> str:
    """Return the page as HTML.

    The records go in for download, without their raw values, unless the page would grow above `MOST_BYTES`.
    """
    figures = [_drawn(chart) for chart in charts_of(contents.entries)]
    starts = {row.chart.name: _drawn(row.chart).svg for row in contents.details.rows if row.chart is not None}
    page = _filled(contents, figures, starts, None)
    room = MOST_BYTES - len(page.encode())
    download = _download(records, room)
    return page if download is None else _filled(contents, figures, starts, download)


def _drawn(chart: Chart) -> _Figure:
    return _Figure(chart=chart, svg=svg_from_spec(chart.spec, name=chart.name, title=chart.title))


def _filled(contents: Contents, figures: Sequence[_Figure], starts: Mapping[str, str], download: str | None) -> str:
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("benchkit.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    script = _template("sort.js")
    return environment.get_template("page.html.j2").render(
        contents=contents,
        is_long=len(contents.table.rows) > MANY_ROWS,
        figures=[(figure.chart, Markup(figure.svg)) for figure in figures],  # noqa: S704 - rebuilt by `svg.tidy`
        starts={name: Markup(svg) for name, svg in starts.items()},  # noqa: S704 - rebuilt by `svg.tidy`
        heatmaps=heatmaps_of(contents.entries),
        download=download,
        style=Markup(_template("page.css")),  # noqa: S704 - our own file
        script=Markup(script),  # noqa: S704 - our own file
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _template(name: str) -> str:
    return importlib.resources.files("benchkit.report").joinpath("templates", name).read_text(encoding="utf-8")


def _download(records: Sequence[Record], room: int) -> str | None:
    """Return the records as a data address, a link that works with scripts off; None where there is no room for it."""
    ordered = sorted({record.record_id: record for record in records}.values(), key=lambda record: record.record_id)
    lines, left = [], room * 3 // 4
    for record in ordered:
        lines.append(canonical_json(_without_raw_values(record)) + "\n")
        left -= len(lines[-1])
        if left < 0:
            return None
    text = base64.b64encode("".join(lines).encode()).decode()
    return f"data:application/x-ndjson;base64,{text}" if len(text) < room else None


def _without_raw_values(record: Record) -> dict[str, Any]:
    value = record.as_json()
    for measurement in value["measurements"].values():
        measurement.pop("runs", None)
        if "details" in measurement:
            measurement["details"] = _short(measurement["details"])
    return value


def _short(value: Any) -> Any:
    """Return nested facts without their long lists."""
    if isinstance(value, dict):
        return {key: _short(one) for key, one in value.items()}
    if isinstance(value, list):
        return f"{len(value)} values left out" if len(value) > _LONGEST_LIST else [_short(one) for one in value]
    return value

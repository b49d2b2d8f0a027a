"""A cold start by phase, page cache cold against warm: a table, and stacked bars."""

from collections.abc import Sequence

from benchkit.core.records import Record
from benchkit.report import loose
from benchkit.report.cells import Listing
from benchkit.report.chart_facts import WIDTH, Chart, Key, Look
from benchkit.report.plain import clean, counted
from benchkit.report.scales import is_drawable, linear_scale
from benchkit.report.vega import MARGIN, at, axis_x, layer, specification

_CACHES = ("cold", "warm")
_ORDER = ("interpreter", "imports", "tokenizer", "session", "first inference", "steady")
_COLORS = ("var(--s7)", "var(--s1)", "var(--s4)", "var(--s3)", "var(--s2)", "var(--muted)")
_STEP_PX, _BAR_PX, _LEFT_PX = 34, 20, 56


def cold_start_parts(record: Record) -> list[Listing]:
    """Return the phases: the median of the processes, cold and warm."""
    phases = _phases(record)
    if not phases:
        return []
    rows = [(name, *(loose.milliseconds(seconds.get(cache)) for cache in _CACHES)) for name, seconds in phases.items()]
    details = loose.details(record, "cold_start")
    counts = [len(loose.items(loose.at(details, "phases_s", cache))) for cache in _CACHES]
    unaccounted = [abs(value) for value in loose.numbers(details.get("unaccounted_share"))]
    lead = (
        f"Medians of {counted(counts[0], 'fresh process', 'fresh processes')} with the page cache dropped for the "
        f"model's files, and {counts[1]:,} with it warm; the headline ends with the first inference."
    )
    if unaccounted:
        lead += f" At most {loose.share(max(unaccounted), 2)} of a start is in no phase."
    return [Listing(title="Cold start", lead=lead, heads=("phase", *_CACHES), rows=tuple(rows))]


def cold_start_chart(record: Record, number: int) -> Chart | None:
    """Draw the phases end to end, without the wait for a steady state; None where there is nothing to draw."""
    phases = {name: seconds for name, seconds in _phases(record).items() if name != "steady"}
    totals = [sum(seconds.get(cache, 0.0) for seconds in phases.values()) * 1e3 for cache in _CACHES]
    if not phases or not all(map(is_drawable, totals)):
        return None
    x = linear_scale(totals, from_zero=True)
    on_x = axis_x("from", x, "ms until the first inference")
    layers = []
    looks = _looks(list(phases))
    for row, cache in enumerate(_CACHES):
        middle, begun = at(row * _STEP_PX + _STEP_PX / 2), 0.0
        for name, seconds in phases.items():
            ended = begun + seconds.get(cache, 0.0) * 1e3
            bar = {"type": "bar", "height": _BAR_PX, "fill": looks[name]}
            span = {"from": float(f"{begun:.6g}"), "to": float(f"{ended:.6g}")}
            layers.append(layer([span], bar, x=on_x, x2={"field": "to"}, y=middle))
            begun = ended
        text = {"type": "text", "align": "right", "baseline": "middle"}
        layers.append(layer([{"name": cache}], text, x=at(-8), y=middle, text={"field": "name", "type": "nominal"}))
    return Chart(
        name=f"start{number}",
        title="Cold start by phase",
        caption="Page cache cold and warm; medians of the phases, so that their sum need not be the median start.",
        spec=specification(
            layers, width=WIDTH + MARGIN["left"] - _LEFT_PX, height=_STEP_PX * len(_CACHES), left=_LEFT_PX
        ),
        keys=tuple(Key(text=name, look=Look(color=color, shape="square"), mark="bar") for name, color in looks.items()),
    )


def _phases(record: Record) -> dict[str, dict[str, float]]:
    """Return the median seconds of each phase by cache, in the order of a start."""
    found = loose.details(record, "cold_start").get("phases_s")
    taken: dict[str, dict[str, list[float]]] = {}
    for cache in _CACHES:
        for process in loose.items(loose.at(found, cache)):
            for name, value in loose.pairs(process):
                seconds = loose.number(value)
                if seconds is not None and seconds >= 0:
                    taken.setdefault(clean(name, 40), {}).setdefault(cache, []).append(seconds)
    ordered = sorted(taken, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name))[:12]
    return {
        name: {cache: middle for cache, values in taken[name].items() if (middle := loose.median(values)) is not None}
        for name in ordered
    }


def _looks(names: Sequence[str]) -> dict[str, str]:
    return {name: _COLORS[_ORDER.index(name) if name in _ORDER else -1] for name in names}

"""Raw latencies: their distribution for each model and precision, and in the order they were taken for a few."""

import collections
import dataclasses
from collections.abc import Mapping, Sequence

from benchkit.core.quantities import QUANTITIES
from benchkit.core.records import Measured, Statistic
from benchkit.report.chart_facts import HEIGHT, WIDTH, Chart, Key, Look
from benchkit.report.curves import MOST_POINTS, distribution, over_time
from benchkit.report.entries import Entry
from benchkit.report.figures import with_unit
from benchkit.report.headline import Headline
from benchkit.report.palette import DASHES
from benchkit.report.reasons import summarised
from benchkit.report.scales import Scale, is_drawable, linear_scale, log_scale
from benchkit.report.selection import representatives
from benchkit.report.vega import axis_x, axis_y, layer, specification

_MOST_SERIES = 12
_MOST_OVER_TIME = 4
_OVER_TIME_HEIGHT = 130
# Points of one chart over all its series, and of one strip of latencies: what keeps a page of many models small.
_POINT_BUDGET = 2400
_STRIP_POINTS = 240
_LATENCY = QUANTITIES["latency"]


def distribution_chart(place: Headline, number: int, looks: Mapping[str, Look], stars: frozenset[str]) -> Chart | None:
    """Draw the empirical distributions at a headline cell; None without raw values."""
    timed = [entry for entry in place.entries if entry.is_void or _has_drawable_values(entry)]
    chosen = representatives(timed, most=_MOST_SERIES, prefer=stars)
    if not chosen.entries:
        return None
    most = min(MOST_POINTS, _POINT_BUDGET // len(chosen.entries))
    curves = [[(_ms(value), share) for value, share in distribution(_values(e), most)] for e in chosen.entries]
    x = log_scale([value for curve in curves for value, _ in curve])
    y = Scale(low=0.0, high=1.0, is_log=False, ticks=(0.0, 0.25, 0.5, 0.75, 0.95))
    on_x, on_y = axis_x("ms", x, "latency of a call, ms (log)"), axis_y("share", y, "share of calls", ticks=".0%")
    layers = []
    drawn = _told_apart(chosen.entries, looks)
    for look, curve in zip(drawn, curves, strict=True):
        line = {"type": "line", "interpolate": "step-after", "strokeWidth": 1.8, "stroke": look.color}
        rows = [{"ms": value, "share": share} for value, share in [(curve[0][0], 0.0), *curve]]
        layers.append(layer(rows, line | {"strokeDash": list(look.dash)}, x=on_x, y=on_y))
    caption = (
        f"{place.sentence} For each latency the share of calls that took no longer: a steep curve is steady, "
        f"a long foot to the right is a tail. {chosen.remark}"
    )
    return Chart(
        name=f"spread{number}",
        title="How latencies spread",
        caption=caption.strip(),
        spec=specification(layers, width=WIDTH, height=HEIGHT),
        keys=tuple(
            Key(text=entry.series, look=look, mark="line") for entry, look in zip(chosen.entries, drawn, strict=True)
        ),
        heads=("artifact", "p50", "p95", "p99"),
        rows=tuple((e.series, *(_percentile(e, name) for name in ("p50", "p95", "p99"))) for e in chosen.entries),
    )


def _told_apart(entries: Sequence[Entry], looks: Mapping[str, Look]) -> list[Look]:
    """Return the look of each line: one artifact under several settings goes on to further dashes."""
    found: list[Look] = []
    times: dict[str, int] = collections.Counter()
    for entry in entries:
        look, again = looks[entry.artifact.id], times[entry.artifact.id]
        dash = DASHES[(DASHES.index(look.dash) + 2 * again) % len(DASHES)]
        found.append(dataclasses.replace(look, dash=dash) if again else look)
        times[entry.artifact.id] += 1
    return found


def over_time_charts(places: Sequence[Headline]) -> tuple[Chart, ...]:
    """Draw the raw latencies of a few rows in the order taken: disturbed and void ones first, then the fastest."""
    entries = [entry for place in places for entry in place.entries if _has_drawable_values(entry)]
    first: dict[str, Entry] = {}
    for entry in sorted(entries, key=lambda entry: entry.record.noise.verdict == "clean"):
        first.setdefault(entry.series, entry)
    shown = list(first.values())[:_MOST_OVER_TIME]
    remark = f"{len(shown)} of {len(first)} are drawn, disturbed ones first." if len(first) > len(shown) else ""
    return tuple(_over_time(entry, number, remark if number == 1 else "") for number, entry in enumerate(shown, 1))


def _over_time(entry: Entry, number: int, remark: str) -> Chart:
    runs = _runs(entry)
    ends = [sum(map(len, runs[: k + 1])) for k in range(len(runs))]
    thinned = over_time(_values(entry), _STRIP_POINTS)
    rows = [{"call": call, "ms": _ms(value), "run": sum(call >= end for end in ends)} for call, value in thinned]
    x = dataclasses.replace(linear_scale([float(ends[-1])], from_zero=True), high=float(ends[-1]))
    y = linear_scale([row["ms"] for row in rows], most_ticks=4)
    on_x, on_y = axis_x("call", x, "call, in the order taken"), axis_y("ms", y, "latency, ms")
    dot = {"type": "point", "filled": True, "size": 9, "opacity": 0.8, "strokeWidth": 0}
    layers = [
        layer([row for row in rows if row["run"] % 2 == parity], dot | {"fill": color}, x=on_x, y=on_y)
        for parity, color in ((0, "var(--s1)"), (1, "var(--s2)"))
        if parity < len(runs)
    ]
    return Chart(
        name=f"time{number}",
        title=f"{entry.series}, call by call",
        caption=" ".join(filter(None, [_over_time_caption(entry, len(rows), ends[-1]), remark])),
        spec=specification(layers, width=WIDTH, height=_OVER_TIME_HEIGHT),
        heads=("process", "calls", "lowest", "median", "highest"),
        rows=tuple(_run_row(k, run) for k, run in enumerate(runs, 1)),
    )


def _over_time_caption(entry: Entry, shown: int, calls: int) -> str:
    noise, words = entry.record.noise, entry.place.words
    sentences = [f"{words[0].upper()}{words[1:]}; the colour changes with the process."]
    if shown < calls:
        sentences.append(f"Of {calls:,} calls {shown:,}: the lowest and the highest of each stretch.")
    if noise.verdict != "clean":
        word = "Void" if noise.verdict == "invalid" else "Noisy"
        sentences.append(f"{word}: {summarised(noise.reasons)}.")
    return " ".join(sentences)


def _run_row(number: int, run: tuple[float, ...]) -> tuple[str, ...]:
    ordered = sorted(run)
    picked = (ordered[0], ordered[(len(ordered) - 1) // 2], ordered[-1])
    texts = (with_unit(_LATENCY, Statistic(value=value, n=len(run))) for value in picked)
    return (f"{number:,}", f"{len(run):,}", *texts)


def _percentile(entry: Entry, name: str) -> str:
    statistic = entry.latency(name)
    return "—" if statistic is None else with_unit(_LATENCY, statistic)


def _runs(entry: Entry) -> tuple[tuple[float, ...], ...]:
    measurement = entry.profile.measurements.get("latency") if entry.profile is not None else None
    return tuple(run for run in measurement.runs if run) if isinstance(measurement, Measured) else ()


def _values(entry: Entry) -> list[float]:
    return [value for run in _runs(entry) for value in run]


def _has_drawable_values(entry: Entry) -> bool:
    values = _values(entry)
    return bool(values) and all(is_drawable(value * _LATENCY.display_factor) for value in (min(values), max(values)))


def _ms(value: float) -> float:
    # Seven digits are far below a pixel, and halve the specification.
    return float(f"{value * _LATENCY.display_factor:.7g}")

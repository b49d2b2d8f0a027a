"""Score against latency: the Pareto front of one task at one place, with bounds both ways."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from benchkit.core.quantities import QUANTITIES
from benchkit.core.records import Statistic
from benchkit.report.chart_facts import HEIGHT, WIDTH, Chart, Key, Look
from benchkit.report.figures import with_unit
from benchkit.report.front import Group, Point
from benchkit.report.plain import clean, counted, shortened
from benchkit.report.scales import Box, Scale, is_drawable, label_places, linear_scale, log_scale
from benchkit.report.vega import INK, MUTED, Layer, as_is, at, axis_x, axis_y, layer, specification

_MOST_POINTS = 12
_LATENCY = QUANTITIES["latency"]
_SCORE = QUANTITIES["score"]


class _Span(NamedTuple):
    """A figure with its bounds in display units; a missing bound is the value itself, so that no bar is drawn."""

    value: float
    low: float
    high: float


def front_chart(group: Group, number: int, looks: Mapping[str, Look], *, name_host: bool) -> Chart | None:
    """Draw one group; None when none of its points can be drawn."""
    drawable = [point for point in group.points if _is_drawable(point)]
    points = drawable[:_MOST_POINTS]
    if not points:
        return None
    left_out = len(drawable) - len(points)
    host = f" on {clean(group.place.host, 24)}" if name_host else ""
    words = group.place.words
    caption = (
        f"{words[0].upper()}{words[1:]}{host}. Up and to the left is better. The line is the front: nothing is at "
        f"once faster and better. Hollow grey points are beaten. Bars are one-sided 95 % bounds on either side."
    )
    if left_out:
        caption += f" Left out: the {counted(left_out, 'slowest row')}."
    return Chart(
        name=f"front{number}",
        title=f"{group.task}: {group.metric} against latency",
        caption=caption,
        spec=specification(_layers(points, group, looks), width=WIDTH, height=HEIGHT),
        keys=_keys(points, looks),
        heads=("artifact", group.metric, f"latency {group.statistic}", "on the front"),
        rows=tuple(
            (p.entry.label, with_unit(_SCORE, p.score), with_unit(_LATENCY, p.latency), "yes" if p.on_front else "no")
            for p in points
        ),
    )


def _is_drawable(point: Point) -> bool:
    latency, score = (_span(point.latency, _LATENCY.display_factor), _span(point.score, _SCORE.display_factor))
    return is_drawable(latency.value) and all(is_drawable(v, positive=False) for v in (*latency, *score))


def _layers(points: Sequence[Point], group: Group, looks: Mapping[str, Look]) -> list[Layer]:
    latencies = [_span(point.latency, _LATENCY.display_factor) for point in points]
    scores = [_span(point.score, _SCORE.display_factor) for point in points]
    x = log_scale([v for span in latencies for v in (span.low, span.value, span.high) if is_drawable(v)])
    y = linear_scale([v for span in scores for v in (span.low, span.value, span.high)])
    on_x, on_y = axis_x("ms", x, f"latency {group.statistic}, ms (log)"), axis_y("score", y, f"{group.metric}, %")
    step = [
        {"ms": lat.value, "score": s.value} for p, lat, s in zip(points, latencies, scores, strict=True) if p.on_front
    ]
    step += [{"ms": x.high, "score": step[-1]["score"]}] if step else []
    rows = [
        {
            "ms": span.value,
            "fast": max(span.low, x.low),
            "slow": span.high,
            "score": score.value,
            "worse": score.low,
            "better": score.high,
            "shape": looks[point.entry.artifact.id].shape,
            "stroke": looks[point.entry.artifact.id].color if point.on_front else MUTED,
            "fill": looks[point.entry.artifact.id].color if point.on_front else "var(--paper)",
            "front": point.on_front,
        }
        for point, span, score in zip(points, latencies, scores, strict=True)
    ]
    rows.sort(key=lambda row: bool(row["front"]))  # Beaten points first, so that the front lies over them.
    bar = {"type": "rule", "strokeWidth": 1.2, "opacity": 0.55}
    dot = {"type": "point", "size": 85, "filled": True, "strokeWidth": 1.6, "opacity": 1}
    stroke = as_is("stroke")
    return [
        layer(step, {"type": "line", "interpolate": "step-after", "stroke": MUTED, "strokeWidth": 1.5}, x=on_x, y=on_y),
        layer(rows, bar, x={"field": "fast", "type": "quantitative"}, x2={"field": "slow"}, y=on_y, stroke=stroke),
        layer(rows, bar, x=on_x, y={"field": "worse", "type": "quantitative"}, y2={"field": "better"}, stroke=stroke),
        layer(rows, dot, x=on_x, y=on_y, stroke=stroke, fill=as_is("fill"), shape=as_is("shape")),
        *_labels(points, latencies, scores, (x, y)),
    ]


def _labels(
    points: Sequence[Point], latencies: Sequence[_Span], scores: Sequence[_Span], scales: tuple[Scale, Scale]
) -> list[Layer]:
    names = [shortened(point.entry.series, 28) for point in points]
    xs = [scales[0].share(latency.value) * WIDTH for latency in latencies]
    ys = [(1 - scales[1].share(score.value)) * HEIGHT for score in scores]
    front = [(x, y) for point, x, y in zip(points, xs, ys, strict=True) if point.on_front]
    bars = [
        (x - 2, (1 - scales[1].share(s.high)) * HEIGHT, x + 2, (1 - scales[1].share(s.low)) * HEIGHT)
        for x, s in zip(xs, scores, strict=True)
    ]
    places = label_places(
        list(zip(xs, ys, names, strict=True)), [*_step_boxes(front), *bars], width=WIDTH, height=HEIGHT
    )
    text = {"type": "text", "align": "left", "baseline": "middle"}
    return [
        layer([{"name": name}], text | {"opacity": 1 if point.on_front else 0.6}, **_text_at(place))
        for point, name, place in zip(points, names, places, strict=True)
        if place is not None
    ]


def _step_boxes(front: Sequence[tuple[float, float]]) -> list[Box]:
    """Return boxes around the front's line: level from each point to the next one's latency, then up to it."""
    boxes: list[Box] = []
    for (x, y), (next_x, next_y) in zip(front, [*front[1:], (WIDTH, front[-1][1])] if front else [], strict=True):
        boxes += [(x, y - 2, next_x, y + 2), (next_x - 2, min(y, next_y), next_x + 2, max(y, next_y))]
    return boxes


def _text_at(place: tuple[float, float]) -> dict[str, object]:
    return {"x": at(round(place[0], 1)), "y": at(round(place[1], 1)), "text": {"field": "name", "type": "nominal"}}


def _span(statistic: Statistic, factor: float) -> _Span:
    assert statistic.value is not None
    low = statistic.value if statistic.low is None else statistic.low
    high = statistic.value if statistic.high is None else statistic.high
    return _Span(statistic.value * factor, low * factor, high * factor)


def _keys(points: Sequence[Point], looks: Mapping[str, Look]) -> tuple[Key, ...]:
    """Explain the shapes; the models are named beside their points."""
    shapes = {clean(p.entry.artifact.precision, 24): looks[p.entry.artifact.id].shape for p in points}
    if len(shapes) < 2:
        return ()
    return tuple(Key(text=name, look=Look(color=INK, shape=shape), mark="point") for name, shape in shapes.items())

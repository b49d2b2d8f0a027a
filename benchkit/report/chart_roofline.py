"""The roofline: what each cell attained under what the machine can do, over its operations per byte; both axes log."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from benchkit.core.quantities import QUANTITIES, format_number
from benchkit.report import loose
from benchkit.report.chart_facts import HEIGHT, WIDTH, Chart, Key, Look
from benchkit.report.entries import Entry
from benchkit.report.figures import with_unit
from benchkit.report.plain import clean, counted
from benchkit.report.scales import is_drawable, log_scale
from benchkit.report.vega import MUTED, Layer, as_is, axis_x, axis_y, layer, specification

_MOST_POINTS, _MOST_CHARTS, _MOST_KEYS = 60, 2, 8
_LEFT_PX = 54
_GIGA = 1e-9


class _Point(NamedTuple):
    entry: Entry
    intensity: float
    attained: float  # GFLOP/s, as is the ceiling.
    ceiling: float
    bound_by: str
    data_type: str


def roofline_charts(entries: Sequence[Entry], looks: Mapping[str, Look]) -> tuple[Chart, ...]:
    """Draw one roofline for each host and thread count: peaks hold for the threads that they were measured with."""
    groups: dict[tuple[str, int], list[_Point]] = {}
    for entry in entries:
        point = _point(entry)
        if point is not None:
            groups.setdefault((entry.place.host, entry.record.cell.threads), []).append(point)
    ranked = sorted(groups.items(), key=lambda item: (-len({p.entry.artifact.id for p in item[1]}), item[0]))
    return tuple(_chart(found, key, number, looks) for number, (key, found) in enumerate(ranked[:_MOST_CHARTS], 1))


def _point(entry: Entry) -> _Point | None:
    attained = entry.figure("attained_flops", "median")
    if entry.profile is None or attained is None or attained.value is None:
        return None
    details = loose.details(entry.profile, "roofline_share")
    intensity = loose.number(details.get("arithmetic_intensity_flops_per_byte"))
    ceiling = loose.number(details.get("ceiling_flops_per_s"))
    if intensity is None or ceiling is None:
        return None
    found = (intensity, attained.value * _GIGA, ceiling * _GIGA)
    if not all(map(is_drawable, found)):
        return None
    bound_by, data_type = (loose.text(details.get(name), 12) for name in ("bound_by", "data_type"))
    return _Point(entry, *found, bound_by, data_type)


def _chart(found: list[_Point], key: tuple[str, int], number: int, looks: Mapping[str, Look]) -> Chart:
    points = found[:_MOST_POINTS]
    left_out = f" Left out: {counted(len(found) - len(points), 'more row')}." if len(found) > len(points) else ""
    x = log_scale([point.intensity for point in points])
    y = log_scale([value for point in points for value in (point.attained, point.ceiling)])
    on_x, on_y = axis_x("intensity", x, "FLOP per byte of memory (log)"), axis_y("gflops", y, "GFLOP/s (log)")
    rows = [
        {
            "intensity": float(f"{point.intensity:.5g}"),
            "gflops": float(f"{point.attained:.5g}"),
            "fill": looks[point.entry.artifact.id].color,
            "shape": looks[point.entry.artifact.id].shape,
        }
        for point in points
    ]
    dot = {"type": "point", "size": 60, "filled": True, "opacity": 0.85, "strokeWidth": 0}
    layers = [
        *_roofs(points, x.low, x.high, on_x, on_y),
        layer(rows, dot, x=on_x, y=on_y, fill=as_is("fill"), shape=as_is("shape")),
    ]
    caption = (
        f"{counted(key[1], 'thread')}, host {clean(key[0], 24)}; one point a row. Level lines are the peaks measured "
        f"here, with the number format that they hold for; the distance to its line is what was left. Where the "
        f"memory is the lower roof, a short dash stands over the point.{left_out}"
    )
    return Chart(
        name=f"roofline{number}",
        title="Under the machine's own peak",
        caption=caption,
        spec=specification(layers, width=WIDTH + 46 - _LEFT_PX, height=HEIGHT, left=_LEFT_PX),
        keys=_keys(points, looks),
        heads=("row", "attained", "ceiling", "share", "bound by"),
        rows=tuple(map(_row, points)),
    )


def _roofs(
    points: Sequence[_Point], low: float, high: float, on_x: dict[str, object], on_y: dict[str, object]
) -> list[Layer]:
    """Draw each compute roof once, from end to end, and the memory's roof over the points that it holds."""
    compute = sorted({(point.ceiling, point.data_type) for point in points if point.bound_by == "compute"})[-4:]
    line = {"type": "line", "stroke": MUTED, "strokeWidth": 1.5}
    text = {"type": "text", "align": "left", "baseline": "bottom", "dx": 4, "dy": -3, "opacity": 0.8}
    layers: list[Layer] = []
    for ceiling, data_type in compute:
        ends = [{"intensity": end, "gflops": float(f"{ceiling:.5g}")} for end in (low, high)]
        layers.append(layer(ends, line, x=on_x, y=on_y))
        name = ends[0] | {"name": f"{data_type}, {format_number(ceiling)}"}
        layers.append(layer([name], text, x=on_x, y=on_y, text={"field": "name", "type": "nominal"}))
    memory = [
        {"intensity": float(f"{point.intensity:.5g}"), "gflops": float(f"{point.ceiling:.5g}")}
        for point in points
        if point.bound_by == "memory"
    ]
    tick = {"type": "tick", "orient": "horizontal", "thickness": 1.5, "size": 16, "color": MUTED}
    return [*layers, layer(memory, tick, x=on_x, y=on_y)] if memory else layers


def _keys(points: Sequence[_Point], looks: Mapping[str, Look]) -> tuple[Key, ...]:
    named: dict[str, Look] = {}
    for point in points:
        artifact = point.entry.artifact
        name = clean(f"{artifact.candidate or artifact.name} {artifact.precision}", 40)
        named.setdefault(name, dataclasses.replace(looks[artifact.id], dash=()))
    keys = [Key(text=name, look=look, mark="point") for name, look in named.items()]
    return tuple(keys[:_MOST_KEYS])


def _row(point: _Point) -> tuple[str, ...]:
    attained, share = (point.entry.figure(name, "median") for name in ("attained_flops", "roofline_share"))
    return (
        f"{point.entry.series}, {point.entry.place.words}",
        with_unit(QUANTITIES["attained_flops"], attained) if attained is not None else "—",
        f"{format_number(point.ceiling)} GFLOP/s",
        with_unit(QUANTITIES["roofline_share"], share) if share is not None else "—",
        point.bound_by or "—",
    )

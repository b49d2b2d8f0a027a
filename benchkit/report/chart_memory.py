"""Peak memory as bars, with the share that the interpreter and its imports take alone."""

from benchkit.core.quantities import QUANTITIES
from benchkit.core.records import Statistic
from benchkit.report.chart_facts import WIDTH, Chart, Key, Look
from benchkit.report.entries import Entry
from benchkit.report.figures import value_text, with_unit
from benchkit.report.headline import Headline
from benchkit.report.plain import shortened
from benchkit.report.scales import is_drawable, linear_scale
from benchkit.report.selection import representatives
from benchkit.report.vega import MARGIN, Layer, at, axis_x, layer, specification

_MOST_BARS = 12
_STEP_PX = 30
_BAR_PX = 16
_LEFT_PX = 180  # Room for names of 25 characters, also in a wide font.
_MEMORY = QUANTITIES["peak_memory"]
_WHOLE, _CONTROL = "var(--s1)", "var(--s1-deep)"


def memory_chart(place: Headline, number: int, stars: frozenset[str]) -> Chart | None:
    """Draw the peaks at a headline cell; None where none was measured."""
    with_peak = [entry for entry in place.entries if entry.is_void or _figure(entry, "max") is not None]
    chosen = representatives(with_peak, most=_MOST_BARS, prefer=stars)
    figures = [(e, peak, _figure(e, "imports_only")) for e in chosen.entries if (peak := _figure(e, "max")) is not None]
    if not figures:
        return None
    keys = (
        Key(text="model and activations", look=Look(color=_WHOLE, shape="square"), mark="bar"),
        Key(text="interpreter and imports alone", look=Look(color=_CONTROL, shape="square"), mark="bar"),
    )
    return Chart(
        name=f"memory{number}",
        title="Peak memory",
        caption=f"{place.sentence} The largest over the processes; shorter is better. {chosen.remark}".strip(),
        spec=specification(
            _layers(figures), width=WIDTH + MARGIN["left"] - _LEFT_PX, height=_STEP_PX * len(figures), left=_LEFT_PX
        ),
        keys=keys if any(control is not None for _, _, control in figures) else (),
        heads=("artifact", "peak", "interpreter and imports alone"),
        rows=tuple(
            (e.series, with_unit(_MEMORY, peak), "—" if control is None else with_unit(_MEMORY, control))
            for e, peak, control in figures
        ),
    )


def _layers(figures: list[tuple[Entry, Statistic, Statistic | None]]) -> list[Layer]:
    layers = []
    x = linear_scale([_mib(peak) for _, peak, _ in figures], from_zero=True)
    on_x = axis_x("mib", x, "peak resident memory, MiB")
    for number, (entry, peak, control) in enumerate(figures):
        middle = at(number * _STEP_PX + _STEP_PX / 2)
        row = {"mib": _mib(peak), "figure": value_text(_MEMORY, peak), "name": shortened(entry.series, 25), "zero": 0}
        bar = {"type": "bar", "height": _BAR_PX, "cornerRadiusEnd": 2}
        layers.append(layer([row], bar | {"fill": _WHOLE}, x=on_x, x2={"datum": 0}, y=middle))
        if control is not None:
            own = {"mib": min(_mib(control), _mib(peak))}
            layers.append(
                layer([own], bar | {"fill": _CONTROL, "cornerRadiusEnd": 0}, x=on_x, x2={"datum": 0}, y=middle)
            )
        text = {"type": "text", "baseline": "middle"}
        layers.append(layer([row], text | {"align": "left", "dx": 6}, x=on_x, y=middle, text=_field("figure")))
        layers.append(layer([row], text | {"align": "right"}, x=at(-8), y=middle, text=_field("name")))
    return layers


def _field(name: str) -> dict[str, str]:
    return {"field": name, "type": "nominal"}


def _mib(statistic: Statistic) -> float:
    assert statistic.value is not None
    return statistic.value * _MEMORY.display_factor


def _figure(entry: Entry, name: str) -> Statistic | None:
    statistic = entry.profile.statistic("peak_memory", name) if entry.profile is not None else None
    if statistic is None or statistic.value is None:
        return None
    return statistic if is_drawable(statistic.value * _MEMORY.display_factor) else None

"""Response time against service time of a server row: what lies between the two curves is waiting in the queue."""

from collections.abc import Sequence

from benchkit.core.quantities import QUANTITIES, format_number
from benchkit.core.records import Measured
from benchkit.report import loose
from benchkit.report.chart_facts import HEIGHT, WIDTH, Chart, Key, Look
from benchkit.report.curves import distribution
from benchkit.report.entries import Entry
from benchkit.report.figures import with_unit
from benchkit.report.plain import counted
from benchkit.report.scales import Scale, is_drawable, log_scale
from benchkit.report.vega import axis_x, axis_y, layer, specification

_MOST = 2
_POINTS = 160
_RESPONSE = Look(color="var(--s2)", shape="circle")
_SERVICE = Look(color="var(--s1)", shape="circle", dash=(5, 3))
_TIME = QUANTITIES["response_time"]


def response_charts(entries: Sequence[Entry]) -> tuple[Chart, ...]:
    """Draw a few server rows, those with the most waiting first. Calls at a low rate meet no queue: not drawn."""
    drawable = [(entry, *found) for entry in entries if (found := _values(entry)) is not None]
    drawable.sort(key=lambda one: (-_at(one[1], 0.95) / _at(one[2], 0.95), one[0].record.record_id))
    left_out = len(drawable) - _MOST
    remark = f" {counted(left_out, 'server row')} with less waiting not drawn." if left_out > 0 else ""
    return tuple(
        _chart(entry, responses, services, number, remark if number == 1 else "")
        for number, (entry, responses, services) in enumerate(drawable[:_MOST], 1)
    )


def _values(entry: Entry) -> tuple[list[float], list[float]] | None:
    """Return response and service times in ms, sorted; None where the row is void or lacks one of them."""
    measurement = entry.profile.measurements.get("response_time") if entry.profile is not None else None
    if entry.is_void or entry.place.scenario != "server" or not isinstance(measurement, Measured):
        return None
    responses = sorted(value * 1e3 for run in measurement.runs for value in run)
    services = sorted(
        value * 1e3 for run in loose.items(measurement.details.get("service_s")) for value in loose.numbers(run)
    )
    if not responses or not services or not all(map(is_drawable, (*responses, *services))):
        return None
    return responses, services


def _chart(entry: Entry, responses: list[float], services: list[float], number: int, remark: str) -> Chart:
    x = log_scale([responses[0], responses[-1], services[0], services[-1]])
    y = Scale(low=0.0, high=1.0, is_log=False, ticks=(0.0, 0.25, 0.5, 0.75, 0.95))
    on_x, on_y = axis_x("ms", x, "ms (log)"), axis_y("share", y, "share of calls", ticks=".0%")
    layers = []
    for values, look in ((services, _SERVICE), (responses, _RESPONSE)):
        curve = [(float(f"{value:.7g}"), share) for value, share in distribution(values, _POINTS)]
        line = {"type": "line", "interpolate": "step-after", "strokeWidth": 1.8, "stroke": look.color}
        rows = [{"ms": value, "share": share} for value, share in [(curve[0][0], 0.0), *curve]]
        layers.append(layer(rows, line | ({"strokeDash": list(look.dash)} if look.dash else {}), x=on_x, y=on_y))
    words = entry.place.words
    return Chart(
        name=f"response{number}",
        title=f"{entry.series}, {entry.place.load or 'served'}: what a client waits",
        caption=f"{words[0].upper()}{words[1:]}. Response time counts from the scheduled arrival, service time from "
        f"the begin of the call: what lies between the curves is the queue.{remark}",
        spec=specification(layers, width=WIDTH, height=HEIGHT),
        keys=(
            Key(text="response time", look=_RESPONSE, mark="line"),
            Key(text="service time", look=_SERVICE, mark="line"),
        ),
        heads=("figure", "response time", "service time"),
        rows=tuple(
            (name, _figure(entry, name, responses, q), f"{format_number(_at(services, q))} ms")
            for name, q in (("p50", 0.5), ("p90", 0.9), ("p95", 0.95))
        ),
    )


def _figure(entry: Entry, name: str, responses: list[float], q: float) -> str:
    statistic = entry.figure("response_time", name)
    return with_unit(_TIME, statistic) if statistic is not None else f"{format_number(_at(responses, q))} ms, unbounded"


def _at(ordered: list[float], q: float) -> float:
    """Return the value by nearest rank; for the order of charts and a table of what is drawn, not for a verdict."""
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]

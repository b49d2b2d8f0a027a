"""Energy by window: the instrument and its scope, gross and net, idle before and after, and what spoiled it."""

from typing import Any

from benchkit.core.quantities import QUANTITIES
from benchkit.core.records import Measured, NotMeasured, Record
from benchkit.report import loose
from benchkit.report.cells import Listing
from benchkit.report.figures import with_unit
from benchkit.report.plain import NOTE_LENGTH, clean
from benchkit.report.reasons import why_absent

_QUANTITIES = ("energy_package", "energy_dram", "energy_gpu")
_HEADS = ("window", "energy", "time", "power", "examples", "CPU of others")


def energy_parts(record: Record) -> list[Listing]:
    """Return one part for each energy that was measured, or looked for in vain."""
    parts = []
    for name in _QUANTITIES:
        measurement = record.measurements.get(name)
        if isinstance(measurement, NotMeasured):
            parts.append(Listing(title=QUANTITIES[name].title, lead=why_absent(record, name)))
        elif isinstance(measurement, Measured):
            parts.append(_measured(name, measurement))
    return parts


def _measured(name: str, measurement: Measured) -> Listing:
    details = measurement.details
    windows = loose.items(details.get("windows"))
    contaminated = [number for number, one in enumerate(loose.items(details.get("contaminated")), 1) if one is True]
    told = [
        f"Read by {loose.text(details.get('source')) or 'an unnamed source'}.",
        f"Scope: {loose.text(details.get('scope'), 120) or 'not recorded'}.",
        _gross_and_net(name, measurement),
        _idle(details),
        f"Others used the CPU in window {', '.join(map(str, contaminated))}." if contaminated else "",
        f"Void windows: {loose.sentences(details.get('void_windows'))}." if details.get("void_windows") else "",
        f"{loose.sentences(details.get('warnings'))}." if details.get("warnings") else "",
    ]
    rows = tuple((f"{number:,}", *_window(one)) for number, one in enumerate(windows[:24], 1))
    return Listing(
        title=QUANTITIES[name].title, lead=clean(" ".join(filter(None, told)), 3 * NOTE_LENGTH), heads=_HEADS, rows=rows
    )


def _gross_and_net(name: str, measurement: Measured) -> str:
    gross, net = (measurement.statistics.get(key) for key in ("median", "net_median"))
    told = [f"Gross {with_unit(QUANTITIES[name], gross)} inferences" if gross is not None else ""]
    if net is not None and net.value is not None:
        told.append(f"net {with_unit(QUANTITIES[name], net)}")
    elif net is not None:
        told.append(f"no net figure: {clean(net.reason or 'no reason is recorded', NOTE_LENGTH)}")
    return ", ".join(filter(None, told)) + "." if any(told) else ""


def _idle(details: dict[str, Any]) -> str:
    idle = loose.numbers(details.get("idle_w"))
    if not idle:
        return ""
    after = f" and {idle[-1]:.3g} W after" if len(idle) > 1 else ""
    return f"Idle power {idle[0]:.3g} W before{after}."


def _window(one: Any) -> tuple[str, ...]:
    joules, seconds = loose.number(loose.at(one, "reading", "joules")), loose.number(loose.at(one, "reading", "wall_s"))
    examples = loose.number(loose.at(one, "examples"))
    return (
        "—" if joules is None else f"{joules:,.4g} J",
        "—" if seconds is None else f"{seconds:,.3g} s",
        f"{joules / seconds:,.3g} W" if joules is not None and seconds else "—",
        "—" if examples is None else f"{examples:,.0f}",
        loose.share(loose.at(one, "foreign_share"), 2) or "—",
    )

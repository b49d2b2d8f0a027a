"""Memory by phase of the worker's life, with the control that tells the interpreter's own share."""

from typing import Any

from benchkit.core.records import Record
from benchkit.report import loose
from benchkit.report.cells import Listing

_COLUMNS = {
    "peak": "peak_bytes",
    "resident": "resident_bytes",
    "anonymous": "anonymous_bytes",
    "file-backed": "file_backed_bytes",
    "PSS": "pss_bytes",
    "USS": "uss_bytes",
}


def memory_parts(record: Record) -> list[Listing]:
    """Return the phases, each figure the largest over the processes, and what stands beside the peak."""
    details = loose.details(record, "peak_memory")
    processes = [loose.items(one) for one in loose.items(details.get("phases"))]
    phases: dict[str, list[Any]] = {}
    for process in processes:
        for phase in process:
            phases.setdefault(loose.text(loose.at(phase, "name"), 40) or "unnamed", []).append(phase)
    rows = tuple((name, *(_largest(found, key) for key in _COLUMNS.values())) for name, found in phases.items())
    lead = " ".join(filter(None, [_control(details), _ratchet(details), _cgroup(details), _children(details)]))
    if not rows:
        return [Listing(title="Memory", lead=lead, heads=("fact",), rows=())] if lead else []
    return [Listing(title="Memory by phase", lead=lead, heads=("phase, MiB", *_COLUMNS), rows=rows)]


def _largest(phases: list[Any], key: str) -> str:
    found = [value for phase in phases if (value := loose.number(loose.at(phase, "footprint", key))) is not None]
    return loose.mib(max(found)).removesuffix(" MiB") if found else "—"


def _control(details: dict[str, Any]) -> str:
    found = loose.numbers(details.get("imports_only_bytes"))
    if not found:
        return ""
    return f"A worker that only imports peaks at {loose.mib(max(found))}: part of the peak, not subtracted."


def _ratchet(details: dict[str, Any]) -> str:
    found = [one for one in loose.items(details.get("ratchet")) if loose.number(loose.at(one, "plateau_bytes"))]
    if not found:
        return ""
    first, top, after = (
        loose.mib(max((loose.number(loose.at(one, key)) or 0.0) for one in found))
        for key in ("first_short_bytes", "peak_bytes", "plateau_bytes")
    )
    return f"Lengths ascending, then short ones only: {first} at the first short call, peak {top}, plateau {after}."


def _cgroup(details: dict[str, Any]) -> str:
    found = loose.items(details.get("cgroup_peak"))
    peaks = [value for one in found if (value := loose.number(loose.at(one, "bytes"))) is not None]
    source = next(filter(None, (loose.text(loose.at(one, "source"), 40) for one in found)), "")
    return f"The whole control group peaked at {loose.mib(max(peaks))} ({source})." if peaks else ""


def _children(details: dict[str, Any]) -> str:
    found = loose.numbers(details.get("children_peak_bytes"))
    return f"Child processes: {loose.mib(max(found))}." if any(found) else ""

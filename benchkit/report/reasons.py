"""Reasons in few words: why a figure is absent, why a row is void; five runs disturbed alike are one sentence."""

import re
from collections.abc import Iterable, Sequence

from benchkit.core.records import NotMeasured, Record
from benchkit.report.plain import NAME_LENGTH, NOTE_LENGTH, clean

_RUN = re.compile(r"^run \d+: ")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_TO = "\u2013"  # En dash.
NONE = "no reason is recorded"


def reasons_of(record: Record) -> str:
    """Return every reason of a record's noise verdict, as recorded."""
    return clean("; ".join(record.noise.reasons) or NONE, NOTE_LENGTH)


def kinds_of(record: Record) -> tuple[str, ...]:
    """Return what the reasons of a record have in common with those of others: their words without the numbers."""
    return tuple(dict.fromkeys(_kind(reason) for reason in record.noise.reasons))


def summarised(reasons: Iterable[str]) -> str:
    """Return the reasons with those of one kind drawn together: 'other processes used 12-40% of a core'."""
    by_kind: dict[str, list[str]] = {}
    for reason in reasons:
        by_kind.setdefault(_kind(reason), []).append(_RUN.sub("", reason))
    return clean("; ".join(_drawn_together(same) for same in by_kind.values()) or NONE, NOTE_LENGTH)


# Quantities that only some scenarios have.
_SCENARIOS = {
    "latency": ("single-stream",),
    "tokenize_time": ("single-stream",),
    "end_to_end_latency": ("single-stream",),
    "response_time": ("server", "low-rate"),
    "sustained_rate": ("server",),
}
# What a record does not speak of because nobody asked.
_NOT_ASKED = {
    "tokenize_time": "no text was fed: --lengths-from feeds the texts of a task",
    "end_to_end_latency": "no text was fed: --lengths-from feeds the texts of a task",
    "sustained_rate": "not looked for: --find-max looks for it",
    "cold_start": "not asked for: --cold-start measures it",
    "peak_gpu_memory": "the cell did not run on a GPU",
    "energy_gpu": "the cell did not run on a GPU",
    "energy_dram": "no counter of the memory's energy was read",
}


def why_absent(record: Record, quantity: str) -> str:
    """Say why a record has no figure of a quantity."""
    measurement = record.measurements.get(quantity)
    if isinstance(measurement, NotMeasured):
        story = f"not measured ({measurement.reason})" + (f": {measurement.detail}" if measurement.detail else "")
        return clean(story + (f"; fix: {measurement.remedy}" if measurement.remedy else ""), NOTE_LENGTH)
    if measurement is None:
        scenario = record.cell.scenario
        if record.kind == "profile" and scenario not in _SCENARIOS.get(quantity, (scenario,)):
            return f"not part of scenario {clean(scenario, NAME_LENGTH)}"
        return _NOT_ASKED.get(quantity, "not measured: the record does not speak of it")
    reasons = (figure.reason for _, figure in sorted(measurement.statistics.items()) if figure.value is None)
    return clean(next(filter(None, reasons), "not in the record"), NOTE_LENGTH)


def _kind(reason: str) -> str:
    return _NUMBER.sub("#", _RUN.sub("", reason))


def _drawn_together(same: Sequence[str]) -> str:
    numbers = sorted({found[0] for found in map(_NUMBER.findall, same) if len(found) == 1}, key=float)
    if len(numbers) < 2:
        return same[0]
    return _NUMBER.sub(f"{numbers[0]}{_TO}{numbers[-1]}", same[0])

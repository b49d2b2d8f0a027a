"""Reasons in few words: why a figure is absent, why a row is void; five runs disturbed alike are one sentence."""

import re
from collections.abc import Iterable, Sequence

from benchkit.core.records import NotMeasured, Record
from benchkit.report.plain import NOTE_LENGTH, clean

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


def why_absent(record: Record, quantity: str) -> str:
    """Say why a record has no figure of a quantity."""
    measurement = record.measurements.get(quantity)
    if isinstance(measurement, NotMeasured):
        story = f"not measured ({measurement.reason}): {measurement.detail} {measurement.remedy}"
        return clean(story, NOTE_LENGTH).rstrip(": ")
    if measurement is None:
        return "not measured: the record does not speak of it"
    reasons = (figure.reason for _, figure in sorted(measurement.statistics.items()) if figure.value is None)
    return clean(next(filter(None, reasons), "not in the record"), NOTE_LENGTH)


def _kind(reason: str) -> str:
    return _NUMBER.sub("#", _RUN.sub("", reason))


def _drawn_together(same: Sequence[str]) -> str:
    numbers = sorted({found[0] for found in map(_NUMBER.findall, same) if len(found) == 1}, key=float)
    if len(numbers) < 2:
        return same[0]
    return _NUMBER.sub(f"{numbers[0]}{_TO}{numbers[-1]}", same[0])

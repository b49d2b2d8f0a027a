"""Facts out of the open parts of a record (`details`, `proof`, `sampling`), whose shape nobody vouches for.

Whatever stands there, these return what was asked for or nothing; they never raise.
"""

import math
import statistics
from collections.abc import Iterable, Mapping
from typing import Any

from benchkit.core.quantities import QUANTITIES, format_number
from benchkit.core.records import Measured, Record
from benchkit.report.plain import NAME_LENGTH, NOTE_LENGTH, clean

_MIB = 2**20
# Beyond it only a damaged or hostile record goes, and its digits would fill a line.
_LARGEST = 1e15


def at(value: Any, *path: str | int) -> Any:
    """Follow keys and indices; None where one leads nowhere."""
    for step in path:
        if isinstance(value, Mapping) and isinstance(step, str):
            value = value.get(step)
        elif isinstance(value, list | tuple) and isinstance(step, int) and -len(value) <= step < len(value):
            value = value[step]
        else:
            return None
    return value


def number(value: Any) -> float | None:
    """Return a finite number of a sane size, else None; True is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value) if abs(value) < _LARGEST else None


def numbers(value: Any) -> list[float]:
    """Return the numbers of a list, without what is none."""
    return [found for one in items(value) if (found := number(one)) is not None]


def items(value: Any) -> list[Any]:
    """Return a list, empty when it is none."""
    return list(value) if isinstance(value, list | tuple) else []


def pairs(value: Any) -> list[tuple[str, Any]]:
    """Return the items of an object by key, empty when it is none."""
    return sorted((str(key), one) for key, one in value.items()) if isinstance(value, Mapping) else []


def text(value: Any, length: int = NAME_LENGTH) -> str:
    """Return a string or a number as harmless text; '' for anything else."""
    return clean(value, length) if isinstance(value, str | int | float) else ""


def sentences(value: Any, most: int = 6) -> str:
    """Return a list of sentences as one text."""
    told = [text(one, NOTE_LENGTH) for one in items(value)]
    return clean("; ".join(filter(None, told[:most])), 2 * NOTE_LENGTH)


def share(value: Any, digits: int = 3) -> str:
    """Write a share of 1 in percent; '' when it is no number."""
    found = number(value)
    return "" if found is None else f"{format_number(found * 100, digits)} %"


def mib(value: Any) -> str:
    """Write bytes in MiB; an em dash when they are no number."""
    found = number(value)
    return "—" if found is None else f"{format_number(found / _MIB)} MiB"


def milliseconds(value: Any) -> str:
    """Write seconds in ms; an em dash when they are no number."""
    found = number(value)
    return "—" if found is None else f"{format_number(found * 1e3)} ms"


def span(values: Iterable[float], digits: int = 3) -> str:
    """Write the smallest and the largest of some numbers, one where they read alike; '' without any."""
    ends = [format_number(end, digits) for known in [sorted(values)] if known for end in (known[0], known[-1])]
    return "\u2013".join(dict.fromkeys(ends))


def median(values: Iterable[float]) -> float | None:
    """Return the lower median, a value that occurred; None without any."""
    known = sorted(values)
    return statistics.median_low(known) if known else None


def details(record: Record, quantity: str) -> dict[str, Any]:
    """Return the details of a measured quantity; empty when it was not measured."""
    measurement = record.measurements.get(quantity)
    return measurement.details if isinstance(measurement, Measured) else {}


def title(quantity: str) -> str:
    """Return the heading of a quantity, cleaned when it is not a known one."""
    return QUANTITIES[quantity].title if quantity in QUANTITIES else clean(quantity, NAME_LENGTH)

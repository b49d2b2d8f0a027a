"""What can be measured: unit, direction and how a person reads it.

Values are in base units everywhere (s, B, J, examples/s). Only the functions here make `ms` or
`MiB` of them, and only reports, tables and messages call them.
"""

import dataclasses
import math
from typing import Literal

from benchkit.core.errors import unknown_name


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """One thing that can be measured.

    Attributes:
        name: As in records and budgets.
        unit: Base unit of every recorded value.
        better: Direction of improvement.
        headline: The statistic that tables show first.
        display_unit: Unit that people read.
        display_factor: Base-unit value times this is the display-unit value.
        title: Column heading.
        exact: True when repeating the measurement gives the same number (a file's size).
    """

    name: str
    unit: str
    better: Literal["lower", "higher"]
    headline: str
    display_unit: str
    display_factor: float
    title: str
    exact: bool = False


_MS = ("ms", 1e3)
_MIB = ("MiB", 1 / 2**20)


def _quantity(  # noqa: PLR0917 - one row of the table below, read as columns
    name: str,
    unit: str,
    better: Literal["lower", "higher"],
    headline: str,
    display: tuple[str, float],
    title: str,
    exact: bool = False,
) -> Quantity:
    return Quantity(
        name=name,
        unit=unit,
        better=better,
        headline=headline,
        display_unit=display[0],
        display_factor=display[1],
        title=title,
        exact=exact,
    )


QUANTITIES = {
    quantity.name: quantity
    for quantity in (
        _quantity("latency", "s", "lower", "p50", _MS, "latency"),
        _quantity("response_time", "s", "lower", "p99", _MS, "response time"),
        _quantity("throughput", "examples/s", "higher", "median", ("examples/s", 1.0), "throughput"),
        _quantity("sustained_rate", "examples/s", "higher", "median", ("examples/s", 1.0), "rate that holds p99"),
        _quantity("token_throughput", "tokens/s", "higher", "median", ("tokens/s", 1.0), "real tokens"),
        _quantity("tokenize_time", "s", "lower", "p50", _MS, "tokenizer"),
        _quantity("end_to_end_latency", "s", "lower", "p50", _MS, "end to end"),
        _quantity("padding_waste", "ratio", "lower", "value", ("%", 1e2), "padding", exact=True),
        _quantity("load_time", "s", "lower", "median", _MS, "load time"),
        _quantity("first_call", "s", "lower", "median", _MS, "first call"),
        _quantity("cold_start", "s", "lower", "median", _MS, "cold start"),
        _quantity("peak_memory", "B", "lower", "max", _MIB, "peak memory"),
        _quantity("plateau_memory", "B", "lower", "max", _MIB, "memory plateau"),
        _quantity("peak_gpu_memory", "B", "lower", "max", _MIB, "peak GPU memory"),
        _quantity("artifact_size", "B", "lower", "value", _MIB, "size", exact=True),
        _quantity("cpu_time", "s", "lower", "median", _MS, "CPU time per example"),
        _quantity("energy_package", "J", "lower", "median", ("J per 1,000", 1e3), "CPU energy"),
        _quantity("energy_dram", "J", "lower", "median", ("J per 1,000", 1e3), "memory energy"),
        _quantity("energy_gpu", "J", "lower", "median", ("J per 1,000", 1e3), "GPU energy"),
        _quantity("attained_flops", "FLOP/s", "higher", "median", ("GFLOP/s", 1e-9), "attained"),
        _quantity("roofline_share", "ratio", "higher", "median", ("%", 1e2), "of the roofline"),
        _quantity("score", "ratio", "higher", "accuracy", ("%", 1e2), "score", exact=True),
        _quantity("logit_difference", "ratio", "lower", "max", ("", 1.0), "logit difference", exact=True),
    )
}

# The suffix of a budget key (`at_most_s`) by base unit; a suffix that is not the quantity's is an error.
UNIT_SUFFIXES = {
    "s": "s",
    "B": "bytes",
    "J": "j",
    "examples/s": "per_s",
    "tokens/s": "per_s",
    "FLOP/s": "per_s",
    "ratio": "ratio",
}


def quantity_named(name: str) -> Quantity:
    """Return the quantity of that name, or raise the error that names the nearest one."""
    if name not in QUANTITIES:
        raise unknown_name("quantity", name, QUANTITIES)
    return QUANTITIES[name]


def significant_digits(value: float, low: float | None, high: float | None) -> int:
    """Return how many significant digits the bounds support: between 2 and 4.

    A digit is supported when its place is not smaller than half the interval's width; without
    bounds there is no evidence for more than 3.
    """
    if low is None or high is None or value == 0:
        return 3
    width = high - low
    if width <= 0:
        return 4
    supported = math.floor(math.log10(abs(value))) - math.floor(math.log10(width)) + 1
    return min(4, max(2, supported))


def format_number(number: float, digits: int = 3) -> str:
    """Write a number with `digits` significant digits, thousands separated, never in exponents."""
    if number == 0:
        return "0"
    decimals = digits - 1 - math.floor(math.log10(abs(number)))
    rounded = round(number, decimals)
    # Rounding may carry into one more digit (9.996 -> 10.00): count again on what was rounded.
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(rounded))))
    return f"{rounded:,.{decimals}f}"


def format_value(quantity: str, value: float | None, *, digits: int = 3, unit: bool = True) -> str:
    """Write a base-unit value in its display unit, such as '12.3 ms'; an em dash for None."""
    if value is None:
        return "—"
    known = quantity_named(quantity)
    text = format_number(value * known.display_factor, digits)
    return f"{text} {known.display_unit}".rstrip() if unit else text

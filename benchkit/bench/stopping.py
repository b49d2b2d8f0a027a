"""When a cell has been measured enough: targets declared before, a few looks, and a hard budget of time.

Each look may stop the cell, so that the error allowed is split over the looks; otherwise looking often enough
would always find a moment at which the bounds happen to be narrow.
"""

from typing import NamedTuple

import pydantic

from benchkit.core.frozen import Setting
from benchkit.core.records import Measurement
from benchkit.stats.order_statistics import ALPHA
from benchkit.stats.summaries import relative_width

_LOOKS = (6, 9, 14)  # Processes; each look has half as many again, and six are the fewest that a third of alpha allows.
_SECONDS_A_CELL = 20.0


class Stopping(Setting):
    """The rule.

    Attributes:
        looks: Timed processes of a cell after which its bounds are looked at; the last is the most it gets.
        p50_within: Half width of the bounds of p50, as a share of it, that is narrow enough.
        p95_within: The same of p95.
        max_seconds: Budget of the whole sweep: at its end no process is begun, and what is there is reported. None
            gives each cell 20 s, beyond which its first look is still completed.
    """

    looks: tuple[pydantic.PositiveInt, ...] = _LOOKS
    p50_within: pydantic.PositiveFloat = 0.02
    p95_within: pydantic.PositiveFloat = 0.05
    max_seconds: pydantic.PositiveFloat | None = None

    @pydantic.field_validator("looks")
    @classmethod
    def _looks_rise(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or list(value) != sorted(set(value)):
            raise ValueError(f"looks must rise, got {', '.join(map(str, value)) or 'none'}")
        return value

    @property
    def alpha(self) -> float:
        """One-sided error of each bound at each look, so that all looks together keep to the error declared."""
        return ALPHA / len(self.looks)

    def budget_s(self, cells: int) -> float:
        """Return the budget of a sweep of so many cells, in seconds."""
        return self.max_seconds if self.max_seconds is not None else _SECONDS_A_CELL * cells


def exactly(runs: int, *, max_seconds: float | None = None) -> Stopping:
    """Return the rule of one look after so many processes, within a budget where one was given."""
    return Stopping(looks=(runs,), max_seconds=max_seconds)


class Reached(NamedTuple):
    """Half widths reached, as shares of the value; None where a bound is missing."""

    p50: float | None
    p95: float | None

    def is_enough(self, rule: Stopping) -> bool:
        """Tell whether both targets are met."""
        if self.p50 is None or self.p50 > rule.p50_within:
            return False
        return self.p95 is not None and self.p95 <= rule.p95_within


NOT_REACHED = Reached(None, None)


def reached(measurements: dict[str, Measurement]) -> Reached:
    """Return the widths of what a cell is judged by: its latency, its response time, or its throughput."""
    for quantity in ("latency", "response_time"):
        found = measurements.get(quantity)
        if found is not None and found.status == "measured":
            statistics = found.statistics
            return Reached(relative_width(statistics["p50"]), relative_width(statistics["p95"]))
    found = measurements.get("throughput")
    if found is not None and found.status == "measured":
        width = relative_width(found.statistics["median"])
        return Reached(width, width)
    return NOT_REACHED

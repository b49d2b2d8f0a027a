"""What one process of an arm gives: its raw values by quantity, and the one figure of them that pairs are made of."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from benchkit.bench import measurements
from benchkit.bench.timing import Schedule
from benchkit.core.errors import BenchkitError, EnvironmentLacks, MeasurementFailed, unknown_name
from benchkit.core.records import Measured, Measurement, NotMeasured
from benchkit.judge.compare import Triple
from benchkit.stats.order_statistics import ALPHA, minimum_n, nearest_rank
from benchkit.stats.summaries import PERCENTILES, TIMES_OF_CALLS

Outcome = dict[str, Any]
Kind = Literal["time", "memory", "energy"]

ARMS = ("a", "b", "control")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A quantity that pairs of processes can compare.

    Attributes:
        kind: The pass that measures it.
        raw: Outcomes in the order taken and batch size -> measurements by quantity, one run each outcome.
    """

    kind: Kind
    raw: Callable[[Sequence[Outcome], int], dict[str, Measurement]]


def _latency(outcomes: Sequence[Outcome], _: int) -> dict[str, Measurement]:
    return measurements.closed_loop(outcomes, ALPHA)


def _saturated(outcomes: Sequence[Outcome], batch_size: int) -> dict[str, Measurement]:
    return measurements.saturated(outcomes, batch_size, ALPHA)


def _memory(outcomes: Sequence[Outcome], _: int) -> dict[str, Measurement]:
    return measurements.memory(outcomes, ALPHA)


def _energy(quantity: str) -> Callable[[Sequence[Outcome], int], dict[str, Measurement]]:
    def raw(outcomes: Sequence[Outcome], batch_size: int) -> dict[str, Measurement]:
        if any(quantity not in outcome["readings"] for outcome in outcomes):
            remedy = "benchkit doctor says which counters of energy are ready here"
            return {quantity: NotMeasured(reason="no_counter", detail=f"no counter gave {quantity}", remedy=remedy)}
        return {quantity: measurements.energy(outcomes, [], batch_size, quantity, ALPHA)}

    return raw


COMPARED = {
    "latency": Compared(kind="time", raw=_latency),
    "throughput": Compared(kind="time", raw=_saturated),
    "cpu_time": Compared(kind="time", raw=_saturated),
    "peak_memory": Compared(kind="memory", raw=_memory),
    "energy_package": Compared(kind="energy", raw=_energy("energy_package")),
    "energy_gpu": Compared(kind="energy", raw=_energy("energy_gpu")),
}


def compared_named(quantity: str, statistic: str | None) -> Compared:
    """Return the row of the table, or raise the error that says what can be compared."""
    if quantity not in COMPARED:
        raise unknown_name("quantity of a comparison", quantity, COMPARED)
    names = statistics_of_pairs(quantity)
    if statistic is not None and statistic not in names:
        raise BenchkitError(
            f"one process has no '{statistic}' of {quantity}", remedy=f"--statistic {' or '.join(names)}"
        )
    return COMPARED[quantity]


def statistics_of_pairs(quantity: str) -> tuple[str, ...]:
    """Return the statistics of one process that pairs may compare, the default first."""
    return ("p50", "p90", "p95", "p99") if quantity in TIMES_OF_CALLS else ("value",)


def long_enough(schedule: Schedule, statistic: str) -> Schedule:
    """Return a schedule whose processes take as many calls as a percentile needs; in time, if the limit allows."""
    if statistic not in PERCENTILES:
        return schedule
    return dataclasses.replace(schedule, min_values=max(schedule.min_values, minimum_n(PERCENTILES[statistic])))


def figure_of(run: Sequence[float], statistic: str) -> float:
    """Return the figure of one process that pairs are made of.

    Raises:
        MeasurementFailed: Too few calls for the percentile.
    """
    if statistic == "value":
        return float(run[0])
    q = PERCENTILES[statistic]
    if len(run) < minimum_n(q):
        raise MeasurementFailed(
            f"{statistic} of one process needs {minimum_n(q)} calls, and {len(run)} were made in its time",
            remedy="compare p50, or a smaller batch or sequence",
        )
    return nearest_rank(np.sort(np.asarray(run, dtype=np.float64)), q)


def triples_of(runs: Sequence[Sequence[float]], order: Sequence[str], statistic: str) -> list[Triple]:
    """Make triples of the raw runs of all arms.

    Args:
        runs: Raw values, one sequence a process, in the order taken.
        order: The arm of each run; each three in a row are one of each.
        statistic: Figure of one process.

    Raises:
        MeasurementFailed: Too few calls for the percentile.
    """
    figures = [figure_of(run, statistic) for run in runs]
    triples = []
    for start in range(0, len(figures) - 2, 3):
        by_arm = dict(zip(order[start : start + 3], figures[start : start + 3], strict=True))
        triples.append(Triple(*(by_arm[arm] for arm in ARMS)))
    return triples


def raw_values(quantity: str, outcomes: Sequence[Outcome], batch_size: int) -> Measured:
    """Return the raw values of one quantity, one run for each outcome.

    Raises:
        EnvironmentLacks: The quantity cannot be measured here.
    """
    found = COMPARED[quantity].raw(outcomes, batch_size)[quantity]
    if isinstance(found, NotMeasured):
        raise EnvironmentLacks(f"{quantity} is not measured: {found.detail}", remedy=found.remedy or "benchkit doctor")
    return found

"""Raw values -> statistics of a record. Pure: the same runs always give the same statistics."""

from collections.abc import Sequence

import numpy as np

from benchkit.core.quantities import quantity_named
from benchkit.core.records import Measured, Statistic
from benchkit.stats.dependence import effective_n
from benchkit.stats.order_statistics import bounds_at, minimum_n, nearest_rank
from benchkit.stats.signed_rank import centre

PERCENTILES = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99}
MIN_RUNS = 5  # Below it the signed-rank bound of the median over processes does not exist.

Runs = Sequence[Sequence[float]]


def latency_statistics(runs: Runs) -> dict[str, Statistic]:
    """Bound each percentile within the runs and between them; the worse bound counts.

    Args:
        runs: Seconds per call, one inner sequence a process, in the order taken.

    Returns:
        Statistics by name. `value` is None when the sample is below the minimum for a finite bound:
        a tail that was hardly sampled is not printed.

    Source: DESIGN.md, Bounds; verdicts of percentiles in `order_statistics`, of processes in `signed_rank`.
    """
    arrays = [np.asarray(run, dtype=np.float64) for run in runs if len(run)]
    if not arrays:
        return {name: Statistic(value=None, n=0, reason="no values") for name in PERCENTILES}
    return {name: _percentile(arrays, q, name) for name, q in PERCENTILES.items()}


def _percentile(arrays: list[np.ndarray[tuple[int, ...], np.dtype[np.float64]]], q: float, name: str) -> Statistic:
    ordered = np.sort(np.concatenate(arrays))
    n = len(ordered)
    value = nearest_rank(ordered, q)
    independent = effective_n(arrays, value)
    low, high = bounds_at(ordered, q, effective_n=independent)
    if high is None:
        need = minimum_n(q)
        more = max(1, round(need * n / max(1, independent)) - n)
        why = (
            f"{name} needs {need} independent values; these {n} calls are worth {independent}: about {more} more calls"
        )
        return Statistic(value=None, n=n, reason=why)
    reasons = [] if low is not None else [f"{name} of {n} values has no lower bound"]
    if len(arrays) < MIN_RUNS:
        reasons.append(
            f"bounds leave out differences between processes: {MIN_RUNS} runs are needed, these are {len(arrays)}"
        )
    else:
        between = centre(np.log([nearest_rank(np.sort(run), q) for run in arrays]))
        assert between.low is not None
        assert between.high is not None
        high = max(high, float(np.exp(between.high)))
        low = None if low is None else min(low, float(np.exp(between.low)))
    return Statistic(value=value, low=low, high=high, n=n, reason="; ".join(reasons) or None)


def per_process_statistics(runs: Runs) -> dict[str, Statistic]:
    """Summarise a quantity that each process gives one value of (its first): the median over processes."""
    values = np.asarray([run[0] for run in runs if len(run)], dtype=np.float64)
    n = len(values)
    if n == 0:
        return {"median": Statistic(value=None, n=0, reason="no values")}
    median = float(np.median(values))
    if n < MIN_RUNS or np.any(values <= 0):
        why = f"bounds need {MIN_RUNS} processes, these are {n}" if n < MIN_RUNS else "bounds need positive values"
        return {"median": Statistic(value=median, n=n, reason=why)}
    bounds = centre(np.log(values))
    assert bounds.low is not None
    assert bounds.high is not None
    low, high = min(median, float(np.exp(bounds.low))), max(median, float(np.exp(bounds.high)))
    return {"median": Statistic(value=median, low=low, high=high, n=n)}


def peak_statistics(runs: Runs) -> dict[str, Statistic]:
    """Summarise peaks: the largest over processes, for which no bound is claimed."""
    values = [run[0] for run in runs if len(run)]
    if not values:
        return {"max": Statistic(value=None, n=0, reason="no values")}
    return {
        "max": Statistic(value=max(values), n=len(values), reason="the largest of the processes; no bound is claimed")
    }


def exact_statistics(value: float) -> dict[str, Statistic]:
    """Summarise a quantity that does not vary, such as a file's size."""
    return {"value": Statistic(value=value, low=value, high=value, n=1)}


_SUMMARIES = {
    "latency": latency_statistics,
    "response_time": latency_statistics,
    "peak_memory": peak_statistics,
}


def measured(quantity: str, runs: Runs) -> Measured:
    """Make a measurement of raw values, with the statistics that belong to the quantity."""
    summarise = _SUMMARIES.get(quantity, per_process_statistics)
    return Measured(
        unit=quantity_named(quantity).unit, runs=tuple(tuple(run) for run in runs), statistics=summarise(runs)
    )

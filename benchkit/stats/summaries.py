"""Raw values -> statistics of a record. Pure: the same runs always give the same statistics.

`alpha` is the one-sided error of every bound. Who looks at the bounds several times, and may stop at each look,
hands over the error declared divided by the number of looks.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from benchkit.core.quantities import quantity_named
from benchkit.core.records import Measured, Statistic
from benchkit.stats.dependence import effective_n
from benchkit.stats.order_statistics import ALPHA, bounds_at, minimum_n, nearest_rank
from benchkit.stats.signed_rank import Centre, centre

PERCENTILES = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99}

Runs = Sequence[Sequence[float]]
Floats = npt.NDArray[np.float64]

# A call this many times as long as timer and loop carries less than 2 % of them.
_OVERHEAD_FACTOR = 50


def minimum_runs(alpha: float = ALPHA) -> int:
    """Return the fewest processes whose signed-rank bound exists: 5 at .05, 6 at .0167, 10 at .00125.

    The least probable sign pattern of n values has probability 2 ** -n.
    """
    return math.ceil(-math.log2(alpha) - 1e-12)


MIN_RUNS = minimum_runs()


def latency_statistics(runs: Runs, *, alpha: float = ALPHA, overhead_s: float | None = None) -> dict[str, Statistic]:
    """Bound each percentile within the runs and between them; the worse bound counts.

    Args:
        runs: Seconds per call, one inner sequence a process, in the order taken.
        alpha: One-sided error of each bound.
        overhead_s: What timer and loop add to a call; None when it is not known. Where the median is below 50
            times that, no percentile is given: only the mean over a run averages the clock's steps away.

    Returns:
        Statistics by name. `value` is None when the sample is below the minimum for a finite bound:
        a tail that was hardly sampled is not printed.

    Source: DESIGN.md, Bounds; verdicts of percentiles in `order_statistics`, of processes in `signed_rank`.
    """
    arrays = [np.asarray(run, dtype=np.float64) for run in runs if len(run)]
    if not arrays:
        return {name: Statistic(value=None, n=0, reason="no values") for name in PERCENTILES}
    ordered = np.sort(np.concatenate(arrays))
    median = nearest_rank(ordered, 0.5)
    if overhead_s is not None and median < _OVERHEAD_FACTOR * overhead_s:
        return _overhead_limited(arrays, median, overhead_s, alpha)
    return {name: _percentile(arrays, ordered, q, name, alpha) for name, q in PERCENTILES.items()}


def _overhead_limited(arrays: list[Floats], median: float, overhead_s: float, alpha: float) -> dict[str, Statistic]:
    n = sum(map(len, arrays))
    reason = (
        f"overhead-limited: the median of {median * 1e6:.3g} us is below {_OVERHEAD_FACTOR} times the "
        f"{overhead_s * 1e6:.3g} us of timer and loop; see mean_of_blocks, or give larger batches"
    )
    refused = {name: Statistic(value=None, n=n, reason=reason) for name in PERCENTILES}
    return refused | {"mean_of_blocks": _median_of_processes(np.array([run.mean() for run in arrays]), alpha)}


def _percentile(arrays: list[Floats], ordered: Floats, q: float, name: str, alpha: float) -> Statistic:
    n = len(ordered)
    value = nearest_rank(ordered, q)
    independent = effective_n(arrays, value)
    low, high = bounds_at(ordered, q, effective_n=independent, alpha=alpha)
    if high is None:
        need = minimum_n(q, alpha=alpha)
        more = max(1, round(need * n / max(1, independent)) - n)
        why = (
            f"{name} needs {need} independent values; these {n} calls are worth {independent}: about {more} more calls"
        )
        return Statistic(value=None, n=n, reason=why)
    reasons = [] if low is not None else [f"{name} of {n} values has no lower bound"]
    needed = minimum_runs(alpha)
    if len(arrays) < needed:
        reasons.append(
            f"bounds leave out differences between processes: {needed} runs are needed, these are {len(arrays)}"
        )
    else:
        between = _log_centre(np.array([nearest_rank(np.sort(run), q) for run in arrays]), alpha)
        if between.low is None or between.high is None:
            reasons.append("bounds leave out differences between processes: they need positive values")
        else:
            high = max(high, between.high)
            low = None if low is None else min(low, between.low)
    return Statistic(value=value, low=low, high=high, n=n, reason="; ".join(reasons) or None)


def _log_centre(values: Floats, alpha: float) -> Centre:
    """Bound the centre of the logarithms, where ratios between processes are symmetrical; None for values <= 0."""
    if np.any(values <= 0):
        return Centre(float(np.median(values)), None, None)
    logs = centre(np.log(values), alpha=alpha)
    low, high = (None if bound is None else math.exp(bound) for bound in (logs.low, logs.high))
    return Centre(math.exp(logs.estimate), low, high)


def per_process_statistics(runs: Runs, *, alpha: float = ALPHA) -> dict[str, Statistic]:
    """Summarise a quantity that each process gives one value of (its first): the median over processes."""
    return {"median": _median_of_processes(np.array([run[0] for run in runs if len(run)], dtype=np.float64), alpha)}


def _median_of_processes(values: Floats, alpha: float) -> Statistic:
    n = len(values)
    if n == 0:
        return Statistic(value=None, n=0, reason="no values")
    median = float(np.median(values))
    bounds = _log_centre(values, alpha)
    if bounds.low is None or bounds.high is None:
        needed = minimum_runs(alpha)
        why = f"bounds need {needed} processes, these are {n}" if n < needed else "bounds need positive values"
        return Statistic(value=median, n=n, reason=why)
    return Statistic(value=median, low=min(median, bounds.low), high=max(median, bounds.high), n=n)


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


TIMES_OF_CALLS = ("latency", "response_time", "tokenize_time", "end_to_end_latency")
_PEAKS: dict[str, Callable[[Runs], dict[str, Statistic]]] = dict.fromkeys(
    ("peak_memory", "plateau_memory", "peak_gpu_memory"), peak_statistics
)


def statistics_of(
    quantity: str, runs: Runs, *, alpha: float = ALPHA, overhead_s: float | None = None
) -> dict[str, Statistic]:
    """Return the statistics that belong to a quantity; the arguments are those of `measured`."""
    if quantity in TIMES_OF_CALLS:
        return latency_statistics(runs, alpha=alpha, overhead_s=overhead_s)
    if quantity in _PEAKS:
        return _PEAKS[quantity](runs)
    return per_process_statistics(runs, alpha=alpha)


def measured(quantity: str, runs: Runs, *, alpha: float = ALPHA, overhead_s: float | None = None) -> Measured:
    """Make a measurement of raw values, with the statistics that belong to the quantity.

    `alpha` and `overhead_s` stand in the details, so that the record gives the same statistics again.

    Args:
        quantity: Name in the table of quantities.
        runs: Raw values in the base unit, one inner sequence a process, in the order taken.
        alpha: One-sided error of each bound, within processes and between them.
        overhead_s: What timer and loop add to each call; for times of calls only.
    """
    return Measured(
        unit=quantity_named(quantity).unit,
        runs=tuple(tuple(run) for run in runs),
        statistics=statistics_of(quantity, runs, alpha=alpha, overhead_s=overhead_s),
        details={"alpha": alpha} | ({} if overhead_s is None else {"overhead_s": overhead_s}),
    )


def relative_width(statistic: Statistic) -> float | None:
    """Return how far the farther bound lies from the value, as a share of it; None when a bound is missing."""
    value, low, high = statistic.value, statistic.low, statistic.high
    if value is None or low is None or high is None or value <= 0:
        return None
    return max(high / value - 1, 1 - low / value)

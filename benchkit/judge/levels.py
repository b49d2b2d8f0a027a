"""The bounds of a record's figure at another error than the one it was recorded with: for many questions at once.

Several cells or budgets share one allowance of error, so that each is held at a part of it.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special

from benchkit.core.records import Measured, Record, Statistic
from benchkit.judge.derivations import alpha_of
from benchkit.stats.order_statistics import nearest_rank
from benchkit.stats.summaries import PERCENTILES, TIMES_OF_CALLS, minimum_runs, statistics_of


class Ends(NamedTuple):
    """One-sided bounds on either side; None where there is none."""

    low: float | None
    high: float | None


NOTHING = Ends(None, None)


def bounds_at_error(record: Record, quantity: str, name: str, alpha: float) -> Ends:
    """Return the bounds of a figure, each with error `alpha`.

    They are made again from the raw values: within the runs and between them, the worse of the two. Fewer runs than
    the signed-rank bound needs (2 ** -runs is its least error) are bounded by Student's t on their logarithms.
    A figure whose raw values are not in the record, a score, keeps its own bounds, drawn out as those of a normal
    distribution would be.

    Args:
        record: With the figure.
        quantity: Name of the measurement.
        name: Name of the figure.
        alpha: One-sided error.
    """
    measurement = record.measurements.get(quantity)
    figure = record.statistic(quantity, name)
    if not isinstance(measurement, Measured) or figure is None or figure.value is None:
        return NOTHING
    recorded = alpha_of(record, measurement)
    if math.isclose(alpha, recorded):
        return Ends(figure.low, figure.high)
    runs = [run for run in measurement.runs if run]
    overhead_s = measurement.details.get("overhead_s")
    again = statistics_of(quantity, runs, alpha=alpha, overhead_s=overhead_s).get(name) if runs else None
    if again is None:
        return _drawn_out(figure, recorded, alpha)
    if again.value is None or len(runs) >= minimum_runs(alpha):
        return Ends(again.low, again.high)
    between = _between(_figures(runs, quantity, name), alpha)
    return between if quantity not in TIMES_OF_CALLS else _worse(between, Ends(again.low, again.high))


def _worse(first: Ends, second: Ends) -> Ends:
    low = None if first.low is None or second.low is None else min(first.low, second.low)
    high = None if first.high is None or second.high is None else max(first.high, second.high)
    return Ends(low, high)


def _drawn_out(figure: Statistic, recorded: float, alpha: float) -> Ends:
    assert figure.value is not None
    scale = float(special.ndtri(1 - alpha) / special.ndtri(1 - recorded))
    low = None if figure.low is None else figure.value - scale * (figure.value - figure.low)
    high = None if figure.high is None else figure.value + scale * (figure.high - figure.value)
    return Ends(low, high)


def _figures(runs: Sequence[Sequence[float]], quantity: str, name: str) -> npt.NDArray[np.float64]:
    """Return the figure of each process."""
    if quantity in TIMES_OF_CALLS and name in PERCENTILES:
        return np.array([nearest_rank(np.sort(np.asarray(run)), PERCENTILES[name]) for run in runs])
    if quantity in TIMES_OF_CALLS:
        return np.array([np.mean(run) for run in runs])
    return np.array([run[0] for run in runs])


def _between(values: npt.NDArray[np.float64], alpha: float) -> Ends:
    """Bound what the processes have in common by Student's t on the logarithms: where the exact bound has ended."""
    n = len(values)
    if n < 2 or np.any(values <= 0):
        return NOTHING
    logs = np.log(values)
    reach = float(special.stdtrit(n - 1, 1 - alpha)) * float(logs.std(ddof=1)) / math.sqrt(n)
    centre = float(logs.mean())
    return Ends(math.exp(centre - reach), math.exp(centre + reach))

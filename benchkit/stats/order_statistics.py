"""Bounds of a quantile by order statistics: no distribution is assumed, no value is invented.

What counts as independent is left to `dependence`; what happens between processes to `signed_rank`.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special

ALPHA = 0.05  # One-sided, throughout benchkit.


class Ranks(NamedTuple):
    """1-based ranks of the bounds in the sorted sample; None where the sample is too small."""

    low: int | None
    high: int | None


def quantile_ranks(n: int, q: float, *, alpha: float = ALPHA) -> Ranks:
    """Return the ranks whose order statistics bound the `q`-quantile, each with confidence 1 - alpha.

    The number of values under the true quantile is Binomial(n, q).

    Source: Hahn and Meeker, Statistical Intervals (1991), distribution-free intervals.
    """
    if n < 1:
        return Ranks(None, None)
    at_most = special.bdtr(np.arange(n + 1), n, q)
    low = int(np.searchsorted(at_most, alpha))
    high = int(np.searchsorted(at_most, 1 - alpha)) + 1
    return Ranks(low if low > 0 else None, high if high <= n else None)


def minimum_n(q: float, *, alpha: float = ALPHA) -> int:
    """Return the smallest sample whose `q`-quantile has a finite upper bound: 59 for p95, 299 for p99."""
    return math.ceil(math.log(alpha) / math.log(q))


def nearest_rank(ordered: npt.NDArray[np.float64], q: float) -> float:
    """Return the nearest-rank quantile of sorted values: a value that really occurred."""
    # The tolerance keeps 0.95 * 20 = 19.000000000000004 at rank 19.
    return float(ordered[max(0, math.ceil(q * len(ordered) - 1e-9) - 1)])


def bounds_at(
    ordered: npt.NDArray[np.float64], q: float, *, effective_n: int, alpha: float = ALPHA
) -> tuple[float | None, float | None]:
    """Return lower and upper bound of the `q`-quantile of sorted, possibly dependent values.

    The ranks are taken for `effective_n` independent values and mapped back to the sample's own
    length by their fraction.
    """
    n = len(ordered)
    ranks = quantile_ranks(effective_n, q, alpha=alpha)
    low = None if ranks.low is None else float(ordered[max(1, math.floor(ranks.low / effective_n * n)) - 1])
    high = None if ranks.high is None else float(ordered[min(n, math.ceil(ranks.high / effective_n * n)) - 1])
    return low, high

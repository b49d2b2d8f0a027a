"""Bounds of a centre from a few values: Hodges-Lehmann estimate and the exact signed-rank bounds.

Used for one statistic of several processes, and for the paired differences of a comparison.
"""

import functools
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from benchkit.stats.order_statistics import ALPHA


class Centre(NamedTuple):
    """Estimate and one-sided bounds of the centre of a symmetric distribution; None: too few values."""

    estimate: float
    low: float | None
    high: float | None


def null_distribution(n: int) -> npt.NDArray[np.float64]:
    """Return P(W+ = w) for w = 0 .. n(n+1)/2 under the exact signed-rank null, by dynamic programming."""
    counts: npt.NDArray[np.float64] = np.zeros(n * (n + 1) // 2 + 1)
    counts[0] = 1.0
    for rank in range(1, n + 1):
        counts[rank:] = counts[rank:] + counts[:-rank].copy()
    counts /= counts.sum()
    return counts


@functools.lru_cache(maxsize=256)
def bound_index(n: int, *, alpha: float = ALPHA) -> int:
    """Return k, the 1-based index of the Walsh average that is the bound; 0 when n is too small.

    k is the largest with P(W+ <= k - 1) <= alpha. At alpha .05: 1 for n = 5, 3 for 6, 11 for 10, 61 for 20.
    """
    return int(np.searchsorted(np.cumsum(null_distribution(n)), alpha, side="right"))


def walsh_averages(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the sorted means of all pairs i <= j, n(n+1)/2 of them."""
    first, second = np.triu_indices(len(values))
    return np.sort((values[first] + values[second]) / 2)


def centre(values: npt.NDArray[np.float64], *, alpha: float = ALPHA) -> Centre:
    """Return the Hodges-Lehmann estimate with its exact bounds.

    Source: Hollander, Wolfe and Chicken, Nonparametric Statistical Methods (2014), section 3.
    """
    averages = walsh_averages(values)
    k = bound_index(len(values), alpha=alpha)
    if k == 0:
        return Centre(float(np.median(averages)), None, None)
    return Centre(float(np.median(averages)), float(averages[k - 1]), float(averages[-k]))

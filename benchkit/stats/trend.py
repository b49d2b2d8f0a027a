"""The trend of a few values in the order taken, with exact bounds: Theil and Sen's slope, Kendall's test inverted.

For a handful of processes; a long series of calls is looked at by `stationarity`.
"""

import functools

import numpy as np
import numpy.typing as npt

from benchkit.stats.order_statistics import ALPHA
from benchkit.stats.signed_rank import Centre


def inversions_distribution(n: int) -> npt.NDArray[np.float64]:
    """Return P(k inversions) of a random order of n values, k = 0 .. n(n-1)/2, by dynamic programming."""
    chances: npt.NDArray[np.float64] = np.ones(1)
    for size in range(2, n + 1):
        # The value that comes last brings 0 .. size - 1 inversions, all as likely: a moving sum of that width.
        sums = np.cumsum(np.concatenate([chances, np.zeros(size - 1)]))
        sums[size:] -= sums[:-size].copy()
        chances = sums / size
    return chances


@functools.lru_cache(maxsize=256)
def bound_index(n: int, alpha: float) -> int:
    """Return k, the 1-based index of the sorted slope that is the bound; 0 when n is too small.

    As in `signed_rank.bound_index`: the largest k with P(inversions <= k - 1) <= alpha.
    """
    return int(np.searchsorted(np.cumsum(inversions_distribution(n)), alpha, side="right"))


def first_to_last(values: npt.NDArray[np.float64], *, alpha: float = ALPHA) -> Centre:
    """Return by how much the trend changes from the first value to the last, with its bounds.

    Args:
        values: In the order taken, at equal distances.
        alpha: One-sided error of each bound.

    Returns:
        The median slope of all pairs times n - 1; bounds are None when n is too small for them.

    Source: Sen, "Estimates of the regression coefficient based on Kendall's tau" (1968), section 3; Hollander,
        Wolfe and Chicken (2014), section 9.3.
    """
    n = len(values)
    if n < 2:
        return Centre(0.0, None, None)
    first, second = np.triu_indices(n, k=1)
    slopes = np.sort((values[second] - values[first]) / (second - first)) * (n - 1)
    k = bound_index(n, alpha)
    if k == 0:
        return Centre(float(np.median(slopes)), None, None)
    return Centre(float(np.median(slopes)), float(slopes[k - 1]), float(slopes[-k]))

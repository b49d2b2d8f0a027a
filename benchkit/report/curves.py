"""Raw values thinned for drawing, always in the same way: no random choice, and no extreme value is lost."""

import math
from collections.abc import Sequence

MOST_POINTS = 300


def distribution(values: Sequence[float], most: int = MOST_POINTS) -> list[tuple[float, float]]:
    """Return the empirical distribution as (value, share of values up to it), at most `most` points.

    The smallest and the largest value stay; between them ranks are taken evenly.
    """
    ordered, n = sorted(values), len(values)
    step = max(1.0, (n - 1) / (most - 1))
    ranks = sorted({round(number * step) for number in range(min(n, most))})
    return [(ordered[rank], (rank + 1) / n) for rank in ranks]


def over_time(values: Sequence[float], most: int = MOST_POINTS) -> list[tuple[int, float]]:
    """Return (number of the call, value): the lowest and the highest of each stretch, so that no spike is lost."""
    n = len(values)
    if n <= most:
        return list(enumerate(values))
    stretch = math.ceil(n / (most // 2))
    kept = set()
    for start in range(0, n, stretch):
        part = range(start, min(start + stretch, n))
        kept |= {min(part, key=values.__getitem__), max(part, key=values.__getitem__)}
    return [(number, values[number]) for number in sorted(kept)]

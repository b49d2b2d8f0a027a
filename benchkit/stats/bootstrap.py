"""Percentile bounds of a score by resampling its examples.

What the statistic is, is left to the caller, who computes it for a block of resamples at once.
Calls of a model in time are not exchangeable: their bounds are `order_statistics`.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from benchkit.stats.order_statistics import ALPHA

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.float64]
"""How often each kind of example occurs in each resample: shape (draws, kinds), whole numbers as floats."""

Weighted = Callable[[Counts], Floats]
"""A statistic of a block of resamples: shape (draws,); NaN where it is undefined."""

DRAWS = 10_000

# Counts of one block stay near 4 MB, inside the cache of one core.
_BLOCK_ELEMENTS = 1 << 19


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """One-sided bounds on either side of a statistic.

    Attributes:
        low: Lower bound; None when the draws give none, see `reason`.
        high: Upper bound; None likewise.
        draws: Resamples drawn.
        undefined: Draws left out, because the statistic does not exist there (one class only, say).
        constant: True when all draws agree: a sample without variation cannot say how sure it is.
        seed: Seed of the drawing.
        alpha: Error allowed on each side.
    """

    low: float | None
    high: float | None
    draws: int
    undefined: int
    constant: bool
    seed: int
    alpha: float

    @property
    def reason(self) -> str | None:
        """Say why there are no bounds, or which draws were left out; None when all is well."""
        if self.constant:
            return "every bootstrap draw gives the same value, so resampling cannot bound it"
        if not self.undefined:
            return None
        fate = "left out" if self.low is not None else "too many for bounds"
        return f"{self.undefined:,} of {self.draws:,} bootstrap draws are undefined: {fate}"


def bootstrap_bounds(
    statistic: Weighted,
    occurrences: int | npt.NDArray[np.integer[Any]],
    *,
    seed: int,
    draws: int = DRAWS,
    alpha: float = ALPHA,
) -> Bounds:
    """Bound a statistic by the percentile bootstrap over examples.

    Examples that the statistic cannot tell apart (same label, same answer) may be handed over as
    one kind with its number of occurrences: the resamples have the same distribution, and a
    confusion matrix of any size costs no more than its cells.

    Args:
        statistic: Computes a block of resamples at once.
        occurrences: Number of examples, each its own kind; or the occurrences of each kind, shape (kinds,).
        seed: Seed of the drawing.
        draws: Resamples to draw.
        alpha: Error allowed on each side.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 13.3.
    """
    if isinstance(occurrences, int):
        occurrences = np.ones(occurrences, dtype=np.int64)
    if occurrences.sum() < 1:
        raise ValueError("a bootstrap needs at least one example")
    rng = np.random.default_rng(seed)
    drawn = np.concatenate([statistic(counts) for counts in _resamples(occurrences, draws, rng)])
    defined = drawn[~np.isnan(drawn)]
    undefined = draws - len(defined)
    constant = len(defined) > 0 and bool(defined.min() == defined.max())
    low = high = None
    # An undefined draw could lie on either side, so the percentiles mean something only
    # while these draws are rarer than the error that is allowed anyway.
    if undefined <= alpha * draws and not constant:
        low, high = (float(bound) for bound in np.quantile(defined, [alpha, 1 - alpha]))
    return Bounds(low=low, high=high, draws=draws, undefined=undefined, constant=constant, seed=seed, alpha=alpha)


def _resamples(occurrences: npt.NDArray[np.integer[Any]], draws: int, rng: np.random.Generator) -> Iterator[Counts]:
    n, kinds = int(occurrences.sum()), len(occurrences)
    block = max(1, _BLOCK_ELEMENTS // kinds)
    for start in range(0, draws, block):
        rows = min(block, draws - start)
        if kinds < n:
            yield rng.multinomial(n, occurrences / n, size=rows).astype(np.float64)
            continue
        # Counting drawn indices is several times faster than a multinomial over many kinds.
        picks = rng.integers(0, n, size=(rows, n)) + np.arange(rows)[:, None] * n
        yield np.bincount(picks.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float64)

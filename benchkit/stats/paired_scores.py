"""The difference of two scores on the same examples, with bounds. Deciding what it means is left to `judge`.

Source: McNemar (1947) for the exact test; bounds: see each function.
"""

import dataclasses
import math
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from benchkit.stats.bootstrap import DRAWS, Counts, Floats, Weighted, bootstrap_bounds
from benchkit.stats.order_statistics import ALPHA


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PairedDifference:
    """Score of B less the score of A, both on the same examples.

    Attributes:
        value: The difference; NaN never: None when either score is undefined.
        low: Lower bound; None when there is none.
        high: Upper bound; None when there is none.
        n: Examples.
        method: How the bounds were made.
        gained: Examples that only B gets right; None where right and wrong do not exist.
        lost: Examples that only A gets right; None likewise.
        p_value: Two-sided exact McNemar test; None likewise.
        reason: Why something is None, or which draws were left out.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    method: str
    gained: int | None = None
    lost: int | None = None
    p_value: float | None = None
    reason: str | None = None


def mcnemar_exact(b: int, c: int) -> float:
    """Return the two-sided exact p-value of b against c discordant examples: 1 when there are none.

    Under the null a discordant example falls on either side with probability one half.
    """
    # bdtr is the binomial distribution function; scipy.stats would take half a second to import.
    return min(1.0, 2 * float(special.bdtr(min(b, c), b + c, 0.5)))


def paired_difference(
    right_a: npt.NDArray[np.bool_], right_b: npt.NDArray[np.bool_], *, alpha: float = ALPHA
) -> PairedDifference:
    """Compare two accuracies on the same examples.

    Half an example is added to each cell of the 2 x 2 table before the normal bounds are taken:
    without it, two models that never disagree would be equal beyond doubt, however few the examples.

    Args:
        right_a: Whether A is right, shape (n,).
        right_b: Whether B is right, shape (n,).
        alpha: Error allowed on each side.

    Source: Agresti and Min, "Simple improved confidence intervals for comparing matched proportions" (2005).
    """
    n = len(right_a)
    if n < 1 or right_b.shape != right_a.shape:
        raise ValueError(f"two scores need the same examples, at least one: {right_a.shape} and {right_b.shape}")
    gained, lost = int((right_b & ~right_a).sum()), int((right_a & ~right_b).sum())
    centre = (gained - lost) / (n + 2)
    spread = math.sqrt((gained + lost + 1) / (n + 2) - centre**2) / math.sqrt(n + 2)
    reach = float(special.ndtri(1 - alpha)) * spread
    return PairedDifference(
        value=(gained - lost) / n,
        low=max(-1.0, centre - reach),
        high=min(1.0, centre + reach),
        n=n,
        method="adjusted Wald",
        gained=gained,
        lost=lost,
        p_value=mcnemar_exact(gained, lost),
    )


def paired_bootstrap(
    statistic_a: Weighted,
    statistic_b: Weighted,
    occurrences: int | npt.NDArray[np.integer[Any]],
    *,
    seed: int,
    draws: int = DRAWS,
    alpha: float = ALPHA,
) -> PairedDifference:
    """Compare two scores of any kind: both are computed on the same resamples.

    Args:
        statistic_a: Score of A for a block of resamples.
        statistic_b: Score of B for a block of resamples.
        occurrences: As for `bootstrap_bounds`; a kind is then a label with both answers.
        seed: Seed of the drawing.
        draws: Resamples to draw.
        alpha: Error allowed on each side.
    """

    def difference(counts: Counts) -> Floats:
        return statistic_b(counts) - statistic_a(counts)

    once = np.ones(occurrences) if isinstance(occurrences, int) else occurrences.astype(np.float64)
    value = float(difference(once[None, :])[0])
    bounds = bootstrap_bounds(difference, occurrences, seed=seed, draws=draws, alpha=alpha)
    defined = not math.isnan(value)
    return PairedDifference(
        value=value if defined else None,
        low=bounds.low if defined else None,
        high=bounds.high if defined else None,
        n=int(once.sum()),
        method=f"paired bootstrap, {draws:,} draws, seed {seed}",
        reason=bounds.reason if defined else "one of the two scores is undefined",
    )

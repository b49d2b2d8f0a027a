"""Two artifacts against each other: pairs of fresh processes in turn, a control arm, exact bounds, four verdicts.

The order is A B A' and A' B A by turns, so that B lies between two arms of A: a drift that is the same
for both cancels in the pair, and A against A' shows what the machine alone makes of two equal arms.
Pure: what is run is left to `pairs`, when to stop to `looks`.
"""

import dataclasses
import enum
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special

from benchkit.core.errors import MeasurementFailed
from benchkit.stats.order_statistics import ALPHA
from benchkit.stats.signed_rank import Centre, centre
from benchkit.stats.trend import first_to_last

LOOKS = (6, 12, 20)  # Pairs after which a verdict is looked for; the error budget is split over them.
MARGIN = 0.05
_POWER = 0.8
_EFFICIENCY = 0.955  # Of the signed-rank test against the t-test under normal noise: 3 / pi.


class Verdict(enum.StrEnum):
    """What can be said of B against A."""

    FASTER = "faster"
    EQUAL = "equal"
    NOT_SLOWER = "not slower"
    SLOWER = "slower"
    INCONCLUSIVE = "inconclusive"


class Triple(NamedTuple):
    """One statistic of three fresh processes run in turn, in the quantity's base unit."""

    a: float
    b: float
    control: float


class Drift(NamedTuple):
    """What A's own arms did from the first pair to the last, whatever B is.

    Attributes:
        change: Relative change by the trend.
        low: Lower bound; None with too few pairs.
        high: Upper bound; None likewise.
        detail: One sentence when the trend is sure and as large as half the margin; None otherwise.
    """

    change: float
    low: float | None
    high: float | None
    detail: str | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What pairs of processes say of B against A.

    Attributes:
        verdict: The word.
        reason: Why, in one sentence.
        ratio: B / A (Hodges-Lehmann) with its bounds, which are None with too few pairs.
        control: A' / A with its bounds.
        detectable: Smallest increase that this many pairs find with 80 % power, as a share.
        pairs: Pairs behind the verdict.
        triples: The raw statistics, in the order taken; those after the last look that was completed stand behind
            the first `pairs` and are not judged.
        drift: What A did meanwhile.
        expected: The same as `detectable`, for all pairs of the last look, projected at the first one.
        ended: What ended the measuring.
        repeat: The independent repeat of a comparison that said slower, where one was asked for.
    """

    verdict: Verdict
    reason: str
    ratio: Centre
    control: Centre
    detectable: float
    pairs: int
    triples: tuple[Triple, ...]
    drift: Drift
    expected: float = math.inf
    ended: str = ""
    repeat: "Comparison | None" = None


def compare_triples(
    triples: Sequence[Triple],
    *,
    margin: float = MARGIN,
    better: str = "lower",
    noisy: str | None = None,
    looks: Sequence[int] = LOOKS,
    must_detect: float | None = None,
) -> Comparison:
    """Judge B against A from what was measured so far.

    Args:
        triples: At least one; a verdict needs as many as the first look.
        margin: Relative change that counts.
        better: "lower" when a larger value of the quantity is worse.
        noisy: What disturbed the machine; a noisy machine decides nothing.
        looks: Numbers of pairs at which a verdict may be taken: the error is split over them.
        must_detect: Increase that these pairs must be able to find before B may pass; None asks for none.

    Raises:
        MeasurementFailed: A value of zero or less, of which no ratio can be made.

    Source: Hollander, Wolfe and Chicken (2014), section 3.2.
    """
    if min(min(triple) for triple in triples) <= 0:
        raise MeasurementFailed(
            "a process gave a value of zero: there is no ratio to it", remedy="compare another quantity, or larger work"
        )
    alpha = ALPHA / len(looks)
    sign = 1.0 if better == "lower" else -1.0
    # Costs: positive is worse, whichever way the quantity points.
    differences = np.array([sign * math.log(t.b / t.a) for t in triples])
    control = np.array([sign * math.log(t.control / t.a) for t in triples])
    found, quiet = centre(differences, alpha=alpha), centre(control, alpha=ALPHA)
    detectable = minimum_detectable(differences, margin=margin, alpha=alpha)
    obstacle = _obstacle(found, quiet, margin, noisy, looks[0])
    if obstacle is not None or found.low is None or found.high is None:
        verdict, reason = Verdict.INCONCLUSIVE, obstacle or ""
    else:
        verdict, reason = _verdict(found.low, found.high, margin)
        if must_detect is not None and detectable > must_detect and verdict in _HARMLESS:
            told = f"only an increase of {detectable:.1%} would be found, and {must_detect:.1%} must be"
            verdict, reason = Verdict.INCONCLUSIVE, told
    return Comparison(
        verdict=verdict,
        reason=reason,
        ratio=_as_ratio(found, sign),
        control=_as_ratio(quiet, sign),
        detectable=detectable,
        pairs=len(triples),
        triples=tuple(triples),
        drift=drift_of(triples, margin=margin),
    )


_HARMLESS = (Verdict.EQUAL, Verdict.NOT_SLOWER)


def minimum_detectable(
    differences: npt.NDArray[np.float64], *, margin: float, alpha: float, pairs: int | None = None
) -> float:
    """Return the smallest true increase that would be called slower with 80 % power, as a share.

    Args:
        differences: Log ratios seen so far: they give the spread.
        margin: Relative change that counts.
        alpha: One-sided error of one look.
        pairs: Pairs that it is asked for; None takes those seen.
    """
    n = pairs or len(differences)
    if len(differences) < 2:
        return math.inf
    spread = float(np.std(differences, ddof=1))
    reach = (special.ndtri(1 - alpha) + special.ndtri(_POWER)) * spread / math.sqrt(_EFFICIENCY * n)
    return math.expm1(math.log1p(margin) + reach)


def drift_of(triples: Sequence[Triple], *, margin: float = MARGIN) -> Drift:
    """Tell what A's two arms did over the run; a drift shared by all arms cancels in the pairs, and is still told."""
    levels = np.array([(math.log(t.a) + math.log(t.control)) / 2 for t in triples])
    found = first_to_last(levels, alpha=ALPHA)
    change = math.expm1(found.estimate)
    if found.low is None or found.high is None:
        return Drift(change, None, None, None)
    low, high = math.expm1(found.low), math.expm1(found.high)
    detail = None
    if (low > 0 or high < 0) and abs(change) >= margin / 2:
        how = "rose" if change > 0 else "fell"
        detail = (
            f"drift: A's own figure {how} by {abs(change):.0%} ({low:+.0%} to {high:+.0%}) from the first pair to the "
            "last; arms in turn share it, so that the ratio does not"
        )
    return Drift(change, low, high, detail)


def _as_ratio(logs: Centre, sign: float) -> Centre:
    """Turn log costs into a ratio of the quantity itself; where more is better the bounds change places."""
    ends = [None if bound is None else math.exp(sign * bound) for bound in (logs.low, logs.high)]
    low, high = ends if sign > 0 else ends[::-1]
    return Centre(math.exp(sign * logs.estimate), low, high)


def _obstacle(found: Centre, quiet: Centre, margin: float, noisy: str | None, fewest: int) -> str | None:
    """Say why nothing may be decided, or None when it may."""
    if found.low is None or quiet.low is None or quiet.high is None:
        return f"too few pairs for bounds: {fewest} are needed"
    if noisy:
        return f"the machine was not quiet: {noisy}"
    half = math.log1p(margin) / 2
    if quiet.low < -half or quiet.high > half:
        spread = f"{math.expm1(quiet.low):+.1%} to {math.expm1(quiet.high):+.1%}"
        return f"A against itself differs by {spread}: this machine cannot tell {margin:.0%} apart"
    return None


def _verdict(low: float, high: float, margin: float) -> tuple[Verdict, str]:
    """Judge bounds of the log ratio of costs: positive is worse."""
    limit = math.log1p(margin)
    rules = (
        (low > limit, Verdict.SLOWER, f"worse by more than the margin of {margin:.0%}"),
        (high < -limit, Verdict.FASTER, f"better by more than the margin of {margin:.0%}"),
        (low >= -limit and high <= limit, Verdict.EQUAL, f"equal within the margin of {margin:.0%}"),
        (high < 0, Verdict.FASTER, f"better, and the near bound lies within the margin of {margin:.0%}"),
        (high <= limit, Verdict.NOT_SLOWER, f"not worse by the margin of {margin:.0%}; faster is not ruled out"),
    )
    undecided = (Verdict.INCONCLUSIVE, f"the bounds reach across the margin of {margin:.0%}")
    return next(((verdict, reason) for holds, verdict, reason in rules if holds), undecided)

"""Two artifacts against each other: pairs of fresh processes in turn, a control arm, exact bounds, four verdicts.

The order is A B A' and A' B A by turns, so that B lies between two arms of A: a drift that is the same
for both cancels in the pair, and A against A' shows what the machine alone makes of two equal arms.
"""

import dataclasses
import enum
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special

from benchkit.stats.order_statistics import ALPHA
from benchkit.stats.signed_rank import Centre, centre

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


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What pairs of processes say of B against A.

    Attributes:
        verdict: The word.
        reason: Why, in one sentence.
        ratio: B / A (Hodges-Lehmann) with its bounds, which are None with too few pairs.
        control: A' / A with its bounds.
        detectable: Smallest increase that this many pairs find with 80 % power, as a share.
        pairs: Pairs behind it.
        triples: The raw statistics, in the order taken.
    """

    verdict: Verdict
    reason: str
    ratio: Centre
    control: Centre
    detectable: float
    pairs: int
    triples: tuple[Triple, ...]


def compare_triples(
    triples: Sequence[Triple], *, margin: float = MARGIN, better: str = "lower", noisy: str | None = None
) -> Comparison:
    """Judge B against A from what was measured so far.

    Args:
        triples: At least one; a verdict needs at least six.
        margin: Relative change that counts.
        better: "lower" when a larger value of the quantity is worse.
        noisy: What disturbed the machine; a noisy machine decides nothing.

    Source: Hollander, Wolfe and Chicken (2014), section 3.2.
    """
    alpha = ALPHA / len(LOOKS)
    sign = 1.0 if better == "lower" else -1.0
    # Costs: positive is worse, whichever way the quantity points.
    differences = np.array([sign * math.log(t.b / t.a) for t in triples])
    control = np.array([sign * math.log(t.control / t.a) for t in triples])
    found, quiet = centre(differences, alpha=alpha), centre(control, alpha=ALPHA)
    obstacle = _obstacle(found, quiet, margin, noisy)
    if obstacle is not None or found.low is None or found.high is None:
        verdict, reason = Verdict.INCONCLUSIVE, obstacle or ""
    else:
        verdict, reason = _verdict(found.low, found.high, margin)
    return Comparison(
        verdict=verdict,
        reason=reason,
        ratio=_as_ratio(found, sign),
        control=_as_ratio(quiet, sign),
        detectable=minimum_detectable(differences, margin=margin, alpha=alpha),
        pairs=len(triples),
        triples=tuple(triples),
    )


def compare(measure: Callable[[], Triple], *, margin: float = MARGIN, better: str = "lower") -> Comparison:
    """Take triples until a look decides, or the last look is over.

    Args:
        measure: Runs the next three processes.
        margin: Relative change that counts.
        better: "lower" or "higher".
    """
    triples: list[Triple] = []
    result = None
    for look in LOOKS:
        while len(triples) < look:
            triples.append(measure())
        result = compare_triples(triples, margin=margin, better=better)
        if result.verdict is not Verdict.INCONCLUSIVE:
            break
    assert result is not None
    return result


def minimum_detectable(differences: npt.NDArray[np.float64], *, margin: float, alpha: float) -> float:
    """Return the smallest true increase that would be called slower with 80 % power, as a share."""
    n = len(differences)
    if n < 2:
        return math.inf
    spread = float(np.std(differences, ddof=1))
    reach = (special.ndtri(1 - alpha) + special.ndtri(_POWER)) * spread / math.sqrt(_EFFICIENCY * n)
    return math.expm1(math.log1p(margin) + reach)


def _as_ratio(logs: Centre, sign: float) -> Centre:
    """Turn log costs into a ratio of the quantity itself; where more is better the bounds change places."""
    ends = [None if bound is None else math.exp(sign * bound) for bound in (logs.low, logs.high)]
    low, high = ends if sign > 0 else ends[::-1]
    return Centre(math.exp(sign * logs.estimate), low, high)


def _obstacle(found: Centre, quiet: Centre, margin: float, noisy: str | None) -> str | None:
    """Say why nothing may be decided, or None when it may."""
    if found.low is None or quiet.low is None or quiet.high is None:
        return f"too few pairs for bounds: {LOOKS[0]} are needed"
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

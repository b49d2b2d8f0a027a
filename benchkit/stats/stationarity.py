"""Has a series of calls settled? Where it begins to be steady, and what it does if it never is.

Used inside the worker, so that only numpy is imported. Whether a verdict voids anything is left to `judge`.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

SteadyWord = Literal["steady", "slowing", "speeding", "bimodal", "unsteady", "unknown"]
Floats = npt.NDArray[np.float64]

_MINIMUM_DROP = 2  # Calls that are warm-up whatever they look like.
_FEWEST = 10  # Below it neither a trend nor two levels can be told from chance.
_LEAD_BLOCK = 5  # Calls a block while the end of the warm-up is looked for: a median of five survives two spikes.
_LEAD_BAND = 3.0  # Robust standard deviations around the level of the later half, for one block ...
_LEAD_WINDOW, _LEAD_WINDOW_BAND = 4, 2.0  # ... and for the median of four, which shows the tail of a decay.
_BLOCKS = 40  # Blocks whose medians are tested for a trend.
_RELEVANT_CHANGE = 0.03  # First to last; below it a drift lies within the targets that people set.
_RELEVANT_RANGE = 0.10  # Of the level between fifths of the series.
_SIGNIFICANT = 3.0  # Standard errors, inflated for the dependence of neighbouring blocks.
_WANDERING = 0.8  # Lag-one correlation of neighbouring blocks above which the level itself walks.
_LEVEL_GAP = 0.05  # Between two levels, relative to the lower one.
_LEVEL_SHARE = 0.10  # Of the values that the rarer level holds; spikes are rarer.
_VALLEY = 0.2  # Density between two levels against that of the sparser one.
_TO_DEVIATION = 1.4826  # Median absolute deviation -> standard deviation of a normal distribution.


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Steadiness:
    """What a series of calls does.

    Attributes:
        start: Index of the first value to use: what is before it is warm-up.
        verdict: "steady"; "slowing" or "speeding" (a trend); "bimodal" (two levels in turn); "unsteady" (no level
            at all); "unknown" (too few values to tell).
        change: Relative change of the level from `start` to the end, by the trend of block medians.
        detail: One sentence for people.
    """

    start: int
    verdict: SteadyWord
    change: float
    detail: str

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return dataclasses.asdict(self)


def steadiness(values_s: Sequence[float] | Floats) -> Steadiness:
    """Find the first value from which the rest is stationary, or say why there is none.

    The level is that of block medians, so that one or two spikes in a hundred calls count for nothing. The
    warm-up ends with the second block in a row within three robust deviations of the later half; at most half
    is dropped. What remains is steady when it has no relevant trend (Theil and Sen's slope, against its error at
    the blocks' own dependence), no two levels, and no level that walks.

    Args:
        values_s: Seconds per call in the order taken, warm-up included.

    Source: Sen, "Estimates of the regression coefficient based on Kendall's tau" (1968) for the slope; Kendall (1954)
        for the bias of a short series' autocorrelation.
    """
    values = np.asarray(values_s, dtype=np.float64)
    drop = min(_MINIMUM_DROP, len(values))
    if len(values) - drop < _FEWEST:
        detail = f"{len(values)} calls are too few to tell: {_FEWEST + _MINIMUM_DROP} are needed"
        return Steadiness(start=drop, verdict="unknown", change=0.0, detail=detail)
    start = drop + _end_of_lead(values[drop:])
    verdict, change, detail = _rest(values[start:])
    if verdict == "steady" and start > drop:
        lead = float(np.median(values[drop:start]) / np.median(values[start:]) - 1)
        detail += f"; the first {start} calls were warm-up, {abs(lead):.0%} {'slower' if lead > 0 else 'faster'}"
    elif verdict != "steady" and start > drop:
        # Nothing settles, so that nothing is gained by a drop: the change is told over all that was seen.
        whole, whole_change, whole_detail = _rest(values[drop:])
        if whole != "steady":
            start, verdict, change, detail = drop, whole, whole_change, whole_detail
    return Steadiness(start=start, verdict=verdict, change=round(change, 6), detail=detail)


def is_warm(values_s: Sequence[float] | Floats) -> bool:
    """Tell whether the calls so far seem to have settled: the last third's level against the middle third's.

    A cheap look while the warm-up runs, wrong now and then; `steadiness` has the last word on the whole series.
    The thirds grow with the series, so that asking at every tenth call or so is enough.
    """
    values = np.asarray(values_s, dtype=np.float64)
    third = len(values) // 3
    if third < 3:
        return False
    before, last = values[-2 * third : -third], values[-third:]
    level = float(np.median(last))
    error = 3 * _deviation(last) / np.sqrt(third)
    return bool(abs(level - float(np.median(before))) <= max(_RELEVANT_CHANGE * level, error))


def _end_of_lead(values: Floats) -> int:
    """Return how many leading values lie outside the later half's level; at most half of all."""
    block = _LEAD_BLOCK if len(values) >= 8 * _LEAD_BLOCK else 1
    medians = _block_medians(values, block)
    later = medians[len(medians) // 2 :]
    level = float(np.median(later))
    deviation, least = _deviation(later), _RELEVANT_CHANGE * level
    inside = np.abs(medians - level) <= max(_LEAD_BAND * deviation, least)
    windows = np.lib.stride_tricks.sliding_window_view(medians, _LEAD_WINDOW)
    near = np.abs(np.median(windows, axis=1) - level) <= max(_LEAD_WINDOW_BAND * deviation, least)
    settled = inside[: len(near)] & inside[1 : len(near) + 1] & near
    return min(int(np.argmax(settled)) if settled.any() else 0, len(medians) // 2) * block


def _rest(values: Floats) -> tuple[SteadyWord, float, str]:
    """Judge what follows the warm-up."""
    medians = _block_medians(values, max(1, len(values) // _BLOCKS))
    change, significance, dependence = _trend(medians)
    levels = _two_levels(values)
    if levels is not None and levels.switches > 1:
        apart = f"two levels, {levels.high / levels.low - 1:+.0%} apart, changing {levels.switches} times"
        return "bimodal", change, f"{apart}; few values lie between them"
    if levels is not None and levels.switches == 1:
        change = levels.high / levels.low - 1 if levels.ends_high else levels.low / levels.high - 1
        return _named(change), change, f"the level changes in one step by {change:+.0%}"
    if abs(change) >= _RELEVANT_CHANGE and significance >= _SIGNIFICANT:
        return _named(change), change, f"the level of block medians changes by {change:+.0%} from first to last"
    fifths = np.array([np.median(part) for part in np.array_split(values, 5)])
    width = float((fifths.max() - fifths.min()) / np.median(values))
    if width > _RELEVANT_RANGE and dependence > _WANDERING:
        steps = np.sign(np.diff(fifths))
        if abs(steps.sum()) == len(steps):
            return _named(change), change, f"each fifth of the series follows the last: {change:+.0%} in all"
        return "unsteady", change, f"no steady level: fifths of the series lie {width:.0%} apart, without a direction"
    return "steady", change, f"steady: {change:+.1%} from first to last"


def _named(change: float) -> SteadyWord:
    return "slowing" if change > 0 else "speeding"


def _trend(medians: Floats) -> tuple[float, float, float]:
    """Return the relative change first to last, its size in standard errors, and the blocks' lag-one correlation."""
    n = len(medians)
    position = np.arange(n, dtype=np.float64)
    first, second = np.triu_indices(n, k=1)
    slope = float(np.median((medians[second] - medians[first]) / (position[second] - position[first])))
    level = float(np.median(medians))
    residuals = medians - slope * position
    residuals -= np.median(residuals)
    spread = max(_deviation(residuals), 1e-4 * level)
    held = np.clip(residuals, -3 * spread, 3 * spread)
    power = float(held @ held)
    raw = float(held[:-1] @ held[1:]) / power if power > 0 else 0.0
    # A fitted line takes some of the dependence away; without giving it back, wandering noise looks like a trend.
    dependence = min(max(raw + (2 + 4 * raw) / n, 0.0), 0.95)
    inflation = np.sqrt((1 + dependence) / (1 - dependence))
    deviation = max(float(np.sqrt(power / n)), spread)
    error = deviation * inflation / float(np.sqrt(((position - position.mean()) ** 2).sum()))
    return slope * (n - 1) / level, abs(slope) / error, dependence


class _Levels(NamedTuple):
    """Two levels in seconds, how often the series changes between them, and on which it ends."""

    low: float
    high: float
    switches: int
    ends_high: bool


def _two_levels(values: Floats) -> _Levels | None:
    """Return the two levels of a series; None when there is one.

    The split is the one that leaves the least variance within the two parts (Otsu, 1979). It counts when each
    part holds a tenth of the values, the parts are 5 % apart, and hardly any value lies midway.
    """
    ordered = np.sort(np.log(np.maximum(values, 1e-12)))
    ordered = ordered[: max(_FEWEST, int(len(ordered) * 0.97))]  # Spikes are no level.
    n = len(ordered)
    sizes = np.arange(1, n)
    sums = np.cumsum(ordered)[:-1]
    between = (sums / sizes - (ordered.sum() - sums) / (n - sizes)) ** 2 * sizes * (n - sizes)
    least = max(2, int(np.ceil(_LEVEL_SHARE * n)))
    if n - 2 * least < 1:
        return None
    cut = least + int(np.argmax(between[least - 1 : n - least]))
    low, high = float(np.median(ordered[:cut])), float(np.median(ordered[cut:]))
    if high - low < np.log1p(_LEVEL_GAP):
        return None
    sixth = (high - low) / 6
    midway, at_low, at_high = (int((np.abs(ordered - at) < sixth).sum()) for at in ((low + high) / 2, low, high))
    if midway > _VALLEY * min(at_low, at_high):
        return None
    above = np.log(np.maximum(values, 1e-12)) > (low + high) / 2
    # The majority of five calls in a row: spikes are no change of level.
    majority = np.convolve(above, np.ones(5), mode="valid") > 2.5
    stays = int((majority[1:] != majority[:-1]).sum())
    changes = int((above[1:] != above[:-1]).sum())
    # Levels that change from call to call hide from a majority.
    switches = changes if changes > 0.2 * len(above) else stays
    return _Levels(float(np.exp(low)), float(np.exp(high)), switches, ends_high=bool(majority[-1]))


def _block_medians(values: Floats, block: int) -> Floats:
    whole = len(values) // block * block
    medians: Floats = np.median(values[len(values) - whole :].reshape(-1, block), axis=1)
    return medians


def _deviation(values: Floats) -> float:
    return _TO_DEVIATION * float(np.median(np.abs(values - np.median(values))))

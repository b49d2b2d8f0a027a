"""When a comparison has been measured enough: looks at 6, 12 and 20 pairs, a budget of time, a repeat of a failure.

Pure but for the clock, which tests script. What a verdict is, is left to `compare`.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Sequence

import numpy as np

from benchkit.judge.compare import LOOKS, MARGIN, Comparison, Triple, Verdict, compare_triples, minimum_detectable
from benchkit.stats.order_statistics import ALPHA


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How a comparison is decided.

    Attributes:
        margin: Relative change that counts.
        better: "lower" when a larger value of the quantity is worse, or "higher".
        looks: Numbers of pairs at which a verdict may be taken.
        max_seconds: Budget of time; None has none. What was looked at within it decides, and no pair is begun that
            would not end within it at the pace so far.
        confirm: Whether "slower" has to be found once more, by a second comparison that shares nothing with the first.
        must_detect: Increase that the pairs must be able to find before B may pass; None asks for none.
    """

    margin: float = MARGIN
    better: str = "lower"
    looks: tuple[int, ...] = LOOKS
    max_seconds: float | None = None
    confirm: bool = False
    must_detect: float | None = None


def _nothing_told(_: str) -> None:
    return None


def _never_noisy(_: int) -> str | None:
    return None


def compare(
    measure: Callable[[], Triple],
    rules: Rules | None = None,
    *,
    noisy: Callable[[int], str | None] = _never_noisy,
    clock: Callable[[], float] = time.monotonic,
    told: Callable[[str], None] = _nothing_told,
    begun_s: float | None = None,
) -> Comparison:
    """Take triples until a look decides, the last look is over, or the time is.

    Args:
        measure: Runs the next three processes.
        rules: How it is decided.
        noisy: Says what disturbed the last so many triples; None when nothing did.
        clock: Seconds, monotonic.
        told: Told, at the first look, what the pairs will be able to find.
        begun_s: When the budget of time began, on that clock; None takes now.
    """
    rules = rules or Rules()
    end_s = math.inf
    if rules.max_seconds is not None:
        end_s = (clock() if begun_s is None else begun_s) + rules.max_seconds
    series = _Series(measure=measure, rules=rules, noisy=noisy, clock=clock, told=told, end_s=end_s)
    series_s = clock()
    result = series.run()
    if not rules.confirm or result.verdict is not Verdict.SLOWER:
        return result
    if not series.has_time_for(rules.looks[0], result.pairs, begun_s=series_s):
        reason = f"slower at first, and the time budget of {rules.max_seconds:g} s left none to repeat it"
        return dataclasses.replace(result, verdict=Verdict.INCONCLUSIVE, reason=reason)
    told("slower: measured once more, from the beginning")
    repeat = series.run()
    if repeat.verdict is Verdict.SLOWER:
        reason = f"{result.reason}, and an independent repeat says so too"
        return dataclasses.replace(result, repeat=repeat, reason=reason)
    reason = f"slower at first, and the independent repeat says {repeat.verdict}: {repeat.reason}"
    return dataclasses.replace(result, repeat=repeat, verdict=Verdict.INCONCLUSIVE, reason=reason)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Series:
    """Everything that one series of pairs needs; `run` takes a new one each time."""

    measure: Callable[[], Triple]
    rules: Rules
    noisy: Callable[[int], str | None]
    clock: Callable[[], float]
    told: Callable[[str], None]
    end_s: float

    def run(self) -> Comparison:
        rules, triples, begin_s = self.rules, list[Triple](), self.clock()
        result, expected = None, math.inf
        for number, look in enumerate(rules.looks, 1):
            if result is not None and not self.has_time_for(look - len(triples), len(triples), begun_s=begin_s):
                return _out_of_time(result, triples, rules, look)
            while len(triples) < look:
                if triples and not self.has_time_for(1, len(triples), begun_s=begin_s):
                    return _out_of_time(result, triples, rules, look)
                triples.append(self.measure())
            result = judged(triples, rules, self.noisy(len(triples)))
            if number == 1:
                expected = expected_detectable(triples, rules)
                self.told(f"{rules.looks[-1]} pairs will find an increase of {expected:.1%} in four of five cases")
            result = dataclasses.replace(result, expected=expected, ended=f"look {number} of {len(rules.looks)}")
            if result.verdict is not Verdict.INCONCLUSIVE:
                break
        assert result is not None
        return result

    def has_time_for(self, pairs: int, done: int, *, begun_s: float) -> bool:
        """Tell whether so many pairs more lie within the budget at the pace so far; a part of them decides nothing."""
        now_s = self.clock()
        return now_s + pairs * (now_s - begun_s) / done <= self.end_s


def expected_detectable(triples: Sequence[Triple], rules: Rules) -> float:
    """Project, from the pairs so far, which increase all pairs of the last look will find with 80 % power."""
    logs = np.array([math.log(t.b / t.a) for t in triples])
    return minimum_detectable(logs, margin=rules.margin, alpha=ALPHA / len(rules.looks), pairs=rules.looks[-1])


def judged(triples: Sequence[Triple], rules: Rules, disturbed: str | None = None) -> Comparison:
    """Judge triples by the rules."""
    return compare_triples(
        triples,
        margin=rules.margin,
        better=rules.better,
        noisy=disturbed,
        looks=rules.looks,
        must_detect=rules.must_detect,
    )


def _out_of_time(result: Comparison | None, triples: list[Triple], rules: Rules, look: int) -> Comparison:
    """End at the last look that was completed; what was taken after it is kept, and not judged."""
    ended = f"the time budget of {rules.max_seconds:g} s, before the look at {look} pairs"
    if result is not None:
        reason = f"{result.reason}; the time budget of {rules.max_seconds:g} s ended it at {result.pairs} pairs"
        return dataclasses.replace(result, triples=tuple(triples), ended=ended, reason=reason)
    reason = f"the time budget of {rules.max_seconds:g} s was over after {len(triples)} of {look} pairs"
    early = dataclasses.replace(judged(triples, rules), verdict=Verdict.INCONCLUSIVE)
    return dataclasses.replace(early, reason=reason, ended=ended)

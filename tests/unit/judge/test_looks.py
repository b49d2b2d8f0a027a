"""When a comparison ends: looks, a budget of time, a repeat; the clock is scripted."""

import itertools
import math

import numpy as np
import pytest

from benchkit.judge.compare import Triple, Verdict
from benchkit.judge.looks import Rules, compare

EQUAL = Triple(1.0, 1.0, 1.0)
SLOWER = Triple(1.0, 1.2, 1.0)
FASTER = Triple(1.0, 0.7, 1.0)


def undecided(seed: int = 0):
    """Triples whose bounds reach across the margin at every look, with a quiet control arm."""
    noise = np.random.default_rng(seed)
    for _ in itertools.count():
        yield Triple(1.0, 1.05 * float(np.exp(noise.normal(0, 0.1))), 1.0)


class Bench:
    """Triples from a list or generator, each taking some seconds of a scripted clock."""

    def __init__(self, source, pair_s: float = 10.0) -> None:
        self.source, self.pair_s, self.now_s, self.taken = iter(source), pair_s, 100.0, 0

    def measure(self) -> Triple:
        self.now_s += self.pair_s
        self.taken += 1
        return next(self.source)

    def compare(self, noisy=lambda _: None, told=lambda _: None, **rules):
        return compare(self.measure, Rules(**rules), noisy=noisy, clock=lambda: self.now_s, told=told)


def test_the_last_look_ends_it() -> None:
    found = Bench(undecided()).compare()
    assert (found.verdict, found.pairs, found.ended) == (Verdict.INCONCLUSIVE, 20, "look 3 of 3")


def test_a_budget_ends_it_at_a_look() -> None:
    bench = Bench(undecided())
    found = bench.compare(max_seconds=150.0)  # Twelve pairs take 120 s, twenty would take 200 s.
    assert (found.pairs, bench.taken) == (12, 12)
    assert "the time budget of 150 s ended it at 12 pairs" in found.reason
    assert "before the look at 20 pairs" in found.ended


def test_a_budget_too_small_for_the_first_look_decides_nothing() -> None:
    bench = Bench([FASTER] * 20)
    found = bench.compare(max_seconds=30.0)
    assert (found.verdict, bench.taken) == (Verdict.INCONCLUSIVE, 3)
    assert found.reason == "the time budget of 30 s was over after 3 of 6 pairs"


def test_no_pair_is_begun_that_would_not_end_within_the_budget() -> None:
    bench = Bench(undecided(), pair_s=10.0)
    bench.compare(max_seconds=35.0)
    assert (bench.taken, bench.now_s) == (3, 130.0)


def test_what_was_spent_before_the_pairs_counts() -> None:
    bench = Bench(undecided())
    compare(bench.measure, Rules(max_seconds=35.0), clock=lambda: bench.now_s, begun_s=bench.now_s - 20.0)
    assert bench.taken == 1


def test_a_machine_that_slows_down_ends_between_looks_and_the_last_look_counts() -> None:
    bench = Bench(undecided())
    real = bench.measure

    def slower_later() -> Triple:
        bench.pair_s = 10.0 if bench.taken < 6 else 40.0
        return real()

    bench.measure = slower_later  # type: ignore[method-assign]
    found = bench.compare(max_seconds=130.0)
    assert found.pairs == 6
    assert len(found.triples) == bench.taken == 8


def test_a_budget_that_is_ample_changes_nothing() -> None:
    found = Bench([FASTER] * 20).compare(max_seconds=1000.0)
    assert (found.verdict, found.pairs, found.ended) == (Verdict.FASTER, 6, "look 1 of 3")


def test_what_will_be_detectable_is_told_at_the_first_look() -> None:
    told: list[str] = []
    found = Bench(undecided()).compare(told=told.append)
    assert len(told) == 1
    assert told[0].startswith("20 pairs will find an increase of ")
    assert 0.05 < found.expected < 0.5
    assert math.isfinite(found.detectable)


def test_slower_needs_an_independent_repeat() -> None:
    bench = Bench([SLOWER] * 12)
    found = bench.compare(confirm=True)
    assert (found.verdict, bench.taken) == (Verdict.SLOWER, 12)
    assert found.repeat is not None
    assert found.repeat.verdict is Verdict.SLOWER
    assert "repeat says so too" in found.reason


def test_a_repeat_that_does_not_agree_decides_nothing() -> None:
    found = Bench([SLOWER] * 6 + [EQUAL] * 20).compare(confirm=True)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "the independent repeat says equal" in found.reason
    assert found.repeat is not None
    assert found.repeat.pairs == 6


def test_a_repeat_without_time_decides_nothing() -> None:
    bench = Bench([SLOWER] * 26)
    found = bench.compare(confirm=True, max_seconds=110.0)  # Twice six pairs take 120 s.
    assert (found.verdict, bench.taken) == (Verdict.INCONCLUSIVE, 6)
    assert "slower at first, and the time budget of 110 s left none to repeat it" in found.reason


def test_only_slower_is_repeated() -> None:
    bench = Bench([FASTER] * 12)
    assert bench.compare(confirm=True).repeat is None
    assert bench.taken == 6


def test_noise_at_one_look_may_be_made_up_for_by_the_next() -> None:
    asked: list[int] = []

    def noisy(triples: int) -> str | None:
        asked.append(triples)
        return "others used the CPU" if triples < 12 else None

    found = Bench([FASTER] * 20).compare(noisy=noisy)
    assert (found.verdict, found.pairs, asked) == (Verdict.FASTER, 12, [6, 12])


@pytest.mark.parametrize("better", ["lower", "higher"])
def test_direction_of_the_quantity(better: str) -> None:
    found = Bench([SLOWER] * 6).compare(better=better)
    assert found.verdict is (Verdict.SLOWER if better == "lower" else Verdict.FASTER)

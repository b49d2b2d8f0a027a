"""Which unsettled runs may decide about a median: simulated machines, and how often the bounds of their rows err."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest

from benchkit.bench.noise_verdict import BEARABLE_SHARE
from benchkit.judge.soundness import unsettled_of
from benchkit.stats.stationarity import steadiness
from benchkit.stats.summaries import latency_statistics

CALL_S, CALLS, RUNS, PAUSE_S = 0.01, 100, 6, 1.5
ALPHA = 0.05 / 3  # Of the first look, which has six runs.
Level = Callable[[np.random.Generator, np.ndarray], np.ndarray]


def two_levels(low_s: float, high_s: float, gap: float) -> Level:
    """A machine whose calls take `gap` longer while a neighbour runs: so long without it and so long with it."""

    def at(rng: np.random.Generator, t_s: np.ndarray) -> np.ndarray:
        high = rng.random() < high_s / (low_s + high_s)
        ends, states, now_s = [], [high], 0.0
        while now_s < t_s[-1]:
            now_s += rng.exponential(high_s if high else low_s)
            ends.append(now_s)
            high = not high
            states.append(high)
        return np.where(np.array(states)[np.searchsorted(ends, t_s)], 1 + gap, 1.0)

    return at


def walking(tau_s: float, spread: float) -> Level:
    """A level that wanders around its mean and forgets where it was after `tau_s`."""

    def at(rng: np.random.Generator, t_s: np.ndarray) -> np.ndarray:
        logs, before_s, log = np.empty(len(t_s)), t_s[0], rng.normal(0, spread)
        for number, now_s in enumerate(t_s):
            kept = np.exp(-(now_s - before_s) / tau_s)
            log = kept * log + spread * np.sqrt(1 - kept**2) * rng.normal()
            logs[number], before_s = log, now_s
        return np.exp(logs)

    return at


def in_each_run(change: float) -> Level:
    """Every process ends slower than it began, by the same share."""
    return lambda rng, t_s: np.tile(np.linspace(1, 1 + change, CALLS), len(t_s) // CALLS)


def calls(rng: np.random.Generator, level: np.ndarray) -> np.ndarray:
    values = CALL_S * level * (1 + 0.02 * rng.normal(size=len(level)))
    values[rng.random(len(level)) < 0.01] *= 2
    return values


class Row(NamedTuple):
    """A simulated row: what its runs did, and the bounds of its median."""

    words: list[str]
    low: float
    high: float

    @property
    def settled(self) -> bool:
        return sum(word not in ("steady", "unknown") for word in self.words) <= BEARABLE_SHARE * RUNS

    @property
    def may_decide(self) -> bool:
        return len(unsettled_of("p50", self.words)) <= BEARABLE_SHARE * RUNS


def rows(machine: Level, seeds: int) -> list[Row]:
    t_s = np.concatenate([run * (CALLS * CALL_S + PAUSE_S) + np.arange(CALLS) * CALL_S for run in range(RUNS)])
    found = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        runs = calls(rng, machine(rng, t_s)).reshape(RUNS, CALLS)
        looks = [steadiness(run) for run in runs]
        kept = [list(run[look.start :]) for run, look in zip(runs, looks, strict=True)]
        median = latency_statistics(kept, alpha=ALPHA)["p50"]
        assert median.low is not None
        assert median.high is not None
        found.append(Row([look.verdict for look in looks], median.low, median.high))
    return found


def median_of(machine: Level) -> float:
    """The median over hours of such a machine."""
    rng = np.random.default_rng(99)
    t_s = np.sort(rng.random(40_000)) * 20_000
    return float(np.median(calls(rng, machine(rng, t_s))))


def errors(chosen: list[Row], truth_s: float) -> float:
    """Return how often the bounds leave the truth out; 2 * ALPHA is allowed."""
    return float(np.mean([not row.low <= truth_s <= row.high for row in chosen]))


@pytest.mark.parametrize(
    "machine", [two_levels(0.2, 0.1, 0.12), two_levels(0.3, 0.6, 0.3), two_levels(0.6, 0.3, 0.12), walking(0.3, 0.06)]
)
def test_what_comes_and_goes_is_in_the_bounds_of_a_median(machine: Level) -> None:
    found, truth_s = rows(machine, 100), median_of(machine)
    freed = [row for row in found if row.may_decide and not row.settled]
    assert len(freed) > 25, "the machine has to be one that does not settle"
    slack = 3 * np.sqrt(2 * ALPHA / len(freed))
    assert errors(freed, truth_s) <= 2 * ALPHA + slack
    settled = [row for row in found if row.settled]
    if len(settled) > 20:
        # What the rows that always could decide leave out is the measure: those that may now are no worse.
        assert errors(freed, truth_s) <= errors(settled, truth_s) + slack


@pytest.mark.parametrize("change", [0.05, 0.12])
def test_a_direction_that_all_runs_share_is_not_in_the_bounds_and_decides_nothing(change: float) -> None:
    """The truth is where the processes end: how they would go on."""
    found = rows(in_each_run(change), 60)
    assert errors(found, CALL_S * (1 + change)) > 0.3
    assert not any(row.may_decide for row in found)


def test_the_words_that_count() -> None:
    mixed = ["bimodal", "bimodal", "unsteady", "slowing", "speeding", "steady"]
    assert unsettled_of("p50", mixed) == []
    assert len(unsettled_of("p95", mixed)) == 5  # Tails are pooled: a level that is there in one run only moves them.
    assert unsettled_of("p50", ["slowing"] * 3 + ["speeding"]) == ["slowing"] * 2
    assert unsettled_of("p50", ["speeding"] * 2) == ["speeding"] * 2

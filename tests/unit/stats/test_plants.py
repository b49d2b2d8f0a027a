"""What a sceptic will plant: a runtime of known delays, dependence, two equal arms; the bounds must hold the truth."""

import itertools

import numpy as np
import pytest
from scipy import stats as oracle

from benchkit.stats.stationarity import steadiness
from benchkit.stats.summaries import latency_statistics, measured, relative_width

UNIT_S = 1e-3


class KnownDelays:
    """A runtime whose calls take 1 unit, and 3 units in 2 % of cases; the clock is its own."""

    def __init__(self, seed: int) -> None:
        self._noise = np.random.default_rng(seed)
        self.now_s = 0.0

    def call(self) -> None:
        self.now_s += UNIT_S * (3.0 if self._noise.random() < 0.02 else 1.0)

    def time(self, calls: int) -> list[float]:
        found = []
        for _ in range(calls):
            begin_s = self.now_s
            self.call()
            found.append(round(self.now_s - begin_s, 9))
        return found


def test_bounds_cover_the_truth_of_a_runtime_of_known_delays() -> None:
    """98 % at 1 unit, 2 % at 3: the true p50 is 1, the true p99 is 3."""
    covered = {"p50": 0, "p99": 0}
    for seed in range(200):
        found = latency_statistics([KnownDelays(1000 * seed + run).time(100) for run in range(5)])
        for name, truth in (("p50", UNIT_S), ("p99", 3 * UNIT_S)):
            figure = found[name]
            assert figure.value is not None
            assert figure.high is not None
            covered[name] += (figure.low is None or figure.low <= truth) and truth <= figure.high
    assert all(count >= 0.93 * 200 for count in covered.values()), covered


@pytest.mark.parametrize("seed", range(5))
def test_a_tail_is_not_printed_below_299_calls(seed: int) -> None:
    for runs, calls, there in ((1, 298, False), (1, 299, True), (2, 149, False)):
        figure = latency_statistics([KnownDelays(seed + run).time(calls) for run in range(runs)])["p99"]
        if there:
            continue  # Dependence may ask for more than 299; never for fewer.
        assert (figure.value, figure.low, figure.high) == (None, None, None)
        assert "p99 needs 299 independent values" in (figure.reason or "")


def test_299_independent_calls_are_enough() -> None:
    alternating = [UNIT_S * (1 + n % 2) for n in range(299)]  # Anticorrelated: each call counts.
    assert latency_statistics([alternating])["p99"].value is not None
    assert latency_statistics([alternating[:298]])["p99"].value is None


def ar1(rng: np.random.Generator, n: int, rho: float) -> np.ndarray:
    shocks = rng.normal(size=n + 200)
    series = np.empty_like(shocks)
    series[0] = shocks[0]
    for i in range(1, len(shocks)):
        series[i] = rho * series[i - 1] + shocks[i]
    return series[200:] * np.sqrt(1 - rho**2)


def test_the_bound_on_p95_holds_under_dependence() -> None:
    """n = 1000, rho = .9: the plain bound would hold in 70 % of runs."""
    truth = 0.01 * np.exp(0.05 * float(oracle.norm.ppf(0.95)))
    held = given = 0
    for seed in range(200):
        values = 0.01 * np.exp(0.05 * ar1(np.random.default_rng(seed), 1000, 0.9))
        figure = latency_statistics([list(values)])["p95"]
        given += figure.high is not None
        held += figure.high is None or figure.high >= truth
    assert given >= 150  # Most runs have a bound: silence would be no merit.
    assert held >= 0.91 * 200


@pytest.mark.parametrize("alpha", [0.05, 0.05 / 3])
def test_bounds_between_processes_cover_what_they_have_in_common(alpha: float) -> None:
    low = high = 0
    for seed in range(200):
        noise = np.random.default_rng(seed)
        levels = 0.01 * np.exp(noise.normal(0, 0.05, 7))
        runs = [list(level * np.exp(noise.normal(0, 0.02, 60))) for level in levels]
        figure = measured("latency", runs, alpha=alpha).statistics["p50"]
        assert figure.low is not None
        assert figure.high is not None
        low += figure.low <= 0.01
        high += figure.high >= 0.01
    assert min(low, high) >= (1 - alpha) * 200 - 8


def test_looking_often_does_not_raise_the_error() -> None:
    """Bounds at 6, 9 and 14 processes, each at a third of the error: all three hold in 95 % of the cells, a side."""
    all_held = 0
    for seed in range(200):
        noise = np.random.default_rng(seed)
        processes = [[float(x)] for x in 100 * np.exp(noise.normal(0, 0.05, 14))]
        figures = [measured("throughput", processes[:n], alpha=0.05 / 3).statistics["median"] for n in (6, 9, 14)]
        all_held += all(figure.high is not None and figure.high >= 100 for figure in figures)
    assert all_held >= 0.95 * 200 - 7


def test_widths_shrink_with_processes_and_say_when_a_target_is_reached() -> None:
    noise = np.random.default_rng(0)
    runs = [list(0.01 * np.exp(noise.normal(0, 0.01, 100))) for _ in range(14)]
    widths = [relative_width(measured("latency", runs[:n], alpha=0.05 / 3).statistics["p50"]) for n in (6, 9, 14)]
    assert all(width is not None and width < 0.02 for width in widths)


def test_a_stall_in_a_warm_up_is_no_level_and_a_stall_later_no_drift() -> None:
    """One 400 ms stall in 500 calls of 5 ms: still steady, whenever it comes."""
    for position in itertools.chain(range(0, 12, 3), (250, 499)):
        values = 0.005 * np.exp(np.random.default_rng(position).normal(0, 0.02, 500))
        values[position] = 0.4
        found = steadiness(values)
        assert found.verdict == "steady", (position, found)
        assert found.start <= 25

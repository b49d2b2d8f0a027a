import numpy as np
import pytest

from benchkit.core.records import Statistic
from benchkit.stats.signed_rank import bound_index
from benchkit.stats.summaries import (
    latency_statistics,
    measured,
    minimum_runs,
    peak_statistics,
    per_process_statistics,
    relative_width,
)


def runs_of(n: int, *, processes: int = 5, seed: int = 0) -> list[list[float]]:
    noise = np.random.default_rng(seed)
    return [list(0.01 + noise.exponential(1e-3, n)) for _ in range(processes)]


def test_a_tail_that_was_hardly_sampled_is_not_printed() -> None:
    found = latency_statistics(runs_of(20))
    assert found["p99"].value is None
    assert "p99 needs 299" in (found["p99"].reason or "")
    assert found["p50"].value is not None
    assert latency_statistics(runs_of(100))["p99"].value is not None


def test_a_slow_process_widens_the_bounds() -> None:
    """Between processes lies what no single process shows: one of five at twice the time must be in the bounds."""
    steady = runs_of(200)
    slow = [*steady[:4], [2 * value for value in steady[4]]]
    assert latency_statistics(slow)["p50"].high > 1.9 * 0.01
    assert latency_statistics(steady)["p50"].high < 1.2 * 0.01


def test_bounds_enclose_the_figure() -> None:
    for seed in range(30):
        for figure in latency_statistics(runs_of(80, seed=seed)).values():
            if figure.value is not None and figure.low is not None:
                assert figure.low <= figure.value <= figure.high


def test_fewer_than_five_processes_are_said() -> None:
    found = latency_statistics(runs_of(100, processes=3))["p50"]
    assert "5 runs are needed" in (found.reason or "")
    alone = per_process_statistics([[2.0], [3.0]])["median"]
    assert (alone.value, alone.low, alone.high) == (2.5, None, None)


def test_nothing_gives_no_number() -> None:
    assert latency_statistics([])["p50"].value is None
    assert per_process_statistics([])["median"].value is None
    assert peak_statistics([])["max"].value is None


def test_peaks_are_the_largest_and_claim_no_bound() -> None:
    figure = peak_statistics([[10.0], [12.0]])["max"]
    assert (figure.value, figure.low, figure.high, figure.n) == (12.0, None, None, 2)


def test_statistics_are_functions_of_the_runs() -> None:
    runs = runs_of(50)
    first, second = measured("latency", runs), measured("latency", [list(run) for run in runs])
    assert first == second
    assert first.unit == "s"


@pytest.mark.parametrize(("alpha", "runs"), [(0.05, 5), (0.05 / 3, 6), (0.025, 6), (0.00125, 10), (1 / 32, 5)])
def test_fewest_processes_with_a_bound(alpha: float, runs: int) -> None:
    assert minimum_runs(alpha) == runs
    assert bound_index(runs, alpha=alpha) >= 1
    assert bound_index(runs - 1, alpha=alpha) == 0


@pytest.mark.parametrize("quantity", ["latency", "response_time", "tokenize_time", "end_to_end_latency"])
def test_a_smaller_error_widens_every_bound(quantity: str) -> None:
    runs = runs_of(150, processes=8)
    wide, narrow = (measured(quantity, runs, alpha=alpha).statistics["p50"] for alpha in (0.01, 0.05))
    assert wide.low < narrow.low <= narrow.value <= narrow.high < wide.high
    assert wide.value == narrow.value


def test_a_smaller_error_asks_for_more_processes_and_calls() -> None:
    five = [[1.0], [1.1], [1.2], [1.3], [1.4]]
    assert measured("throughput", five).statistics["median"].low == pytest.approx(1.0)
    split = measured("throughput", five, alpha=0.05 / 3).statistics["median"]
    assert (split.value, split.low) == (1.2, None)
    assert split.reason == "bounds need 6 processes, these are 5"
    runs = runs_of(70)
    assert measured("latency", runs).statistics["p99"].value is not None
    assert "needs 408" in (measured("latency", runs, alpha=0.05 / 3).statistics["p99"].reason or "")


def test_where_the_clock_is_felt_no_percentile_is_given() -> None:
    """A null model: a call of 2 us under a timer and loop of 0.1 us."""
    runs = [[2e-6 + n * 1e-9 for n in range(300)] for _ in range(5)]
    found = latency_statistics(runs, overhead_s=0.1e-6)
    for name in ("p50", "p90", "p95", "p99"):
        assert (found[name].value, found[name].low, found[name].high) == (None, None, None)
        assert (found[name].reason or "").startswith("overhead-limited: ")
    assert found["mean_of_blocks"].value == pytest.approx(2e-6 + 149.5e-9)
    assert found["mean_of_blocks"].low is not None
    assert relative_width(found["p50"]) is None
    unlimited = latency_statistics(runs, overhead_s=0.03e-6)
    assert unlimited["p50"].value is not None
    assert "mean_of_blocks" not in unlimited


@pytest.mark.parametrize("quantity", ["peak_memory", "plateau_memory", "peak_gpu_memory"])
def test_memory_is_a_peak_over_processes(quantity: str) -> None:
    assert set(measured(quantity, [[10.0], [12.0]]).statistics) == {"max"}


def test_width_is_that_of_the_farther_bound() -> None:
    assert relative_width(Statistic(value=10.0, low=9.0, high=10.5, n=9)) == pytest.approx(0.1)
    assert relative_width(Statistic(value=10.0, low=9.5, high=12.0, n=9)) == pytest.approx(0.2)
    assert relative_width(Statistic(value=10.0, low=None, high=12.0, n=9)) is None


def test_a_call_of_no_time_at_all_is_bounded_within_only() -> None:
    found = latency_statistics([[0.0] * 100 for _ in range(5)])["p50"]
    assert found.value == 0.0
    assert "positive" in (found.reason or "")

import numpy as np
import pytest

from benchkit.bench.load.arrivals import even_arrivals_ns, poisson_arrivals_ns
from benchkit.core.errors import BenchkitError


def test_gaps_are_exponential_at_the_rate() -> None:
    gaps_s = np.diff(poisson_arrivals_ns(200.0, count=40_000, seed=1)) * 1e-9
    assert gaps_s.mean() == pytest.approx(1 / 200, rel=0.02)
    assert gaps_s.std() == pytest.approx(1 / 200, rel=0.02)  # of an exponential: equal to its mean
    assert np.mean(gaps_s > 1 / 200) == pytest.approx(np.exp(-1), abs=0.01)


def test_counts_of_equal_stretches_vary_as_a_poisson_process_does() -> None:
    arrivals_ns = poisson_arrivals_ns(100.0, duration_s=1000.0, seed=2)
    counts = np.histogram(arrivals_ns, bins=1000, range=(0, 1000 * 1e9))[0]
    assert counts.var() / counts.mean() == pytest.approx(1.0, abs=0.15)


def test_a_seed_gives_the_same_schedule_and_another_another() -> None:
    first, again, other = (poisson_arrivals_ns(50.0, count=100, seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_rate_stretches_the_schedule() -> None:
    slow, fast = (poisson_arrivals_ns(rate, count=100, seed=5) for rate in (50.0, 100.0))
    assert np.abs(slow - 2 * fast).max() <= 2


def test_duration_and_count_bound_one_schedule() -> None:
    by_time = poisson_arrivals_ns(1000.0, duration_s=3.0, seed=6)
    assert by_time[-1] < 3e9
    assert 2700 < len(by_time) < 3300
    by_count = poisson_arrivals_ns(1000.0, count=len(by_time), seed=6)
    assert np.abs(by_time - by_count).max() <= 1
    assert len(poisson_arrivals_ns(1000.0, count=10, duration_s=3.0, seed=6)) == 10


def test_even_arrivals_are_evenly_spaced_and_begin_after_a_gap() -> None:
    assert even_arrivals_ns(4.0, 3).tolist() == [250_000_000, 500_000_000, 750_000_000]


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_a_rate_that_is_none(rate: float) -> None:
    with pytest.raises(BenchkitError, match="queries a second"):
        poisson_arrivals_ns(rate, count=1, seed=0)
    with pytest.raises(BenchkitError, match="queries a second"):
        even_arrivals_ns(rate, 1)


def test_a_schedule_needs_an_end() -> None:
    with pytest.raises(BenchkitError, match="without an end"):
        poisson_arrivals_ns(1.0, seed=0)

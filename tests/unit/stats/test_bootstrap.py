"""Bootstrap bounds: coverage over seeds, equal shortcuts, and what is said when draws are undefined."""

import numpy as np
import pytest

from benchkit.stats.bootstrap import Counts, Floats, bootstrap_bounds


def mean_of(values: np.ndarray):
    return lambda counts: counts @ values / counts.sum(axis=1)


def test_bounds_cover_the_truth_about_as_often_as_promised() -> None:
    rng = np.random.default_rng(0)
    below = above = 0
    for seed in range(400):
        bounds = bootstrap_bounds(mean_of(rng.normal(3, 1, 80)), 80, seed=seed, draws=400)
        assert bounds.low is not None
        assert bounds.high is not None
        below += bounds.high < 3
        above += bounds.low > 3
    # Binomial(400, .05): 20 expected on each side, 4.4 standard deviation.
    assert 8 <= below <= 36
    assert 8 <= above <= 36


def test_kinds_with_occurrences_are_the_same_bootstrap() -> None:
    right = np.array([1.0] * 700 + [0.0] * 300)
    each = bootstrap_bounds(mean_of(right), 1000, seed=1)
    kinds = bootstrap_bounds(mean_of(np.array([1.0, 0.0])), np.array([700, 300]), seed=2)
    assert each.low == pytest.approx(kinds.low, abs=2e-3)
    assert each.high == pytest.approx(kinds.high, abs=2e-3)
    # The normal approximation: .7 +- 1.645 * sqrt(.21 / 1000).
    assert kinds.low == pytest.approx(0.7 - 0.02384, abs=2e-3)


def test_the_seed_decides_and_is_kept() -> None:
    values = np.random.default_rng(0).normal(size=50)
    first, again, other = (bootstrap_bounds(mean_of(values), 50, seed=seed) for seed in (7, 7, 8))
    assert first == again
    assert first.low != other.low
    assert (first.draws, first.seed, first.alpha) == (10_000, 7, 0.05)
    assert first.reason is None


@pytest.mark.parametrize("n", [3, 999_999])
def test_blocks_of_any_size_make_the_same_number_of_draws(n: int) -> None:
    shapes = []

    def record(counts: Counts) -> Floats:
        shapes.append(counts.shape)
        assert (counts.sum(axis=1) == n).all()
        return counts[:, 0]

    bootstrap_bounds(record, n, seed=0, draws=5)
    assert sum(rows for rows, _ in shapes) == 5


def test_rare_undefined_draws_are_left_out_and_stated() -> None:
    # A kind that is absent from about 1 % of the draws: (1 - 4.6 / 100)^100.
    def share(counts: Counts) -> Floats:
        return np.where(counts[:, 0] > 0, counts[:, 0], np.nan)

    bounds = bootstrap_bounds(share, np.array([5, 95]), seed=0)
    assert 20 < bounds.undefined < 200
    assert bounds.low is not None
    assert bounds.low >= 1
    assert bounds.reason == f"{bounds.undefined:,} of 10,000 bootstrap draws are undefined: left out"


def test_many_undefined_draws_give_no_bounds() -> None:
    bounds = bootstrap_bounds(
        lambda counts: np.where(counts[:, 0] > 0, counts[:, 0], np.nan), np.array([1, 99]), seed=0
    )
    assert (bounds.low, bounds.high) == (None, None)
    assert "too many for bounds" in (bounds.reason or "")


def test_a_sample_without_variation_gives_no_bounds() -> None:
    bounds = bootstrap_bounds(mean_of(np.ones(30)), 30, seed=0)
    assert (bounds.low, bounds.high, bounds.constant) == (None, None, True)
    assert "same value" in (bounds.reason or "")


def test_no_examples_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one example"):
        bootstrap_bounds(mean_of(np.array([])), 0, seed=0)

import itertools

import numpy as np
import pytest
from scipy import stats as oracle

from benchkit.stats.trend import first_to_last, inversions_distribution


def test_null_distribution_by_enumeration() -> None:
    n = 6
    counts = [sum(a > b for a, b in itertools.combinations(order, 2)) for order in itertools.permutations(range(n))]
    np.testing.assert_allclose(inversions_distribution(n), np.bincount(counts) / len(counts), atol=1e-15)


def test_the_slope_is_that_of_theil_and_sen() -> None:
    values = np.random.default_rng(0).normal(size=12)
    assert first_to_last(values).estimate == pytest.approx(oracle.theilslopes(values).slope * 11)


def test_bounds_cover_a_planted_trend() -> None:
    held = {"low": 0, "high": 0}
    for seed in range(400):
        values = np.linspace(0, 0.3, 8) + np.random.default_rng(seed).normal(0, 0.1, 8)
        found = first_to_last(values)
        assert found.low is not None
        assert found.high is not None
        held["low"] += found.low <= 0.3
        held["high"] += found.high >= 0.3
    assert all(count >= 0.93 * 400 for count in held.values()), held


def test_too_few_values_have_no_bounds() -> None:
    assert first_to_last(np.array([1.0])) == (0.0, None, None)
    assert first_to_last(np.array([1.0, 2.0, 3.0])) == (2.0, None, None)
    assert first_to_last(np.array([1.0, 2.0, 3.0, 4.0])).low == 3.0

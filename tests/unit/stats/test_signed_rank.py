import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchkit.stats.signed_rank import bound_index, centre, null_distribution, walsh_averages


@pytest.mark.parametrize(("n", "k"), [(4, 0), (5, 1), (6, 3), (7, 4), (8, 6), (10, 11), (12, 18), (15, 31), (20, 61)])
def test_index_of_the_bound(n: int, k: int) -> None:
    assert bound_index(n) == k


def test_null_distribution_by_enumeration() -> None:
    n = 6
    sums = [
        sum(r for r, up in zip(range(1, n + 1), signs, strict=True) if up)
        for signs in itertools.product((0, 1), repeat=n)
    ]
    expected = np.bincount(sums, minlength=n * (n + 1) // 2 + 1) / 2**n
    np.testing.assert_allclose(null_distribution(n), expected, atol=1e-15)


def test_bounds_cover_a_planted_centre() -> None:
    held = 0
    for seed in range(400):
        values = np.random.default_rng(seed).normal(0.03, 0.02, size=8)
        found = centre(values)
        assert found.low is not None
        held += found.low <= 0.03
    assert held >= 0.93 * 400


def test_too_few_values_have_no_bounds() -> None:
    found = centre(np.array([1.0, 2.0, 3.0, 4.0]))
    assert found.estimate == 2.5
    assert found.low is None
    assert found.high is None


@given(st.lists(st.floats(-10, 10), min_size=5, max_size=12))
def test_shifting_the_values_shifts_the_answer(values: list[float]) -> None:
    array = np.array(values)
    found, shifted = centre(array), centre(array + 3)
    np.testing.assert_allclose(np.array(shifted, dtype=float) - 3, np.array(found, dtype=float), atol=1e-9)
    assert len(walsh_averages(array)) == len(values) * (len(values) + 1) // 2

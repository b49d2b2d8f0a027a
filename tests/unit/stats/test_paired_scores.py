"""Paired differences: McNemar against scipy, bounds by coverage, pairing that matters."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from benchkit.stats.bootstrap import Counts, Floats
from benchkit.stats.paired_scores import mcnemar_exact, paired_bootstrap, paired_difference


@given(st.integers(0, 200), st.integers(0, 200))
def test_mcnemar_is_the_exact_binomial_test(b: int, c: int) -> None:
    expected = stats.binomtest(b, b + c).pvalue if b + c else 1.0
    assert mcnemar_exact(b, c) == pytest.approx(expected, abs=1e-12)


def test_known_table() -> None:
    right_a = np.array([True] * 60 + [False] * 40)
    right_b = np.array([True] * 55 + [False] * 5 + [True] * 15 + [False] * 25)
    seen = paired_difference(right_a, right_b)
    assert (seen.gained, seen.lost, seen.value, seen.n) == (15, 5, 0.1, 100)
    assert seen.p_value == pytest.approx(0.04139, abs=1e-5)
    assert seen.low is not None
    assert seen.high is not None
    assert 0 < seen.low < 0.1 < seen.high


def test_agreement_is_no_proof_of_equality() -> None:
    right = np.ones(872, dtype=bool)
    seen = paired_difference(right, right)
    assert (seen.value, seen.p_value) == (0.0, 1.0)
    assert seen.low is not None
    assert seen.high is not None
    assert seen.low < 0 < seen.high


@pytest.mark.parametrize("shares", [(0.05, 0.02), (0.01, 0.01), (0.15, 0.10)])
def test_bounds_cover_the_true_difference(shares: tuple[float, float]) -> None:
    rng, truth, n = np.random.default_rng(0), shares[0] - shares[1], 277
    outside = 0
    for gained, lost, _ in rng.multinomial(n, (*shares, 1 - sum(shares)), size=1000):
        right_b, right_a = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
        right_b[:gained] = True
        right_a[gained : gained + lost] = True
        seen = paired_difference(right_a, right_b)
        assert seen.low is not None
        assert seen.high is not None
        outside += not seen.low <= truth <= seen.high
    assert outside / 1000 <= 0.12  # Two sides of 5 % each, with three standard deviations.


def test_pairing_narrows_the_bounds() -> None:
    rng = np.random.default_rng(0)
    hardness = rng.normal(0, 3, 300)
    score_a, score_b = hardness + rng.normal(0, 0.1, 300), hardness + 0.05 + rng.normal(0, 0.1, 300)

    def mean_of(values: np.ndarray):
        def weighted(counts: Counts) -> Floats:
            return counts @ values / counts.sum(axis=1)

        return weighted

    seen = paired_bootstrap(mean_of(score_a), mean_of(score_b), 300, seed=0)
    assert seen.value == pytest.approx(score_b.mean() - score_a.mean())
    assert seen.low is not None
    assert seen.high is not None
    assert 0 < seen.low < seen.high < 0.1  # Unpaired, the standard error alone would be 0.25.
    assert seen.p_value is None


def test_an_undefined_score_has_no_difference() -> None:
    seen = paired_bootstrap(lambda counts: counts[:, 0], lambda counts: np.full(len(counts), np.nan), 5, seed=0)
    assert (seen.value, seen.low, seen.high) == (None, None, None)
    assert seen.reason == "one of the two scores is undefined"


def test_other_examples_are_refused() -> None:
    with pytest.raises(ValueError, match="same examples"):
        paired_difference(np.ones(3, dtype=bool), np.ones(4, dtype=bool))

"""Batches: budgets, order, and the sample that shows what batches change."""

import dataclasses

import numpy as np
import pytest

from benchkit.tasks.batch_effect import spread_sample
from benchkit.tasks.batching import WINDOW_EXAMPLES, Batching, windows
from benchkit.tasks.readers import Examples

LENGTHS = np.random.default_rng(0).integers(2, 129, 1000)


@pytest.mark.parametrize("budget", [1, 64, 512, 4096])
def test_no_batch_goes_over_the_budget_but_a_single_example(budget: int) -> None:
    batches = list(Batching(tokens=budget).batches(LENGTHS))
    assert sorted(np.concatenate(batches).tolist()) == list(range(1000))
    for rows in batches:
        assert len(rows) == 1 or len(rows) * LENGTHS[rows].max() <= budget
    longest = [LENGTHS[rows].max() for rows in batches]
    assert longest == sorted(longest, reverse=True)


def test_a_budget_is_used_and_little_of_it_is_padding() -> None:
    batches = list(Batching(tokens=512).batches(LENGTHS))
    computed = sum(len(rows) * LENGTHS[rows].max() for rows in batches)
    assert computed < 1.02 * LENGTHS.sum()
    assert len(batches) < 1.25 * LENGTHS.sum() / 512


def test_a_fixed_number_is_kept_to_the_last_batch() -> None:
    assert [len(rows) for rows in Batching(examples=300).batches(LENGTHS)] == [300, 300, 300, 100]


@pytest.mark.parametrize("given", [{}, {"examples": 1, "tokens": 2}])
def test_one_of_the_two_is_given(given: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="examples or tokens"):
        Batching(**given)


def test_examples_without_tokens_make_batches_too() -> None:
    assert [len(rows) for rows in Batching(tokens=2).batches(np.zeros(5, dtype=np.int64))] == [2, 2, 1]


def test_windows_cut_what_is_whole_and_leave_chunks() -> None:
    whole = Examples(
        task="rte",
        split="validation",
        first=tuple(str(number) for number in range(WINDOW_EXAMPLES + 5)),
        second=tuple(f"b{number}" for number in range(WINDOW_EXAMPLES + 5)),
        labels=tuple(number % 2 for number in range(WINDOW_EXAMPLES + 5)),
        source="RTE/dev.tsv",
        sha256="0" * 64,
    )
    cut = list(windows(whole))
    assert [len(window) for window in cut] == [WINDOW_EXAMPLES, 5]
    assert sum((window.first for window in cut), ()) == whole.first
    assert sum((window.second for window in cut), ()) == whole.second
    assert sum((window.labels for window in cut), ()) == whole.labels
    unlabelled = dataclasses.replace(cut[1], second=None, labels=None)
    assert list(windows([unlabelled, unlabelled])) == [unlabelled, unlabelled]


def test_a_sample_is_spread_over_the_lengths_and_follows_the_seed() -> None:
    rows = spread_sample(LENGTHS, 64, seed=3)
    assert len(set(rows.tolist())) == 64
    assert rows.tolist() == spread_sample(LENGTHS, 64, seed=3).tolist() != spread_sample(LENGTHS, 64, seed=4).tolist()
    # One of each 64th part: the sample's quantiles are those of the whole.
    seen, whole = (np.quantile(lengths, np.linspace(0, 1, 9)) for lengths in (LENGTHS[rows], LENGTHS))
    assert np.abs(seen - whole).max() <= 6
    assert sorted(spread_sample(LENGTHS[:5], 64, seed=0).tolist()) == [0, 1, 2, 3, 4]

"""Carving: disjoint by text, stratified, seeded, and refused when nothing would be left."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchkit.core.errors import BenchkitError
from benchkit.core.recipes import SplitRecipe
from benchkit.tasks.readers import Examples
from benchkit.tasks.splits import carve


def make(first: list[str], labels: list[int] | list[float], second: list[str] | None = None) -> Examples:
    return Examples(
        task="sst2",
        split="train",
        first=tuple(first),
        second=None if second is None else tuple(second),
        labels=tuple(labels),
        source="SST-2/train.tsv",
        sha256="0" * 64,
    )


THOUSAND = make([f"text {number}" for number in range(1000)], [int(number % 10 < 3) for number in range(1000)])


def test_sizes_shares_and_labels() -> None:
    carved = carve(THOUSAND, SplitRecipe(validation=0.1, unlabelled=0.2))
    assert (len(carved.train), len(carved.validation), len(carved.unlabelled)) == (700, 100, 200)
    assert Counter(carved.validation.labels) == {0: 70, 1: 30}
    assert Counter(carved.train.labels) == {0: 490, 1: 210}
    assert carved.unlabelled.labels is None
    assert carved.validation.split == "train:validation"
    assert carved.validation.sha256 == THOUSAND.sha256
    parts = [set(part.first) for part in (carved.train, carved.validation, carved.unlabelled)]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 1000


def test_the_seed_decides() -> None:
    recipe = SplitRecipe(seed=3)
    assert carve(THOUSAND, recipe) == carve(THOUSAND, recipe)
    assert carve(THOUSAND, recipe).validation.first != carve(THOUSAND, SplitRecipe(seed=4)).validation.first


def test_upper_limits_and_absolute_sizes() -> None:
    carved = carve(THOUSAND, SplitRecipe(validation=0.5, validation_max=40, unlabelled=123))
    assert (len(carved.validation), len(carved.unlabelled)) == (40, 123)


def test_scores_are_stratified_too() -> None:
    examples = make([f"text {number}" for number in range(1000)], [number / 200 for number in range(1000)])
    validation = carve(examples, SplitRecipe(validation=100)).validation
    assert validation.labels is not None
    assert Counter(int(label) for label in validation.labels) == dict.fromkeys(range(5), 20)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abcdefghijkl"), st.integers(0, 1)), min_size=40, max_size=80), st.integers(0, 9)
)
def test_no_text_straddles_the_parts(rows: list[tuple[str, int]], seed: int) -> None:
    examples = make([text.upper() if label else f"  {text} " for text, label in rows], [label for _, label in rows])
    try:
        carved = carve(examples, SplitRecipe(validation=0.3, unlabelled=0.3, seed=seed))
    except BenchkitError:
        return  # Only a few large groups: refused rather than carved badly.
    parts = [
        [text.strip().lower() for text in part.first] for part in (carved.train, carved.validation, carved.unlabelled)
    ]
    assert sum(map(len, parts)) == len(rows)
    assert sum(len(set(part)) for part in parts) == len({text for text, _ in rows})
    assert len(parts[1]) <= round(0.3 * len(rows))


def test_pairs_are_the_same_only_when_both_sentences_are() -> None:
    examples = make(["same"] * 100, [0, 1] * 50, second=[f"other {number}" for number in range(100)])
    carved = carve(examples, SplitRecipe())
    assert (len(carved.train), len(carved.validation), len(carved.unlabelled)) == (70, 10, 20)
    assert carved.train.second is not None
    assert not set(carved.train.second) & set(carved.validation.second or ())


def test_what_leaves_nothing_is_refused() -> None:
    with pytest.raises(BenchkitError, match="leave nothing to train on"):
        carve(THOUSAND, SplitRecipe(validation=0.5, unlabelled=500))
    with pytest.raises(BenchkitError, match="no text is left for the validation part"):
        carve(make(["one text"] * 20, [0] * 20), SplitRecipe())
    with pytest.raises(BenchkitError, match=r"validation 1\.5 in \[split\]"):
        carve(THOUSAND, SplitRecipe(validation=1.5))

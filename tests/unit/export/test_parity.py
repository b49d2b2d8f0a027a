import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchkit.core.errors import BenchkitError
from benchkit.export.parity import InputRanges, Parity, passing_tolerance, random_feeds, ranges_of, sentence_feeds
from benchkit.tasks.probe_sentences import PROBE_SENTENCES
from benchkit.tasks.tokenization import load_tokenizer

EVERY_INPUT = ("input_ids", "attention_mask", "token_type_ids")


@pytest.fixture
def ranges(pico_checkpoint: Path) -> InputRanges:
    return ranges_of(json.loads((pico_checkpoint / "config.json").read_text()), EVERY_INPUT)


@given(st.floats(min_value=1e-12, max_value=1e3))
def test_the_named_tolerance_passes_and_is_near(difference: float) -> None:
    tolerance = passing_tolerance(difference)
    assert difference <= tolerance <= 2.0001 * difference
    Parity(max_difference=difference, relative_difference=0.0, output="logits", inputs="", shapes=()).check(tolerance)


def test_difference_above_tolerance() -> None:
    parity = Parity(max_difference=0.0123, relative_difference=0.0, output="logits", inputs="", shapes=())
    with pytest.raises(BenchkitError, match=r"up to 0.0123, and the tolerance is 0.0001") as caught:
        parity.check(1e-4)
    assert "0.02" in caught.value.remedy


def test_hidden_states_are_held_to_a_share_of_their_scale() -> None:
    parity = Parity(max_difference=0.0005, relative_difference=5e-5, output="last_hidden_state", inputs="", shapes=())
    parity.check(1e-4)
    with pytest.raises(BenchkitError, match="5e-05 of the largest value"):
        parity.check(1e-5)


def test_no_difference_passes_any_tolerance() -> None:
    parity = Parity(max_difference=0.0, relative_difference=0.0, output="logits", inputs="", shapes=())
    parity.check(1e-12)
    assert parity.notes(1e-4)["passing_tolerance"] == 0.0


def test_random_feeds_are_valid_and_padded(ranges: InputRanges) -> None:
    feeds = random_feeds(ranges)
    assert [feed["input_ids"].shape for feed in feeds] == [(1, 2), (1, 64), (3, 5), (3, 17), (8, 64)]
    assert max(feed["input_ids"].max() for feed in feeds) == ranges.vocabulary_size - 1
    assert max(feed["token_type_ids"].max() for feed in feeds) == 1
    assert any(feed["attention_mask"].min() == 0 for feed in feeds)
    assert all(feed["attention_mask"].sum(axis=1).min() >= 2 for feed in feeds)
    assert all(array.dtype == np.int64 for feed in feeds for array in feed.values())


def test_random_feeds_stay_within_the_positions(ranges: InputRanges) -> None:
    short = dataclasses.replace(ranges, max_positions=9)
    assert max(feed["input_ids"].shape[1] for feed in random_feeds(short)) == 9


def test_sentences_come_in_batches_of_different_sizes_and_pairs_last(
    ranges: InputRanges, pico_checkpoint: Path
) -> None:
    tokenizer = load_tokenizer(pico_checkpoint)
    feeds = sentence_feeds(ranges, tokenizer, ["a film", "a bad bad film", "good"] * 3)
    assert [feed["input_ids"].shape for feed in feeds] == [(1, 4), (3, 6), (5, 6), (4, 9)]
    assert [feed["token_type_ids"].max() for feed in feeds] == [0, 0, 0, 1]
    assert set(feeds[0]) == set(EVERY_INPUT)


def test_probe_sentences_mix_lengths() -> None:
    words = [len(sentence.split()) for sentence in PROBE_SENTENCES]
    assert min(words) == 1
    assert max(words) > 64
    assert len(set(PROBE_SENTENCES)) == len(PROBE_SENTENCES) == 32


def test_a_model_without_config_is_fed_carefully() -> None:
    ranges = ranges_of({}, ("input_ids",))
    feeds = random_feeds(ranges)
    assert max(feed["input_ids"].max() for feed in feeds) < 100
    assert {name for feed in feeds for name in feed} == {"input_ids"}

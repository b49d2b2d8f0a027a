"""Padding policies, seeds, facts of the batches, and real text through a tokenizer."""

import collections
import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchkit.bench.inputs import (
    GRID,
    Tokenizing,
    input_facts,
    make_batches,
    open_tokenizer,
    padded_length,
)
from benchkit.bench.workload import PADDINGS, InputFacts, Text, Workload
from benchkit.core.errors import BenchkitError

SINGLE: tuple[Text, ...] = tuple((" ".join(["good"] * n), None) for n in (1, 2, 3, 5, 9, 30))
PAIRS: tuple[Text, ...] = (("a film", "very good"), ("this movie is bad", "not"), ("good " * 12, "bad"))

workloads = st.builds(
    Workload,
    batch_size=st.integers(1, 5),
    sequence_length=st.integers(1, 70),
    padding=st.sampled_from(PADDINGS),
    lengths=st.lists(st.integers(1, 90), max_size=12).map(tuple),
    vocabulary_size=st.sampled_from([1, 2, 19, 100, 2000, 2001, 30522]),
    seed=st.integers(0, 3),
    count=st.integers(1, 5),
)


def padded(workload: Workload, padding: str) -> int:
    return sum(batch.padded_tokens for batch in make_batches(dataclasses.replace(workload, padding=padding)))


def examples(workload: Workload) -> collections.Counter[int]:
    return collections.Counter(length for batch in make_batches(workload) for length in batch.lengths)


@given(workloads)
def test_feeds_are_what_the_facts_say(workload: Workload) -> None:
    batches = make_batches(workload)
    assert len(batches) == workload.count
    for batch in batches:
        shape = (workload.batch_size, batch.feed["input_ids"].shape[1])
        for array in batch.feed.values():
            assert array.shape == shape
            assert array.dtype == np.int64
        mask = batch.feed["attention_mask"]
        # Padded on the right: each row is ones, then zeros.
        assert mask.tolist() == [[1] * length + [0] * (shape[1] - length) for length in batch.lengths]
        assert batch.tokens == mask.sum() == sum(batch.lengths)
        assert batch.padded_tokens == mask.size
        assert not batch.feed["token_type_ids"].any()
        assert (batch.feed["position_ids"] == np.arange(shape[1])).all()


@given(workloads)
def test_ids_are_valid_and_special_ones_stand_at_the_ends(workload: Workload) -> None:
    for batch in make_batches(workload):
        for ids, length in zip(batch.feed["input_ids"], batch.lengths, strict=True):
            assert ids.min() >= 0
            assert ids.max() < workload.vocabulary_size
            assert not ids[length:].any()
            if workload.vocabulary_size > 2000:
                assert ids[0] == 101
                assert length == 1 or ids[length - 1] == 102
                assert (ids[1 : length - 1] >= 1000).all()


@given(workloads)
def test_waste_is_a_share(workload: Workload) -> None:
    assert 0 <= input_facts(make_batches(workload)).padding_waste < 1


@given(workloads)
def test_policies_feed_the_same_examples_in_ever_fewer_tokens(workload: Workload) -> None:
    assert len({tuple(sorted(examples(dataclasses.replace(workload, padding=name)).items())) for name in PADDINGS}) == 1
    assert padded(workload, "bucketed") <= padded(workload, "longest") <= padded(workload, "grid")
    assert padded(workload, "grid") <= padded(workload, "max")


@given(workloads)
def test_widths_follow_the_policy(workload: Workload) -> None:
    for batch in make_batches(workload):
        width, longest, limit = batch.feed["input_ids"].shape[1], max(batch.lengths), workload.sequence_length
        assert limit is not None
        match workload.padding:
            case "max":
                assert width == limit
            case "grid":
                assert width == min(limit, next(step for step in GRID if step >= longest))
            case _:
                assert width == longest


@given(workloads)
def test_a_seed_reproduces(workload: Workload) -> None:
    first, again = make_batches(workload), make_batches(Workload.from_json(dataclasses.asdict(workload)))
    for one, other in zip(first, again, strict=True):
        assert one.lengths == other.lengths
        np.testing.assert_array_equal(one.feed["input_ids"], other.feed["input_ids"])


@given(workloads)
def test_workload_and_facts_survive_json(workload: Workload) -> None:
    assert Workload.from_json(json.loads(json.dumps(dataclasses.asdict(workload)))) == workload
    facts = input_facts(make_batches(workload))
    assert InputFacts.from_json(json.loads(json.dumps(dataclasses.asdict(facts)))) == facts


@pytest.mark.parametrize("padding", PADDINGS)
def test_one_fixed_length_needs_no_padding(padding: str) -> None:
    batches = make_batches(Workload(batch_size=3, sequence_length=33, padding=padding, count=2))  # type: ignore[arg-type]
    assert {batch.feed["input_ids"].shape for batch in batches} == {(3, 33)}
    assert input_facts(batches).padding_waste == 0


def test_another_seed_gives_other_ids_and_batches_are_distinct() -> None:
    workload = Workload(batch_size=2, sequence_length=16, vocabulary_size=30522, count=32)
    one, other = make_batches(workload), make_batches(dataclasses.replace(workload, seed=1))
    assert len({batch.feed["input_ids"].tobytes() for batch in (*one, *other)}) == 64


def test_every_length_is_drawn_equally_often() -> None:
    workload = Workload(batch_size=4, sequence_length=None, padding="longest", lengths=(3, 5, 7), count=6)
    assert examples(workload) == {3: 8, 5: 8, 7: 8}


def test_what_is_cut_off_is_counted() -> None:
    lengths = (3, 10, 11, 12)
    batches = make_batches(Workload(batch_size=4, sequence_length=10, padding="longest", lengths=lengths, count=2))
    assert [batch.truncated for batch in batches] == [2, 2]
    assert input_facts(batches).truncated == 4
    assert input_facts(batches).longest == 10


def test_buckets_are_neighbours_in_random_order() -> None:
    workload = Workload(
        batch_size=4, sequence_length=64, padding="bucketed", lengths=tuple(range(1, 65)), seed=5, count=16
    )
    batches = make_batches(workload)
    assert all(max(batch.lengths) - min(batch.lengths) == 3 for batch in batches)
    longest = [max(batch.lengths) for batch in batches]
    assert longest not in (sorted(longest), sorted(longest, reverse=True))
    assert input_facts(batches).shapes == 16


@pytest.mark.parametrize(
    ("longest", "limit", "width"),
    [(1, None, 16), (16, None, 16), (17, None, 32), (512, None, 512), (513, None, 1024), (20, 24, 24), (600, 700, 700)],
)
def test_grid(longest: int, limit: int | None, width: int) -> None:
    assert padded_length("grid", longest, limit) == width


def test_facts_by_hand() -> None:
    workload = Workload(batch_size=1, sequence_length=8, padding="max", lengths=(2, 4, 6), count=3)
    facts = input_facts(make_batches(workload))
    assert sorted(facts.tokens) == [2, 4, 6]
    assert facts.padded_tokens == (8, 8, 8)
    assert (facts.examples, facts.shapes, facts.shortest, facts.longest) == (3, 1, 2, 6)
    assert facts.mean_length == 4
    assert facts.padding_waste == pytest.approx(0.5)


@given(calls=st.integers(0, 40), first=st.integers(0, 9), tokens=st.lists(st.integers(1, 9), min_size=1, max_size=7))
def test_tokens_of_a_window_are_those_of_its_calls(calls: int, first: int, tokens: list[int]) -> None:
    n = len(tokens)
    facts = InputFacts(
        tokens=tuple(tokens), padded_tokens=(9,) * n, examples=n, truncated=0, shapes=1, shortest=1, longest=9
    )
    assert facts.tokens_in(calls, first=first) == sum(tokens[(first + call) % n] for call in range(calls))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"batch_size": 0}, "at least 1"),
        ({"lengths": (3, 0)}, "at least 1"),
        ({"sequence_length": 0}, "at least 1"),
        ({"padding": "longst"}, "one of max, longest, bucketed, grid"),
        ({"sequence_length": None}, "lengths or texts"),
        ({"sequence_length": None, "lengths": (3,)}, "to pad to"),
        ({"texts": SINGLE}, "tokenizer"),
        ({"texts": (*SINGLE, *PAIRS), "tokenizer": "."}, "all single or all pairs"),
    ],
)
def test_what_cannot_be_made_is_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Workload(**({"batch_size": 1, "sequence_length": 8} | wrong))  # type: ignore[arg-type]


def test_one_length_has_no_padding() -> None:
    feeds = [batch.feed for batch in make_batches(Workload(batch_size=2, sequence_length=9))]
    assert len(feeds) == 8
    assert all(feed["attention_mask"].all() and feed["input_ids"].shape == (2, 9) for feed in feeds)


def test_the_tokenizer_is_not_imported_for_random_ids() -> None:
    code = (
        "import sys\nfrom benchkit.bench.inputs import *\n"
        "make_batches(Workload(batch_size=1, sequence_length=8, lengths=(3, 4)))\n"
        "print(sorted({'tokenizers', 'pydantic', 'scipy', 'psutil'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "bad", "good", "film", "is", "movie", "not", "very"]
    (tmp_path / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    return tmp_path


@pytest.fixture(autouse=True)
def _keep_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")  # `open_tokenizer` sets it for the whole process.


def of_texts(folder: Path, texts: tuple[Text, ...], **others: object) -> Workload:
    settings = {"batch_size": 2, "sequence_length": 16, "padding": "longest", "count": 6} | others
    return Workload(texts=texts, tokenizer=str(folder), **settings)  # type: ignore[arg-type]


def opened(workload: Workload) -> Tokenizing:
    return open_tokenizer(workload.tokenizer or "", workload.sequence_length, workload.padding)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("texts", [SINGLE, PAIRS])
def test_texts_and_feeds_hold_the_same_examples(tokenizer: Path, texts: tuple[Text, ...], padding: str) -> None:
    workload = of_texts(tokenizer, texts, padding=padding)
    tokenizing = opened(workload)
    batches, texts_by_batch = make_batches(workload), tokenizing.text_batches(workload)
    assert len(batches) == len(texts_by_batch) == 6
    for batch, of_batch in zip(batches, texts_by_batch, strict=True):
        feed = tokenizing.encode(of_batch)
        assert feed.keys() == {"input_ids", "attention_mask", "token_type_ids", "position_ids"}
        for name, array in feed.items():
            np.testing.assert_array_equal(array, batch.feed[name])
        assert batch.tokens == feed["attention_mask"].sum()


def test_real_ids_of_real_texts(tokenizer: Path) -> None:
    workload = of_texts(tokenizer, (("a good film", "not bad"),), batch_size=1, padding="max", count=1)
    feed = make_batches(workload)[0].feed
    assert feed["input_ids"].tolist() == [[2, 5, 7, 8, 3, 11, 6, 3] + [0] * 8]
    assert feed["token_type_ids"].tolist() == [[0] * 5 + [1] * 3 + [0] * 8]
    assert feed["attention_mask"].tolist() == [[1] * 8 + [0] * 8]


def test_texts_and_their_lengths_make_the_same_shapes(tokenizer: Path) -> None:
    real = of_texts(tokenizer, SINGLE, padding="bucketed")
    lengths = tuple(min(16, len(first.split()) + 2) for first, _ in SINGLE)
    drawn = dataclasses.replace(real, texts=(), lengths=lengths)
    one, other = make_batches(real), make_batches(drawn)
    assert [batch.lengths for batch in one] == [batch.lengths for batch in other]
    assert input_facts(one).truncated == 2  # The text of 32 tokens is drawn twice in 12 examples of 6 texts.


def test_the_file_may_be_named_instead_of_its_folder(tokenizer: Path) -> None:
    from tokenizers import BertWordPieceTokenizer

    BertWordPieceTokenizer(str(tokenizer / "vocab.txt")).save(str(tokenizer / "tokenizer.json"))
    feeds = [open_tokenizer(path, 16).encode(SINGLE) for path in (tokenizer / "tokenizer.json", tokenizer)]
    np.testing.assert_array_equal(feeds[0]["input_ids"], feeds[1]["input_ids"])


def test_the_limit_of_the_model_holds(tokenizer: Path) -> None:
    with pytest.raises(BenchkitError, match="neither a sequence length nor") as missing:
        open_tokenizer(tokenizer, None)
    assert "--sequence-length" in missing.value.remedy
    (tokenizer / "config.json").write_text('{"max_position_embeddings": 12}', encoding="utf-8")
    assert open_tokenizer(tokenizer, None).max_length == 12
    with pytest.raises(BenchkitError, match="16 is longer than the 12 positions"):
        open_tokenizer(tokenizer, 16)


def test_a_folder_without_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(BenchkitError, match="no tokenizer in"):
        make_batches(of_texts(tmp_path, SINGLE))

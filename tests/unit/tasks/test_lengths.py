"""Seeded draws of a task's texts, and how long they are to a tokenizer."""

from pathlib import Path

import pytest

from benchkit.core.errors import BenchkitError
from benchkit.tasks.lengths import Drawn, lengths_to, texts_for
from benchkit.tasks.table import TASKS
from benchkit.tasks.tokenization import load_tokenizer


def draw_lengths(
    name: str, data: Path, folder: Path | None, *, max_length: int | None = None, count: int = 512, seed: int = 0
) -> Drawn:
    return lengths_to(texts_for(TASKS[name], data, count=count, seed=seed), folder, max_length=max_length)


WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "a",
    "bad",
    "good",
    "film",
    "is",
    "movie",
    "not",
    "very",
    ".",
    "!",
]


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    (tmp_path / "config.json").write_text('{"max_position_embeddings": 40, "vocab_size": 15}', encoding="utf-8")
    return tmp_path


@pytest.fixture
def rte(tmp_path: Path) -> Path:
    """Two pairs, the second of five words in all."""
    (tmp_path / "RTE").mkdir()
    rows = (
        "index\tsentence1\tsentence2\tlabel\n0\ta film\tgood\tentailment\n1\tvery very bad\tnot good\tnot_entailment\n"
    )
    (tmp_path / "RTE" / "dev.tsv").write_text(rows, encoding="utf-8")
    return tmp_path


def test_draws_are_seeded_without_replacement_and_of_the_dev_split(tiny_sst2: Path) -> None:
    rows = (tiny_sst2 / "SST-2" / "dev.tsv").read_text(encoding="utf-8").splitlines()[1:]
    dev = sorted(row.split("\t")[0] for row in rows)
    whole = texts_for(TASKS["sst2"], tiny_sst2, count=99, seed=0).texts
    assert sorted(first for first, _ in whole) == dev
    assert {second for _, second in whole} == {None}
    drawn = [texts_for(TASKS["sst2"], tiny_sst2, count=5, seed=seed).texts for seed in (0, 0, 1)]
    assert len(drawn[0]) == 5
    assert drawn[0] == drawn[1] != drawn[2]


def test_pairs(rte: Path, tokenizer: Path) -> None:
    drawn = draw_lengths("rte", rte, tokenizer, max_length=16, count=8, seed=0)
    assert set(zip(drawn.texts, drawn.lengths, strict=True)) == {
        (("a film", "good"), 6),
        (("very very bad", "not good"), 8),
    }
    assert (drawn.source, drawn.truncated, drawn.max_length) == ("RTE/dev.tsv", 0, 16)


def test_lengths_are_cut_and_counted(tiny_sst2: Path, tokenizer: Path) -> None:
    free = draw_lengths("sst2", tiny_sst2, tokenizer, count=20, seed=3)
    assert free.max_length == 40  # The model's positions.
    cut = draw_lengths("sst2", tiny_sst2, tokenizer, max_length=7, count=20, seed=3)
    assert cut.texts == free.texts
    assert cut.lengths == tuple(min(7, length) for length in free.lengths)
    assert cut.truncated == sum(length > 7 for length in free.lengths) > 0
    assert draw_lengths("sst2", tiny_sst2, tokenizer, max_length=128, count=20, seed=3).max_length == 40


def test_lengths_are_those_that_scoring_sees(tiny_sst2: Path, tokenizer: Path) -> None:
    texts = texts_for(TASKS["sst2"], tiny_sst2, count=20, seed=0)
    encoded = load_tokenizer(tokenizer).encode([first for first, _ in texts.texts], None, max_length=9)
    assert list(lengths_to(texts, tokenizer, max_length=9).lengths) == encoded.lengths().tolist()


def test_a_bare_file_has_no_tokenizer(tiny_sst2: Path, tmp_path: Path) -> None:
    with pytest.raises(BenchkitError, match="bare model file has no tokenizer") as error:
        draw_lengths("sst2", tiny_sst2, None)
    assert "tokenizer.json" in error.value.remedy
    with pytest.raises(BenchkitError, match="no tokenizer in"):
        draw_lengths("sst2", tiny_sst2, tmp_path)


def test_a_limit_must_be_known(tiny_sst2: Path, tokenizer: Path) -> None:
    (tokenizer / "config.json").unlink()
    with pytest.raises(BenchkitError, match="neither a length nor the config"):
        draw_lengths("sst2", tiny_sst2, tokenizer)


@pytest.mark.real_data
def test_real_sst2_is_short(glue: Path) -> None:
    texts = texts_for(TASKS["sst2"], glue, count=512, seed=0).texts
    assert len(set(texts)) == 512
    assert 15 < sum(len(first.split()) for first, _ in texts) / 512 < 25

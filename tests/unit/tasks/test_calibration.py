from pathlib import Path

import pytest

from benchkit.core.errors import BenchkitError
from benchkit.core.recipes import SplitRecipe
from benchkit.tasks.calibration import calibration_for, calibration_from_file
from benchkit.tasks.readers import read_split
from benchkit.tasks.splits import carve
from benchkit.tasks.table import task_named

SST2 = task_named("sst2")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """An SST-2 of 100 sentences to train on, 10 of which stand in dev too, in other case and spacing."""
    (tmp_path / "SST-2").mkdir()
    rows = [f"sentence number {n}\t{n % 2}" for n in range(100)]
    (tmp_path / "SST-2" / "train.tsv").write_text("sentence\tlabel\n" + "\n".join(rows) + "\n", encoding="utf-8")
    rows = [f"Sentence  number {n} \t{n % 2}" for n in range(0, 100, 10)]
    (tmp_path / "SST-2" / "dev.tsv").write_text("sentence\tlabel\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return tmp_path


def text_file(tmp_path: Path, *lines: str, name: str = "texts.txt") -> Path:
    path = tmp_path / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_texts_come_from_the_unlabelled_part_and_never_from_dev(data: Path) -> None:
    splits = SplitRecipe(unlabelled=0.5, seed=3)
    parts = carve(read_split(SST2, "train", data), splits)
    found = calibration_for(SST2, data, splits, count=100)
    in_dev = {f"sentence number {n}" for n in range(0, 100, 10)}
    assert set(found.first) == set(parts.unlabelled.first) - in_dev
    assert set(parts.unlabelled.first) & in_dev, "the draw must have had something to leave out"
    assert not set(found.first) & (set(parts.train.first) | set(parts.validation.first))
    assert (found.second, found.source) == (None, "SST-2/train.tsv, unlabelled part")
    assert found.sha256 == parts.unlabelled.sha256


def test_the_seed_decides_and_the_digest_tells(data: Path) -> None:
    splits = SplitRecipe(unlabelled=0.5)
    first, again, other = (calibration_for(SST2, data, splits, count=8, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert len(first) == 8
    assert first.first != other.first
    assert first.digest != other.digest


def test_pairs(glue: Path) -> None:
    found = calibration_for(task_named("mrpc"), glue, SplitRecipe(), count=5)
    assert found.second is not None
    assert len(found.first) == len(found.second) == len(found) == 5


@pytest.mark.real_data
def test_real_dev_sentences_are_left_out(glue: Path) -> None:
    """SST-2's train file holds phrases, some of which are whole sentences of dev."""
    found = calibration_for(SST2, glue, SplitRecipe(), count=3000)
    dev = {" ".join(text.casefold().split()) for text in read_split(SST2, "validation", glue).first}
    assert not dev & {" ".join(text.casefold().split()) for text in found.first}


def test_a_file_of_texts(tmp_path: Path) -> None:
    found = calibration_from_file(text_file(tmp_path, "one", "", "two ", "three"), count=2)
    assert len(found) == 2
    assert set(found.first) < {"one", "two ", "three"}
    assert found.source == "texts.txt"
    pairs = calibration_from_file(text_file(tmp_path, "a\tb", "c\td", name="pairs.txt"))
    assert (pairs.first, pairs.second) == (("a", "c"), ("b", "d"))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ((), "holds no text"),
        (("", "  "), "holds no text"),
        (("one", "two\tthree"), "text 2 has 2 parts, and the first has 1"),
        (("a\tb\tc",), "text 1 has 3 parts"),
    ],
)
def test_files_that_do_not_serve(lines: tuple[str, ...], message: str, tmp_path: Path) -> None:
    with pytest.raises(BenchkitError, match=message):
        calibration_from_file(text_file(tmp_path, *lines))


def test_what_is_scored_on_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(BenchkitError, match="looks like a split that scores are made on"):
        calibration_from_file(data / "SST-2" / "dev.tsv")
    texts = text_file(tmp_path, "sentence number 7", "SENTENCE number  20", "sentence number 30")
    with pytest.raises(BenchkitError, match=r"2 of the 3 texts .* validation split of 'sst2'"):
        calibration_from_file(texts, task=SST2, data=data)
    assert len(calibration_from_file(texts)) == 3, "without a task nobody can know"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(BenchkitError, match="cannot read"):
        calibration_from_file(tmp_path / "none.txt")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(BenchkitError, match="is no UTF-8 text"):
        calibration_from_file(tmp_path / "latin.txt")

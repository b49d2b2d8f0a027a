"""Every format of a data file, whole and in chunks: what is tolerated, and each error with its place."""

import json
import sys
import tracemalloc
from pathlib import Path

import pytest

from benchkit.core.errors import BenchkitError, EnvironmentLacks
from benchkit.tasks.formats import columns_of
from benchkit.tasks.own import Columns, task_from
from benchkit.tasks.readers import Examples, read_split, stream_split

PAIR = Columns(text="question", second_text="answer", label="label", labels=("no", "yes"))
ONE = Columns(text="text", labels=("no", "yes"))


def read(path: Path, content: str | bytes, columns: Columns = ONE) -> Examples:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_split(task_from(str(path), columns=columns), "validation", Path("not looked at"))


def refused(path: Path, content: str | bytes, columns: Columns = ONE) -> BenchkitError:
    with pytest.raises(BenchkitError) as caught:
        read(path, content, columns)
    assert caught.value.remedy
    return caught.value


def test_csv_has_the_usual_quoting(tmp_path: Path) -> None:
    content = '\ufefflabel,text,more\r\nyes,"a, ""b""\r\nand\n\nmore",1\r\n\r\nno,,2\r\nyes, c ,3'
    examples = read(tmp_path / "reviews.csv", content)
    assert examples.first == ('a, "b"\r\nand\n\nmore', "", " c ")
    assert examples.labels == (1, 0, 1)
    assert (examples.task, examples.source, examples.second) == ("reviews", "reviews.csv", None)


def test_tsv_is_quoted_too_and_holds_long_fields(tmp_path: Path) -> None:
    long = "very long \u2028 " * 30_000
    examples = read(tmp_path / "r.tsv", f'question\tanswer\tlabel\n"tab\there"\t{long}\tyes\n', PAIR)
    assert examples.first == ("tab\there",)
    assert examples.second == (long,)


def test_jsonl_goes_by_keys(tmp_path: Path) -> None:
    lines = [{"label": "yes", "text": "a\n\u2028b"}, {"text": "", "label": "no", "more": [1]}]
    content = "\ufeff" + "\r\n".join(json.dumps(line) for line in lines) + "\n\n"
    examples = read(tmp_path / "r.jsonl", content)
    assert (examples.first, examples.labels) == (("a\n\u2028b", ""), (1, 0))


@pytest.mark.parametrize(
    ("value", "label"), [(1, "1"), (1.0, "1"), (True, "true"), ("1", "1"), (0.5, "0.5"), (None, "")]
)
def test_labels_that_are_no_text_are_read_as_they_would_be_written(tmp_path: Path, value: object, label: str) -> None:
    columns = Columns(text="text", labels=("1", "true", "0.5", "other"))
    content = json.dumps({"text": "a", "label": value})
    if label:
        assert read(tmp_path / "r.jsonl", content, columns).labels == (columns.labels.index(label),)
    else:
        assert "r.jsonl:1: label '' is not one of" in str(refused(tmp_path / "r.jsonl", content, columns))


def test_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pyarrow.table({"label": [1, 0, 1], "text": ["a\n", "", "ü"], "unused": [None] * 3})
    parquet.write_table(table, tmp_path / "r.parquet", row_group_size=2)
    task = task_from(str(tmp_path / "r.parquet"), columns=ONE)
    examples = read_split(task, "validation", tmp_path)
    assert (examples.first, examples.labels) == (("a\n", "", "ü"), (1, 0, 1))
    parquet.write_table(pyarrow.table({"label": [1, 0], "text": ["a", None]}), tmp_path / "r.parquet")
    with pytest.raises(BenchkitError, match=r"r\.parquet: row 2: 'text' is null: the text is missing"):
        read_split(task, "validation", tmp_path)
    (tmp_path / "r.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(BenchkitError, match="not a readable Parquet file"):
        read_split(task, "validation", tmp_path)


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "r.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(EnvironmentLacks) as caught:
        columns_of(tmp_path / "r.parquet", "parquet")
    assert "benchkit[parquet]" in caught.value.remedy


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("r.csv", "", "r.csv:1: no examples"),
        ("r.csv", "text,label\n", "r.csv:1: no examples"),
        ("r.csv", "txt,label\na,yes\n", "r.csv:1: no column 'text' in the header: txt, label"),
        ("r.csv", "text,label,text\na,yes,b\n", "column 'text' occurs more than once"),
        ("r.csv", "text,label\na,yes\nb\n", "r.csv:3: 1 columns where 2 belong"),
        ("r.csv", 'text,label\n"a\nb",yes\nc,maybe\n', "r.csv:4: label 'maybe' is not one of no, yes"),
        ("r.csv", 'text,label\na,yes\n"open,yes\nb,no\n', "r.csv:3: unexpected end of data"),
        ("r.csv", "text,label\ra,yes\r", "r.csv:1: new-line character"),
        ("r.csv", b"text,label\na,yes\n\xff,no\n", "r.csv:3: not UTF-8: byte 0xff"),
        ("r.csv", "text,label\n".encode("utf-16"), "r.csv:1: not UTF-8: byte 0xff"),
        ("r.jsonl", "", "r.jsonl:1: no examples"),
        ("r.jsonl", '{"text": "a", "label": "yes"}\n{"text": \n', "r.jsonl:2: not JSON"),
        ("r.jsonl", '{"text": "a", "label": "yes"}\n[1]\n', "r.jsonl:2: not an object: [1]"),
        ("r.jsonl", '{"text": "a", "label": "yes"}\n\n{"label": "no"}\n', "r.jsonl:3: no key 'text'"),
        ("r.jsonl", '{"text": null, "label": "yes"}\n', "r.jsonl:1: 'text' is null: the text is missing"),
        ("r.jsonl", '{"text": 5, "label": "yes"}\n', "r.jsonl:1: 'text' is '5', which is no text"),
        ("r.jsonl", '{"text": "\\ud83d", "label": "yes"}\n', "r.jsonl:1: 'text' holds half a surrogate pair"),
        ("r.jsonl", "[" * 100_000, "r.jsonl:1: not JSON"),
    ],
)
def test_errors_name_the_place(tmp_path: Path, name: str, content: str | bytes, said: str) -> None:
    assert said in str(refused(tmp_path / name, content))


def test_the_nearest_column_is_named(tmp_path: Path) -> None:
    assert "did you mean 'txt'?" in refused(tmp_path / "r.csv", "txt,label\na,yes\n").remedy


@pytest.mark.parametrize("label", ["high", "", "nan", "inf", "true"])
def test_a_regression_whose_label_is_no_number(tmp_path: Path, label: str) -> None:
    columns = Columns(text="text", kind="regression")
    error = refused(tmp_path / "r.csv", f"text,label\na,-3e4\nb,{label}\n", columns)
    assert f"r.csv:3: label '{label}' is not a number" in str(error)


def test_chunks_join_to_the_whole(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    whole = read(path, "text,label\n" + "".join(f"t{n},{'yes' if n % 3 else 'no'}\n" for n in range(10)))
    chunks = list(stream_split(task_from(str(path), columns=ONE), "validation", tmp_path, rows=4))
    assert [len(chunk) for chunk in chunks] == [4, 4, 2]
    assert tuple(text for chunk in chunks for text in chunk.first) == whole.first
    assert tuple(label for chunk in chunks for label in chunk.labels or ()) == whole.labels
    assert {chunk.sha256 for chunk in chunks} == {whole.sha256}


@pytest.mark.parametrize("name", ["r.csv", "r.tsv", "r.jsonl", "r.parquet"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, name: str) -> None:
    """50,000 rows of 400 characters are 20 MB; a chunk of them is 200 kB."""
    path, rows, text = tmp_path / name, 50_000, "x" * 400
    if name == "r.parquet":
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        # Distinct texts, so that no dictionary makes them small.
        texts = [f"{number:0400}" for number in range(rows)]
        parquet.write_table(pyarrow.table({"text": texts, "label": ["yes"] * rows}), path, row_group_size=2500)
    elif name == "r.jsonl":
        path.write_text(f'{{"text": "{text}", "label": "yes"}}\n' * rows)
    else:
        separator = "," if name == "r.csv" else "\t"
        path.write_text(f"text{separator}label\n" + f"{text}{separator}yes\n" * rows)
    task = task_from(str(path), columns=ONE)
    tracemalloc.start()
    try:
        seen = sum(len(chunk) for chunk in stream_split(task, "validation", tmp_path, rows=500))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert seen == rows
    assert peak_bytes < 4_000_000

from pathlib import Path

import datasets
import pytest

from benchkit.core.errors import BenchkitError, EnvironmentLacks
from benchkit.tasks.readers import read_split
from benchkit.tasks.table import TASKS, task_named
from benchkit.train.hub_data import fetch_glue

COLUMNS = {"sst2": ("sentence",), "cola": ("sentence",), "qqp": ("question1", "question2")}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, str]]:
    """A hub that answers every GLUE task with three rows, and a log of what was asked."""
    asked = []

    def load_dataset(repository: str, name: str, *, split: str):
        asked.append((repository, name, split))
        pair = ("premise", "hypothesis")
        other = {"mnli": pair, "ax": pair, "qnli": ("question", "sentence")}.get(name)
        columns = COLUMNS.get(name) or other or ("sentence1", "sentence2")
        labels = [0.0, 2.5, 5.0] if name == "stsb" else [0, 1, len(TASKS[name].labels) - 1]
        if split.startswith("test") and name != "mrpc":  # Of MRPC the hub knows the labels of the test set.
            labels = [-1] * 3
        return [
            {**{column: f'{column} "{n}"\twith\na break' for column in columns}, "label": label, "idx": n}
            for n, label in enumerate(labels)
        ]

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return asked


@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if task.origin == "glue"])
def test_what_the_hub_gives_reads_back(name: str, hub, tmp_path: Path) -> None:
    task = task_named(name)
    fetch_glue([task], out=tmp_path)
    for split in task.layout.files:
        if (name, split) == ("ax", "validation"):
            continue  # The hub does not have the labelled diagnostics.
        examples = read_split(task, split, tmp_path)
        assert len(examples) == 3
        if split.startswith("test") and name != "mrpc":
            assert examples.labels is None
            continue
        assert examples.labels[0] == 0
        assert examples.labels[2] == (5.0 if task.is_regression else len(task.labels) - 1)
        assert examples.first[1].endswith('"1" with a break')
        assert (examples.second is not None) == task.pair
    assert {repository for repository, _, _ in hub} == {"nyu-mll/glue"}


def test_mnli_has_both_halves_and_ax_its_only_split(hub, tmp_path: Path) -> None:
    fetch_glue([task_named("mnli"), task_named("ax")], out=tmp_path)
    assert [(name, split) for _, name, split in hub] == [
        ("mnli", "train"),
        ("mnli", "validation_matched"),
        ("mnli", "validation_mismatched"),
        ("mnli", "test_matched"),
        ("mnli", "test_mismatched"),
        ("ax", "test"),
    ]
    assert sorted(path.name for path in (tmp_path / "AX").iterdir()) == ["AX.tsv"]


def test_files_are_laid_out_as_the_original_ones(hub, tmp_path: Path) -> None:
    fetch_glue([task_named("cola"), task_named("sst2")], out=tmp_path)
    assert (tmp_path / "CoLA" / "train.tsv").read_text().startswith("\t0\t\tsentence")
    assert (tmp_path / "CoLA" / "test.tsv").read_text().startswith("index\tsentence\n0\tsentence")
    assert (tmp_path / "SST-2" / "dev.tsv").read_text().startswith("sentence\tlabel\n")


def test_texts_keep_their_length(hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the official figures count is the bytes of the text: only what would end a line or column is replaced."""
    text = "a\tb\r\nc\u2028d\x85 \x0b"
    rows = [{"sentence": text, "label": 1}]
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: rows)
    fetch_glue([task_named("sst2")], out=tmp_path)
    for split in ("train", "test"):
        [read] = read_split(task_named("sst2"), split, tmp_path).first
        assert read == "a b  c\u2028d\x85 \x0b"


def test_an_unreachable_hub_names_the_way_round(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise ConnectionError("no route to the hub")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(EnvironmentLacks, match="no route to the hub") as caught:
        fetch_glue([task_named("rte")], out=tmp_path)
    assert "--data DIR" in caught.value.remedy


def test_toy_tasks_are_not_on_the_hub(tmp_path: Path) -> None:
    with pytest.raises(BenchkitError, match="toy-sentiment"):
        fetch_glue([task_named("toy-sentiment")], out=tmp_path)

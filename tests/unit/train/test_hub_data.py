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
        other = {"mnli": ("premise", "hypothesis"), "qnli": ("question", "sentence")}.get(name)
        columns = COLUMNS.get(name) or other or ("sentence1", "sentence2")
        labels = [0.0, 2.5, 5.0] if name == "stsb" else [0, 1, len(TASKS[name].labels) - 1]
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
    for split in ("train", "validation"):
        examples = read_split(task, split, tmp_path)
        assert len(examples) == 3
        assert examples.labels[0] == 0
        assert examples.labels[2] == (5.0 if task.is_regression else len(task.labels) - 1)
        assert examples.first[1].endswith('"1" with a break')
        assert (examples.second is not None) == task.pair
    assert {repository for repository, _, _ in hub} == {"nyu-mll/glue"}


def test_mnli_takes_the_matched_half(hub, tmp_path: Path) -> None:
    fetch_glue([task_named("mnli")], out=tmp_path)
    assert [split for _, _, split in hub] == ["train", "validation_matched"]


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

"""`benchkit data`: the table in each form, the exit codes, and a fetch that leaves nothing half done."""

import csv
import io
import json
from pathlib import Path

import pytest

from benchkit.cli.app import app
from benchkit.cli.boundary import guarded
from benchkit.core.errors import EnvironmentLacks
from benchkit.core.registry import STEPS


@pytest.fixture
def benchkit(capsys: pytest.CaptureFixture[str]):
    def run(*arguments: str) -> tuple[int, str, str]:
        err = io.StringIO()
        code = guarded(lambda: app(["data", *arguments], standalone_mode=False), err)
        captured = capsys.readouterr()
        return int(code), captured.out, captured.err + err.getvalue()

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "WNLI").mkdir()
    (tmp_path / "WNLI" / "dev.tsv").write_text("index\tsentence1\tsentence2\tlabel\n0\ta\tb\t1\n1\tc\td\t0\n")
    return tmp_path


def test_a_subset_is_told_and_not_failed(benchkit, folder: Path) -> None:
    code, out, _ = benchkit("check", str(folder))
    assert code == 0
    assert "WNLI/dev.tsv" in out
    assert "2 of 71 rows" in out
    assert "1 subset, 30 absent" in out


def test_an_altered_file_is_1(benchkit, folder: Path) -> None:
    with (folder / "WNLI" / "dev.tsv").open("a") as file:
        file.write("2\tone column is missing\t1\n")
    code, out, _ = benchkit("check", str(folder))
    assert code == 1
    assert "dev.tsv:4: 3 columns where 4 belong" in out


def test_a_folder_without_tasks_is_2(benchkit, tmp_path: Path) -> None:
    code, _, err = benchkit("check", str(tmp_path))
    assert code == 2
    assert "holds no file of a GLUE task" in err
    assert benchkit("check", str(tmp_path / "none"))[0] == 2


def test_each_form(benchkit, folder: Path) -> None:
    _, out, _ = benchkit("check", str(folder), "--format", "json")
    [row] = [row for row in json.loads(out)["rows"] if row["file"] == "WNLI/dev.tsv"]
    assert (row["rows"], row["official_rows"], row["said"]) == (2, 71, "2 of 71 rows")
    _, out, _ = benchkit("check", str(folder), "--format", "csv")
    [line] = [line for line in csv.DictReader(io.StringIO(out)) if line["file"] == "WNLI/dev.tsv"]
    assert (line["state"], line["rows"]) == ("subset", "2")
    assert "| WNLI/dev.tsv | 2 | 71 |" in benchkit("check", str(folder), "--format", "markdown")[1].replace("\\", "")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A step "glue-data" that writes a file for each task; "rte" is where the network ends."""
    asked: list[str] = []

    def fetch_glue(tasks, *, out: Path, progress) -> None:
        for task in tasks:
            asked.append(task.name)
            if task.name == "rte":
                raise EnvironmentLacks("the hub did not answer", remedy="--data DIR")
            (out / task.name).write_text("here")

    monkeypatch.setattr(STEPS, "get", {"glue-data": fetch_glue}.__getitem__)
    return asked


def test_fetch_writes_the_folder_whole(benchkit, hub: list[str], tmp_path: Path) -> None:
    code, out, _ = benchkit("fetch", "glue", "-o", str(tmp_path / "glue"), "--task", "sst2,mrpc,sst2", "-q")
    assert (code, out.strip(), hub) == (0, str(tmp_path / "glue"), ["sst2", "mrpc"])
    assert sorted(path.name for path in (tmp_path / "glue").iterdir()) == ["mrpc", "sst2"]


def test_a_fetch_that_fails_leaves_nothing(benchkit, hub: list[str], tmp_path: Path) -> None:
    code, _, err = benchkit("fetch", "glue", "-o", str(tmp_path / "glue"), "-q")
    assert code == 4
    assert "the hub did not answer" in err
    assert hub == ["cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte"]
    assert list(tmp_path.iterdir()) == []


def test_fetch_overwrites_nothing(benchkit, hub: list[str], folder: Path) -> None:
    code, _, err = benchkit("fetch", "glue", "-o", str(folder), "-q")
    assert (code, hub) == (2, [])
    assert "nothing in it is overwritten" in err
    assert (folder / "WNLI" / "dev.tsv").is_file()


def test_unknown_names_are_2(benchkit, tmp_path: Path) -> None:
    assert benchkit("fetch", "glue", "-o", str(tmp_path / "x"), "--task", "sst")[0] == 2
    assert benchkit("fetch", "superglue", "-o", str(tmp_path / "x"))[0] == 2

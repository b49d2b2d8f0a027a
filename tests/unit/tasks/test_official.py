"""Official, subset or altered: by digest, and by figures where only other columns or line ends differ."""

from pathlib import Path

import pytest

from benchkit.tasks import official
from benchkit.tasks.official import check_folder, state_of
from benchkit.tasks.official_figures import OFFICIAL, Figures
from benchkit.tasks.own import Columns, task_from
from benchkit.tasks.table import TASKS, task_named

SST2 = "sentence\tlabel\nfine\t1\ndull\t0\nso so\t0\n"
FIGURES = Figures(3, 13, {"negative": 2, "positive": 1}, sha256="f" * 64)


@pytest.fixture
def sst2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an SST-2 dev set of three rows, and official figures that fit it."""
    (tmp_path / "SST-2").mkdir()
    path = tmp_path / "SST-2" / "dev.tsv"
    path.write_text(SST2)
    monkeypatch.setitem(official.OFFICIAL, ("sst2", "validation"), FIGURES)
    return path


def found(path: Path):
    [state] = [one for one in check_folder(path.parents[1]) if one.file == "SST-2/dev.tsv"]
    return state


def test_every_split_of_glue_has_figures_that_fit_its_task() -> None:
    splits = {(task.name, split) for task in TASKS.values() if task.origin == "glue" for split in task.layout.files}
    assert set(OFFICIAL) == splits
    for (name, split), figures in OFFICIAL.items():
        task = TASKS[name]
        if figures.labels is not None:
            assert set(figures.labels) == set(task.labels)
            assert sum(figures.labels.values()) == figures.rows
        labelled = not split.startswith("test") and name != "ax"
        assert labelled == (figures.labels is not None or figures.score_sum is not None)


def test_complete_by_figures_whatever_the_line_ends(sst2: Path) -> None:
    assert found(sst2).state == "complete"
    sst2.write_bytes(SST2.replace("\n", "\r\n").encode())
    state = found(sst2)
    assert (state.state, state.rows, state.labels) == ("complete", 3, {"negative": 2, "positive": 1})
    assert "rows, labels and text" in state.said


@pytest.mark.parametrize(
    ("content", "state", "said"),
    [
        (SST2.replace("so so\t0\n", ""), "subset", "2 of 3 rows"),
        (SST2 + "more\t1\n", "altered", "4 rows, and the official file has 3"),
        (SST2.replace("dull\t0", "dull\t1"), "altered", "label 'negative' occurs 1 times, and officially 2"),
        (SST2.replace("dull", "grand"), "altered", "the sentences have 14 bytes, and officially 13"),
        (SST2.replace("dull\t0", "dull"), "altered", "SST-2/dev.tsv:3: 1 columns where 2 belong"),
        ("", "altered", "no examples"),
    ],
)
def test_subset_and_altered(sst2: Path, content: str, state: str, said: str) -> None:
    sst2.write_text(content)
    assert found(sst2).state == state
    assert said in found(sst2).said
    assert str(sst2.parent) not in found(sst2).said


def test_absent(sst2: Path) -> None:
    sst2.unlink()
    assert (found(sst2).state, found(sst2).rows, found(sst2).official_rows) == ("absent", None, 3)


def test_the_digest_decides_alone() -> None:
    task = task_named("sst2")
    sha256 = OFFICIAL["sst2", "validation"].sha256 or ""
    assert state_of(task, "validation", rows=872, labels=None, sha256=sha256).state == "complete"
    labels = {"negative": 428, "positive": 444}
    assert state_of(task, "validation", rows=872, labels=labels, sha256="").state == "complete"
    assert "not compared" in state_of(task, "validation", rows=872, labels=labels, sha256="").said
    assert state_of(task, "validation", rows=872, labels=labels, sha256="", text_bytes=1).state == "altered"
    state = state_of(task, "validation", rows=100, labels=labels, sha256="")
    assert (state.state, state.rows, state.official_rows) == ("subset", 100, 872)


def test_scores_are_held_against_their_sum() -> None:
    figures = OFFICIAL["stsb", "validation"]

    def state(score_sum: float) -> str:
        return state_of(
            task_named("stsb"),
            "validation",
            rows=1500,
            labels=None,
            sha256="",
            text_bytes=figures.text_bytes,
            score_sum=score_sum,
        ).state

    assert state(3545.86) == "complete"
    assert state(3547.0) == "altered"


def test_toy_and_own_tasks_are_unofficial(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("text,label\na,x\nb,y\n")
    own = task_from(str(tmp_path / "mine.csv"), columns=Columns(text="text"))
    for task in (own, task_named("toy-sentiment")):
        state = state_of(task, "validation", rows=2, labels=None, sha256="")
        assert (state.state, state.official_rows) == ("unofficial", None)


@pytest.mark.real_data
def test_the_real_files(glue: Path) -> None:
    by_file = {state.file: state for state in check_folder(glue)}
    for folder in ("CoLA", "SST-2", "MRPC", "STS-B", "RTE", "WNLI"):
        for file in ("train.tsv", "dev.tsv", "test.tsv"):
            assert by_file[f"{folder}/{file}"].state == "complete"
            assert by_file[f"{folder}/{file}"].said == "the official file, byte for byte"
    # All its other columns are n/a; texts and labels are the official ones.
    assert by_file["MNLI/dev_matched.tsv"].state == "complete"
    assert by_file["MNLI/dev_mismatched.tsv"].state == "subset"
    assert "tokenised" in by_file["MNLI/dev_mismatched.tsv"].said
    assert by_file["QQP/dev.tsv"].said.startswith("4,000 of 40,430 rows; a stand-in")
    assert by_file["AX/AX.tsv"].state == "complete"
    assert not any(state.state == "altered" for state in by_file.values())

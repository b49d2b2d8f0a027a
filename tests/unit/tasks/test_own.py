"""Tasks of one's own: what a task file says, what is taken from the data, and what is refused."""

from pathlib import Path

import pytest

from benchkit.core.errors import BenchkitError
from benchkit.tasks.metrics import METRICS
from benchkit.tasks.own import CORRELATIONS, Columns, task_from
from benchkit.tasks.readers import read_split
from benchkit.tasks.table import TASKS, Task, task_named

FILE = 'text = "text"\nlabel = "label"\ntrain = "train.csv"\nvalidation = "dev.jsonl"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.csv").write_text("text,label\nfine,good\ndull,bad\nso so,middling\n")
    (tmp_path / "dev.jsonl").write_text('{"text": "", "label": "good"}\n')
    return tmp_path


def task_of(folder: Path, content: str, name: str = "reviews.toml") -> Task:
    (folder / name).write_text(content)
    return task_named(str(folder / name))


def refused(folder: Path, content: str, name: str = "reviews.toml") -> BenchkitError:
    with pytest.raises(BenchkitError) as caught:
        task_of(folder, content, name)
    assert caught.value.remedy
    return caught.value


def test_a_task_file(folder: Path) -> None:
    task = task_of(folder, FILE)
    assert (task.name, task.origin, task.home, task.folder) == ("reviews", "own", folder, ".")
    assert task.labels == ("bad", "good", "middling")
    assert (task.metrics, task.pair) == (("accuracy",), False)
    assert read_split(task, "train", Path("elsewhere")).labels == (1, 0, 2)
    validation = read_split(task, "validation", Path("elsewhere"))  # Of another format than the train file.
    assert (validation.first, validation.labels, validation.source) == (("",), (1,), "dev.jsonl")


def test_paths_start_beside_the_file_that_names_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task_of(folder, FILE)
    assert task_named("reviews.toml", beside=folder).home == folder
    monkeypatch.chdir(folder)
    assert task_named("reviews.toml", beside=folder / "other").home == Path()
    assert len(read_split(task_named("reviews.toml"), "train", Path("elsewhere"))) == 3


def test_files_below_and_beside(folder: Path) -> None:
    (folder / "data").mkdir()
    (folder / "train.csv").rename(folder / "data" / "train.csv")
    task = task_of(folder, FILE.replace('"train.csv"', '"data/train.csv"'))
    assert read_split(task, "train", folder).source == "data/train.csv"


def test_a_regression_on_pairs(folder: Path) -> None:
    (folder / "dev.tsv").write_text("a\tb\tprice\nx\ty\t-12.5\nx\tz\t1000000\n")
    task = task_of(
        folder, 'kind = "regression"\ntext = "a"\nsecond_text = "b"\nlabel = "price"\nvalidation = "dev.tsv"\n'
    )
    assert (task.labels, task.outputs, task.metrics, task.pair) == ((), 1, CORRELATIONS, True)
    assert read_split(task, "validation", folder).labels == (-12.5, 1_000_000.0)


def test_labels_in_a_given_order_and_numbered_ones_with_names(folder: Path) -> None:
    assert task_of(folder, FILE + 'labels = ["middling", "bad", "good"]\n').labels[0] == "middling"
    (folder / "train.csv").write_text("text,label\nfine,1\ndull,0\n")
    (folder / "dev.jsonl").write_text('{"text": "", "label": 1}\n')
    task = task_of(folder, FILE + 'labels = ["bad", "good"]\n')
    assert read_split(task, "train", folder).labels == (1, 0)
    assert read_split(task, "validation", folder).labels == (1,)
    assert task_of(folder, FILE + "labels = [1, 0]\n").labels == ("1", "0")
    assert read_split(task_of(folder, FILE + "labels = [1, 0]\n"), "train", folder).labels == (0, 1)


def test_numbers_are_sorted_by_value(folder: Path) -> None:
    (folder / "train.csv").write_text("text,label\n" + "".join(f"t,{n}\n" for n in (10, 2, 1)))
    assert task_of(folder, FILE).labels == ("1", "2", "10")


def test_a_test_file_may_lack_labels(folder: Path) -> None:
    (folder / "test.csv").write_text("text\nnobody knows\n")
    task = task_of(folder, FILE + 'test = "test.csv"\n')
    assert read_split(task, "test", folder).labels is None


def test_labels_that_are_given_need_no_train_file(folder: Path) -> None:
    (folder / "train.csv").unlink()
    assert "the labels are to be read from it" in str(refused(folder, FILE))
    task = task_of(folder, FILE + 'labels = ["bad", "good"]\n')
    assert read_split(task, "validation", folder).labels == (1,)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (FILE + 'lables = ["a", "b"]\n', "unknown key 'lables'"),
        ('label = "label"\ntrain = "train.csv"\n', "key 'text' is missing"),
        ('text = "text"\nlabel = "label"\n', "names no data file"),
        (FILE.replace('"text"', '"txt"'), "train.csv:1: no column 'txt' in the header: text, label"),
        (FILE.replace('"train.csv"', '"train.txt"'), "train = 'train.txt' does not tell its format"),
        (FILE + 'labels = ["a", "b", "a"]\n', "label 'a' is repeated"),
        (FILE + 'labels = ["a"]\n', "needs two"),
        (FILE + 'labels = ["a", ""]\n', "empty"),
        (FILE + 'kind = "regression"\nlabels = ["a", "b"]\n', "a regression has no labels"),
        (FILE + 'metrics = ["acuracy"]\n', "unknown metric 'acuracy'"),
        (FILE + 'metrics = ["pearson"]\n', "metric 'pearson' does not fit a classification"),
        (FILE + 'metrics = ["f1"]\n', "that of the second of two labels, and there are 3"),
        (FILE + 'name = "SST2"\n', "'SST2' is the name of a task that benchkit knows"),
        (FILE + 'name = "../up"\n', "string should match pattern"),
    ],
)
def test_what_a_task_file_may_not_say(folder: Path, content: str, said: str) -> None:
    error = refused(folder, content)
    assert said in str(error)
    assert "reviews.toml" in str(error) or "train.csv" in str(error)


def test_a_file_called_like_a_task_of_the_table(folder: Path) -> None:
    assert "my-sst2" in refused(folder, FILE, "sst2.toml").remedy
    assert "toy-sentiment" in str(refused(folder, FILE, "toy-sentiment.toml"))


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("".join(f"t,{n}.5\n" for n in range(1001)), "train.csv:1002: column 'label' has more than 1,000 different"),
        ("t,a\nt,a\n", "every example has the label 'a'"),
        ("t,a\nt,\n", "train.csv:3: no label in column 'label'"),
        ("", "no examples"),
    ],
)
def test_labels_that_a_file_cannot_give(folder: Path, rows: str, said: str) -> None:
    (folder / "train.csv").write_text("text,label\n" + rows)
    error = refused(folder, FILE)
    assert said in str(error)
    assert ("regression" in error.remedy) == ("1,000" in said)


def test_a_data_file_and_its_columns(folder: Path) -> None:
    task = task_named(str(folder / "train.csv"), columns=Columns.from_flags("text"))
    assert (task.name, task.labels, task.layout.files) == (
        "train",
        ("bad", "good", "middling"),
        {"validation": "train.csv"},
    )
    with pytest.raises(BenchkitError, match="names no file for its train split") as caught:
        read_split(task, "train", folder)
    assert "task file" in caught.value.remedy
    (folder / "my data (2).csv").write_bytes((folder / "train.csv").read_bytes())
    assert task_from(str(folder / "my data (2).csv"), columns=Columns.from_flags("text")).name == "my-data-2"
    with pytest.raises(BenchkitError, match="has the columns text, label, and which of them"):
        task_named(str(folder / "train.csv"))
    with pytest.raises(BenchkitError, match="names its columns itself"):
        task_from(str(folder / "train.toml"), columns=task_of(folder, FILE, "train.toml") and Columns(text="text"))


def test_columns_from_flags() -> None:
    columns = Columns.from_flags("question, answer", "right", labels=("no", "yes"))
    assert (columns.text, columns.second_text, columns.label) == ("question", "answer", "right")
    for flag in ("", "a,", "a,b,c"):
        with pytest.raises(BenchkitError, match="--text-column"):
            Columns.from_flags(flag)


def test_names_that_are_neither(folder: Path) -> None:
    with pytest.raises(BenchkitError, match="unknown task 'sst'") as caught:
        task_named("sst")
    assert "sst2" in caught.value.remedy
    assert "reviews.toml" in caught.value.remedy
    with pytest.raises(BenchkitError, match="no file at"):
        task_named(str(folder / "none.toml"))
    with pytest.raises(BenchkitError, match="knows its own columns"):
        task_named("sst2", columns=Columns(text="text"))


def test_every_metric_is_for_labels_or_for_numbers() -> None:
    """The headline of a regression of the table is among those that an own regression may take."""
    assert set(CORRELATIONS) <= set(METRICS)
    for task in TASKS.values():
        assert all((metric in CORRELATIONS) == task.is_regression for metric in task.metrics)

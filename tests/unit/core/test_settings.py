from pathlib import Path

import pytest

from benchkit.core.errors import BenchkitError
from benchkit.core.settings import load_toml
from benchkit.pipeline.experiment import Experiment, load_experiment

GOOD = """\
name = "trial"
tasks = ["sst2"]

[encoder.small]
source = "org/small"

[train.tiny]
encoder = "small"
epochs = 2

[train.tiny.by_task.sst2]
epochs = 1

[[sweep]]
batch_size = [1, 8]
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "trial.toml"
    path.write_text(text)
    return path


def test_a_good_file_is_resolved(tmp_path: Path) -> None:
    experiment = load_toml(written(tmp_path, GOOD), Experiment)
    assert experiment.train["tiny"].for_task("sst2").epochs == 1
    assert experiment.train["tiny"].for_task("mrpc").epochs == 2
    assert experiment.sweep[0].matrix().batch_size == (1, 8)


@pytest.mark.parametrize(
    ("change", "problem", "fix"),
    [
        (
            ("epochs = 2", "epohcs = 2"),
            r"trial.toml:9: unknown key 'epohcs' in \[train.tiny\]",
            "did you mean 'epochs'",
        ),
        (
            ("epochs = 2", 'epochs = "two"'),
            r"trial.toml:9: 'epochs' in \[train.tiny\].*valid number.*got 'two'",
            "correct",
        ),
        (("epochs = 1", "epoch = 1"), r"trial.toml:12: unknown key 'epoch' in \[train.tiny.by_task.sst2\]", "'epochs'"),
        (("[[sweep]]", "[[sweeps]]"), r"trial.toml:14: unknown key 'sweeps'", "did you mean 'sweep'"),
        (("batch_size", "batchsize"), r"trial.toml:15: unknown key 'batchsize' in \[sweep\]", "'batch_size'"),
        (('encoder = "small"\n', ""), r"key 'encoder' is missing in \[train.tiny\]", "add 'encoder'"),
        (('encoder = "small"', 'encoder = "smal"'), r"names the encoder 'smal'", "correct"),
        (('name = "trial"', 'name = "../up"'), r"trial.toml:1: 'name'.*pattern", "correct"),
        (("epochs = 2", "epochs = -2"), r"trial.toml:9: 'epochs'.*greater than 0, got -2", "correct"),
        (('tasks = ["sst2"]', "tasks = ["), r"not valid TOML", "mend"),
    ],
)
def test_a_mistake_names_file_line_and_the_nearest_key(
    tmp_path: Path, change: tuple[str, str], problem: str, fix: str
) -> None:
    with pytest.raises(BenchkitError, match=problem) as caught:
        load_toml(written(tmp_path, GOOD.replace(*change)), Experiment)
    assert fix in caught.value.remedy


def test_an_unknown_task_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(BenchkitError, match="unknown task 'sts2'") as caught:
        load_toml(written(tmp_path, GOOD.replace('tasks = ["sst2"]', 'tasks = ["sts2"]')), Experiment)
    assert "did you mean" in caught.value.remedy


def test_overrides(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)
    experiment = load_experiment(path, ["train.tiny.epochs=5", "encoder.small.source=models/here", "precisions=[]"])
    assert experiment.train["tiny"].epochs == 5
    assert experiment.encoder["small"].source == "models/here"
    assert experiment.precisions == ()
    with pytest.raises(BenchkitError, match="unknown key 'epoch'"):
        load_experiment(path, ["train.tiny.epoch=5"])
    with pytest.raises(BenchkitError, match="has no '='"):
        load_experiment(path, ["train.tiny.epochs"])


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(BenchkitError, match="no file at"):
        load_toml(tmp_path / "none.toml", Experiment)

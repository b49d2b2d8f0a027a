import io
import json

import pytest

from benchkit.cli.app import app
from benchkit.cli.boundary import guarded
from benchkit.core.errors import BenchkitError, EnvironmentLacks, Exit
from benchkit.core.manifest import write_manifest
from benchkit.core.registry import STEPS

RECIPE = """
name = "pico"
encoder = "encoder"
task = ["sst2", "mrpc"]

[splits]
validation = 10
unlabelled = 5

[train]
threads = 1
"""


@pytest.fixture
def fail(monkeypatch) -> dict[str, BaseException]:
    """Stand in for the wing; what is put in here fails by its name."""
    failures: dict[str, BaseException] = {}

    def encoder(source, *, name, out, **_) -> None:
        (out / "model.safetensors").write_text("weights")
        write_manifest(out, kind="checkpoint", name=name, recipe={})

    def train(recipe, *, task, name, candidate, out, work, **_) -> None:
        if name in failures:
            raise failures[name]
        (out / "model.safetensors").write_text(f"{name} {recipe}")
        notes = {
            "validation": dict.fromkeys(task.metrics, 0.8 + recipe.seed / 100),
            "train_s": 2.0,
            "train_examples_per_s": 100.0,
            "warnings": ["it has learned too well"] if task.name == "sst2" else [],
        }
        write_manifest(out, kind="checkpoint", name=name, seed=recipe.seed, recipe={}, notes=notes)

    monkeypatch.setattr(STEPS, "get", lambda name: {"encoder": encoder, "train": train}[name])
    return failures


@pytest.fixture
def train(fail, monkeypatch, tmp_path, capsys):
    """Run `benchkit train recipe.toml ARGUMENTS`; return exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.toml").write_text(RECIPE)
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "model.safetensors").write_text("weights")
    for folder in ("SST-2", "MRPC"):
        (tmp_path / "glue" / folder).mkdir(parents=True)
        (tmp_path / "glue" / folder / "train.tsv").write_text("is read by nobody here\n")

    def run(*arguments: str) -> tuple[int, str, str]:
        err = io.StringIO()
        words = ["train", "recipe.toml", "--data", "glue", "--jobs", "1", *arguments]
        code = guarded(lambda: app(words, standalone_mode=False), err)
        captured = capsys.readouterr()
        return int(code), captured.out, captured.err + err.getvalue()

    return run


def test_the_table_gives_each_seed_the_mean_and_the_spread(train) -> None:
    code, out, _ = train("--seeds", "0,1,2")
    assert code == Exit.OK
    row = next(line for line in out.splitlines() if line.startswith("sst2"))
    assert [part for part in row.split() if part[0].isdigit()][:4] == ["80.0", "81.0", "82.0", "81.0"]
    assert "±1.0" in out
    assert out.count("it has learned too well") == 1, "a warning of three trainings is told once"
    assert "dev was not looked at" in out


def test_json_gives_the_same_facts(train) -> None:
    _, out, _ = train("--seeds", "0,1,2", "--format", "json")
    value = json.loads(out)
    assert [one["name"] for one in value["trainings"]][:3] == ["pico-sst2-seed0", "pico-sst2-seed1", "pico-sst2-seed2"]
    assert value["trainings"][1]["validation"] == {"accuracy": 0.81}
    assert value["trainings"][1]["warnings"] == ["it has learned too well"]
    sst2, mrpc = value["tasks"]
    assert sst2["mean"] == pytest.approx(0.81)
    assert sst2["standard_deviation"] == pytest.approx(0.01)
    assert mrpc["metric"] == "f1"


def test_one_training_has_no_spread(train) -> None:
    _, out, _ = train("--task", "sst2", "--format", "json")
    assert json.loads(out)["tasks"][0]["standard_deviation"] is None
    assert json.loads(out)["trainings"][0]["folder"] == "models/pico-sst2"


def test_a_second_run_says_what_it_reused(train) -> None:
    train("--seeds", "0,1")
    _, out, err = train("--seeds", "0,1", "--set", "train.by_task.mrpc.epochs=9")
    assert "reused, since nothing that they are made from has changed: pico-sst2-seed0, pico-sst2-seed1" in out
    assert "pico-mrpc-seed0 was trained again: train.epochs: 3.0, now 9.0" in out
    assert "train pico-sst2-seed0: reused" in err


def test_the_plan_is_printed_and_nothing_is_done(train, tmp_path) -> None:
    code, out, _ = train("--seeds", "0,1", "--dry-run")
    assert code == Exit.OK
    assert out.splitlines()[0].startswith("train  models/pico-sst2-seed0")
    assert out.splitlines()[-1] == "1 at a time, 1 threads each"
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--task", "sst3"), "unknown task 'sst3'"),
        (("--seeds", "a"), "--seeds: 'a' is no list of whole numbers"),
        (("--seeds", ""), "--seeds: '' is no list of whole numbers"),
        (("--seeds", "-1"), "--seeds: '-1'"),
        (("--jobs", "0"), "--jobs: '0' is no positive whole number"),
        (("--jobs", "many"), "--jobs: 'many'"),
        (("--set", "train.epoch=3"), "unknown key 'epoch'"),
        (("--set", "train"), "has no '='"),
        (("--data", "nowhere"), "no training data for 'sst2'"),
        (("-o", "glue", "--task", "sst2"), "'{here}/glue' is not empty and holds no artifact.json"),
        (("--set", "teacher=gone", "--set", "train.distill.temperature=2"), "there is none at 'gone'"),
    ],
)
def test_bad_input_is_told_with_2_and_makes_nothing(train, tmp_path, arguments, problem) -> None:
    code, out, err = train(*arguments)
    assert code == Exit.USAGE, err
    assert problem.format(here=tmp_path) in err
    assert "fix: " in err
    assert out == ""
    assert not (tmp_path / "models").exists()


def test_a_loss_that_is_no_number_ends_one_of_several(train, fail) -> None:
    for seed in (0, 1):
        problem = f"pico-sst2-seed{seed}: the loss is nan at step 3 of 9, learning rate 1"
        fail[f"pico-sst2-seed{seed}"] = BenchkitError(problem, remedy="lower learning_rate")
    code, out, err = train("--seeds", "0,1,2")
    assert code == Exit.USAGE
    assert "error: pico-sst2-seed0, pico-sst2-seed1: the loss is nan at step 3 of 9" in err
    assert "lower learning_rate" in err
    row = next(line for line in out.splitlines() if line.startswith("sst2"))
    assert row.count("failed") == 2
    assert "82.0" in row


def test_the_exit_code_tells_the_worst(train, fail) -> None:
    fail["pico-sst2"] = BenchkitError("no", remedy="yes")
    fail["pico-mrpc"] = EnvironmentLacks("no cuda", remedy="a card")
    code, out, _ = train("--format", "json")
    assert code == Exit.NOT_MEASURED
    assert [one["error"]["problem"] for one in json.loads(out)["trainings"]] == ["no", "no cuda"]


def test_an_interruption_ends_with_130_and_keeps_what_is_finished(train, fail, tmp_path) -> None:
    fail["pico-mrpc"] = KeyboardInterrupt()
    code, out, err = train()
    assert code == Exit.INTERRUPTED
    assert out == ""
    assert err.strip().splitlines()[-1].startswith("interrupted")
    assert (tmp_path / "models" / "pico-sst2" / "artifact.json").is_file()
    assert not (tmp_path / "models" / "pico-mrpc").exists()
    assert not list((tmp_path / "models").glob(".*.partial"))

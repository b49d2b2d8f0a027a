import json
from pathlib import Path

import filelock
import pytest

from benchkit.core.errors import BenchkitError, EnvironmentLacks
from benchkit.pipeline import train_all as module
from benchkit.pipeline.train_all import plan_training, train_all
from benchkit.pipeline.trainings import order_from


@pytest.fixture
def train(recipe, steps, tiny_sst2):
    """Train what a recipe asks for, one by one, and return (how they ended, what was told)."""

    def run(path: Path | None = None, *, jobs: int | None = 1, data: Path = tiny_sst2, **given):
        told: list[str] = []
        order = order_from(path or recipe(), data=data, **given)
        made = train_all(order, jobs=jobs, progress=lambda message, done=None: told.append(message))
        return made, told

    return run


def test_each_seed_becomes_a_checkpoint_and_nothing_else_is_left(train, steps, tmp_path) -> None:
    made, _ = train(seeds=(0, 1))
    assert steps.log == ["encoder encoder", "pico-seed0", "pico-seed1"], "the encoder is fetched once"
    assert [one.manifest.seed for one in made] == [0, 1]
    assert [one.manifest.candidate for one in made] == ["pico", "pico"]
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == ["pico-seed0", "pico-seed1"]


def test_what_is_finished_is_reused_without_its_encoder(train, steps) -> None:
    train(seeds=(0, 1))
    steps.log.clear()
    made, told = train(seeds=(0, 1))
    assert steps.log == []
    assert all(one.reused for one in made)
    assert "train pico-seed0: reused, since nothing that it is made from has changed" in told
    train(seeds=(0, 1, 2))
    assert steps.log == ["encoder encoder", "pico-seed2"]


def test_a_changed_recipe_is_trained_again_and_says_so(train, recipe, steps) -> None:
    train()
    made, told = train(recipe(epochs="2"))
    assert made[0].changes == ("train.epochs: 1.0, now 2.0",)
    assert "train pico: again, since train.epochs: 1.0, now 2.0" in told


def test_changed_data_are_trained_on_again(train, steps, tiny_sst2, tmp_path) -> None:
    train()
    other = tmp_path / "other"
    (other / "SST-2").mkdir(parents=True)
    text = (tiny_sst2 / "SST-2" / "train.tsv").read_text()
    (other / "SST-2" / "train.tsv").write_text(text + "good film\t1\n")
    made, _ = train(data=other)
    assert made[0].changes == ("data has changed",)


def test_a_damaged_checkpoint_is_trained_again(train, steps, tmp_path) -> None:
    train()
    (tmp_path / "models" / "pico" / "model.safetensors").write_text("other")
    steps.log.clear()
    made, _ = train()
    assert steps.log == ["encoder encoder", "pico"]
    assert not made[0].reused


def test_one_that_fails_stops_none_of_the_others(train, steps, tmp_path) -> None:
    steps.diverges("pico-seed1")
    made, told = train(seeds=(0, 1, 2))
    assert [one.error is None for one in made] == [True, False, True]
    assert made[1].manifest is None
    assert "pico-seed1 failed: the loss is nan at step 3 of 9, learning rate 1" in told
    left = sorted(path.name for path in (tmp_path / "models").iterdir())
    assert left == [".work", "pico-seed0", "pico-seed2"], "only what lets it go on is kept"
    assert [path.name for path in (tmp_path / "models" / ".work").iterdir()] == ["pico-seed1"]


def test_one_alone_that_fails_is_the_commands_failure(train, steps) -> None:
    steps.diverges("pico")
    with pytest.raises(BenchkitError, match="loss is nan"):
        train()


def test_an_interrupted_one_goes_on_where_it_was(train, steps, tmp_path, recipe, tiny_sst2) -> None:
    steps.fail["pico-seed1"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        train(seeds=(0, 1))
    assert (tmp_path / "models" / ".work" / "pico-seed1" / "inputs.json").is_file()
    assert not list((tmp_path / "models").glob(".*.partial"))
    plan = plan_training(order_from(recipe(), seeds=(0, 1), data=tiny_sst2), jobs=1)
    assert (plan.finished, plan.interrupted) == ({"pico-seed0"}, {"pico-seed1"})
    steps.fail.clear()
    steps.log.clear()
    made, _ = train(seeds=(0, 1))
    # The encoder was kept for it.
    assert steps.log == ["pico-seed1"]
    assert [one.reused for one in made] == [True, False]
    assert not (tmp_path / "models" / ".work").exists()


def test_a_killed_commands_remains_are_cleared_and_nobody_elses(train, tmp_path) -> None:
    for name in (".pico.0123abcd.partial", ".other.0123abcd.partial"):
        (tmp_path / "models" / name).mkdir(parents=True)
    train()
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == [".other.0123abcd.partial", "pico"]


def test_a_second_command_waits_for_the_first(recipe, steps, tiny_sst2, tmp_path) -> None:
    order = order_from(recipe(), data=tiny_sst2)
    lock = filelock.FileLock(tmp_path / "models" / ".work" / "pico.lock")
    Path(lock.lock_file).parent.mkdir(parents=True)

    def progress(message: str, done: float | None = None) -> None:
        if "waiting for it to end" in message:
            assert steps.log == []
            steps.log.append("waited")
            lock.release()

    lock.acquire()
    train_all(order, progress=progress)
    assert steps.log == ["waited", "encoder encoder", "pico"]


def test_no_data_is_told_before_anything_is_fetched(train, steps, tmp_path) -> None:
    with pytest.raises(BenchkitError, match="no training data for 'sst2'"):
        train(data=tmp_path)
    assert steps.log == []


@pytest.fixture
def machine(monkeypatch):
    """Pretend to have so many cores and so much memory."""

    def set_to(cores: int, memory_bytes: int = 2**40) -> None:
        monkeypatch.setattr(module, "training_cores", lambda: cores)
        monkeypatch.setattr(module, "_memory_bytes", lambda: memory_bytes)

    return set_to


def jobs_and_threads(order, jobs: int | None = None, encoder_bytes: int | None = None) -> tuple[int, int]:
    plan = plan_training(order, jobs=jobs, encoder_bytes=encoder_bytes)
    return plan.jobs, plan.trainings[0].recipe.threads


def test_how_many_run_side_by_side(recipe, steps, tiny_sst2, machine, monkeypatch) -> None:
    machine(cores=4)
    path = recipe(epochs="1")
    path.write_text(path.read_text().replace("threads = 1\n", ""))
    three = order_from(path, seeds=(0, 1, 2), data=tiny_sst2)
    assert jobs_and_threads(order_from(path, data=tiny_sst2)) == (1, 4)
    assert jobs_and_threads(three) == (3, 1)
    assert jobs_and_threads(order_from(path, seeds=(0, 1), data=tiny_sst2)) == (2, 2)
    assert jobs_and_threads(three, jobs=1) == (1, 4)
    assert jobs_and_threads(three, jobs=2) == (2, 2)
    assert jobs_and_threads(three, jobs=9) == (3, 1)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert jobs_and_threads(three, jobs=1) == (1, 1), "OMP_NUM_THREADS bounds them"


def test_threads_that_the_recipe_fixes_are_kept(recipe, steps, tiny_sst2, machine) -> None:
    machine(cores=4)
    order = order_from(recipe(threads="2"), seeds=(0, 1, 2), data=tiny_sst2)
    assert jobs_and_threads(order) == (2, 2)
    assert jobs_and_threads(order, jobs=3) == (3, 2)


def test_memory_bounds_them(recipe, steps, tiny_sst2, machine) -> None:
    machine(cores=4, memory_bytes=50 * 2**30)
    order = order_from(recipe(), seeds=(0, 1, 2, 3), data=tiny_sst2)
    plan = plan_training(order, jobs=None, encoder_bytes=2**30)
    assert plan.jobs == 2
    assert plan.said == "memory (50 GiB) holds 2 trainings of 22.0 GiB at once"
    assert plan_training(order, jobs=4, encoder_bytes=2**30).jobs == 4, "who asks for a number gets it"


def test_a_gpu_is_not_shared_unless_asked(recipe, steps, tiny_sst2, machine) -> None:
    machine(cores=4)
    order = order_from(recipe(), seeds=(0, 1), overrides=["train.device=cuda"], data=tiny_sst2)
    assert plan_training(order, jobs=None).jobs == 1


def test_under_a_launcher_there_is_one_at_a_time(recipe, steps, tiny_sst2, machine, monkeypatch) -> None:
    machine(cores=4)
    monkeypatch.setenv("WORLD_SIZE", "2")
    order = order_from(recipe(), seeds=(0, 1), data=tiny_sst2)
    assert plan_training(order, jobs=None).jobs == 1
    with pytest.raises(BenchkitError, match="--jobs 2 with 2 processes"):
        plan_training(order, jobs=2)


def test_a_follower_trains_along_and_writes_nothing(recipe, steps, tiny_sst2, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert train_all(order_from(recipe(), seeds=(0, 1), data=tiny_sst2)) == []
    assert steps.log == ["encoder encoder", "pico-seed0", "pico-seed1"]
    written = [path.name for path in (tmp_path / "models").rglob("*") if path.is_file()]
    assert set(written) <= {"inputs.json"}, "the folder that lets a training go on is shared"


CHILD = """
import json, sys, time
request = json.load(sys.stdin)
training = request["training"]
name = training["name"]
print(json.dumps({"message": name + ": step 1 of 2", "done": 0.5}), flush=True)
BEHAVIOUR
"""
FINISH = """
sys.path.insert(0, TESTS)
from pathlib import Path
from benchkit.core.artifacts import load_artifact
from benchkit.core.registry import STEPS
from benchkit.pipeline.trainings import Training
from conftest import FakeSteps
STEPS.get = FakeSteps().get
one = Training.from_json(training)
one.workshop.make(one.step(), {"encoder": load_artifact(Path(request["encoder"]))}, lambda *_: None)
print(json.dumps({"finished": name}))
"""


@pytest.fixture
def children(monkeypatch, tmp_path):
    """Replace what a child runs."""
    import sys

    from benchkit.pipeline import side_by_side

    def behave(text: str) -> None:
        code = CHILD.replace("BEHAVIOUR", text).replace("TESTS", repr(str(Path(__file__).parent)))
        (tmp_path / "child.py").write_text(code)
        real = side_by_side.train_side_by_side
        command = (sys.executable, str(tmp_path / "child.py"))
        monkeypatch.setattr(module, "train_side_by_side", lambda *a, **k: real(*a, **k, command=command))

    return behave


def test_side_by_side_all_are_made_and_one_line_tells_of_them(train, steps, children) -> None:
    children(FINISH)
    made, told = train(seeds=(0, 1, 2), jobs=2)
    assert [one.error for one in made] == [None, None, None]
    assert steps.log == ["encoder encoder"], "the others were made by children"
    lines = [message for message in told if message.startswith("train: ")]
    assert any("1 of 3 done" in line or "2 of 3 done" in line for line in lines)


def test_side_by_side_a_childs_error_is_its_own(train, steps, children) -> None:
    said = '{"error": {"kind": "EnvironmentLacks", "problem": name + ": no space left", "remedy": "free some"}}'
    children(f"if name == 'pico-seed1':\n    print(json.dumps({said}))\n    sys.exit(4)\n" + FINISH)
    made, _ = train(seeds=(0, 1, 2), jobs=2)
    assert [type(one.error) for one in made] == [type(None), EnvironmentLacks, type(None)]
    assert str(made[1].error) == "pico-seed1: no space left"
    assert made[1].error.remedy == "free some"


@pytest.mark.parametrize(
    ("death", "exit_code", "problem"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 4, "killed by signal 9 .often: out of memory."),
        ("raise RuntimeError('never')", 70, "ended with code 1: RuntimeError: never"),
    ],
)
def test_side_by_side_a_child_that_dies_is_told(train, steps, children, death, exit_code, problem) -> None:
    children(f"if name == 'pico-seed0':\n    {death}\n" + FINISH)
    made, _ = train(seeds=(0, 1), jobs=2)
    with pytest.raises(BenchkitError, match=problem):
        raise made[0].error
    assert made[0].error.exit == exit_code
    assert made[1].error is None


def test_side_by_side_an_interruption_ends_the_children(train, steps, children, recipe, tiny_sst2, tmp_path) -> None:
    marks = str(tmp_path)
    children(
        "import signal, pathlib\n"
        f"def end(*_):\n    pathlib.Path({marks!r}, name + '.ended').touch()\n    sys.exit(130)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        'print(json.dumps({"message": "ready", "done": 0.6}), flush=True)\n'
        "time.sleep(60)\n"
    )
    seen: list[str] = []

    def progress(message: str, done: float | None = None) -> None:
        seen.append(message)
        if "60%" in message and message.count("60%") == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_all(order_from(recipe(), seeds=(0, 1), data=tiny_sst2), jobs=2, progress=progress)
    assert sorted(path.name for path in tmp_path.glob("*.ended")) == ["pico-seed0.ended", "pico-seed1.ended"]
    assert not list((tmp_path / "models").glob(".*.partial"))


def test_the_note_of_a_checkpoint_says_what_it_was_made_from(train, tmp_path) -> None:
    train()
    note = json.loads((tmp_path / "models" / "pico" / ".step.json").read_text())
    assert note["settings"]["train"]["seed"] == 0
    assert note["settings"]["data"]

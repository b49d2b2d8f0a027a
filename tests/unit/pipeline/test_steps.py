from pathlib import Path

import pytest

from benchkit.core.errors import BenchkitError
from benchkit.core.manifest import write_manifest
from benchkit.pipeline.steps import Step, Workshop


def step_of(name: str, *, settings: dict | None = None, inputs: tuple[str, ...] = (), log: list | None = None) -> Step:
    def make(out: Path, made, progress, work) -> None:
        if log is not None:
            log.append(name)
        text = name + str(settings) + "".join(made[one].manifest.id for one in inputs)
        (out / "model.safetensors").write_text(text)
        write_manifest(out, kind="checkpoint", name=name, recipe={})

    return Step(name=name, kind="train", settings=settings or {}, inputs=inputs, make=make)


def run(workshop: Workshop, steps: list[Step]) -> dict:
    made: dict = {}
    for step in steps:
        made[step.name] = workshop.finished(step, made) or workshop.make(step, made, lambda *_: None)
    return made


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path / "models" / "trial")


def test_a_second_run_reuses_what_is_finished(workshop: Workshop) -> None:
    log: list[str] = []
    steps = [step_of("base", log=log), step_of("tuned", inputs=("base",), log=log)]
    run(workshop, steps)
    run(workshop, steps)
    assert log == ["base", "tuned"]


def test_a_changed_setting_makes_the_step_and_what_follows_again(workshop: Workshop) -> None:
    log: list[str] = []
    run(workshop, [step_of("base", log=log), step_of("tuned", inputs=("base",), log=log)])
    run(workshop, [step_of("base", settings={"seed": 1}, log=log), step_of("tuned", inputs=("base",), log=log)])
    assert log == ["base", "tuned", "base", "tuned"]


def test_a_damaged_artifact_is_made_again(workshop: Workshop) -> None:
    log: list[str] = []
    steps = [step_of("base", log=log)]
    run(workshop, steps)
    (workshop.folder / "base" / "model.safetensors").write_text("other")
    run(workshop, steps)
    assert log == ["base", "base"]
    assert (workshop.folder / "base" / "model.safetensors").read_text() == "baseNone"


def test_an_interrupted_step_leaves_the_old_artifact(workshop: Workshop) -> None:
    run(workshop, [step_of("base")])

    def interrupted(out: Path, made, progress, work) -> None:
        (out / "model.safetensors").write_text("half")
        raise KeyboardInterrupt

    changed = Step(name="base", kind="train", settings={"seed": 1}, inputs=(), make=interrupted)
    with pytest.raises(KeyboardInterrupt):
        workshop.make(changed, {}, lambda *_: None)
    assert (workshop.folder / "base" / "model.safetensors").read_text() == "baseNone"
    assert [path.name for path in workshop.folder.iterdir()] == ["base"]


def test_what_a_killed_run_left_is_cleared(workshop: Workshop) -> None:
    (workshop.folder / ".base.1234.partial").mkdir(parents=True)
    (workshop.folder / ".base.1234.old").mkdir()
    (workshop.folder / "base").mkdir()
    workshop.clear_remains()
    assert [path.name for path in workshop.folder.iterdir()] == ["base"]


def test_what_others_have_half_made_is_left_to_them(workshop: Workshop) -> None:
    for name in (".base.0123abcd.partial", ".base-2.0123abcd.partial", ".other.0123abcd.partial"):
        (workshop.folder / name).mkdir(parents=True)
    workshop.clear_remains("base")
    left = sorted(path.name for path in workshop.folder.iterdir())
    assert left == [".base-2.0123abcd.partial", ".other.0123abcd.partial"]


def test_a_step_is_given_a_folder_that_outlives_an_interruption(workshop: Workshop) -> None:
    seen: list[str] = []

    def interrupted(out: Path, made, progress, work: Path) -> None:
        work.mkdir(parents=True)
        (work / "half").write_text("half the way")
        raise KeyboardInterrupt

    def goes_on(out: Path, made, progress, work: Path) -> None:
        seen.append((work / "half").read_text())
        (out / "model.safetensors").write_text("whole")
        write_manifest(out, kind="checkpoint", name="base", recipe={})

    with pytest.raises(KeyboardInterrupt):
        workshop.make(Step(name="base", kind="train", settings={}, inputs=(), make=interrupted), {}, lambda *_: None)
    workshop.make(Step(name="base", kind="train", settings={}, inputs=(), make=goes_on), {}, lambda *_: None)
    assert seen == ["half the way"]
    assert [path.name for path in workshop.folder.iterdir()] == ["base"]


def test_what_has_changed_is_named(workshop: Workshop) -> None:
    before = {"train": {"epochs": 3.0, "seed": 0}, "data": "a" * 64}
    made = run(workshop, [step_of("base"), step_of("tuned", settings=before, inputs=("base",))])
    now = {"train": {"epochs": 4.0, "seed": 0}, "data": "b" * 64}
    assert workshop.changes(step_of("tuned", settings=before, inputs=("base",)), made) == []
    assert workshop.changes(step_of("tuned", settings=now, inputs=("base",)), made) == [
        "data has changed",
        "train.epochs: 3.0, now 4.0",
    ]
    assert workshop.changes(step_of("never-made"), made) == []
    again = run(workshop, [step_of("base", settings={"seed": 1})])
    assert workshop.changes(step_of("tuned", settings=before, inputs=("base",)), again) == ["base was made again"]


def test_a_kill_between_the_two_renames_loses_nothing(workshop: Workshop) -> None:
    run(workshop, [step_of("base")])
    (workshop.folder / "base").rename(workshop.folder / ".base.12345678.old")
    workshop.clear_remains()
    assert (workshop.folder / "base" / "model.safetensors").read_text() == "baseNone"
    assert workshop.finished(step_of("base"), {}) is not None


def test_a_folder_of_the_users_in_a_steps_place_is_not_replaced(workshop: Workshop) -> None:
    (workshop.folder / "base").mkdir(parents=True)
    (workshop.folder / "base" / "notes.txt").write_text("mine")
    with pytest.raises(BenchkitError, match="is not replaced"):
        run(workshop, [step_of("base")])
    assert (workshop.folder / "base" / "notes.txt").read_text() == "mine"


def test_results_are_recalled_under_their_key_only(workshop: Workshop) -> None:
    workshop.keep("score-a", "key-1", {"accuracy": 0.5})
    assert workshop.recall("score-a", "key-1") == {"accuracy": 0.5}
    assert workshop.recall("score-a", "key-2") is None
    assert workshop.recall("score-b", "key-1") is None

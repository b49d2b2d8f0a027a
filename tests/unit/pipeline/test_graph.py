import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchkit.core.registry import STEPS
from benchkit.pipeline.experiment import Experiment, load_experiment
from benchkit.pipeline.graph import artifact_names, steps_of
from benchkit.pipeline.inputs import train_digest
from benchkit.pipeline.run import plan_experiment
from benchkit.tasks.table import task_named

MODELS = Path(__file__).resolve().parents[3] / "models"
SHIPPED = sorted(MODELS.glob("*.toml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_experiment_is_planned_without_hub_and_data(path: Path, tmp_path: Path) -> None:
    experiment = load_experiment(path)
    planned = plan_experiment(experiment, models=tmp_path)
    candidates = len(experiment.train) + len(experiment.merge)
    made = [one for one in planned if one.kind == "export"]
    assert len(made) == candidates * len(experiment.tasks)
    assert planned[-1].kind == "profile"
    assert not any(one.reused for one in planned)


def test_every_step_finds_its_inputs_made_before_it() -> None:
    for path in SHIPPED:
        experiment = load_experiment(path)
        seen: set[str] = set()
        for step in steps_of(experiment, Path("data"), dict.fromkeys(experiment.tasks, "x")):
            assert set(step.inputs) <= seen, step.name
            assert step.name not in seen
            seen.add(step.name)
        assert {name for _, name in artifact_names(experiment)} <= seen


def test_the_key_knows_the_data_and_the_recipe() -> None:
    def key(digest: str, **train: object) -> str:
        experiment = Experiment.model_validate(
            {
                "name": "t",
                "tasks": ["sst2"],
                "encoder": {"e": {"source": "no/where"}},
                "train": {"small": {"encoder": "e", **train}},
            }
        )
        steps = steps_of(experiment, Path("data"), {"sst2": digest})
        step = next(one for one in steps if one.kind == "train")
        return str(step.settings)

    assert key("a") != key("b")
    assert key("a") != key("a", epochs=1)
    assert key("a") == key("a")


def experiment_of(**changes: object) -> Experiment:
    value = {
        "name": "t",
        "tasks": ["sst2", "rte"],
        "encoder": {"e": {"source": "no/where"}},
        "train": {
            "student": {"encoder": "e", "teacher": "large", "distill": {"temperature": 2.0}},
            "large": {"encoder": "e"},
        },
    }
    return Experiment.model_validate(value | changes)


def test_a_teacher_is_made_before_who_learns_from_it() -> None:
    steps = steps_of(experiment_of(), Path("data"), {"sst2": "x", "rte": "y"})
    names = [step.name for step in steps]
    by_name = {step.name: step for step in steps}
    assert by_name["student-sst2"].inputs == ("encoder-e", "large-sst2")
    assert by_name["large-sst2"].inputs == ("encoder-e",)
    assert names.index("large-rte") < names.index("student-rte")


def test_the_teacher_reaches_the_training(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given: dict[str, object] = {}
    monkeypatch.setattr(STEPS, "get", lambda name: lambda recipe, **named: given.update(named))
    steps = {step.name: step for step in steps_of(experiment_of(), tmp_path, {"sst2": "x", "rte": "y"})}
    made = {"encoder-e": "the encoder", "large-rte": "the teacher"}
    steps["student-rte"].make(tmp_path / "out", made, lambda *_: None, tmp_path / "work")  # type: ignore[arg-type]
    assert given["teacher"] == "the teacher"
    assert given["work"] == tmp_path / "work"
    steps["large-rte"].make(tmp_path / "out", made, lambda *_: None, tmp_path / "work")  # type: ignore[arg-type]
    assert given["teacher"] is None


def test_a_merged_candidate_may_teach() -> None:
    merged = {"both": {"donor": "large", "base": "e"}}
    train = {
        "student": {"encoder": "e", "teacher": "both", "distill": {}},
        "large": {"encoder": "e"},
    }
    experiment = experiment_of(train=train, merge=merged)
    names = [step.name for step in steps_of(experiment, Path("data"), {"sst2": "x", "rte": "y"})]
    assert names.index("large-sst2") < names.index("both-sst2") < names.index("student-sst2")


@pytest.mark.parametrize(
    ("train", "problem"),
    [
        ({"a": {"encoder": "e", "teacher": "b", "distill": {}}}, "names the candidate 'b'"),
        ({"a": {"encoder": "e", "teacher": "a", "distill": {}}}, "made from each other: a -> a"),
        (
            {
                "a": {"encoder": "e", "teacher": "b", "distill": {}},
                "b": {"encoder": "e", "teacher": "a", "distill": {}},
            },
            "made from each other",
        ),
        ({"a": {"encoder": "e", "distill": {}}}, "belong together"),
        ({"a": {"encoder": "e", "by_task": {"mrpc": {"epochs": 1}}}}, "names the task 'mrpc'"),
    ],
)
def test_what_cannot_be_made_is_told_when_the_file_is_read(train: dict[str, object], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        experiment_of(train=train)


OWN = """
text = "sentence"
label = "mood"
train = "reviews.csv"
validation = "reviews.csv"
"""


def test_a_task_of_ones_own_lies_beside_the_experiment(tmp_path: Path) -> None:
    (tmp_path / "reviews.toml").write_text(OWN)
    (tmp_path / "reviews.csv").write_text("sentence,mood\ngood film,glad\nbad film,sad\n")
    path = tmp_path / "own.toml"
    path.write_text(
        'name = "own"\ntasks = ["reviews.toml"]\n[encoder.e]\nsource = "no/where"\n[train.small]\nencoder = "e"\n'
    )
    experiment = load_experiment(path)
    before = settings_of(experiment, tmp_path)
    assert [name for _, name in artifact_names(experiment)] == ["small-reviews-fp32", "small-reviews-dynamic-int8"]
    (tmp_path / "reviews.csv").write_text("sentence,mood\ngood film,glad\nbad film,sad\nbad,sad\n")
    assert settings_of(experiment, tmp_path)["data"] != before["data"]
    (tmp_path / "reviews.toml").write_text(OWN + 'labels = ["sad", "glad"]\n')
    assert settings_of(load_experiment(path), tmp_path)["task_file"] != before["task_file"]


def settings_of(experiment: Experiment, models: Path) -> dict[str, Any]:
    task = task_named(experiment.tasks[0])
    digests = {task.name: train_digest(task, models)}
    steps = steps_of(experiment, models, digests)
    return next(step.settings for step in steps if step.kind == "train")


def test_planning_imports_no_wing() -> None:
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from benchkit.pipeline.experiment import load_experiment\nfrom benchkit.pipeline.run import plan_experiment\n"
        f"plan_experiment(load_experiment(Path({str(MODELS / 'study.toml')!r})))\n"
        "print(sorted({'torch', 'transformers', 'onnx', 'datasets'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

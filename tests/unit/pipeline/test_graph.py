import subprocess
import sys
from pathlib import Path

import pytest

from benchkit.pipeline.experiment import Experiment, load_experiment
from benchkit.pipeline.graph import artifact_names, steps_of
from benchkit.pipeline.run import plan_experiment

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


def test_planning_imports_no_wing() -> None:
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from benchkit.pipeline.experiment import load_experiment\nfrom benchkit.pipeline.run import plan_experiment\n"
        f"plan_experiment(load_experiment(Path({str(MODELS / 'study.toml')!r})))\n"
        "print(sorted({'torch', 'transformers', 'onnx', 'datasets'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

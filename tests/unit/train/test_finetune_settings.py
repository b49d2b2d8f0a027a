"""What a recipe may ask for beside its hyperparameters: weights, teachers, trackers; and what is counted and kept."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchkit.core.artifacts import Artifact, load_artifact
from benchkit.core.errors import BenchkitError, EnvironmentLacks
from benchkit.core.recipes import DistillRecipe, EarlyStoppingRecipe, SplitRecipe, TrainRecipe
from benchkit.tasks.readers import read_split
from benchkit.tasks.splits import carve
from benchkit.tasks.table import TASKS
from benchkit.train import precision
from benchkit.train.finetune import finetune
from benchkit.train.material import class_weights_of

SPLITS = SplitRecipe(validation=40, unlabelled=20)
RECIPE = TrainRecipe(epochs=2, learning_rate=3e-3, batch_size=16, max_length=16, threads=1)


@pytest.fixture
def tuned(pico_encoder, tiny_glue, tmp_path):
    def _tuned(name="out", *, task="sst2", data=tiny_glue, teacher=None, **changes) -> Artifact:
        out = tmp_path / name
        out.mkdir()
        finetune(
            RECIPE.model_copy(update=changes),
            encoder=pico_encoder,
            teacher=teacher,
            task=TASKS[task],
            data=data,
            splits=SPLITS,
            name=name,
            candidate="pico",
            out=out,
        )
        return load_artifact(out)

    return _tuned


def test_balanced_weights_are_the_inverse_of_the_shares(tiny_glue):
    examples = carve(read_split(TASKS["sst2"], "train", tiny_glue), SPLITS).train
    skewed = dataclasses.replace(examples, labels=(0,) * 80 + (1,) * 20)
    balanced = RECIPE.model_copy(update={"class_weights": "balanced"})
    assert class_weights_of(balanced, TASKS["sst2"], skewed) == (100 / 160, 100 / 40)
    named = RECIPE.model_copy(update={"class_weights": {"positive": 3.0}})
    assert class_weights_of(named, TASKS["sst2"], skewed) == (1.0, 3.0)
    assert class_weights_of(RECIPE, TASKS["sst2"], skewed) is None


def test_a_weight_for_a_label_that_is_not_there(tuned):
    with pytest.raises(BenchkitError, match="class_weights: unknown label 'postive'") as wrong:
        tuned(class_weights={"postive": 2.0})
    assert "did you mean 'positive'?" in wrong.value.remedy


def test_scores_have_no_class_weights(tuned):
    with pytest.raises(BenchkitError, match="'stsb' is a regression"):
        tuned(task="stsb", class_weights="balanced", max_length=32)


def test_class_weights_reach_the_loss_and_the_manifest(tuned):
    weighted, plain = tuned("weighted", class_weights={"positive": 9.0}), tuned("plain")
    assert weighted.manifest.recipe["class_weights"] == [1.0, 9.0]
    assert weighted.manifest.id != plain.manifest.id


def test_unlabelled_text_is_learned_from_a_teacher_alone(tuned):
    teacher = tuned("teacher", epochs=12)
    student = tuned("student", teacher=teacher, epochs=30, batch_size=8, distill=DistillRecipe(on="unlabelled"))
    manifest = student.manifest
    assert manifest.notes["examples"]["train"] == 20
    assert manifest.parents[1] == teacher.manifest.id
    assert manifest.recipe["teacher"]["id"] == teacher.manifest.id
    assert manifest.notes["teacher"]["validation"] == teacher.manifest.notes["validation"]
    assert manifest.notes["validation"]["accuracy"] > manifest.notes["baseline"]["accuracy"] + 0.2


def test_a_probe_learns_from_a_teacher_too(tuned):
    teacher = tuned("teacher", epochs=12)
    student = tuned("student", teacher=teacher, mode="linear_probe", distill=DistillRecipe(temperature=2.0))
    assert student.manifest.notes["validation"]["accuracy"] > 0.8
    assert student.manifest.recipe["loss"] == "distillation"


def test_early_stopping_keeps_the_best_and_says_every_evaluation(tuned):
    settings = EarlyStoppingRecipe(patience=2, evaluations_per_epoch=2)
    notes = tuned(epochs=20, early_stopping=settings).manifest.notes
    stopping = notes["early_stopping"]
    assert notes["steps"] < 20 * 7
    assert stopping["stopped_early"]
    scores = {found["step"]: found["accuracy"] for found in stopping["evaluations"]}
    assert scores[stopping["kept_step"]] == max(scores.values()) == notes["validation"]["accuracy"]


def test_long_and_empty_sentences_are_counted(tuned, tiny_glue, tmp_path):
    (tmp_path / "data" / "SST-2").mkdir(parents=True)
    text = (tiny_glue / "SST-2" / "train.tsv").read_text()
    more = [f"{'good ' * (20 + number)}\t1" for number in range(20)] + [" \t0"]
    (tmp_path / "data" / "SST-2" / "train.tsv").write_text(text + "\n".join(more) + "\n")
    counts = tuned(data=tmp_path / "data").manifest.notes["examples"]
    assert 5 < counts["truncated"] <= 20
    assert counts["truncated"] + counts["validation_truncated"] <= 20
    assert counts["empty"] in (0, 1)


def test_bf16_trains_resolves_and_says_so(tuned, monkeypatch):
    monkeypatch.setattr(precision, "_computes_bf16", lambda _: True)
    artifact = tuned("auto", precision="auto", epochs=12)
    assert artifact.manifest.recipe["precision"] == artifact.manifest.notes["precision"] == "bf16"
    assert artifact.manifest.notes["validation"]["accuracy"] > 0.8
    assert artifact.manifest.precision == "fp32"
    assert tuned("again", precision="bf16", epochs=12).manifest.id == artifact.manifest.id
    with pytest.raises(BenchkitError, match=r"at step \d+ of"):
        tuned("broken", precision="bf16", learning_rate=1e30, warmup_share=0.0)


def test_a_tracker_that_is_not_installed_is_a_lack_of_the_environment(tuned, monkeypatch):
    monkeypatch.setitem(sys.modules, "dvclive", None)
    with pytest.raises(EnvironmentLacks, match="cannot report to dvclive"):
        tuned(report_to=("dvclive",))


LAUNCHED = """
import sys
from pathlib import Path
from benchkit.core.artifacts import load_artifact
from benchkit.core.recipes import SplitRecipe, TrainRecipe
from benchkit.tasks.table import TASKS
from benchkit.train import loop
from benchkit.train.finetune import finetune
from benchkit.core.launcher import is_main_process
loop._SAVE_EVERY_S = 0.0
encoder, data, out, work = map(Path, sys.argv[1:])
mine = out if is_main_process() else out.with_name("other")
mine.mkdir()
finetune(
    TrainRecipe(epochs=12, learning_rate=3e-3, batch_size=16, max_length=16, threads=1),
    encoder=load_artifact(encoder), task=TASKS["sst2"], data=data, splits=SplitRecipe(validation=40, unlabelled=20),
    name="both", candidate="pico", out=mine, work=work,
)
"""


@pytest.mark.slow
def test_two_processes_train_one_model(pico_encoder, tiny_glue, tmp_path):
    script = tmp_path / "launched.py"
    script.write_text(LAUNCHED)
    # What `accelerate launch` starts for several processes; of its own options none means two on one CPU without MPI.
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script)]
    places = [str(path) for path in (pico_encoder.path, tiny_glue, tmp_path / "out", tmp_path / "work")]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run([*command, *places], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    notes = load_artifact(tmp_path / "out").manifest.notes
    assert load_artifact(tmp_path / "out").manifest.recipe["processes"] == 2
    assert notes["validation"]["accuracy"] > 0.9
    assert notes["steps"] == 12 * 7
    assert list((tmp_path / "other").iterdir()) == []
    assert torch.get_num_threads() == 1

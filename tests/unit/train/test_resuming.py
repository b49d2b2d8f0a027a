import json
import shutil

import pytest
from safetensors.torch import load_file

from benchkit.core.artifacts import load_artifact
from benchkit.core.recipes import EarlyStoppingRecipe, SplitRecipe, TrainRecipe
from benchkit.tasks.table import TASKS
from benchkit.train import loop
from benchkit.train.finetune import finetune
from benchkit.train.resuming import begin_work, last_checkpoint

# Two epochs and a bit, of 7 steps each: checkpoints fall into the first, on its end and into later ones.
RECIPE = TrainRecipe(epochs=2.5, learning_rate=3e-3, batch_size=16, max_length=16, threads=1)


@pytest.fixture(autouse=True)
def _save_each_step(monkeypatch):
    monkeypatch.setattr(loop, "_SAVE_EVERY_S", 0.0)


@pytest.fixture
def tuned(pico_encoder, tiny_glue, tmp_path):
    def _tuned(recipe, name, *, work=None, data=tiny_glue, stop_at=None):
        def progress(message, done=None):
            if stop_at is not None and f"step {stop_at} of" in message:
                raise KeyboardInterrupt

        out = tmp_path / name
        out.mkdir()
        finetune(
            recipe,
            encoder=pico_encoder,
            task=TASKS["sst2"],
            data=data,
            splits=SplitRecipe(validation=40, unlabelled=20),
            name="pico",
            candidate="pico",
            out=out,
            work=work,
            progress=progress,
        )
        return load_artifact(out)

    return _tuned


@pytest.mark.parametrize("stop_at", [8, 12], ids=["between epochs", "within an epoch"])
def test_a_resumed_training_gives_the_same_bits(tuned, tmp_path, stop_at):
    whole = tuned(RECIPE, "whole")
    with pytest.raises(KeyboardInterrupt):
        tuned(RECIPE, "killed", work=tmp_path / "work", stop_at=stop_at)
    assert last_checkpoint(tmp_path / "work").name == f"checkpoint-{stop_at - 1}"
    resumed = tuned(RECIPE, "resumed", work=tmp_path / "work")
    assert resumed.manifest.files["model.safetensors"] == whole.manifest.files["model.safetensors"]
    assert resumed.manifest.notes["resumed_at_step"] == stop_at - 1
    assert whole.manifest.notes["resumed_at_step"] is None
    for key in ("steps", "first_loss", "last_loss", "train_loss", "validation"):
        assert resumed.manifest.notes[key] == whole.manifest.notes[key]
    assert len(list((tmp_path / "work").glob("checkpoint-*"))) == 1


@pytest.mark.parametrize("mode", ["bitfit", "lora"])
def test_other_modes_resume_too(tuned, tmp_path, mode):
    recipe = RECIPE.model_copy(update={"mode": mode, "early_stopping": EarlyStoppingRecipe(evaluations_per_epoch=3)})
    whole = tuned(recipe, "whole")
    with pytest.raises(KeyboardInterrupt):
        tuned(recipe, "killed", work=tmp_path / "work", stop_at=9)
    resumed = tuned(recipe, "resumed", work=tmp_path / "work")
    assert resumed.manifest.files["model.safetensors"] == whole.manifest.files["model.safetensors"]
    assert resumed.manifest.notes["early_stopping"] == whole.manifest.notes["early_stopping"]
    assert resumed.manifest.notes["resumed_at_step"] == 8


def test_a_checkpoint_that_was_not_written_whole_is_not_used(tuned, tmp_path):
    whole = tuned(RECIPE, "whole")
    work = tmp_path / "work"
    with pytest.raises(KeyboardInterrupt):
        tuned(RECIPE, "killed", work=work, stop_at=6)
    torn = work / "checkpoint-9"
    shutil.copytree(work / "checkpoint-5", torn)
    (torn / "trainer_state.json").write_text('{"global_step": 9, "epo')
    resumed = tuned(RECIPE, "resumed", work=work)
    assert resumed.manifest.notes["resumed_at_step"] == 5
    assert resumed.manifest.files["model.safetensors"] == whole.manifest.files["model.safetensors"]


def test_a_changed_data_file_starts_again_and_says_what_changed(tuned, tiny_glue, tmp_path):
    work = tmp_path / "work"
    with pytest.raises(KeyboardInterrupt):
        tuned(RECIPE, "killed", work=work, stop_at=6)
    shutil.copytree(tiny_glue, tmp_path / "data")
    with (tmp_path / "data" / "SST-2" / "train.tsv").open("a") as file:
        file.write("this film is very good !\t1\n")
    notes = tuned(RECIPE, "again", work=work, data=tmp_path / "data").manifest.notes
    assert notes["resumed_at_step"] is None
    warning, *_ = notes["warnings"]
    assert warning.startswith(
        "training started again, because what it is made from has changed: data.SST-2/train.tsv ("
    )


def test_a_changed_recipe_starts_again(tuned, tmp_path):
    work = tmp_path / "work"
    with pytest.raises(KeyboardInterrupt):
        tuned(RECIPE, "killed", work=work, stop_at=6)
    other = RECIPE.model_copy(update={"learning_rate": 1e-3})
    again, fresh = tuned(other, "again", work=work), tuned(other, "fresh")
    assert again.manifest.files["model.safetensors"] == fresh.manifest.files["model.safetensors"]
    assert "learning_rate (0.003 before, 0.001 now)" in again.manifest.notes["warnings"][0]


def test_without_progress_there_is_nothing_to_warn_of(tmp_path):
    assert begin_work(tmp_path, {"seed": 0}) is None
    assert begin_work(tmp_path, {"seed": 1}) is None
    assert json.loads((tmp_path / "inputs.json").read_text()) == {"seed": 1}


def test_many_changes_are_counted(tmp_path):
    begin_work(tmp_path, dict.fromkeys("abcdef", 0))
    folder = tmp_path / "checkpoint-1"
    folder.mkdir()
    for name in ("trainer_state.json", "benchkit.json"):
        (folder / name).write_text("{}")
    said = begin_work(tmp_path, dict.fromkeys("abcdef", 1))
    assert said.endswith("d (0 before, 1 now) and 2 more")
    assert not folder.exists()


def test_the_state_of_an_objective_is_kept_too(tmp_path):
    """A projection that is learned besides the model must go on where it was."""
    import torch

    from benchkit.train.loop import Schedule, train

    class Scaled:
        def __init__(self):
            self.scale = torch.nn.Parameter(torch.ones(1))

        def parameters(self):
            return [self.scale]

        def facts(self):
            return {}

        def __call__(self, model, batch):
            return (model(batch["lengths"].float()[:, None]).mean() * self.scale - 3).square().sum()

    def run(work, stop_at=None):
        def progress(message, done=None):
            if stop_at is not None and f"step {stop_at} of" in message:
                raise KeyboardInterrupt

        torch.manual_seed(0)
        model, objective = torch.nn.Linear(1, 1), Scaled()
        features = [{"input_ids": [0] * (1 + number % 5)} for number in range(40)]
        schedule = Schedule(steps=12, batch_size=8, learning_rate=0.05, warmup_steps=1, weight_decay=0.0, seed=0)
        train(
            model,
            features,
            lambda rows: {"lengths": torch.tensor([len(row["input_ids"]) for row in rows])},
            schedule,
            name="scaled",
            objective=objective,
            work=work,
            progress=progress,
        )
        return model.weight.detach().clone(), objective.scale.detach().clone()

    weight, scale = run(None)
    assert not torch.equal(scale, torch.ones(1))
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, stop_at=8)
    assert load_file(tmp_path / "checkpoint-7" / "model.safetensors")
    again = run(tmp_path)
    assert torch.equal(again[0], weight)
    assert torch.equal(again[1], scale)

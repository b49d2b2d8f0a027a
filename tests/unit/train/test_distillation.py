import pytest
import torch
from safetensors.torch import load_file

from benchkit.core.artifacts import Artifact, load_artifact
from benchkit.core.errors import BenchkitError
from benchkit.core.recipes import DistillRecipe, ExportRecipe, SplitRecipe, TrainRecipe
from benchkit.core.registry import EXPORTERS
from benchkit.tasks.table import TASKS
from benchkit.train.finetune import finetune

SPLITS = SplitRecipe(validation=40, unlabelled=60)
RECIPE = TrainRecipe(epochs=12, learning_rate=3e-3, batch_size=16, max_length=16, threads=1)
INSIDE = DistillRecipe(temperature=2.0, gold_weight=0.5, hidden_weight=0.1, attention_weight=0.1)


@pytest.fixture(scope="module")
def train(pico_encoder, tiny_glue, tmp_path_factory):
    def trained(recipe: TrainRecipe, teacher: Artifact | None = None) -> Artifact:
        out = tmp_path_factory.mktemp("trained") / "out"
        out.mkdir()
        finetune(
            recipe,
            encoder=pico_encoder,
            teacher=teacher,
            task=TASKS["sst2"],
            data=tiny_glue,
            splits=SPLITS,
            name="student" if teacher else "wise",
            candidate="pico",
            out=out,
        )
        return load_artifact(out)

    return trained


@pytest.fixture(scope="module")
def wise(train) -> Artifact:
    return train(RECIPE)


@pytest.fixture(scope="module")
def wise_onnx(wise, tmp_path_factory) -> Artifact:
    out = tmp_path_factory.mktemp("wise-onnx")
    EXPORTERS.get("torch")(ExportRecipe(), checkpoint=wise, name="wise-fp32", out=out)
    return load_artifact(out)


def test_text_without_labels_teaches_what_the_deployed_teacher_knows(train, wise, wise_onnx):
    weak_to_strong = RECIPE.model_copy(update={"distill": DistillRecipe(on="unlabelled"), "seed": 1})
    notes = train(weak_to_strong, wise_onnx).manifest.notes
    assert notes["examples"]["train"] == 60
    assert notes["validation"]["accuracy"] > 0.85
    told = notes["teacher"]
    assert (told["name"], told["kind"], told["task"]) == ("wise-fp32", "onnx", "sst2")
    assert told["validation"] == wise.manifest.notes["validation"]
    assert "does not say how its train file was carved" in told["warnings"][0]


@pytest.mark.parametrize("mode", ["full", "bitfit", "lora"])
def test_the_inside_is_learned_in_every_mode_that_learns_the_encoder(train, wise, pico_encoder, mode):
    student = train(RECIPE.model_copy(update={"distill": INSIDE, "mode": mode, "epochs": 2.0}), wise)
    manifest = student.manifest
    assert manifest.recipe["loss"] == "distillation"
    assert manifest.recipe["loss_weights"] == {
        "cross-entropy": 0.5,
        "soft cross-entropy": 0.5,
        "hidden states": 0.1,
        "attention scores": 0.1,
    }
    assert manifest.recipe["teacher_layers"] == [0, 1, 2]
    assert manifest.parents == (pico_encoder.manifest.id, wise.manifest.id)
    assert manifest.notes["teacher"]["warnings"] == []
    assert manifest.notes["last_loss"] < manifest.notes["first_loss"]
    # Nothing of the projections and of the attention that gives out scores is left in the checkpoint.
    assert load_file(student.path / "model.safetensors").keys() == load_file(wise.path / "model.safetensors").keys()
    assert (student.path / "config.json").read_text() == (wise.path / "config.json").read_text()


def test_the_same_seed_gives_the_same_student_bit_for_bit(train, wise):
    recipe = RECIPE.model_copy(update={"distill": INSIDE, "epochs": 1.0})
    first = train(recipe, wise)
    torch.manual_seed(99)
    assert train(recipe, wise).manifest.id == first.manifest.id
    other = train(recipe.model_copy(update={"distill": INSIDE.model_copy(update={"attention_weight": 0.0})}), wise)
    assert other.manifest.id != first.manifest.id


def test_a_teacher_of_other_labels_stops_before_anything_is_trained(train, make_checkpoint):
    folder = make_checkpoint("entailing", labels=("entailment", "not_entailment"))
    with pytest.raises(BenchkitError, match=r"teacher 'entailing' are not those of task 'sst2'"):
        train(RECIPE.model_copy(update={"distill": DistillRecipe()}), load_artifact(folder))

import dataclasses
import math
import statistics
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file

from benchkit.core.artifacts import Artifact, load_artifact
from benchkit.core.errors import BenchkitError, EnvironmentLacks
from benchkit.core.recipes import SplitRecipe, TrainRecipe
from benchkit.tasks.readers import read_split
from benchkit.tasks.splits import carve
from benchkit.tasks.table import TASKS
from benchkit.train import finetune as room
from benchkit.train.classifier import classifier_on
from benchkit.train.finetune import finetune
from benchkit.train.material import drawn
from benchkit.train.scores import baseline_of, score_warnings

SPLITS = SplitRecipe(validation=40, unlabelled=20)
RECIPE = TrainRecipe(epochs=12, learning_rate=3e-3, batch_size=16, max_length=16, threads=1)


def tuned(recipe: TrainRecipe, encoder: Artifact, data: Path, out: Path, task="sst2", **settings) -> Artifact:
    out.mkdir()
    finetune(
        recipe,
        encoder=encoder,
        task=TASKS[task],
        data=data,
        splits=SPLITS,
        name=f"pico-{task}",
        candidate="pico",
        out=out,
        **settings,
    )
    return load_artifact(out)


@pytest.fixture(scope="module")
def learned(pico_encoder, tiny_glue, tmp_path_factory) -> Artifact:
    return tuned(RECIPE, pico_encoder, tiny_glue, tmp_path_factory.mktemp("tuned") / "out")


def test_a_task_is_learned_beyond_the_commonest_class(learned):
    notes = learned.manifest.notes
    assert notes["validation"]["accuracy"] > 0.9
    assert 0.4 < notes["baseline"]["accuracy"] < 0.6
    assert notes["last_loss"] < notes["first_loss"]
    assert notes["warnings"] == []
    assert notes["examples"] == {
        "train": 100,
        "train_available": 100,
        "validation": 40,
        "unlabelled": 20,
        "empty": 0,
        "truncated": 0,
        "validation_truncated": 0,
    }
    assert notes["steps"] == 12 * 7


def test_the_checkpoint_is_one_that_others_can_load(learned):
    assert {path.name for path in learned.path.iterdir()} == {
        "artifact.json",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.txt",
    }
    answer = transformers.pipeline("text-classification", str(learned.path), device="cpu")(
        ["this is very good", "this is very bad"]
    )
    assert [row["label"] for row in answer] == ["positive", "negative"]


def test_the_manifest_says_how_it_was_made(learned, pico_encoder, tiny_glue):
    manifest = learned.manifest
    assert (manifest.task, manifest.candidate, manifest.weights) == ("sst2", "pico", "trained")
    assert manifest.parents == (pico_encoder.manifest.id,)
    for key in ("learning_rate", "epochs", "warmup_steps", "adam_beta2", "max_grad_norm", "seed", "threads", "splits"):
        assert manifest.recipe[key] is not None
    assert manifest.recipe["encoder"]["recipe"] == pico_encoder.manifest.recipe
    digest = read_split(TASKS["sst2"], "train", tiny_glue).sha256
    assert manifest.notes["data"] == {"SST-2/train.tsv": digest}
    # The head of the pico checkpoint was for sst2 too, and is not used all the same.
    assert manifest.notes["new_weights"] == ["classifier.bias", "classifier.weight"]


def test_the_same_recipe_gives_the_same_bits_and_another_seed_others(pico_encoder, tiny_glue, tmp_path):
    few = RECIPE.model_copy(update={"epochs": 1})
    first, again, other = (
        tuned(few.model_copy(update={"seed": seed}), pico_encoder, tiny_glue, tmp_path / name)
        for name, seed in (("first", 0), ("again", 0), ("other", 1))
    )
    assert first.manifest.files["model.safetensors"] == again.manifest.files["model.safetensors"]
    assert first.manifest.files["model.safetensors"] != other.manifest.files["model.safetensors"]


def test_only_the_train_part_is_learned_from(pico_encoder, tiny_glue, tmp_path, monkeypatch):
    carved = carve(read_split(TASKS["sst2"], "train", tiny_glue), SPLITS)
    seen = []
    real = room.train

    def spied(model, features, *arguments, **named):
        seen.append(len(features))
        return real(model, features, *arguments, **named)

    texts = []
    cut = room.cut
    monkeypatch.setattr(room, "cut", lambda part, *a, **k: texts.append(part) or cut(part, *a, **k))
    monkeypatch.setattr(room, "train", spied)
    tuned(RECIPE.model_copy(update={"epochs": 0.1}), pico_encoder, tiny_glue, tmp_path / "out")
    assert seen == [len(carved.train)]
    assert texts == [carved.train, carved.validation]


def test_a_dev_file_is_not_needed_and_so_not_read(tiny_glue):
    assert not (tiny_glue / "SST-2" / "dev.tsv").exists()


def test_max_examples_draws_by_the_seed(pico_encoder, tiny_glue, tmp_path):
    recipe = RECIPE.model_copy(update={"epochs": 1, "max_examples": 32})
    artifact = tuned(recipe, pico_encoder, tiny_glue, tmp_path / "out")
    assert artifact.manifest.notes["examples"]["train"] == 32
    assert artifact.manifest.notes["examples"]["train_available"] == 100
    assert artifact.manifest.notes["steps"] == 2
    examples = carve(read_split(TASKS["sst2"], "train", tiny_glue), SPLITS).train
    first, other = drawn(examples, 32, 0), drawn(examples, 32, 1)
    assert set(first.first) != set(other.first)
    label_by_text = dict(zip(examples.first, examples.labels, strict=True))
    assert [label_by_text[text] for text in first.first] == list(first.labels)


def test_a_regression_has_one_output_and_a_correlation(pico_encoder, tiny_glue, tmp_path):
    recipe = RECIPE.model_copy(update={"epochs": 30, "max_length": 32})
    artifact = tuned(recipe, pico_encoder, tiny_glue, tmp_path / "out", task="stsb")
    config = artifact.config()
    assert config["problem_type"] == "regression"
    assert load_file(artifact.model_file)["classifier.weight"].shape == (1, 32)
    assert artifact.manifest.notes["baseline"] == {"spearman": 0.0, "pearson": 0.0}
    assert artifact.manifest.notes["last_loss"] < artifact.manifest.notes["first_loss"]
    assert artifact.manifest.recipe["loss"] == "mean squared error"


def test_a_model_that_learned_nothing_says_so(pico_encoder, tiny_glue, tmp_path):
    # Far too high a rate: the model ends up giving everything the same answer.
    recipe = RECIPE.model_copy(update={"epochs": 2, "learning_rate": 0.5})
    said = tuned(recipe, pico_encoder, tiny_glue, tmp_path / "out").manifest.notes
    assert said["validation"]["accuracy"] <= said["baseline"]["accuracy"]
    (warning,) = said["warnings"]
    assert warning.startswith("it has not learned sst2: accuracy on carved validation is 0.")


@pytest.mark.parametrize(
    ("score", "warned"), [(None, True), (0.0, True), (-0.2, True), (0.1, False)], ids=["undefined", "0", "-", "+"]
)
def test_the_warning_of_a_regression(score, warned):
    scores = {"spearman": score, "pearson": 0.5}
    assert bool(score_warnings(TASKS["stsb"], scores, {"spearman": 0.0, "pearson": 0.0})) is warned


def test_a_loss_that_is_no_number_stops_with_step_and_rate(pico_encoder, tiny_glue, tmp_path):
    recipe = RECIPE.model_copy(update={"learning_rate": 1e30, "warmup_share": 0.0})
    with pytest.raises(BenchkitError, match=r"pico-sst2: .* at step \d+ of 84, learning rate .*1e\+30") as stopped:
        tuned(recipe, pico_encoder, tiny_glue, tmp_path / "out")
    assert "lower learning_rate" in stopped.value.remedy
    assert list((tmp_path / "out").iterdir()) == []


def test_progress_tells_step_loss_and_time_left(pico_encoder, tiny_glue, tmp_path):
    told = []
    tuned(
        RECIPE.model_copy(update={"epochs": 1}),
        pico_encoder,
        tiny_glue,
        tmp_path / "out",
        progress=lambda message, done=None: told.append((message, done)),
    )
    steps = [(message, done) for message, done in told if "step" in message]
    assert len(steps) == 7
    assert steps[3][0].startswith("pico-sst2: step 4 of 7, loss ")
    assert "left" not in steps[0][0]
    assert steps[4][0].endswith("s left")
    assert [done for _, done in steps] == [number / 7 for number in range(1, 8)]
    assert "on carved validation" in told[-1][0]


def test_an_interrupt_goes_through_and_the_thread_count_comes_back(pico_encoder, tiny_glue, tmp_path):
    def interrupt(message, done=None):
        if "step 2" in message:
            raise KeyboardInterrupt

    torch.set_num_threads(2)
    with pytest.raises(KeyboardInterrupt):
        tuned(RECIPE, pico_encoder, tiny_glue, tmp_path / "out", progress=interrupt)
    assert torch.get_num_threads() == 2


def test_nothing_is_printed(pico_encoder, tiny_glue, tmp_path, capfd):
    tuned(RECIPE.model_copy(update={"epochs": 1}), pico_encoder, tiny_glue, tmp_path / "out")
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_batches_are_grouped_by_length():
    from benchkit.train.loop import Schedule, train

    class Widths(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, lengths):
            return {"loss": (self.weight * lengths.float()).mean()}

    widths = []

    def collate(features):
        lengths = [len(feature["input_ids"]) for feature in features]
        widths.append(lengths)
        return {"lengths": torch.tensor(lengths)}

    features = [{"input_ids": [0] * (1 + number % 32)} for number in range(1600)]
    schedule = Schedule(steps=50, batch_size=32, learning_rate=1e-3, warmup_steps=1, weight_decay=0.0, seed=0)
    trained = train(Widths(), features, collate, schedule, name="widths")
    assert sum(len(row) for row in widths) == 1600
    # A batch drawn at random would range over nearly all 32 lengths.
    assert statistics.median(max(row) - min(row) for row in widths) <= 4
    assert len(trained.losses) == 50


def test_an_encoder_without_pooler_gets_a_new_one_and_says_so(pico_encoder, tmp_path):
    from benchkit.train.checkpoints import load_encoder, save_encoder

    bare = load_encoder(pico_encoder.path).model
    bare.pooler = None
    save_encoder(bare, tmp_path)
    model, new = classifier_on(tmp_path, TASKS["mnli"], seed=0)
    assert new == ["bert.pooler.dense.bias", "bert.pooler.dense.weight", "classifier.bias", "classifier.weight"]
    assert model.config.id2label == {0: "entailment", 1: "neutral", 2: "contradiction"}
    same, _ = classifier_on(tmp_path, TASKS["mnli"], seed=0)
    assert torch.equal(model.bert.pooler.dense.weight, same.bert.pooler.dense.weight)


def test_cuda_that_is_not_there_is_a_lack_of_the_environment(pico_encoder, tiny_glue, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(EnvironmentLacks, match="no CUDA device"):
        tuned(RECIPE.model_copy(update={"device": "cuda"}), pico_encoder, tiny_glue, tmp_path / "out")


def test_the_baseline_answers_the_commonest_class_of_the_train_part(tiny_glue):
    examples = carve(read_split(TASKS["sst2"], "train", tiny_glue), SPLITS)
    ones = dataclasses.replace(examples.train, labels=(1,) * len(examples.train))
    share = sum(examples.validation.labels) / len(examples.validation)
    baseline = baseline_of(TASKS["sst2"], ones, examples.validation)
    assert math.isclose(baseline["accuracy"], share)

import math
import types

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file

from benchkit.core.artifacts import Artifact, load_artifact
from benchkit.core.errors import BenchkitError
from benchkit.core.recipes import EarlyStoppingRecipe, LoraRecipe, SplitRecipe, TrainRecipe
from benchkit.tasks.table import TASKS
from benchkit.train.classifier import classifier_on
from benchkit.train.finetune import finetune
from benchkit.train.modes import final_linear

SPLITS = SplitRecipe(validation=40, unlabelled=20)
RECIPE = TrainRecipe(epochs=6, learning_rate=1e-2, batch_size=16, max_length=16, threads=1)
HEAD = {"classifier.weight", "classifier.bias"}


@pytest.fixture
def tuned(pico_encoder, tiny_glue, tmp_path):
    def _tuned(name="out", task="sst2", **changes) -> Artifact:
        out = tmp_path / name
        out.mkdir()
        finetune(
            RECIPE.model_copy(update=changes),
            encoder=pico_encoder,
            task=TASKS[task],
            data=tiny_glue,
            splits=SPLITS,
            name="pico",
            candidate="pico",
            out=out,
        )
        return load_artifact(out)

    return _tuned


def changed(artifact: Artifact, encoder: Artifact) -> set[str]:
    """Names of the tensors that differ by a bit from what training started with; the head is always new."""
    model, _ = classifier_on(encoder.path, TASKS["sst2"], seed=RECIPE.seed)
    before, after = model.state_dict(), load_file(artifact.model_file)
    assert set(before) - {"bert.embeddings.position_ids"} == set(after)
    return {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}


def test_a_linear_probe_changes_the_head_alone_and_learns(tuned, pico_encoder):
    probe = tuned(mode="linear_probe")
    notes = probe.manifest.notes
    assert changed(probe, pico_encoder) == HEAD
    assert notes["validation"]["accuracy"] > 0.9
    assert notes["trained_parameters"] == 2 * 32 + 2
    assert notes["l2"] in [fit["l2"] for fit in notes["evaluations"]]
    best = max(fit["accuracy"] for fit in notes["evaluations"])
    assert next(fit for fit in notes["evaluations"] if fit["l2"] == notes["l2"])["accuracy"] == best
    # What the grid saw is what the saved model answers.
    assert math.isclose(notes["validation"]["accuracy"], best)
    assert probe.manifest.recipe["optimizer"] == "l-bfgs"
    assert tuned("again", mode="linear_probe").manifest.id == probe.manifest.id


def test_a_linear_probe_of_scores_is_ridge_regression(tuned, pico_encoder, tiny_glue):
    """Held against the closed form on standardized features."""
    from benchkit.tasks.readers import read_split
    from benchkit.tasks.splits import carve
    from benchkit.tasks.tokenization import load_tokenizer
    from benchkit.train.batches import features_of

    probe = tuned(task="stsb", mode="linear_probe", max_length=32)
    model, _ = classifier_on(pico_encoder.path, TASKS["stsb"], seed=0)
    examples = carve(read_split(TASKS["stsb"], "train", tiny_glue), SPLITS).train
    rows = features_of(examples, load_tokenizer(pico_encoder.path), max_length=32)
    x = []
    for row in rows:
        batch = {name: torch.tensor([row[name]]) for name in ("input_ids", "token_type_ids")}
        x.append(model.eval().bert(**batch).pooler_output.detach().double().numpy()[0])
    x, y = np.array(x), np.array(examples.labels)
    mean, spread = x.mean(axis=0), x.std(axis=0).clip(1e-6)
    z = (x - mean) / spread
    # Half the penalty times w^2 beside the mean squared error: (Z'Z * 2/n + penalty) w = 2/n Z'(y - mean y).
    n, l2 = len(y), probe.manifest.notes["l2"]
    w = np.linalg.solve(2 / n * z.T @ z + l2 * np.eye(z.shape[1]), 2 / n * z.T @ (y - y.mean())) / spread
    found = load_file(probe.model_file)["classifier.weight"].double().numpy()[0]
    assert np.abs(found - w).max() < 0.02 * np.abs(w).max()


def test_bitfit_changes_biases_and_the_head_alone(tuned, pico_encoder):
    artifact = tuned(mode="bitfit", learning_rate=3e-2, epochs=12)
    names = changed(artifact, pico_encoder)
    assert names > HEAD
    assert all(name.endswith("bias") for name in names - HEAD)
    assert "bert.encoder.layer.0.output.LayerNorm.bias" in names
    assert artifact.manifest.notes["trained_parameters"] < 0.1 * artifact.manifest.notes["parameters"]
    assert artifact.manifest.notes["last_loss"] < artifact.manifest.notes["first_loss"]


def test_lora_changes_query_and_value_and_the_head_alone(tuned, pico_encoder):
    artifact = tuned(mode="lora", lora=LoraRecipe(rank=2, dropout=0.0))
    names = changed(artifact, pico_encoder)
    wanted = {f"bert.encoder.layer.{n}.attention.self.{which}.weight" for n in (0, 1) for which in ("query", "value")}
    assert names == HEAD | wanted
    notes = artifact.manifest.notes
    # Two layers of two matrices, each with 32 x 2 and 2 x 32, and the head.
    assert notes["trained_parameters"] == 4 * 2 * 64 + 66
    assert len(notes["adapted"]) == 4
    assert notes["last_loss"] < notes["first_loss"]
    model, _ = classifier_on(pico_encoder.path, TASKS["sst2"], seed=0)
    delta = load_file(artifact.model_file)[sorted(wanted)[0]] - model.state_dict()[sorted(wanted)[0]]
    assert torch.linalg.matrix_rank(delta, rtol=1e-3) == 2
    answer = transformers.pipeline("text-classification", str(artifact.path), device="cpu")("this is very good")
    assert answer[0]["label"] in ("negative", "positive")


@pytest.mark.parametrize("mode", ["bitfit", "lora"])
def test_the_same_recipe_gives_the_same_bits(tuned, mode):
    assert tuned("one", mode=mode, epochs=1).manifest.id == tuned("two", mode=mode, epochs=1).manifest.id


def test_matrices_that_are_not_there_are_an_error_that_names_those_that_are(tuned):
    with pytest.raises(BenchkitError, match="no adapters can be put beside qurey") as wrong:
        tuned(mode="lora", lora=LoraRecipe(targets=("qurey",)))
    assert "classifier, dense, key, query, value" in wrong.value.remedy


def test_early_stopping_and_a_probe_do_not_go_together(tuned):
    with pytest.raises(BenchkitError, match="nothing to stop"):
        tuned(mode="linear_probe", early_stopping=EarlyStoppingRecipe())


@pytest.mark.parametrize(
    ("kind", "last"), [("Roberta", "out_proj"), ("DistilBert", "classifier"), ("Electra", "out_proj")]
)
def test_the_last_layer_is_found_wherever_the_head_keeps_it(kind, last):
    width = {"dim": 16, "hidden_dim": 16, "n_layers": 1, "n_heads": 2} if kind == "DistilBert" else {}
    shape = width or {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = getattr(transformers, f"{kind}Config")(vocab_size=20, num_labels=3, **shape)
    model = getattr(transformers, f"{kind}ForSequenceClassification")(config)
    head = model.classifier
    assert final_linear(model) is (head if last == "classifier" else getattr(head, last))


def test_a_head_that_ends_in_no_linear_layer_is_said():
    model = types.SimpleNamespace(
        base_model_prefix="base",
        named_modules=lambda: [("head", torch.nn.Conv1d(4, 2, 1))],
        config=types.SimpleNamespace(num_labels=2, model_type="odd"),
    )
    with pytest.raises(BenchkitError, match="'odd' classifier does not end in a linear layer"):
        final_linear(model)

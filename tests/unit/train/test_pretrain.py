import math
from pathlib import Path

import pytest
import torch
import transformers

from benchkit.core.artifacts import Artifact, load_artifact
from benchkit.core.errors import BenchkitError
from benchkit.core.recipes import PretrainRecipe
from benchkit.tasks.table import TASKS
from benchkit.train.pretrain import _masked_lm, _masking, pretrain_masked_lm

RECIPE = PretrainRecipe(steps=40, batch_size=16, learning_rate=3e-3, max_length=16, threads=1)


def pretrained(recipe, encoder: Artifact, data: Path, out: Path, tasks=("sst2", "stsb"), **settings) -> Artifact:
    out.mkdir()
    rows = tuple(TASKS[task] for task in tasks)
    pretrain_masked_lm(recipe, encoder=encoder, data=data, tasks=rows, name="large", out=out, **settings)
    return load_artifact(out)


def test_the_loss_falls_and_the_encoder_is_saved_without_head(pico_encoder, tiny_glue, tmp_path):
    artifact = pretrained(RECIPE, pico_encoder, tiny_glue, tmp_path / "out")
    notes = artifact.manifest.notes
    assert notes["steps"] == 40
    assert notes["examples"] == 240
    assert notes["last_loss"] < notes["first_loss"] - 0.3
    assert artifact.config()["architectures"] == ["BertModel"]
    assert artifact.manifest.parents == (pico_encoder.manifest.id,)
    assert artifact.manifest.weights == "trained"
    assert artifact.manifest.recipe["tasks"] == ["sst2", "stsb"]
    before = transformers.AutoModel.from_pretrained(pico_encoder.path).embeddings.word_embeddings.weight
    after = transformers.AutoModel.from_pretrained(artifact.path).embeddings.word_embeddings.weight
    assert not torch.equal(before, after)


def test_the_same_recipe_gives_the_same_bytes_and_another_seed_others(pico_encoder, tiny_glue, tmp_path):
    few = RECIPE.model_copy(update={"steps": 4})
    first, again, other = (
        pretrained(few.model_copy(update={"seed": seed}), pico_encoder, tiny_glue, tmp_path / name)
        for name, seed in (("first", 0), ("again", 0), ("other", 1))
    )
    assert first.manifest.files["model.safetensors"] == again.manifest.files["model.safetensors"]
    assert first.manifest.files["model.safetensors"] != other.manifest.files["model.safetensors"]


def test_the_new_head_shares_the_word_embeddings(pico_encoder):
    model = _masked_lm(pico_encoder.path, seed=0)
    trained = transformers.AutoModel.from_pretrained(pico_encoder.path)
    assert torch.equal(model.bert.embeddings.word_embeddings.weight, trained.embeddings.word_embeddings.weight)
    assert model.cls.predictions.decoder.weight is model.bert.embeddings.word_embeddings.weight


def test_only_text_is_masked_and_about_the_share_asked_for(pico_encoder):
    torch.manual_seed(0)
    collate = _masking(pico_encoder.path, 0.3)
    feature = {"input_ids": [2, *([8] * 28), 3], "token_type_ids": [0] * 30}
    batch = collate([dict(feature) for _ in range(100)] + [{"input_ids": [2, 8, 3], "token_type_ids": [0] * 3}])
    asked = batch["labels"] != -100
    assert not asked[:, 0].any()
    assert not asked[-1, 2:].any()  # [SEP] and padding
    assert batch["attention_mask"][-1].tolist() == [1, 1, 1] + [0] * 27
    share = asked[:-1].sum().item() / 2800
    assert math.isclose(share, 0.3, abs_tol=0.03)
    masked = (batch["input_ids"][asked] == 4).float().mean().item()
    assert math.isclose(masked, 0.8, abs_tol=0.05)


def test_without_tasks_there_is_nothing_to_train_on(pico_encoder, tiny_glue, tmp_path):
    with pytest.raises(BenchkitError, match="no task"):
        pretrained(RECIPE, pico_encoder, tiny_glue, tmp_path / "out", tasks=())

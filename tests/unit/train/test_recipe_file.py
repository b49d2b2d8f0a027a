from pathlib import Path

import pytest

from benchkit.core.artifacts import load_artifact
from benchkit.core.errors import BenchkitError
from benchkit.core.recipes import TrainFile
from benchkit.core.registry import STEPS
from benchkit.core.settings import load_toml
from benchkit.train.recipe_file import train_from_file

RECIPES = Path(__file__).resolve().parents[3] / "models" / "recipes"

TEXT = """
name = "pico-sst2"
encoder = "{encoder}"
task = "sst2"

[splits]
validation = 40
unlabelled = 20

[train]
epochs = 1
batch_size = 16
threads = 1
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text)
    return path


def test_a_file_becomes_a_checkpoint(pico_checkpoint, tiny_glue, tmp_path):
    path = written(tmp_path, TEXT.format(encoder=pico_checkpoint))
    told = []
    train = STEPS.get("train-file")
    folder = train(
        path, data=tiny_glue, out=tmp_path / "made", progress=lambda message, done=None: told.append(message)
    )
    manifest = load_artifact(folder).manifest
    assert folder == tmp_path / "made"
    assert (manifest.name, manifest.task, manifest.candidate) == ("pico-sst2", "sst2", "pico-sst2")
    assert manifest.recipe["splits"]["validation"] == 40
    assert any("step 7 of 7" in message for message in told)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made", "recipe.toml"]


def test_without_a_folder_the_name_decides(pico_checkpoint, tiny_glue, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path, TEXT.format(encoder=pico_checkpoint))
    assert train_from_file(path, data=tiny_glue) == Path("models/pico-sst2")
    assert (tmp_path / "models" / "pico-sst2" / "artifact.json").is_file()


def test_a_preset_trains_from_random_weights(pico_checkpoint, tiny_glue, tmp_path, monkeypatch):
    def random_checkpoint(preset, *, name, out, seed, progress):
        import shutil

        from benchkit.core.manifest import write_manifest

        assert preset == "bert-base"
        for part in ("config.json", "model.safetensors"):
            shutil.copy(pico_checkpoint / part, out)
        write_manifest(out, kind="checkpoint", name=name, recipe={}, weights="random")

    steps = STEPS.get
    monkeypatch.setattr(STEPS, "get", lambda name: random_checkpoint if name == "random-checkpoint" else steps(name))
    text = f'tokenizer = "{pico_checkpoint}"\n' + TEXT.format(encoder="arch:bert-base")
    folder = train_from_file(written(tmp_path, text), data=tiny_glue, out=tmp_path / "made")
    assert load_artifact(folder).manifest.weights == "trained"


def test_a_misspelt_key_names_the_nearest_one(tiny_glue, tmp_path):
    path = written(tmp_path, TEXT.format(encoder="x").replace("batch_size", "batchsize"))
    with pytest.raises(BenchkitError, match=r"recipe\.toml:12: unknown key 'batchsize' in \[train\]") as refused:
        train_from_file(path, data=tiny_glue, out=tmp_path / "made")
    assert "'batch_size'" in refused.value.remedy


def test_an_unknown_task_is_refused_before_anything_is_fetched(tiny_glue, tmp_path):
    path = written(tmp_path, TEXT.format(encoder="no/where").replace('"sst2"', '"sst3"'))
    with pytest.raises(BenchkitError, match="unknown task 'sst3'"):
        train_from_file(path, data=tiny_glue, out=tmp_path / "made")


def test_a_failure_leaves_what_was_there(pico_checkpoint, tmp_path, tiny_glue):
    path = written(tmp_path, TEXT.format(encoder=pico_checkpoint))
    made = train_from_file(path, data=tiny_glue, out=tmp_path / "made")
    before = (made / "artifact.json").read_bytes()
    with pytest.raises(BenchkitError, match="SST-2"):
        train_from_file(path, data=tmp_path, out=made)
    assert (made / "artifact.json").read_bytes() == before


def test_a_folder_of_something_else_is_not_replaced(pico_checkpoint, tiny_glue, tmp_path):
    path = written(tmp_path, TEXT.format(encoder=pico_checkpoint))
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").write_text("years of work")
    with pytest.raises(BenchkitError, match=r"no artifact\.json") as refused:
        train_from_file(path, data=tiny_glue, out=tmp_path / "thesis")
    assert "-o DIR" in refused.value.remedy
    assert (tmp_path / "thesis" / "chapter1.txt").read_text() == "years of work"


@pytest.mark.parametrize("name", ["bert-base-sst2", "tinybert-4l-sst2", "minilm-l3-sst2"])
def test_the_published_recipes_are_valid(name):
    recipe = load_toml(RECIPES / f"{name}.toml", TrainFile)
    assert recipe.name == name
    assert recipe.task == "sst2"

"""Recipes in files: ours in TOML, mergekit's in YAML."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from benchkit.core.artifacts import Artifact, load_artifact
from benchkit.core.errors import BenchkitError
from benchkit.core.registry import STEPS
from benchkit.merge.operators import linear, slerp, task_arithmetic

merge_from_file = STEPS.get("merge-file")


@pytest.fixture(scope="module")
def models(
    checkpoint: Callable[..., Artifact], make_encoder: Callable[..., Any], tune: Callable[..., Any]
) -> dict[str, Artifact]:
    source = make_encoder(1)
    return {
        "base": checkpoint(make_encoder(1), classes=2),
        "one": checkpoint(tune(source, 2), classes=2, seed=1),
        "two": checkpoint(tune(source, 3), classes=2, seed=2),
    }


def written(folder: Path, text: str, models: dict[str, Artifact]) -> Path:
    for name, artifact in models.items():
        text = text.replace(f"@{name}", str(artifact.path))
    path = folder / "recipe.yaml"
    path.write_text(text)
    return path


def tensors_of(folder: Path) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(folder / "model.safetensors")


YAML = {
    "linear": "merge_method: linear\nmodels:\n- model: @one\n  parameters: {weight: 1}\n- model: @two\n"
    "  parameters: {weight: 3}\ndtype: float32\n",
    "slerp": "merge_method: slerp\nbase_model: @base\nmodels:\n- model: @base\n- model: @one\nparameters: {t: 0.3}\n",
    "task_arithmetic": "merge_method: task_arithmetic\nbase_model: @base\nmodels:\n- model: @one\n"
    "  parameters: {weight: 0.5}\n- model: @two\nparameters: {lambda: 0.8, weight: 1.5}\n",
}
FORMULA: dict[str, Callable[..., torch.Tensor]] = {
    "linear": lambda base, one, two: linear([one, two], [1, 3]),
    "slerp": lambda base, one, two: slerp(base, one, share=0.3),
    "task_arithmetic": lambda base, one, two: task_arithmetic(base, [one, two], [0.5, 1.5], scale=0.8),
}


@pytest.mark.parametrize("method", sorted(YAML))
def test_a_mergekit_file_is_run_as_it_is(method: str, models: dict[str, Artifact], tmp_path: Path) -> None:
    folder = merge_from_file(written(tmp_path, YAML[method], models), out=tmp_path / "merged")
    inputs = {name: tensors_of(artifact.path) for name, artifact in models.items()}
    merged = tensors_of(folder)
    assert set(merged) == set(inputs["base"])
    for name, tensor in merged.items():
        wanted = FORMULA[method](*(inputs[model][name] for model in ("base", "one", "two")))
        assert torch.equal(tensor, wanted), name
    artifact = load_artifact(folder)
    assert models["one"].manifest.id in artifact.manifest.parents
    assert artifact.config()["id2label"] == {"0": "negative", "1": "positive"}
    assert (folder / "tokenizer.json").is_file()
    assert len(json.loads((folder / "merge_report.json").read_text())["plan"]) == len(merged)


def test_dtype_is_that_of_the_file(models: dict[str, Artifact], tmp_path: Path) -> None:
    text = YAML["linear"].replace("float32", "bfloat16")
    folder = merge_from_file(written(tmp_path, text, models), out=tmp_path / "merged")
    assert {tensor.dtype for tensor in tensors_of(folder).values()} == {torch.bfloat16}
    assert load_artifact(folder).manifest.precision == "bf16"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("merge_method: linear", "merge_method: ties"), "merge_method 'ties'"),
        (("merge_method: linear", "merge_method: lineal"), "merge_method"),
        (("dtype: float32", "slices: []"), "key 'slices'"),
        (("dtype: float32", "tokenizer_source: base"), "key 'tokenizer_source'"),
        (("dtype: float32", "dtipe: float32"), "unknown key 'dtipe'"),
        (("{weight: 1}", "{weight: [0, 1]}"), "gradient or filter for 'weight'"),
        (("{weight: 1}", "{weight: [{filter: mlp, value: 1}]}"), "gradient or filter for 'weight'"),
        (("{weight: 1}", "{wieght: 1}"), "unknown key 'wieght'"),
        (("{weight: 1}", "{density: 0.5}"), "key 'density'"),
        (("{weight: 1}", "{}"), "has no weight"),
        (("@two", "@one"), "listed twice"),
        (("@two", "/no/such/folder"), "'/no/such/folder' is no folder"),
        (("models:", "models: ["), "not readable as YAML"),
    ],
)
def test_what_this_version_does_not_do_is_refused_by_name(
    change: tuple[str, str], named: str, models: dict[str, Artifact], tmp_path: Path
) -> None:
    assert change[0] in YAML["linear"]
    path = written(tmp_path, YAML["linear"].replace(*change), models)
    with pytest.raises(BenchkitError) as caught:
        merge_from_file(path, out=tmp_path / "merged")
    assert named in str(caught.value)
    assert caught.value.remedy
    assert not (tmp_path / "merged").exists()


def test_a_tensor_of_another_shape_or_missing_is_named(
    models: dict[str, Artifact],
    checkpoint: Callable[..., Artifact],
    make_encoder: Callable[..., Any],
    tmp_path: Path,
) -> None:
    wide = models | {"two": checkpoint(make_encoder(2, inner=80), classes=2)}
    with pytest.raises(BenchkitError, match=r"intermediate\.dense\.bias' has different shapes: \(64,\).*\(80,\)"):
        merge_from_file(written(tmp_path, YAML["linear"], wide), out=tmp_path / "merged")
    deep = models | {"two": checkpoint(make_encoder(2, layers=3), classes=2)}
    with pytest.raises(BenchkitError, match=r"has no tensor 'bert\.encoder\.layer\.2"):
        merge_from_file(written(tmp_path, YAML["linear"], deep), out=tmp_path / "merged")


def test_labels_in_another_order_are_not_averaged(
    models: dict[str, Artifact], edited: Callable[..., Artifact], tmp_path: Path
) -> None:
    turned = edited(models["two"], tmp_path / "turned", id2label={"0": "positive", "1": "negative"})
    with pytest.raises(BenchkitError, match="names its labels"):
        merge_from_file(written(tmp_path, YAML["linear"], models | {"two": turned}), out=tmp_path / "merged")


def toml(folder: Path, donor: Artifact, donor_base: Artifact, base: Artifact, more: str = "") -> Path:
    path = folder / "recipe.toml"
    path.write_text(
        f'name = "merged"\ntask = "sst2"\ndonor = "{donor.path}"\ndonor_base = "{donor_base.path}"\n'
        f'base = "{base.path}"\n{more}\n[project]\nwidth = "graft"\n[search]\ngrid = [0.0, 1.0]\nextend_to = 1.0\n'
    )
    return path


def test_our_own_recipe_merges_across_shapes(
    learned_donor: tuple[Artifact, Artifact],
    checkpoint: Callable[..., Artifact],
    make_encoder: Callable[..., Any],
    sst2_data: Path,
    tmp_path: Path,
) -> None:
    base = checkpoint(make_encoder(5, layers=3, hidden=48, inner=96))
    path = toml(tmp_path, *learned_donor, base)
    folder = merge_from_file(path, data=sst2_data, out=tmp_path / "merged")
    manifest = load_artifact(folder).manifest
    assert manifest.task == "sst2"
    assert manifest.recipe["project"]["whiten"] == 0.4
    assert [row["scale"] for row in manifest.notes["search"]] == [0.0, 1.0]
    with pytest.raises(BenchkitError, match="needs its text"):
        merge_from_file(path, out=tmp_path / "again")
    typo = toml(tmp_path, *learned_donor, base, more="skale = 1.0")
    with pytest.raises(BenchkitError) as caught:
        merge_from_file(typo, data=sst2_data, out=tmp_path / "again")
    assert "unknown key 'skale'" in str(caught.value)
    assert "scale" in caught.value.remedy


def test_a_folder_of_somebody_else_is_not_replaced(models: dict[str, Artifact], tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "thesis.txt").write_text("years of work")
    with pytest.raises(BenchkitError, match="is not replaced"):
        merge_from_file(written(tmp_path, YAML["linear"], models), out=theirs)
    assert (theirs / "thesis.txt").read_text() == "years of work"

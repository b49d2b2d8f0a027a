from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch

from benchkit.core.architectures import ARCHITECTURES, Architecture
from benchkit.core.artifacts import Artifact, load_artifact
from benchkit.core.errors import BenchkitError
from benchkit.core.recipes import QuantizeRecipe
from benchkit.core.registry import QUANTIZERS, STEPS
from benchkit.export import presets


@pytest.fixture(autouse=True)
def pico_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    for family in ("bert", "distilbert"):
        shape = Architecture(
            name=f"pico-{family}",
            family=family,
            layers=2,
            hidden_size=24,
            heads=2,
            intermediate_size=32,
            vocabulary_size=50,
            max_positions=64,
            hub_id="",
        )
        monkeypatch.setitem(ARCHITECTURES, shape.name, shape)


def build(preset: str, folder: Path, **more: object) -> Artifact:
    folder.mkdir()
    STEPS.get("random-checkpoint")(preset, name="made", out=folder, **more)
    return load_artifact(folder)


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_parameters_are_those_of_the_real_architecture(name: str) -> None:
    shape = ARCHITECTURES[name]
    with torch.device("meta"):
        model = presets._model(shape, 2)
    encoder = sum(weights.numel() for weights in model.base_model.parameters())
    assert encoder == shape.parameter_count()


@pytest.mark.parametrize("preset", ["pico-bert", "pico-distilbert"])
def test_checkpoint_of_random_weights_exports(preset: str, tmp_path: Path, export: Callable[..., Artifact]) -> None:
    checkpoint = build(preset, tmp_path / "checkpoint", labels=3)
    assert checkpoint.manifest.weights == "random"
    assert checkpoint.manifest.kind == "checkpoint"
    assert sorted(checkpoint.manifest.files) == ["config.json", "model.safetensors"], "no tokenizer is made up"
    assert len(checkpoint.config()["id2label"]) == 3
    made = export(checkpoint.path)
    assert made.manifest.weights == "random"
    assert made.manifest.parents == (checkpoint.manifest.id,)
    assert made.manifest.candidate == "made"


def test_seed_decides_the_weights(tmp_path: Path) -> None:
    first, again, other = (
        build("pico-bert", tmp_path / name, seed=seed) for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert first.manifest.id == again.manifest.id != other.manifest.id


def test_random_state_of_the_process_is_left_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    build("pico-bert", tmp_path / "checkpoint")
    assert torch.equal(torch.rand(3), wanted)


def test_graph_has_as_many_nodes_as_a_trained_one(tmp_path: Path, export: Callable[..., Artifact]) -> None:
    made = export(build("pico-bert", tmp_path / "checkpoint").path)
    nodes = [node.op_type for node in onnx.load(made.model_file).graph.node]
    assert "Identity" not in nodes, "equal biases were folded into one"


def test_unknown_preset(tmp_path: Path) -> None:
    with pytest.raises(BenchkitError, match="unknown architecture 'bert-bas'") as caught:
        build("bert-bas", tmp_path / "checkpoint")
    assert "did you mean 'bert-base'" in caught.value.remedy


@pytest.mark.slow
def test_real_size(tmp_path: Path, export: Callable[..., Artifact]) -> None:
    checkpoint = build("tinybert-4l-312", tmp_path / "checkpoint")
    made = export(checkpoint.path)
    weights_bytes = 4 * ARCHITECTURES["tinybert-4l-312"].parameter_count()
    assert made.size_bytes == pytest.approx(weights_bytes, rel=0.01)
    out = tmp_path / "int8"
    out.mkdir()
    QUANTIZERS.get("dynamic-int8")(QuantizeRecipe(), source=made, name="int8", out=out)
    assert load_artifact(out).size_bytes == pytest.approx(weights_bytes / 4, rel=0.05)

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from benchkit.core.artifacts import Artifact, load_artifact
from benchkit.core.errors import BenchkitError
from benchkit.core.recipes import QuantizeRecipe
from benchkit.core.registry import QUANTIZERS, RUNTIMES
from benchkit.export import onnx_file
from benchkit.runtimes.protocol import SessionOptions

Fuse = Callable[[Artifact], Artifact]
Export = Callable[..., Artifact]
MakeCheckpoint = Callable[..., Path]

WHOLE = {"Attention": 2, "BiasGelu": 2, "EmbedLayerNormalization": 1, "SkipLayerNormalization": 4}


@pytest.fixture
def plain(pico_onnx: Path) -> Artifact:
    return load_artifact(pico_onnx)


@pytest.fixture
def fuse(tmp_path: Path) -> Fuse:
    def run(source: Artifact) -> Artifact:
        out = tmp_path / f"fused-{len(list(tmp_path.iterdir()))}"
        out.mkdir()
        QUANTIZERS.get("fp32-fused")(QuantizeRecipe(), source=source, name="fused", out=out)
        return load_artifact(out)

    return run


def feed(*, left: bool = False) -> dict[str, np.ndarray]:
    ids = np.array([[2, 6, 8, 9, 3], [2, 7, 3, 0, 0], [2, 5, 13, 3, 0]])
    if left:
        ids = np.array([[2, 6, 8, 9, 3], [0, 0, 2, 7, 3], [0, 2, 5, 13, 3]])
    return {"input_ids": ids, "attention_mask": (ids > 0).astype(np.int64), "token_type_ids": np.zeros_like(ids)}


def logits(artifact: Artifact, inputs: dict[str, np.ndarray], runtime: str = "onnxruntime") -> np.ndarray:
    session = RUNTIMES.get(runtime)().open(artifact.model_file, SessionOptions())
    return session.call(session.prepare(inputs))


def foreign(model: onnx.ModelProto, plain: Artifact, folder: Path) -> Artifact:
    shutil.copytree(plain.path, folder)
    (folder / "artifact.json").unlink()
    onnx.save(model, folder / "model.onnx")
    return load_artifact(folder)


@pytest.mark.parametrize(
    ("family", "counts", "warnings"),
    [
        ("bert", WHOLE, []),
        ("distilbert", WHOLE, []),
        ("electra", WHOLE | {"Gelu": 1}, []),
        # Its positions are counted from the ids, which no fused operator does.
        ("roberta", {key: WHOLE[key] for key in WHOLE if key[0] != "E"}, ["the embeddings did not fuse"]),
    ],
)
def test_what_fuses_of_each_architecture(
    make_checkpoint: MakeCheckpoint,
    export: Export,
    fuse: Fuse,
    family: str,
    counts: dict[str, int],
    warnings: list[str],
) -> None:
    made = fuse(export(make_checkpoint(family)))
    notes = made.manifest.notes
    assert notes["fusions"] == counts
    assert notes["warnings"] == warnings
    assert notes["nodes"]["after"] < notes["nodes"]["before"] / 2
    assert notes["parity"]["max_difference"] < 1e-5
    operators = [node.op_type for node in onnx.load(made.model_file).graph.node]
    assert {name: operators.count(name) for name in counts} == counts


def test_fused_graph_answers_as_the_plain_one(plain: Artifact, fuse: Fuse) -> None:
    made = fuse(plain)
    expected = logits(plain, feed())
    assert expected.std(axis=0).max() > 0.01, "answers must differ between inputs, or equality proves nothing"
    np.testing.assert_allclose(logits(made, feed()), expected, atol=1e-5)


def test_padding_on_the_left_counts_as_padding(plain: Artifact, fuse: Fuse) -> None:
    # The optimizer's own default takes the number of ones for the length, and reads the padding instead of the text.
    np.testing.assert_allclose(logits(fuse(plain), feed(left=True)), logits(plain, feed(left=True)), atol=1e-5)


def test_fused_graph_in_openvino(plain: Artifact, fuse: Fuse) -> None:
    pytest.importorskip("openvino")
    np.testing.assert_allclose(logits(fuse(plain), feed(), "openvino"), logits(plain, feed()), atol=1e-4)


def test_manifest_and_folder(plain: Artifact, fuse: Fuse) -> None:
    made = fuse(plain)
    manifest = made.manifest
    assert (manifest.kind, manifest.precision, manifest.name) == ("onnx", "fp32-fused", "fused")
    assert manifest.parents == (plain.manifest.id,)
    assert manifest.candidate == plain.manifest.candidate
    assert manifest.recipe == {"step": "quantize", "method": "fp32-fused", "opset": 17}
    assert manifest.notes["output"] == "logits"
    assert manifest.notes["parity"]["inputs"] == "sentences and random token ids"
    assert (made.path / "tokenizer.json").read_bytes() == (plain.path / "tokenizer.json").read_bytes()
    model = onnx.load(made.model_file)
    assert model.producer_name == "benchkit"
    assert {item.key: item.value for item in model.metadata_props}["benchkit.source_id"] == plain.manifest.id


def test_same_bytes_each_time(plain: Artifact, fuse: Fuse) -> None:
    assert fuse(plain).manifest.id == fuse(plain).manifest.id


def test_fused_graph_quantizes_too(plain: Artifact, fuse: Fuse, tmp_path: Path) -> None:
    (tmp_path / "foreign").mkdir()
    shutil.copy(fuse(plain).model_file, tmp_path / "foreign" / "model.onnx")
    out = tmp_path / "int8"
    out.mkdir()
    source = load_artifact(tmp_path / "foreign")
    QUANTIZERS.get("dynamic-int8")(QuantizeRecipe(), source=source, name="small", out=out)
    made = load_artifact(out)
    assert "QAttention" in {node.op_type for node in onnx.load(made.model_file).graph.node}
    assert 0 < abs(logits(made, feed()) - logits(plain, feed())).max() < logits(plain, feed()).std(axis=0).max()


def test_what_is_fused_already(plain: Artifact, fuse: Fuse) -> None:
    made = fuse(plain)
    with pytest.raises(BenchkitError, match="is fp32-fused, and a plain fp32 graph is fused"):
        fuse(made)
    # A foreign file does not say so itself; its operators do.
    with pytest.raises(BenchkitError, match=r"holds Attention, BiasGelu, .* already"):
        fuse(load_artifact(made.model_file))


def test_nothing_fuses(fuse: Fuse, tmp_path: Path) -> None:
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "sequence"])
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "sequence"])
    cast = helper.make_node("Cast", ["input_ids"], ["logits"], to=TensorProto.FLOAT)
    graph = helper.make_graph([cast], "cast", [ids], [output])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "cast.onnx"
    )
    with pytest.raises(BenchkitError, match=r"nothing fuses in .*: its nodes form no attention") as caught:
        fuse(load_artifact(tmp_path / "cast.onnx"))
    assert "export the checkpoint anew" in caught.value.remedy


def test_checkpoints_are_exported_first(pico_checkpoint: Path, fuse: Fuse) -> None:
    with pytest.raises(BenchkitError, match="is a checkpoint") as caught:
        fuse(load_artifact(pico_checkpoint))
    assert "--fused" in caught.value.remedy


def test_weights_that_are_not_fp32(plain: Artifact, fuse: Fuse, tmp_path: Path) -> None:
    model = onnx.load(plain.model_file)
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((2, 2), np.float16), "half"))
    with pytest.raises(BenchkitError, match="holds fp16 weights"):
        fuse(foreign(model, plain, tmp_path / "half"))


def test_graph_without_config_says_what_was_not_known(plain: Artifact, fuse: Fuse, tmp_path: Path) -> None:
    shutil.copy(plain.model_file, tmp_path / "bare.onnx")
    made = fuse(load_artifact(tmp_path / "bare.onnx"))
    assert made.manifest.notes["fusions"].keys() == {"BiasGelu", "SkipLayerNormalization"}
    assert "no config.json" in made.manifest.notes["warnings"][0]


def test_fixed_shapes_are_compared_as_they_are(plain: Artifact, fuse: Fuse, tmp_path: Path) -> None:
    model = onnx.load(plain.model_file)
    for value in model.graph.input:
        for dim, size in zip(value.type.tensor_type.shape.dim, (2, 9), strict=True):
            dim.dim_value = size
    made = fuse(foreign(model, plain, tmp_path / "static"))
    assert made.manifest.notes["parity"]["shapes"] == [[2, 9]]
    assert made.manifest.notes["fusions"] == WHOLE


def test_a_config_of_another_model_is_found_out(plain: Artifact, fuse: Fuse, tmp_path: Path) -> None:
    source = foreign(onnx.load(plain.model_file), plain, tmp_path / "wrong")
    config = json.loads((source.path / "config.json").read_text())
    (source.path / "config.json").write_text(json.dumps(config | {"num_attention_heads": 4}))
    source = load_artifact(source.path)
    try:
        made = fuse(source)
    except BenchkitError:
        return  # Also an answer: what must not happen is a graph that computes something else.
    np.testing.assert_allclose(logits(made, feed()), logits(plain, feed()), atol=1e-5)


def test_a_graph_too_large_for_one_file(plain: Artifact, fuse: Fuse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_file, "EXTERNAL_ABOVE_BYTES", 10_000)
    made = fuse(plain)
    assert "model.onnx_data" in made.manifest.files
    np.testing.assert_allclose(logits(made, feed()), logits(plain, feed()), atol=1e-5)


def test_nothing_is_said(plain: Artifact, fuse: Fuse, capfd: pytest.CaptureFixture[str]) -> None:
    before = logging.root.manager.disable
    fuse(plain)
    assert capfd.readouterr() == ("", "")
    assert logging.root.manager.disable == before

import collections
import logging
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.transformers import optimizer

from benchkit.core.artifacts import Artifact, load_artifact
from benchkit.core.errors import BenchkitError
from benchkit.core.registry import RUNTIMES
from benchkit.runtimes.protocol import SessionOptions

Quantize = Callable[..., Artifact]

FEED = {
    "input_ids": np.array([[2, 6, 8, 3], [2, 7, 3, 0]]),
    "attention_mask": np.array([[1, 1, 1, 1], [1, 1, 1, 0]]),
    "token_type_ids": np.zeros((2, 4), dtype=np.int64),
}
# Two layers of six products with weights, the pooler and the classifier.
WEIGHTED_MATMULS = 14


def logits(artifact: Artifact) -> np.ndarray:
    session = RUNTIMES.get("onnxruntime")().open(artifact.model_file, SessionOptions())
    return session.call(session.prepare(FEED))


def int8_weights(artifact: Artifact) -> dict[str, np.ndarray]:
    initializers = onnx.load(artifact.model_file).graph.initializer
    return {
        item.name: numpy_helper.to_array(item)
        for item in initializers
        if item.data_type == TensorProto.INT8 and len(item.dims) == 2 and "embeddings" not in item.name
    }


def scales(artifact: Artifact) -> list[np.ndarray]:
    initializers = onnx.load(artifact.model_file).graph.initializer
    return [
        numpy_helper.to_array(item)
        for item in initializers
        if item.name.startswith("onnx::MatMul") and item.name.endswith("_scale")
    ]


def bare(model: onnx.ModelProto, path: Path) -> Artifact:
    onnx.save(model, path)
    return load_artifact(path)


def fused(artifact: Artifact, path: Path) -> Artifact:
    logging.disable(logging.WARNING)
    try:
        model = optimizer.optimize_model(str(artifact.model_file), "bert", num_heads=2, hidden_size=32, opt_level=0)
        model.save_model_to_file(str(path))
    finally:
        logging.disable(logging.NOTSET)
    return load_artifact(path)


def test_every_product_with_weights_is_quantized(fp32: Artifact, quantize: Quantize) -> None:
    made = quantize(fp32)
    operators = collections.Counter(node.op_type for node in onnx.load(made.model_file).graph.node)
    assert operators["MatMulInteger"] == WEIGHTED_MATMULS
    coverage = made.manifest.notes["coverage"]
    row = coverage["MatMul+Gemm"]
    assert row == {"nodes": WEIGHTED_MATMULS + 4, "with_weights": WEIGHTED_MATMULS, "quantized": WEIGHTED_MATMULS}
    assert made.manifest.notes["quantized_matmul_share"] == pytest.approx(14 / 18)
    assert coverage["Gather"] == {"nodes": 9, "with_weights": 3, "quantized": 2}, "two rows of token types stay fp32"


def test_outputs_move_a_little(fp32: Artifact, quantize: Quantize) -> None:
    made = quantize(fp32)
    seen = abs(logits(made) - logits(fp32)).max()
    spread = logits(fp32).std(axis=0).max()
    assert 0 < seen < spread, "quantization must cost something, and less than what tells the inputs apart"
    noted = made.manifest.notes["logit_difference"]
    assert 0 < noted["max"] < noted["largest_fp32_output"]


def test_manifest_and_folder(fp32: Artifact, quantize: Quantize) -> None:
    made = quantize(fp32)
    manifest = made.manifest
    assert (manifest.kind, manifest.precision, manifest.name) == ("onnx", "dynamic-int8", "small")
    assert manifest.parents == (fp32.manifest.id,)
    assert (manifest.candidate, manifest.task, manifest.weights) == (
        fp32.manifest.candidate,
        fp32.manifest.task,
        fp32.manifest.weights,
    )
    assert manifest.recipe["weight_type"] == "QInt8"
    assert manifest.notes["size_before_bytes"] == fp32.size_bytes
    assert manifest.notes["size_after_bytes"] == made.size_bytes < fp32.size_bytes
    for name in ("config.json", "tokenizer.json", "vocab.txt"):
        assert (made.path / name).read_bytes() == (fp32.path / name).read_bytes()


def test_weights_are_signed_and_use_their_range(fp32: Artifact, quantize: Quantize) -> None:
    weights = int8_weights(quantize(fp32))
    assert len(weights) == WEIGHTED_MATMULS
    assert max(abs(values.astype(int)).max() for values in weights.values()) == 127


def test_reduced_range_rules_saturation_out(fp32: Artifact, quantize: Quantize) -> None:
    made = quantize(fp32, reduce_range=True)
    largest = max(abs(values.astype(int)).max() for values in int8_weights(made).values())
    assert 255 * largest * 2 < 2**15, "two products of uint8 and int8 must fit into 16 bits"
    assert "no saturation" in made.manifest.notes["portability"]
    assert "may saturate" in quantize(fp32).manifest.notes["portability"]


def test_one_scale_for_each_channel(fp32: Artifact, quantize: Quantize) -> None:
    assert {scale.size for scale in scales(quantize(fp32, per_channel=False))} == {1}
    made = quantize(fp32)
    assert max(scale.size for scale in scales(made)) == 64
    assert made.manifest.recipe["per_channel"] is True


def test_same_bytes_each_time(fp32: Artifact, quantize: Quantize) -> None:
    assert quantize(fp32).manifest.id == quantize(fp32).manifest.id


def test_bare_file(fp32: Artifact, quantize: Quantize, tmp_path: Path) -> None:
    shutil.copy(fp32.model_file, tmp_path / "bare.onnx")
    made = quantize(load_artifact(tmp_path / "bare.onnx"))
    assert sorted(made.manifest.files) == ["model.onnx"]
    assert made.manifest.candidate == "bare"


def test_fused_file_without_shape_information(fp32: Artifact, quantize: Quantize, tmp_path: Path) -> None:
    source = fused(fp32, tmp_path / "fused.onnx")
    made = quantize(source)
    coverage = made.manifest.notes["coverage"]
    assert coverage["Attention"] == {"nodes": 2, "with_weights": 2, "quantized": 2}
    assert coverage["EmbedLayerNormalization"]["quantized"] == 1
    assert made.manifest.notes["quantized_matmul_share"] == 1.0
    assert abs(logits(made) - logits(source)).max() < logits(fp32).std(axis=0).max()


def test_quantized_twice(fp32: Artifact, quantize: Quantize) -> None:
    made = quantize(fp32)
    with pytest.raises(BenchkitError, match="is quantized already: dynamic-int8"):
        quantize(made)
    # A foreign file does not say so itself; its operators do.
    with pytest.raises(BenchkitError, match="is quantized already: int8"):
        quantize(load_artifact(made.model_file))


def test_checkpoints_are_exported_first(pico_checkpoint: Path, quantize: Quantize) -> None:
    with pytest.raises(BenchkitError, match="is a checkpoint") as caught:
        quantize(load_artifact(pico_checkpoint))
    assert "benchkit export" in caught.value.remedy


def test_half_precision_weights(fp32: Artifact, quantize: Quantize, tmp_path: Path) -> None:
    model = onnx.load(fp32.model_file)
    weights = next(item for item in model.graph.initializer if item.name.endswith("word_embeddings.weight"))
    half = numpy_helper.from_array(numpy_helper.to_array(weights).astype(np.float16), weights.name + "_half")
    model.graph.initializer.append(half)
    with pytest.raises(BenchkitError, match="holds fp16 weights"):
        quantize(bare(model, tmp_path / "half.onnx"))


def test_nothing_to_quantize(quantize: Quantize, tmp_path: Path) -> None:
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "sequence"])
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "sequence"])
    cast = helper.make_node("Cast", ["input_ids"], ["logits"], to=TensorProto.FLOAT)
    graph = helper.make_graph([cast], "cast", [ids], [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(BenchkitError, match="no operator with weights"):
        quantize(bare(model, tmp_path / "cast.onnx"))


def test_fixed_shapes_are_run_as_they_are(fp32: Artifact, quantize: Quantize, tmp_path: Path) -> None:
    model = onnx.load(fp32.model_file)
    for value in model.graph.input:
        for dim, size in zip(value.type.tensor_type.shape.dim, (2, 9), strict=True):
            dim.dim_value = size
    made = quantize(bare(model, tmp_path / "static.onnx"))
    assert made.manifest.notes["logit_difference"]["examples"] == 4


def test_damaged_file(quantize: Quantize, tmp_path: Path) -> None:
    (tmp_path / "damaged.onnx").write_bytes(b"no model")
    with pytest.raises(BenchkitError, match="cannot load"):
        quantize(load_artifact(tmp_path / "damaged.onnx"))


def test_nothing_is_left_behind_or_said(
    fp32: Artifact,
    quantize: Quantize,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    handlers, filters = list(logging.getLogger().handlers), list(logging.getLogger().filters)
    before = sorted(fp32.path.iterdir())
    made = quantize(fp32)
    assert capfd.readouterr() == ("", "")
    assert list(scratch.iterdir()) == []
    assert sorted(fp32.path.iterdir()) == before
    assert made.manifest.notes["warnings"] == []
    assert (logging.getLogger().handlers, logging.getLogger().filters) == (handlers, filters)

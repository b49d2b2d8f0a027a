import collections
import dataclasses
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from benchkit.core.artifacts import Artifact
from benchkit.core.errors import BenchkitError
from benchkit.quantize import dynamic, graph_files, half, weights
from benchkit.tasks.calibration import Calibration

Quantize = Callable[..., Artifact]


def initializers(artifact: Artifact) -> dict[str, onnx.TensorProto]:
    return {item.name: item for item in onnx.load(artifact.model_file).graph.initializer}


def operators(artifact: Artifact) -> collections.Counter[str]:
    return collections.Counter(node.op_type for node in onnx.load(artifact.model_file).graph.node)


@pytest.mark.parametrize(("method", "opset"), [("weight-int8", 17), ("weight-int4", 21)])
def test_every_linear_layer_is_in_blocks(method: str, opset: int, fp32: Artifact, quantize: Quantize) -> None:
    made = quantize(fp32, method)
    counted = operators(made)
    assert (counted["MatMulNBits"], counted["Gemm"], counted["MatMul"]) == (14, 0, 4)
    model = onnx.load(made.model_file)
    assert next(entry.version for entry in model.opset_import if not entry.domain) == opset
    blocks = {
        attribute.i
        for node in model.graph.node
        if node.op_type == "MatMulNBits"
        for attribute in node.attribute
        if attribute.name == "block_size"
    }
    assert blocks == {made.manifest.notes["block_size"]}


def test_rows_of_embeddings_are_as_near_as_eight_bits_allow(fp32: Artifact, quantize: Quantize) -> None:
    small = initializers(quantize(fp32, "weight-int8"))
    for name in ("word_embeddings", "position_embeddings"):
        table = numpy_helper.to_array(initializers(fp32)[f"bert.embeddings.{name}.weight"])
        rows = numpy_helper.to_array(small[f"bert.embeddings.{name}.weight_int8"])
        scales = numpy_helper.to_array(small[f"bert.embeddings.{name}.weight_row_scale"])
        assert scales.shape == (len(table), 1)
        assert np.all(abs(rows * scales - table) <= scales / 2 * 1.001)
        assert f"bert.embeddings.{name}.weight" not in small, "the fp32 table is gone"
    kept = small["bert.embeddings.token_type_embeddings.weight"]
    assert kept.data_type == TensorProto.FLOAT, "two rows save nothing, and every token would carry their error"


def test_embeddings_can_be_left_alone(fp32: Artifact, quantize: Quantize) -> None:
    for method in ("weight-int8", "weight-int4", "dynamic-int8"):
        made = quantize(fp32, method, embeddings=False)
        assert initializers(made)["bert.embeddings.word_embeddings.weight"].data_type == TensorProto.FLOAT
        assert made.manifest.notes["coverage"]["Gather"]["quantized"] == 0


def test_four_bits_are_smaller_and_farther_off_than_eight(fp32: Artifact, quantize: Quantize) -> None:
    eight, four = (quantize(fp32, method) for method in ("weight-int8", "weight-int4"))
    assert four.size_bytes < eight.size_bytes
    errors = [made.manifest.notes["logit_difference"]["relative"] for made in (eight, four)]
    assert errors[0] < errors[1]
    assert four.manifest.notes["warnings"] == []


def test_half_keeps_what_callers_see(fp32: Artifact, quantize: Quantize) -> None:
    model = onnx.load(quantize(fp32, "fp16").model_file)
    assert {value.type.tensor_type.elem_type for value in model.graph.input} == {TensorProto.INT64}
    assert {value.type.tensor_type.elem_type for value in model.graph.output} == {TensorProto.FLOAT}
    types = {item.data_type for item in model.graph.initializer if len(item.dims) == 2}
    assert types == {TensorProto.FLOAT16}


def test_what_is_too_large_is_refused_by_name(
    fp32: Artifact, quantize: Quantize, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(half, "_METHOD", dataclasses.replace(half._METHOD, largest_bytes=1000))
    with pytest.raises(BenchkitError, match="fp16 takes at most") as caught:
        quantize(fp32, "fp16")
    assert "weight-int8" in caught.value.remedy


def test_a_graph_above_two_gigabytes(
    fp32: Artifact, texts: Calibration, quantize: Quantize, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such graphs come with their weights in a second file; here any graph does."""
    for module in (graph_files, dynamic, weights):
        monkeypatch.setattr(module, "EXTERNAL_ABOVE_BYTES", 1000)
    for method in ("dynamic-int8", "static-int8", "weight-int8"):
        made = quantize(fp32, method, texts)
        assert {"model.onnx", "model.onnx_data"} <= set(made.manifest.files)
        assert made.size_bytes == made.manifest.notes["size_after_bytes"] > 10_000
    with pytest.raises(BenchkitError, match="onnx converts no graph of more than 2 GiB") as caught:
        quantize(fp32, "weight-int4")
    assert "embeddings=false" in caught.value.remedy

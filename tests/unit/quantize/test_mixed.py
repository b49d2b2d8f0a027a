from collections.abc import Callable

import onnx
import pytest
from onnx import helper, numpy_helper

from benchkit.core.artifacts import Artifact
from benchkit.core.errors import BenchkitError
from benchkit.quantize.groups import groups_of
from benchkit.tasks.calibration import Calibration

Quantize = Callable[..., Artifact]


def encoder(names: list[str]) -> onnx.ModelProto:
    """A graph of products with weights under these names."""
    nodes = [helper.make_node("MatMul", ["x", f"w{n}"], [f"y{n}"], name) for n, name in enumerate(names)]
    weights = [
        numpy_helper.from_array(__import__("numpy").zeros((2, 2), "float32"), f"w{n}") for n in range(len(names))
    ]
    return helper.make_model(helper.make_graph(nodes, "g", [], [], weights))


def bert(layers: int) -> list[str]:
    parts = ("attention/self/query", "attention/self/key", "attention/self/value", "attention/output/dense")
    parts = (*parts, "intermediate/dense", "output/dense")
    names = [f"/bert/encoder/layer.{n}/{part}/MatMul" for n in range(layers) for part in parts]
    return [*names, "/bert/pooler/dense/Gemm", "/classifier/Gemm"]


@pytest.mark.parametrize(("layers", "parts"), [(2, 4), (6, 4), (12, 2), (24, 1)])
def test_layers_are_parted_as_finely_as_the_cost_allows(layers: int, parts: int) -> None:
    groups = groups_of(encoder(bert(layers)))
    assert len(groups) == layers * parts + 1
    assert sorted(name for names in groups.values() for name in names) == sorted(bert(layers))
    assert groups["head"] == ["/bert/pooler/dense/Gemm", "/classifier/Gemm"]
    if parts == 4:
        assert [name.split("/")[-2] for name in groups["layer 1 attention in"]] == ["query", "key", "value"]
        assert groups["layer 1 attention out"] == ["/bert/encoder/layer.1/attention/output/dense/MatMul"]
        assert groups["layer 1 feed-forward out"] == ["/bert/encoder/layer.1/output/dense/MatMul"]


def test_graphs_without_layers_in_their_names() -> None:
    names = [f"MatMul_{n}" for n in range(70)]
    groups = groups_of(encoder(names))
    assert len(groups) <= 32
    assert [name for members in groups.values() for name in members] == names


@pytest.mark.parametrize("base", ["dynamic-int8", "static-int8"])
def test_the_costliest_stay_in_fp32_until_the_rest_is_within_the_limit(
    base: str, fp32: Artifact, texts: Calibration, quantize: Quantize
) -> None:
    limit = 0.1
    notes = quantize(fp32, "mixed-int8", texts, base=base, max_logit_error=limit).manifest.notes
    sensitivity, kept = notes["sensitivity"], notes["kept_in_fp32"]
    assert len(sensitivity) == 10, "embeddings, two layers of four parts, and the head"
    assert 0 < len(kept) < 10
    assert kept == sorted(sensitivity, key=sensitivity.get, reverse=True)[: len(kept)]
    errors = {int(count): error for count, error in notes["error_by_groups_kept"].items()}
    assert errors[len(kept)] <= limit < errors[len(kept) - 1], "one group less would be too few"
    assert errors[0] > limit


def test_what_is_kept_is_kept(fp32: Artifact, texts: Calibration, quantize: Quantize) -> None:
    made = quantize(fp32, "mixed-int8", texts, base="static-int8", max_logit_error=0.1)
    graph = onnx.load(made.model_file).graph
    dequantized = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    assert {"embeddings", "head"} <= set(made.manifest.notes["kept_in_fp32"])
    floats = {item.name for item in graph.initializer if item.data_type == onnx.TensorProto.FLOAT}
    assert {"bert.embeddings.word_embeddings.weight", "classifier.weight"} <= floats
    assert not [node for node in graph.node if node.op_type == "Gemm" and not dequantized.isdisjoint(node.input)]
    assert [node for node in graph.node if node.op_type == "MatMul" and node.input[1] in dequantized]


def test_nothing_is_kept_where_all_is_within_the_limit(fp32: Artifact, texts: Calibration, quantize: Quantize) -> None:
    made = quantize(fp32, "mixed-int8", texts, max_logit_error=5.0)
    plain = quantize(fp32, "dynamic-int8", texts)
    assert made.manifest.notes["kept_in_fp32"] == []
    assert made.model_file.read_bytes() == plain.model_file.read_bytes()


def test_a_limit_that_nothing_meets(fp32: Artifact, texts: Calibration, quantize: Quantize) -> None:
    with pytest.raises(
        BenchkitError, match=r"within max_logit_error = 1e-09: .* the least costly, alone costs"
    ) as caught:
        quantize(fp32, "mixed-int8", texts, max_logit_error=1e-9)
    assert "max_logit_error" in caught.value.remedy

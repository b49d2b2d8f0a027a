import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from onnxruntime.transformers import optimizer

from benchkit.core.artifacts import Artifact, load_artifact
from benchkit.core.recipes import QuantizeRecipe
from benchkit.quantize.batches import batches_for
from benchkit.quantize.ranges import Histograms, activation_ranges
from benchkit.quantize.source import Source, read_source
from benchkit.quantize.static import quantized_inputs
from benchkit.tasks.calibration import Calibration

Quantize = Callable[..., Artifact]


def graph_of(artifact: Artifact) -> onnx.GraphProto:
    return onnx.load(artifact.model_file).graph


def values_of(graph: onnx.GraphProto) -> dict[str, np.ndarray]:
    return {item.name: numpy_helper.to_array(item) for item in graph.initializer}


def ranges_of(source: Source, texts: Calibration, **recipe: object) -> dict[str, tuple[float, float]]:
    settings = QuantizeRecipe(**recipe)
    feeds = batches_for(source, settings, texts, needed_by="static-int8").fit
    return dict(activation_ranges(source, quantized_inputs(source), feeds, settings))


def test_products_with_weights_read_int8_and_nothing_else_does(
    fp32: Artifact, texts: Calibration, quantize: Quantize
) -> None:
    graph = graph_of(quantize(fp32, "static-int8", texts))
    written_by = {output: node for node in graph.node for output in node.output}
    weights = {item.name: item for item in graph.initializer}
    dequantized = {node.output[0]: node for node in graph.node if node.op_type == "DequantizeLinear"}
    readers = {node.op_type for node in graph.node if not dequantized.keys().isdisjoint(node.input)}
    assert readers == {"MatMul", "Gemm"}, "residual connections and norms read fp32"
    products = [node for node in graph.node if node.op_type in ("MatMul", "Gemm") and node.input[1] in dequantized]
    assert len(products) == 14
    for node in products:
        activation, weight = (dequantized[node.input[index]] for index in (0, 1))
        assert weights[activation.input[2]].data_type == TensorProto.UINT8
        assert weights[weight.input[0]].data_type == TensorProto.INT8
        assert written_by[activation.input[0]].op_type == "QuantizeLinear"
    assert not [node for node in products if "self/MatMul" in node.name], "queries with keys stay fp32"


def test_scales_come_from_the_extremes_of_the_fit_texts(fp32: Artifact, texts: Calibration, quantize: Quantize) -> None:
    source = read_source(fp32)
    ranges = ranges_of(source, texts)
    graph = graph_of(quantize(fp32, "static-int8", texts))
    values = values_of(graph)
    seen = {node.input[0]: node for node in graph.node if node.op_type == "QuantizeLinear"}
    assert seen.keys() == ranges.keys()
    for name, (low, high) in ranges.items():
        assert float(values[seen[name].input[1]]) == pytest.approx((max(high, 0) - min(low, 0)) / 255, rel=1e-5)


def test_batches_are_folded_into_what_all_at_once_gives(fp32: Artifact, texts: Calibration) -> None:
    source = read_source(fp32)
    single, whole = (ranges_of(source, texts, calibration_batch_size=size) for size in (1, 64))
    tensors = quantized_inputs(source)
    assert len(tensors) == 2 * 4 + 2, "queries, keys and values read the same tensor"
    # Padding is in the wide batch alone, so that its ranges can only be wider.
    for name in tensors:
        assert whole[name][0] <= single[name][0] + 1e-5
        assert whole[name][1] >= single[name][1] - 1e-5


@pytest.mark.parametrize("way", ["percentile", "entropy"])
def test_other_ways_cut_outliers_off(way: str) -> None:
    folder = Histograms(QuantizeRecipe(activation_ranges=way, percentile=99))
    generator = np.random.default_rng(0)
    for length in (5, 9, 7):  # Batches need not have one length.
        values = generator.normal(size=(8, length, 32)).astype(np.float32)
        values[0, 0, 0] = 60
        folder.fold({"x": values})
    low, high = folder.ranges()["x"]
    assert -5 < low < -1
    assert 1 < high < 30


def test_percentiles_stay_within_the_extremes(fp32: Artifact, texts: Calibration) -> None:
    source = read_source(fp32)
    extremes, found = ranges_of(source, texts), ranges_of(source, texts, activation_ranges="percentile")
    assert found.keys() == extremes.keys()
    for name, (low, high) in extremes.items():
        slack = 0.02 * (high - low)
        assert low - slack <= found[name][0] < found[name][1] <= high + slack


def test_held_back_texts_are_not_in_the_ranges(fp32: Artifact, texts: Calibration) -> None:
    """Every fourth text only serves for comparing."""
    source = read_source(fp32)
    recipe = QuantizeRecipe()
    other = dataclasses.replace(
        texts, first=tuple("bad" if row % 4 == 3 else text for row, text in enumerate(texts.first))
    )
    one, two = (batches_for(source, recipe, given, needed_by="static-int8") for given in (texts, other))
    assert ranges_of(source, texts) == ranges_of(source, other)
    assert len(one.compared[0]["input_ids"]) == len(two.compared[0]["input_ids"]) == len(texts) // 4
    few = dataclasses.replace(texts, first=texts.first[:3])
    both = batches_for(source, recipe, few, needed_by="static-int8")
    assert both.facts is not None
    assert both.facts["texts_for_ranges"] == both.facts["texts_compared"] == 3, "too few to hold any back"


def test_a_fused_graph_says_what_stays(fp32: Artifact, texts: Calibration, quantize: Quantize, tmp_path: Path) -> None:
    folder = tmp_path / "fused"
    folder.mkdir()
    logging.disable(logging.WARNING)
    try:
        model = optimizer.optimize_model(str(fp32.model_file), "bert", num_heads=2, hidden_size=32, opt_level=0)
        model.save_model_to_file(str(folder / "model.onnx"))
    finally:
        logging.disable(logging.NOTSET)
    for name in ("config.json", "tokenizer.json", "vocab.txt", "tokenizer_config.json"):
        (folder / name).write_bytes((fp32.path / name).read_bytes())
    made = quantize(load_artifact(folder), "static-int8", texts)
    assert made.manifest.notes["coverage"]["Attention"] == {"nodes": 2, "with_weights": 2, "quantized": 0}
    assert made.manifest.notes["coverage"]["MatMul+Gemm"] == {"nodes": 8, "with_weights": 8, "quantized": 8}
    assert any("Attention stays in fp32" in warning for warning in made.manifest.notes["warnings"])


def test_openvino_agrees_with_onnxruntime(
    fp32: Artifact, texts: Calibration, quantize: Quantize, logits: Callable[..., np.ndarray]
) -> None:
    pytest.importorskip("openvino", reason="openvino is not installed: pip install 'benchkit[openvino]'")
    made = quantize(fp32, "static-int8", texts)
    # A value between two steps may be rounded either way.
    assert logits(made, "openvino") == pytest.approx(logits(made), abs=0.02)

"""What all quantizers promise: files that their runtimes open, answers nearby, facts in the manifest."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from benchkit.core.artifacts import Artifact, load_artifact
from benchkit.core.errors import BenchkitError
from benchkit.tasks.calibration import Calibration

Quantize = Callable[..., Artifact]
WithGraph = Callable[..., Artifact]
METHODS = ("dynamic-int8", "static-int8", "mixed-int8", "weight-int8", "weight-int4", "fp16", "nncf-int8")
NEED_TEXT = ("static-int8", "mixed-int8", "nncf-int8")
# Mixed asks for an error that pico's int8 stays above, so that some layers must be kept and some must not.
RECIPES: dict[str, dict[str, Any]] = {"mixed-int8": {"max_logit_error": 0.06}}


def needs(method: str) -> None:
    if method == "nncf-int8":
        pytest.importorskip("nncf", reason="nncf is not installed: pip install 'benchkit[nncf]'")


@pytest.mark.parametrize("method", METHODS)
def test_answers_stay_nearby_and_facts_are_kept(
    method: str, fp32: Artifact, texts: Calibration, quantize: Quantize, logits: Callable[..., np.ndarray]
) -> None:
    needs(method)
    made = quantize(fp32, method, texts, **RECIPES.get(method, {}))
    seen = abs(logits(made) - logits(fp32)).max()
    assert 0 < seen < 2 * abs(logits(fp32)).max(), "pico answers nearly the same to everything, so this is a wide bound"
    manifest = made.manifest
    assert (manifest.kind, manifest.precision, manifest.parents) == ("onnx", method, (fp32.manifest.id,))
    assert manifest.recipe["method"] == method
    notes = manifest.notes
    assert (notes["size_after_bytes"], notes["size_before_bytes"]) == (made.size_bytes, fp32.size_bytes)
    # What pico's nodes weigh is more than what their weights do: of it mixed, which keeps layers, grows.
    assert made.size_bytes < fp32.size_bytes or method == "mixed-int8"
    assert notes["calibration"]["digest"] == texts.digest
    assert notes["calibration"]["texts"] == len(texts)
    assert notes["calibration"]["texts_for_ranges"] + notes["calibration"]["texts_compared"] == len(texts)
    difference = notes["logit_difference"]
    assert difference["inputs"] == "texts of SST-2/train.tsv, unlabelled part"
    assert difference["examples"] == notes["calibration"]["texts_compared"]
    assert 0 < difference["mean"] <= difference["max"]
    assert difference["relative"] > 0
    assert notes["coverage"]["MatMul+Gemm"]["quantized"] > 0
    for name in ("config.json", "tokenizer.json", "vocab.txt"):
        assert (made.path / name).read_bytes() == (fp32.path / name).read_bytes()


@pytest.mark.parametrize("method", METHODS)
def test_the_same_bytes_each_time_and_nothing_said(
    method: str,
    fp32: Artifact,
    texts: Calibration,
    quantize: Quantize,
    capfd: pytest.CaptureFixture[str],
) -> None:
    needs(method)
    recipe = RECIPES.get(method, {})
    first = quantize(fp32, method, texts, **recipe)
    assert capfd.readouterr() == ("", "")
    assert quantize(fp32, method, texts, **recipe).manifest.id == first.manifest.id


@pytest.mark.parametrize("method", METHODS)
def test_quantized_graphs_are_not_quantized_again(
    method: str, fp32: Artifact, texts: Calibration, quantize: Quantize
) -> None:
    needs(method)
    made = quantize(fp32, method, texts, **RECIPES.get(method, {}))
    with pytest.raises(BenchkitError, match=f"is quantized already: {method}"):
        quantize(made)
    # The bare file says nothing of itself; its graph does.
    with pytest.raises(BenchkitError, match=r"is quantized already|holds fp16 weights"):
        quantize(load_artifact(made.model_file))


@pytest.mark.parametrize("method", NEED_TEXT)
def test_text_is_needed_and_asked_for(method: str, fp32: Artifact, quantize: Quantize) -> None:
    needs(method)
    with pytest.raises(BenchkitError, match=f"{method} finds the ranges of activations on text") as caught:
        quantize(fp32, method)
    assert "--task" in caught.value.remedy
    assert "--calibration-file" in caught.value.remedy


def test_text_needs_a_tokenizer(fp32: Artifact, texts: Calibration, quantize: Quantize) -> None:
    with pytest.raises(BenchkitError, match="no tokenizer beside"):
        quantize(load_artifact(fp32.model_file), "static-int8", texts)


def test_random_weights_are_calibrated_on_random_ids(fp32: Artifact, quantize: Quantize) -> None:
    random = fp32.model_copy(update={"manifest": fp32.manifest.model_copy(update={"weights": "random"})})
    made = quantize(random, "static-int8")
    assert made.manifest.notes["calibration"]["source"].startswith("random token ids")
    assert made.manifest.weights == "random"


def test_recipes_record_what_the_method_reads(fp32: Artifact, texts: Calibration, quantize: Quantize) -> None:
    assert "block_size" not in quantize(fp32).manifest.recipe
    assert "calibration_examples" not in quantize(fp32).manifest.recipe
    recorded = quantize(fp32, "static-int8", texts, activation_ranges="percentile", percentile=99.0).manifest.recipe
    assert (recorded["activation_ranges"], recorded["percentile"], recorded["seed"]) == ("percentile", 99.0, 0)
    assert "block_size" not in recorded
    made = quantize(fp32, "weight-int4")
    assert made.manifest.notes["block_size"] == 32


@pytest.mark.parametrize("method", METHODS)
def test_fixed_shapes(
    method: str, fp32: Artifact, texts: Calibration, quantize: Quantize, with_graph: WithGraph
) -> None:
    needs(method)

    def fix(model: onnx.ModelProto) -> None:
        for value in model.graph.input:
            for dim, size in zip(value.type.tensor_type.shape.dim, (3, 9), strict=True):
                dim.dim_value = size

    made = quantize(with_graph(fix), method, texts, **RECIPES.get(method, {}))
    assert made.manifest.notes["calibration"]["texts_compared"] == 2
    assert made.manifest.notes["logit_difference"]["examples"] == 3, "the batch is filled up"


@pytest.mark.parametrize("method", METHODS)
def test_int32_inputs(method: str, texts: Calibration, quantize: Quantize, with_graph: WithGraph) -> None:
    needs(method)

    def narrow(model: onnx.ModelProto) -> None:
        for value in model.graph.input:
            value.type.tensor_type.elem_type = TensorProto.INT32
            for node in model.graph.node:
                node.input[:] = [f"{name}_wide" if name == value.name else name for name in node.input]
            wide = helper.make_node(
                "Cast", [value.name], [f"{value.name}_wide"], f"{value.name}_w", to=TensorProto.INT64
            )
            model.graph.node.insert(0, wide)

    made = quantize(with_graph(narrow), method, texts, **RECIPES.get(method, {}))
    assert made.manifest.notes["logit_difference"]["max"] > 0
    inputs = onnx.load(made.model_file).graph.input
    assert {value.type.tensor_type.elem_type for value in inputs} == {TensorProto.INT32}


@pytest.mark.parametrize("method", METHODS)
def test_without_token_type_ids(method: str, texts: Calibration, quantize: Quantize, with_graph: WithGraph) -> None:
    needs(method)

    def drop(model: onnx.ModelProto) -> None:
        zeros = helper.make_node("Sub", ["input_ids", "input_ids"], ["token_type_ids"], "zeros")
        model.graph.node.insert(0, zeros)
        kept = [value for value in model.graph.input if value.name != "token_type_ids"]
        del model.graph.input[:]
        model.graph.input.extend(kept)

    made = quantize(with_graph(drop), method, texts, **RECIPES.get(method, {}))
    assert [value.name for value in onnx.load(made.model_file).graph.input] == ["input_ids", "attention_mask"]


@pytest.mark.parametrize("method", METHODS)
def test_hidden_states_are_compared_where_there_is_text(
    method: str, texts: Calibration, quantize: Quantize, with_graph: WithGraph
) -> None:
    """An encoder without a head: outputs of (batch, sequence, hidden), whose padding means nothing."""
    needs(method)

    def behead(model: onnx.ModelProto) -> None:
        last = [node for node in model.graph.node if node.op_type == "LayerNormalization"][-1].output[0]
        keep = {last}
        nodes = []
        for node in reversed(model.graph.node):
            if not keep.isdisjoint(node.output):
                keep.update(node.input)
                nodes.append(node)
        nodes[0].output[0] = "last_hidden_state"
        del model.graph.node[:]
        model.graph.node.extend(reversed(nodes))
        del model.graph.output[:]
        shape = ["batch_size", "sequence_length", 32]
        model.graph.output.append(helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, shape))

    made = quantize(with_graph(behead), method, texts, **RECIPES.get(method, {}))
    difference = made.manifest.notes["logit_difference"]
    assert difference["changed_answers"] is None
    assert 0 < difference["relative"] < 1


@pytest.mark.parametrize("method", METHODS)
def test_nodes_without_names(method: str, texts: Calibration, quantize: Quantize, with_graph: WithGraph) -> None:
    needs(method)

    def forget(model: onnx.ModelProto) -> None:
        for node in model.graph.node:
            node.name = ""

    made = quantize(with_graph(forget), method, texts, **RECIPES.get(method, {}))
    row = made.manifest.notes["coverage"]["MatMul+Gemm"]
    assert 0 < row["quantized"] <= row["nodes"]


def test_numbers_that_are_none(texts: Calibration, quantize: Quantize, with_graph: WithGraph) -> None:
    def spoil(model: onnx.ModelProto) -> None:
        weights = next(item for item in model.graph.initializer if item.name.endswith("LayerNorm.weight"))
        weights.raw_data = np.full(weights.dims, np.nan, dtype=np.float32).tobytes()

    with pytest.raises(BenchkitError, match="no numbers"):
        quantize(with_graph(spoil), "static-int8", texts)

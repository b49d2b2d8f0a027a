"""The writer against onnx's own reader, and folding against onnx's own evaluator."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from benchkit.core.errors import BenchkitError
from benchkit.export import onnx_file
from benchkit.export.folding import fold
from benchkit.export.onnx_file import add_properties, write_onnx


def product(weights: str = "weights") -> onnx.ModelProto:
    """y = x weights + bias, both weights still missing."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", None])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", None])
    nodes = [helper.make_node("MatMul", ["x", weights], ["z"]), helper.make_node("Add", ["z", "bias"], ["y"])]
    graph = helper.make_graph(nodes, "product", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def read(path: Path) -> dict[str, np.ndarray]:
    return {item.name: numpy_helper.to_array(item) for item in onnx.load(path).graph.initializer}


@settings(max_examples=25, deadline=None)
@given(rows=st.integers(0, 70), columns=st.integers(1, 70), external=st.booleans(), transposed=st.booleans())
def test_onnx_reads_what_is_written(
    tmp_path_factory: pytest.TempPathFactory, rows: int, columns: int, external: bool, transposed: bool
) -> None:
    generator = np.random.default_rng(rows)
    matrix = generator.standard_normal((columns, rows) if transposed else (rows, columns)).astype(np.float32)
    weights = {"weights": matrix.T if transposed else matrix, "bias": np.arange(columns, dtype=np.float32)}
    path = tmp_path_factory.mktemp("written") / "model.onnx"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_file, "EXTERNAL_ABOVE_BYTES", 0 if external else 2**30)
        write_onnx(path, product(), weights, properties={"key": "value"})
    found = read(path)
    assert found.keys() == weights.keys()
    for name, array in weights.items():
        np.testing.assert_array_equal(found[name], array)
    model = onnx.load(path)
    onnx.checker.check_model(str(path))
    assert {item.key: item.value for item in model.metadata_props} == {"key": "value"}
    assert model.producer_name == "benchkit"
    x = generator.standard_normal((3, rows)).astype(np.float32)
    [y] = ReferenceEvaluator(model).run(None, {"x": x})
    np.testing.assert_allclose(y, x @ weights["weights"] + weights["bias"], rtol=1e-4, atol=1e-4)


def test_one_message_as_onnx_would_write_it(tmp_path: Path) -> None:
    write_onnx(tmp_path / "model.onnx", product(), {"bias": np.ones(3, np.float32)}, properties={})
    content = (tmp_path / "model.onnx").read_bytes()
    assert len(onnx.ModelProto.FromString(content).SerializeToString()) == len(content), "nothing twice, nothing extra"


def test_properties_are_added_behind_what_is_there(tmp_path: Path) -> None:
    write_onnx(tmp_path / "model.onnx", product(), {"bias": np.ones(3, np.float32)}, properties={"first": "1"})
    add_properties(tmp_path / "model.onnx", {"second": "2"})
    model = onnx.load(tmp_path / "model.onnx")
    assert {item.key: item.value for item in model.metadata_props} == {"first": "1", "second": "2"}
    assert len(model.graph.node) == 2


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers(tmp_path: Path, number: float) -> None:
    weights = {"weights": np.ones((5, 5), np.float32)}
    weights["weights"][3, 2] = number
    with pytest.raises(BenchkitError, match="weights 'weights' of the checkpoint hold values that are no numbers"):
        write_onnx(tmp_path / "model.onnx", product(), weights, properties={})


def test_transposed_weights_become_views() -> None:
    model = product("turned")
    model.graph.node.insert(0, helper.make_node("Transpose", ["dense.weight"], ["turned"], perm=[1, 0]))
    matrix = np.arange(6, dtype=np.float32).reshape(2, 3)
    found = fold(model, {"dense.weight": matrix, "bias": np.zeros(2, np.float32), "unused": matrix})
    assert list(found) == ["onnx::MatMul_dense.weight", "bias"]
    np.testing.assert_array_equal(found["onnx::MatMul_dense.weight"], matrix.T)
    assert np.shares_memory(found["onnx::MatMul_dense.weight"], matrix)
    assert [node.op_type for node in model.graph.node] == ["MatMul", "Add"]


def test_weights_that_are_read_both_ways() -> None:
    model = product("turned")
    model.graph.node.insert(0, helper.make_node("Transpose", ["dense.weight"], ["turned"], perm=[1, 0]))
    model.graph.node.insert(0, helper.make_node("Transpose", ["dense.weight"], ["again"], perm=[1, 0]))
    model.graph.node.append(helper.make_node("MatMul", ["y", "again"], ["w"]))
    model.graph.node.append(helper.make_node("MatMul", ["w", "dense.weight"], ["v"]))
    model.graph.output[0].name = "v"
    found = fold(model, {"dense.weight": np.eye(2, dtype=np.float32), "bias": np.zeros(2, np.float32)})
    assert list(found) == ["onnx::MatMul_dense.weight", "bias", "dense.weight"]
    assert model.graph.node[2].input[1] == "onnx::MatMul_dense.weight"


def test_constants_are_computed_as_the_opset_says() -> None:
    shape = numpy_helper.from_array(np.array([4, 5], np.int64))
    axes = numpy_helper.from_array(np.array([0], np.int64))
    nodes = [
        helper.make_node("Constant", [], ["shape"], value=shape),
        helper.make_node("Constant", [], ["axes"], value=axes),
        helper.make_node("Unsqueeze", ["shape", "axes"], ["row"]),
        helper.make_node("ReduceMax", ["row"], ["most"], axes=[1], keepdims=0),  # An attribute up to opset 17.
        helper.make_node("Add", ["x", "most"], ["y"]),
        helper.make_node("Neg", ["shape"], ["nobody_reads_this"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.INT64, ["n"])
    y = helper.make_tensor_value_info("y", TensorProto.INT64, ["n"])
    model = helper.make_model(
        helper.make_graph(nodes, "g", [x], [y]), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    before = ReferenceEvaluator(model).run(None, {"x": np.array([1, 2])})[0]
    assert fold(model, {}) == {}
    assert [node.op_type for node in model.graph.node] == ["Constant", "Add"]
    np.testing.assert_array_equal(ReferenceEvaluator(model).run(None, {"x": np.array([1, 2])})[0], before)

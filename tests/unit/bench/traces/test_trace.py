import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from benchkit.bench.inputs import make_batches
from benchkit.bench.traces.number_formats import is_index_arithmetic, is_matmul, number_format
from benchkit.bench.traces.trace import Coverage, NodeTime, Share, coverage, read_trace, top_operators, violations
from benchkit.bench.workload import Workload
from benchkit.core.errors import MeasurementFailed
from benchkit.core.registry import RUNTIMES
from benchkit.runtimes.protocol import SessionOptions

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"

Written = Callable[[Any], Path]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    def write(content: Any) -> Path:
        path = tmp_path / "trace.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def ran(
    op: str, begin_us: float, duration_us: float, *, provider: str = CPU, inputs: str = "float", output: str = "float"
):
    """One operator as onnxruntime writes it."""
    told = {
        "op_name": op,
        "provider": provider,
        "input_type_shape": [{inputs: [2, 3]}],
        "output_type_shape": [{output: [2, 3]}],
    }
    name = f"/layer/{op}_kernel_time"
    return {"cat": "Node", "ph": "X", "name": name, "tid": 1, "ts": begin_us, "dur": duration_us, "args": told}


def called(begin_us: float, duration_us: float, category: str = "Session") -> dict[str, Any]:
    return {"cat": category, "ph": "X", "name": "model_run", "tid": 1, "ts": begin_us, "dur": duration_us, "args": {}}


def node(op: str, duration_us: float = 1.0, **named: Any) -> NodeTime:
    return NodeTime(op_type=op, node=op, **({"provider": CPU, "duration_us": duration_us} | named))


def traced(runtime: str, model: Path, tmp_path: Path) -> list[NodeTime]:
    session = RUNTIMES.get(runtime)().open(model, SessionOptions(trace=str(tmp_path / "mine")))
    workload = Workload(batch_size=2, sequence_length=8, vocabulary_size=19, count=3)
    feeds = [batch.feed for batch in make_batches(workload)]
    for feed in feeds:
        session.call(session.prepare(feed))
    return read_trace(session.close())


# Reading


def test_operators_of_onnxruntime_without_the_first_call(written: Written) -> None:
    events = [
        {"cat": "Session", "ph": "X", "name": "session_initialization", "tid": 1, "ts": 0, "dur": 50, "args": {}},
        called(100, 100),
        ran("MatMul", 110, 80),
        called(300, 100),
        ran("MatMul", 310, 60),
        ran("Shape", 380, 5, provider=CUDA, inputs="int64", output="int64"),
        ran("Gather", 450, 5),  # Between the calls.
    ]
    nodes = read_trace(written(events))
    assert [(item.op_type, item.duration_us, item.provider) for item in nodes] == [
        ("MatMul", 60, CPU),
        ("Shape", 5, CUDA),
    ]
    assert nodes[0].node == "/layer/MatMul"
    assert (nodes[0].input_types, nodes[1].output_types) == (("float",), ("int64",))
    assert [item.duration_us for item in read_trace(written(events), skip_calls=0)] == [80, 60, 5]
    assert len(read_trace(written(events), skip_calls=9)) == 2, "one call is always read"


def test_an_operator_that_runs_others_counts_its_own_time(written: Written) -> None:
    events = [called(0, 100), ran("If", 0, 90), ran("MatMul", 10, 30), ran("Add", 50, 20), ran("Softmax", 92, 8)]
    times_us = {item.op_type: item.duration_us for item in read_trace(written(events))}
    assert times_us == {"If": 40, "MatMul": 30, "Add": 20, "Softmax": 8}


def torch_event(category: str, name: str, begin_us: float, duration_us: float, **told: Any) -> dict[str, Any]:
    common = {"ph": "X", "pid": 1, "tid": 7 if category == "kernel" else 1}
    return common | {"cat": category, "name": name, "ts": begin_us, "dur": duration_us, "args": told}


def test_nested_operators_of_torch(written: Written) -> None:
    events = [
        {"ph": "M", "name": "process_name"},
        torch_event("user_annotation", "model_run", 0, 100),
        torch_event("cpu_op", "aten::linear", 10, 50, **{"External id": 1, "Input type": ["float", "float"]}),
        torch_event("cpu_op", "aten::addmm", 12, 40, **{"External id": 2, "Input type": ["float", "float", "Scalar"]}),
    ]
    nodes = read_trace(written({"traceEvents": events}))
    assert [(item.op_type, item.duration_us) for item in nodes] == [("aten::linear", 10), ("aten::addmm", 40)]
    assert coverage(nodes).matmul_by_precision == {"fp32": Share(nodes=1.0, time=1.0)}


def test_kernels_of_torch_stand_under_their_operator(written: Written) -> None:
    events = [
        torch_event("user_annotation", "model_run", 0, 100),
        torch_event("cpu_op", "aten::addmm", 12, 4, **{"External id": 2, "Input type": ["c10::Half", "c10::Half"]}),
        torch_event("kernel", "ampere_h16816gemm", 20, 30, **{"External id": 2, "device": 0}),
    ]
    [only] = read_trace(written({"traceEvents": events}))
    assert (only.op_type, only.node, only.duration_us) == ("aten::addmm", "ampere_h16816gemm", 30)
    assert list(coverage([only]).matmul_by_precision) == ["fp16"]


@pytest.mark.parametrize("content", ['[{"cat": "Node", ', "", "[]", {"traceEvents": []}])
def test_a_profile_that_says_nothing(written: Written, content: Any) -> None:
    with pytest.raises(MeasurementFailed, match="profile"):
        read_trace(written(content))
    with pytest.raises(MeasurementFailed, match="cannot be read"):
        read_trace(Path("nowhere.json"))


# Number formats


@pytest.mark.parametrize(
    ("op", "types", "wanted"),
    [
        ("DynamicQuantizeMatMul", ("float", "float", "int8"), "int8"),  # Its inputs begin with a float.
        ("MatMulIntegerToFloat", ("uint8", "float"), "int8"),
        ("QAttention", ("uint8", "int8", "float"), "int8"),
        ("MatMulNBits", ("float", "uint8"), "nbits"),
        ("MatMul", ("float", "float"), "fp32"),
        ("Gemm", ("float16",), "fp16"),
        ("aten::addmm", ("c10::BFloat16", "c10::BFloat16", "Scalar"), "bf16"),
        ("FullyConnected", ("f32",), "fp32"),
        ("FullyConnected", ("I8",), "int8"),
        ("MatMul", (), "unknown"),
        ("MatMul", ("double", "double"), "unknown"),
    ],
)
def test_number_formats(op: str, types: tuple[str, ...], wanted: str) -> None:
    assert is_matmul(op)
    assert number_format(op, types) == wanted


def test_the_end_of_a_kernels_name_tells_its_format() -> None:
    nodes = [node("FullyConnected", kernel="brgemm_avx512_I8"), node("FullyConnected", kernel="brgemm_avx512_bf16")]
    assert set(coverage(nodes).matmul_by_precision) == {"int8", "bf16"}


def test_index_arithmetic_is_no_computation() -> None:
    assert is_index_arithmetic("Gather", ("int64",))
    assert is_index_arithmetic("Equal", ("bool",))
    assert not is_index_arithmetic("Gather", ("float",))
    assert not is_index_arithmetic("MatMulInteger", ("int32",)), "a product of integers is the very work"
    assert not is_index_arithmetic("DynamicQuantizeLinear", ("uint8", "float", "uint8"))
    assert not is_index_arithmetic("aten::add", ()), "nothing is known"


# Summing up


def test_shares_of_nodes_and_of_time() -> None:
    found = coverage(
        [
            node("MatMul", 60, provider=CUDA, input_types=("float",), output_types=("float",)),
            node("DynamicQuantizeMatMul", 20, output_types=("float",)),
            node("Gather", 15, output_types=("int64",)),
            node("Gather", 5, output_types=("int64",)),
        ]
    )
    assert found.nodes == 4
    assert found.time_s == pytest.approx(100e-6)
    assert found.by_provider == {CUDA: Share(nodes=0.25, time=0.6), CPU: Share(nodes=0.75, time=0.4)}
    assert found.compute_by_provider == {CUDA: Share(nodes=0.5, time=0.75), CPU: Share(nodes=0.5, time=0.25)}
    assert list(found.time_by_op_type.items()) == [("MatMul", 0.6), ("DynamicQuantizeMatMul", 0.2), ("Gather", 0.2)]
    assert found.matmul_by_precision == {"fp32": Share(nodes=0.5, time=0.75), "int8": Share(nodes=0.5, time=0.25)}


def test_a_coverage_crosses_a_pipe() -> None:
    found = coverage([node("MatMul", 3, input_types=("float",)), node("Add", 1)])
    assert Coverage.from_json(json.loads(json.dumps(dataclasses.asdict(found)))) == found


def test_the_table_of_operators() -> None:
    nodes = [node("Add", 1), node("MatMul", 6), node("MatMul", 2), node("MatMul", 1, provider=CUDA)]
    rows = top_operators(nodes, 2)
    assert [(row.op_type, row.provider, row.calls) for row in rows] == [("MatMul", CPU, 2), ("Add", CPU, 1)]
    assert rows[0].total_s == pytest.approx(8e-6)
    assert rows[0].share == pytest.approx(0.8)
    assert len(top_operators(nodes)) == 3


# Judging


def float_node(op: str, duration_us: float, provider: str) -> NodeTime:
    return node(op, duration_us, provider=provider, input_types=("float",), output_types=("float",))


def test_cuda_may_leave_shapes_to_the_cpu() -> None:
    nodes = [float_node("MatMul", 50, CUDA), node("Gather", 50, output_types=("int64",))]
    assert violations(coverage(nodes), provider=CUDA, precision="fp32") == []


def test_cuda_asked_for_and_work_on_the_cpu() -> None:
    nodes = [float_node("MatMul", 75, CUDA), float_node("Gelu", 25, CPU)]
    [reason] = violations(coverage(nodes), provider=CUDA, precision="fp32")
    assert reason == f"asked for {CUDA}, and of the operators' time ran 25 % on {CPU}"
    [reason] = violations(coverage(nodes[1:]), provider=CUDA, precision="fp32")
    assert "100 %" in reason


def test_int8_asked_for_and_none_ran() -> None:
    nodes = [float_node("MatMul", 75, CPU), float_node("Gemm", 25, CPU)]
    [reason] = violations(coverage(nodes), provider=CPU, precision="dynamic-int8")
    assert reason == "the artifact is dynamic-int8, and no matrix product ran in int8: of their time 100 % in fp32"
    some = [*nodes, node("MatMulInteger", 1, output_types=("int32",))]
    assert violations(coverage(some), provider=CPU, precision="dynamic-int8") == []


def test_fp32_asked_for_and_something_else_ran() -> None:
    half = node("MatMul", 25, input_types=("bfloat16",), output_types=("bfloat16",))
    [reason] = violations(coverage([float_node("MatMul", 75, CPU), half]), provider=CPU, precision="fp32")
    assert "75 % in fp32, 25 % in bf16" in reason


def test_a_precision_that_names_no_format_is_not_judged() -> None:
    found = coverage([float_node("MatMul", 75, CPU)])
    assert violations(found, provider=CPU, precision="unknown") == []
    assert violations(found, provider=CPU, precision="weight-int8") == [], "a word about the weights alone"
    assert violations(coverage([float_node("Add", 75, CPU)]), provider=CPU, precision="dynamic-int8") == []


# Real profiles


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_an_fp32_graph_runs_in_fp32(pico_onnx: Path, tmp_path: Path, runtime: str) -> None:
    pytest.importorskip(runtime)
    found = coverage(traced(runtime, pico_onnx / "model.onnx", tmp_path))
    assert set(found.matmul_by_precision) == {"fp32"}
    [provider] = found.by_provider
    assert violations(found, provider=provider, precision="fp32") == []
    assert len(violations(found, provider=provider, precision="dynamic-int8")) == 1


def test_torch_runs_in_fp32(pico_checkpoint: Path, tmp_path: Path) -> None:
    found = coverage(traced("torch", pico_checkpoint / "model.safetensors", tmp_path))
    assert set(found.matmul_by_precision) == {"fp32"}
    assert violations(found, provider="torch-eager", precision="fp32") == []


def test_an_int8_graph_runs_in_int8(tmp_path: Path) -> None:
    """Quantize, multiply as integers, scale: onnxruntime fuses the three into one operator."""
    weights = helper.make_tensor("weights", TensorProto.INT8, [4, 2], bytes(range(8)), raw=True)
    scale = helper.make_tensor("weight_scale", TensorProto.FLOAT, [], [0.1])
    nodes = [
        helper.make_node("Cast", ["input_ids"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("DynamicQuantizeLinear", ["wide"], ["quantized", "scale", "zero"]),
        helper.make_node("MatMulInteger", ["quantized", "weights", "zero"], ["product"]),
        helper.make_node("Cast", ["product"], ["float_product"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["scale", "weight_scale"], ["both"]),
        helper.make_node("Mul", ["float_product", "both"], ["logits"]),
    ]
    values = [("input_ids", TensorProto.INT64, 8), ("logits", TensorProto.FLOAT, 2)]
    ends = [helper.make_tensor_value_info(name, kind, ["batch", size]) for name, kind, size in values]
    weights.dims[0] = 8
    weights.raw_data = bytes(range(16))
    graph = helper.make_graph(nodes, "int8", ends[:1], ends[1:], [weights, scale])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "model.onnx")
    found = coverage(traced("onnxruntime", tmp_path / "model.onnx", tmp_path))
    assert set(found.matmul_by_precision) == {"int8"}
    assert violations(found, provider=CPU, precision="dynamic-int8") == []
    assert len(violations(found, provider=CPU, precision="fp32")) == 1

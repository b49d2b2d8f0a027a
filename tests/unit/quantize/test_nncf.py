import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from benchkit.core.artifacts import Artifact
from benchkit.core.errors import BenchkitError
from benchkit.core.registry import RUNTIMES
from benchkit.runtimes.protocol import SessionOptions
from benchkit.tasks.calibration import Calibration

pytest.importorskip("nncf", reason="nncf is not installed: pip install 'benchkit[nncf]'")

Quantize = Callable[..., Artifact]


def zero_points(artifact: Artifact) -> set[int]:
    graph = onnx.load(artifact.model_file).graph
    values = {item.name: onnx.numpy_helper.to_array(item) for item in graph.initializer}
    return {int(values[node.input[2]].max()) for node in graph.node if node.op_type == "QuantizeLinear"}


def test_openvino_runs_it_in_int8(fp32: Artifact, texts: Calibration, quantize: Quantize, tmp_path: Path) -> None:
    made = quantize(fp32, "nncf-int8", texts)
    session = RUNTIMES.get("openvino")().open(made.model_file, SessionOptions(trace=str(tmp_path / "trace")))
    ids = np.array([[2, 6, 8, 3]])
    feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    for _ in range(2):
        session.call(session.prepare(feed))
    events = json.loads(session.close().read_text())
    nodes = [event["args"] for event in events if event["cat"] == "Node"]
    kernels = [node["kernel"] for node in nodes if node["op_name"].startswith("FullyConnected")]
    assert kernels
    assert all(kernel.lower().endswith("8") for kernel in kernels), "each product with weights is one of int8"


def test_symmetric_by_choice(fp32: Artifact, texts: Calibration, quantize: Quantize) -> None:
    assert zero_points(quantize(fp32, "nncf-int8", texts)) == {0}
    assert zero_points(quantize(fp32, "nncf-int8", texts, symmetric=False)) != {0}


def test_smooth_quant_by_choice(fp32: Artifact, texts: Calibration, quantize: Quantize) -> None:
    def smoothed(artifact: Artifact) -> int:
        return sum("smooth_quant" in node.name for node in onnx.load(artifact.model_file).graph.node)

    assert smoothed(quantize(fp32, "nncf-int8", texts)) > 0
    assert smoothed(quantize(fp32, "nncf-int8", texts, smooth_quant=False)) == 0


def test_operators_of_onnxruntime_are_named(
    texts: Calibration, quantize: Quantize, with_graph: Callable[..., Artifact]
) -> None:
    def fuse(model: onnx.ModelProto) -> None:
        model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
        tanh = next(node for node in model.graph.node if node.op_type == "Tanh")
        tanh.op_type, tanh.domain = "QuickGelu", "com.microsoft"

    with pytest.raises(BenchkitError, match=r"NNCF knows standard operators, and .* holds QuickGelu") as caught:
        quantize(with_graph(fuse), "nncf-int8", texts)
    assert "plain fp32 export" in caught.value.remedy


def test_nothing_is_sent() -> None:
    """With this variable NNCF puts a stub in the place of its telemetry."""
    import os

    from nncf.telemetry.wrapper import NNCFTelemetryStub, telemetry

    assert os.environ["NNCF_CI"] == "1"
    assert isinstance(telemetry, NNCFTelemetryStub)

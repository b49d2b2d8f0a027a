"""Static int8 as QDQ: ranges of activations are found on text beforehand, and stand in the graph.

What is quantized, and why no more: products with weights (MatMul, Gemm) get int8 on both sides, and embedding tables
become int8 rows. Their outputs, the products of queries with keys, norms and additions stay fp32: on fine-tuned
MiniLM-L6 quantizing all that onnxruntime can cost 12 points of accuracy and was slower too. What else reads a quantized
activation, as the residual connection does, gets the fp32 value.

Activations are unsigned with a zero point: onnxruntime's x86 kernels multiply uint8 with int8, and with signed ones the
same graph ran two and a half times as long. A fused graph keeps its Attention in fp32, since onnxruntime has no int8
form of it for static ranges: quantize the plain graph.

Source: onnxruntime.ai, "Quantize ONNX models", Static quantization, QDQ.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.calibrate import CalibrationMethod, TensorData, TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from benchkit.core.artifacts import Artifact
from benchkit.core.errors import BenchkitError
from benchkit.core.progress import Progress, silent
from benchkit.core.recipes import QuantizeRecipe
from benchkit.quantize.dynamic import NO_SATURATION, SATURATION
from benchkit.quantize.embeddings import quantize_embeddings
from benchkit.quantize.graph_files import save_graph
from benchkit.quantize.graphs import linear_nodes, operators_of
from benchkit.quantize.making import Job, Method, make_artifact
from benchkit.quantize.messages import taken_messages
from benchkit.quantize.ranges import Ranges, activation_ranges
from benchkit.quantize.source import Source
from benchkit.tasks.calibration import Calibration

_LINEAR = ["MatMul", "Gemm"]


def quantize_static_int8(
    recipe: QuantizeRecipe,
    *,
    source: Artifact,
    name: str,
    out: Path,
    calibration: Calibration | None = None,
    progress: Progress = silent,
) -> None:
    """Quantize the products with weights of an fp32 ONNX artifact to int8, with ranges found on text.

    Args:
        recipe: How ranges are found; scales by tensor or by channel.
        source: Artifact of kind "onnx" in fp32, with its tokenizer beside it.
        name: Name of the new artifact.
        out: Empty folder to fill.
        calibration: Texts without labels; needed unless the weights are random.
        progress: Told of each stage.

    Raises:
        BenchkitError: No calibration, or as `benchkit.quantize.making.make_artifact`.
    """
    make_artifact(_METHOD, recipe, source=source, name=name, out=out, calibration=calibration, progress=progress)


def ranges_for(job: Job) -> Ranges:
    """Return the ranges of what the products with weights read."""
    return activation_ranges(job.source, quantized_inputs(job.source), job.batches.fit, job.recipe, job.progress)


def quantized_inputs(source: Source) -> list[str]:
    """Return the tensors that products with weights read, each once.

    Raises:
        BenchkitError: There are no such products.
    """
    tensors = list(dict.fromkeys(node.input[0] for node in linear_nodes(source.model)))
    if not tensors:
        raise BenchkitError(
            f"'{source.artifact.path}' has no operator with weights that could be quantized",
            remedy="give the ONNX export of an encoder, with its weights as initializers",
        )
    return tensors


def write_static(
    source: Source, path: Path, recipe: QuantizeRecipe, ranges: Ranges, *, nodes: Collection[str] | None = None
) -> list[str]:
    """Write the statically quantized graph without touching the source; return what the quantizer had to say.

    Args:
        source: The fp32 artifact.
        path: File to write.
        recipe: Settings.
        ranges: Of `quantized_inputs`.
        nodes: Names of the nodes that may be quantized; None allows all.
    """
    allowed = None if nodes is None else set(nodes)
    model = onnx.ModelProto()
    model.CopyFrom(source.model)
    if recipe.embeddings:
        quantize_embeddings(model, allowed)
    chosen = [node.name for node in linear_nodes(source.model) if allowed is None or node.name in allowed]
    messages: list[str] = []
    if chosen:
        _tell_types(model, ranges)
        with taken_messages() as messages:
            model = _quantizer(model, recipe, ranges, chosen).quantize_model()
        _spare_other_readers(model)
    save_graph(model, path)
    return messages


def _quantizer(model: onnx.ModelProto, recipe: QuantizeRecipe, ranges: Ranges, nodes: list[str]) -> Any:
    data = {name: TensorData(lowest=np.float32(low), highest=np.float32(high)) for name, (low, high) in ranges.items()}
    return QDQQuantizer(
        model,
        per_channel=recipe.per_channel,
        reduce_range=recipe.reduce_range,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, data),
        nodes_to_quantize=nodes,
        nodes_to_exclude=[],
        op_types_to_quantize=_LINEAR,
        extra_options={"OpTypesToExcludeOutputQuantization": _LINEAR},
    )


def _tell_types(model: onnx.ModelProto, ranges: Ranges) -> None:
    """Name the types of the activations; onnx infers none behind operators of com.microsoft."""
    known = {value.name for value in model.graph.value_info}
    model.graph.value_info.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in ranges if name not in known
    )


def _spare_other_readers(model: onnx.ModelProto) -> None:
    """Give the fp32 value to those who read a quantized activation without computing in int8: norms, additions."""
    written_by = {output: node for node in model.graph.node for output in node.output}
    for node in model.graph.node:
        if node.op_type in (*_LINEAR, "DequantizeLinear"):
            continue
        for index, name in enumerate(node.input):
            dequantize = written_by.get(name)
            if dequantize is None or dequantize.op_type != "DequantizeLinear":
                continue
            quantize = written_by.get(dequantize.input[0])
            if quantize is not None and quantize.op_type == "QuantizeLinear":
                node.input[index] = quantize.input[0]


def _write(job: Job) -> dict[str, Any]:
    ranges = ranges_for(job)
    job.progress(f"quantize {job.source.artifact.manifest.name}: static-int8", 0.5)
    messages = write_static(job.source, job.path, job.recipe, ranges)
    fused = operators_of(job.source.model, "com.microsoft")
    if "Attention" in fused:
        messages.append("Attention stays in fp32, with its weights: quantize the plain graph instead of a fused one")
    return {"portability": NO_SATURATION if job.recipe.reduce_range else SATURATION, "warnings": messages}


SETTINGS = ("per_channel", "reduce_range", "embeddings", "activation_ranges", "percentile")
_METHOD = Method(
    name="static-int8",
    settings=SETTINGS,
    fixed={"weight_type": "QInt8", "activation_type": "QUInt8", "format": "QDQ"},
    needs_text=True,
    write=_write,
)

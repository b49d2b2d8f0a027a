"""Small weights, whole activations: linear layers as blocks of int8 or int4 (MatMulNBits), embeddings as small rows.

It is for size first. The weights keep a scale for each block of them; activations are rounded to int8 as they come
(accuracy level 4), since with fp32 sums onnxruntime's int8 form took 2.7 times as long as the fp32 graph (S = 32).
onnxruntime's CPU provider and OpenVINO both run these operators.

Source: onnxruntime, docs/ContribOperators.md, com.microsoft.MatMulNBits and GatherBlockQuantized.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.version_converter
from onnxruntime.quantization.onnx_model import ONNXModel

from benchkit.core.artifacts import Artifact
from benchkit.core.errors import BenchkitError
from benchkit.core.progress import Progress, silent
from benchkit.core.recipes import QuantizeRecipe
from benchkit.quantize.embeddings import drop_unused_weights, long_tables, quantize_embeddings
from benchkit.quantize.graph_files import EXTERNAL_ABOVE_BYTES, save_graph, weights_bytes
from benchkit.quantize.graphs import linear_nodes, name_nodes
from benchkit.quantize.making import Job, Method, make_artifact
from benchkit.quantize.messages import imported_quietly, taken_messages
from benchkit.tasks.calibration import Calibration

# Importing it sets logging up for the whole process.
_NBITS = "onnxruntime.quantization.matmul_nbits_quantizer"
_BLOCK_BY_BITS = {8: 128, 4: 32}
# The first opset, and the form of the file, with the type int4.
_INT4_OPSET, _INT4_IR = 21, 10
# Activations as int8 in each block; the levels are those of MatMulNBits' attribute accuracy_level.
_INT8_ACTIVATIONS = 4


def quantize_weight_int8(
    recipe: QuantizeRecipe,
    *,
    source: Artifact,
    name: str,
    out: Path,
    calibration: Calibration | None = None,
    progress: Progress = silent,
) -> None:
    """Make the weights of an fp32 ONNX artifact int8, in blocks; arguments and errors as the other quantizers'."""
    make_artifact(_INT8, recipe, source=source, name=name, out=out, calibration=calibration, progress=progress)


def quantize_weight_int4(
    recipe: QuantizeRecipe,
    *,
    source: Artifact,
    name: str,
    out: Path,
    calibration: Calibration | None = None,
    progress: Progress = silent,
) -> None:
    """Make the weights of an fp32 ONNX artifact int4, in blocks; arguments and errors as the other quantizers'."""
    make_artifact(_INT4, recipe, source=source, name=name, out=out, calibration=calibration, progress=progress)


def _write(job: Job, bits: int) -> dict[str, Any]:
    model = onnx.ModelProto()
    model.CopyFrom(job.source.model)
    block_size = job.recipe.block_size or _BLOCK_BY_BITS[bits]
    with taken_messages() as messages:
        editor = ONNXModel(model)
        editor.replace_gemm_with_matmul()  # MatMulNBits has no bias in every runtime; Gemm's becomes an addition.
        model = editor.model
        name_nodes(model)
        operators: tuple[str, ...] = ("MatMul",)
        if job.recipe.embeddings and bits == 4 and long_tables(model):
            # int4 rows can be looked up by GatherBlockQuantized alone: plain Gather knows no four bits.
            model, operators = _at_opset(model, _INT4_OPSET), ("MatMul", "Gather")
        elif job.recipe.embeddings:
            quantize_embeddings(model)
        quantizer = imported_quietly(_NBITS).MatMulNBitsQuantizer(
            model,
            bits=bits,
            block_size=block_size,
            is_symmetric=True,
            accuracy_level=_INT8_ACTIVATIONS,
            op_types_to_quantize=operators,
            nodes_to_exclude=_left_alone(model, operators),
        )
        with np.errstate(invalid="ignore"):  # Blocks of zeros, such as the padding token's, are divided by their scale.
            quantizer.process()
        model = quantizer.model.model
    drop_unused_weights(model)
    save_graph(model, job.path)
    return {
        "block_size": block_size,
        "bits": bits,
        "portability": "needs MatMulNBits of com.microsoft: onnxruntime or OpenVINO",
        "warnings": messages,
    }


def _at_opset(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """Bring a graph to an opset that has int4; the quantizer itself would change the number alone."""
    if all(entry.version >= opset for entry in model.opset_import if entry.domain in ("", "ai.onnx")):
        return model
    if weights_bytes(model) > EXTERNAL_ABOVE_BYTES:
        raise BenchkitError(
            f"int4 tables need opset {opset}, and onnx converts no graph of more than 2 GiB",
            remedy="leave the embeddings as they are: --set embeddings=false, or choose weight-int8",
        )
    try:
        converted: onnx.ModelProto = onnx.version_converter.convert_version(model, opset)
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise BenchkitError(
            f"the graph cannot be brought to opset {opset}, which int4 tables need: {reason}",
            remedy="leave the embeddings as they are: --set embeddings=false",
        ) from error
    converted.ir_version = max(converted.ir_version, _INT4_IR)
    return converted


def _left_alone(model: onnx.ModelProto, operators: tuple[str, ...]) -> list[str]:
    """Return the nodes of these types that hold no matrix worth the while: over vectors the quantizer would stumble."""
    weighted = {node.output[0] for node in (*linear_nodes(model), *long_tables(model))}
    return [node.name for node in model.graph.node if node.op_type in operators and node.output[0] not in weighted]


def _write_int8(job: Job) -> dict[str, Any]:
    return _write(job, 8)


def _write_int4(job: Job) -> dict[str, Any]:
    return _write(job, 4)


_SETTINGS = ("block_size", "embeddings")
_FIXED = {"symmetric": True, "accuracy_level": _INT8_ACTIVATIONS}
_INT8 = Method(name="weight-int8", settings=_SETTINGS, fixed=_FIXED, write=_write_int8)
_INT4 = Method(name="weight-int4", settings=_SETTINGS, fixed=_FIXED, write=_write_int4)

"""What a graph says about quantization: is it quantized already, what can be, what was.

Changing graphs is left to the quantizers.
"""

import collections
from typing import Any

import onnx

from benchkit.core.errors import BenchkitError

_QUANTIZED_PREFIXES = ("QLinear", "QAttention", "QEmbed", "QGemm", "DynamicQuantize", "MatMulInteger", "MatMulNBits")
_QUANTIZED_OPS = {"QuantizeLinear", "DequantizeLinear", "ConvInteger", "QMoE", "QOrderedMatMul"}
_MATMUL = "MatMul+Gemm"
# What onnxruntime's dynamic quantizer makes of an operator. Gemm becomes MatMul first.
_ROW_BY_OP = {
    "MatMul": _MATMUL,
    "Gemm": _MATMUL,
    "MatMulInteger": _MATMUL,
    "DynamicQuantizeMatMul": _MATMUL,
    "Attention": "Attention",
    "QAttention": "Attention",
    "EmbedLayerNormalization": "EmbedLayerNormalization",
    "QEmbedLayerNormalization": "EmbedLayerNormalization",
    "Gather": "Gather",
}
_INT8 = (onnx.TensorProto.INT8, onnx.TensorProto.UINT8)


def check_quantizable(model: onnx.ModelProto, where: str) -> None:
    """Refuse a graph that is quantized already, or whose weights are not fp32.

    Raises:
        BenchkitError: Names the operator or the type that gave it away.
    """
    found = next((node.op_type for node in model.graph.node if _is_quantized(node.op_type)), None)
    if found is not None:
        raise BenchkitError(
            f"'{where}' is quantized already: it holds {found}", remedy="quantize the fp32 artifact it was made from"
        )
    narrow = {onnx.TensorProto.FLOAT16: "fp16", onnx.TensorProto.BFLOAT16: "bf16"}
    for weights in model.graph.initializer:
        if weights.data_type in narrow:
            raise BenchkitError(
                f"'{where}' holds {narrow[weights.data_type]} weights ('{weights.name}')",
                remedy="quantize the fp32 artifact it was made from",
            )


def coverage(before: onnx.ModelProto, after: onnx.ModelProto) -> dict[str, dict[str, int]]:
    """Count, by operator type, the nodes of the source, those that hold weights, and those quantized.

    Products of two activations (queries with keys) hold no weights and stay fp32.
    """
    nodes = collections.Counter(_ROW_BY_OP.get(node.op_type) for node in before.graph.node)
    weighted = collections.Counter(_rows(before, types=None))
    quantized = collections.Counter(_rows(after, types=_INT8))
    return {
        row: {"nodes": nodes[row], "with_weights": weighted[row], "quantized": quantized[row]}
        for row in dict.fromkeys(_ROW_BY_OP.values())
        if weighted[row] or quantized[row]
    }


def quantized_share(rows: dict[str, dict[str, int]]) -> float | None:
    """Return the share of all MatMul and Gemm nodes that run in int8; None without any."""
    row = rows.get(_MATMUL)
    return row["quantized"] / row["nodes"] if row and row["nodes"] else None


def input_shape(model: onnx.ModelProto, default: tuple[int, int]) -> tuple[int, int]:
    """Return (batch size, sequence length) of the inputs: fixed sizes as they are, dynamic ones by default."""
    for value in model.graph.input:
        dims = value.type.tensor_type.shape.dim
        if value.name == "input_ids" and len(dims) == 2:
            batch_size, length = (dim.dim_value or size for dim, size in zip(dims, default, strict=True))
            return batch_size, length
    return default


def vocabulary_size(model: onnx.ModelProto) -> int | None:
    """Return the rows of the table that `input_ids` look up; None when no node shows it."""
    tables: dict[str, Any] = {weights.name: weights for weights in model.graph.initializer}
    ids = {"input_ids"}
    for node in model.graph.node:
        if node.op_type == "Cast" and node.input[0] in ids:  # Fused graphs look up int32 ids.
            ids.update(node.output)
        if node.op_type in ("Gather", "EmbedLayerNormalization") and not ids.isdisjoint(node.input):
            found = next((tables[name] for name in node.input if name in tables), None)
            return int(found.dims[0]) if found is not None else None
    return None


def _is_quantized(op_type: str) -> bool:
    return op_type in _QUANTIZED_OPS or op_type.startswith(_QUANTIZED_PREFIXES)


def _rows(model: onnx.ModelProto, types: tuple[int, ...] | None) -> list[str]:
    """List the table row of each node that reads a weight matrix, of the given element types or of float."""
    wanted = types or (onnx.TensorProto.FLOAT,)
    matrices = {
        weights.name for weights in model.graph.initializer if len(weights.dims) == 2 and weights.data_type in wanted
    }
    return [
        _ROW_BY_OP[node.op_type]
        for node in model.graph.node
        if node.op_type in _ROW_BY_OP and any(name in matrices for name in node.input)
    ]

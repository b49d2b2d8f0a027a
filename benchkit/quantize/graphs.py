"""What a graph says about quantization: is it quantized already, what can be, what was, which inputs it takes.

Changing graphs is left to the quantizers.
"""

import collections
from collections.abc import Iterable
from typing import Any

import onnx

from benchkit.core.errors import BenchkitError

_QUANTIZED_PREFIXES = ("QLinear", "QAttention", "QEmbed", "QGemm", "DynamicQuantize", "MatMulInteger", "MatMulNBits")
_QUANTIZED_OPS = {"QuantizeLinear", "DequantizeLinear", "ConvInteger", "QMoE", "QOrderedMatMul", "GatherBlockQuantized"}
_MATMUL = "MatMul+Gemm"
# What quantizers make of an operator. Gemm becomes MatMul first.
_ROW_BY_OP = {
    "MatMul": _MATMUL,
    "Gemm": _MATMUL,
    "MatMulInteger": _MATMUL,
    "DynamicQuantizeMatMul": _MATMUL,
    "MatMulNBits": _MATMUL,
    "Attention": "Attention",
    "QAttention": "Attention",
    "EmbedLayerNormalization": "EmbedLayerNormalization",
    "QEmbedLayerNormalization": "EmbedLayerNormalization",
    "Gather": "Gather",
    "GatherBlockQuantized": "Gather",
}
_FLOAT = (onnx.TensorProto.FLOAT,)
_NARROW = (
    onnx.TensorProto.INT8,
    onnx.TensorProto.UINT8,
    onnx.TensorProto.INT4,
    onnx.TensorProto.UINT4,
    onnx.TensorProto.FLOAT16,
)


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
    narrow = {
        onnx.TensorProto.FLOAT16: "fp16",
        onnx.TensorProto.BFLOAT16: "bf16",
        onnx.TensorProto.INT8: "int8",
    }
    for weights in model.graph.initializer:
        if weights.data_type in narrow:
            raise BenchkitError(
                f"'{where}' holds {narrow[weights.data_type]} weights ('{weights.name}')",
                remedy="quantize the fp32 artifact it was made from",
            )


def name_nodes(model: onnx.ModelProto) -> None:
    """Give every node a name of its own: quantizers tell nodes apart by them, and foreign files may have none."""
    seen = {""}
    for number, node in enumerate(model.graph.node):
        if node.name in seen:
            node.name = f"{node.op_type}_{number}"
        seen.add(node.name)


def linear_nodes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Return the MatMul and Gemm nodes whose second factor is a fp32 weight matrix, in the order of the graph."""
    weights = _initializers(model, _FLOAT, dims=2)
    return [
        node
        for node in model.graph.node
        if node.op_type in ("MatMul", "Gemm") and len(node.input) > 1 and node.input[1] in weights
    ]


def embedding_nodes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Return the Gather nodes that look rows up in a fp32 table."""
    tables = _initializers(model, _FLOAT, dims=2)
    return [
        node
        for node in model.graph.node
        if node.op_type == "Gather"
        and node.input[0] in tables
        and next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0) == 0
    ]


def operators_of(model: onnx.ModelProto, domain: str) -> list[str]:
    """Return the names of the operators of one domain, each once."""
    return sorted({node.op_type for node in model.graph.node if node.domain == domain})


def coverage(before: onnx.ModelProto, after: onnx.ModelProto) -> dict[str, dict[str, int]]:
    """Count, by operator type, the nodes of the source, those that hold weights, and those quantized.

    Quantized are nodes that read narrower weights, as they are or through DequantizeLinear, and products of two
    activations that are both quantized. Elsewhere such products, of queries with keys, stay fp32.
    """
    nodes = collections.Counter(_ROW_BY_OP.get(node.op_type) for node in before.graph.node)
    weighted = collections.Counter(_rows(before.graph.node, _initializers(before, _FLOAT, dims=2)))
    quantized = collections.Counter(_quantized_rows(after))
    return {
        row: {"nodes": nodes[row], "with_weights": weighted[row], "quantized": quantized[row]}
        for row in dict.fromkeys(_ROW_BY_OP.values())
        if weighted[row] or quantized[row]
    }


def quantized_share(rows: dict[str, dict[str, int]]) -> float | None:
    """Return the share of all MatMul and Gemm nodes that hold narrower weights; None without any."""
    row = rows.get(_MATMUL)
    return row["quantized"] / row["nodes"] if row and row["nodes"] else None


def fixed_shape(model: onnx.ModelProto) -> tuple[int | None, int | None]:
    """Return the batch size and sequence length that the graph insists on; None where it takes any."""
    for value in model.graph.input:
        dims = value.type.tensor_type.shape.dim
        if value.name == "input_ids" and len(dims) == 2:
            batch_size, length = (dim.dim_value or None for dim in dims)
            return batch_size, length
    return None, None


def input_shape(model: onnx.ModelProto, default: tuple[int, int]) -> tuple[int, int]:
    """Return (batch size, sequence length) of the inputs: fixed sizes as they are, dynamic ones by default."""
    batch_size, length = fixed_shape(model)
    return batch_size or default[0], length or default[1]


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


def _initializers(model: onnx.ModelProto, types: tuple[int, ...], *, dims: int) -> set[str]:
    return {
        weights.name for weights in model.graph.initializer if len(weights.dims) >= dims and weights.data_type in types
    }


def _rows(nodes: Iterable[onnx.NodeProto], matrices: set[str]) -> list[str]:
    """List the table row of each node that reads one of the matrices."""
    return [
        _ROW_BY_OP[node.op_type] for node in nodes if node.op_type in _ROW_BY_OP and not matrices.isdisjoint(node.input)
    ]


def _quantized_rows(model: onnx.ModelProto) -> list[str]:
    narrow = _initializers(model, _NARROW, dims=2)
    dequantized = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    narrow |= {output for output, value in dequantized.items() if value in narrow}
    products = [
        node
        for node in model.graph.node
        if node.op_type == "MatMul" and narrow.isdisjoint(node.input) and dequantized.keys() >= set(node.input)
    ]
    return _rows(model.graph.node, narrow) + [_MATMUL] * len(products)

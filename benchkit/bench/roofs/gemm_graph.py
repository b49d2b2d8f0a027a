"""One matrix product as a .onnx file, encoded by hand: a target machine has a runtime, and no `onnx` package.

Graphs of models are left to `export`; this knows three kinds of one product only.

Source: onnx/onnx.proto (field numbers below), the protocol buffers encoding guide (varints, length-delimited fields).
"""

from collections.abc import Iterable
from typing import Literal

import numpy as np
import numpy.typing as npt

Kind = Literal["fp32", "int8", "qdq"]
Product = tuple[int, int, int]  # Rows of the input, its width (summed over), width of the output.

INPUT = "a"

# onnx.proto, TensorProto.DataType.
_FLOAT, _UINT8, _INT8, _INT32 = 1, 2, 3, 6
_TYPES = {"float32": _FLOAT, "uint8": _UINT8, "int8": _INT8}
_IR_VERSION, _OPSET = 8, 13  # Old enough for every runtime that benchkit supports.
_VARINT, _BYTES = 0, 2  # Wire types.


def gemm_model(kind: Kind, product: Product) -> bytes:
    """Return a ModelProto of one product with a constant right side, so that a runtime may pack it beforehand.

    Args:
        kind: "fp32"; "int8", unsigned times signed 8-bit integers (MatMulInteger); "qdq", the same as a fp32 graph
            with quantized ends, which a compiler fuses.
        product: Sizes of the product.

    Source: onnx.proto. ModelProto: ir_version 1, graph 7, opset_import 8. OperatorSetIdProto: version 2.
        GraphProto: node 1, name 2, initializer 5, input 11, output 12. NodeProto: input 1, output 2, op_type 4.
    """
    rows, inner, columns = product
    random = np.random.default_rng(0)
    constants: dict[str, npt.NDArray[np.generic]]
    if kind == "fp32":
        constants = {"w": random.standard_normal((inner, columns), dtype=np.float32)}
        nodes = [_node("MatMul", (INPUT, "w"), "y")]
    else:
        constants = {"w": random.integers(-127, 128, (inner, columns), dtype=np.int8)}
        nodes = [_node("MatMulInteger", (INPUT, "w"), "y")]
    if kind == "qdq":
        constants |= {
            "scale": np.array(0.02, np.float32),
            "zero": np.array(128, np.uint8),
            "weight_zero": np.array(0, np.int8),
        }
        nodes = [
            _node("QuantizeLinear", (INPUT, "scale", "zero"), "q"),
            _node("DequantizeLinear", ("q", "scale", "zero"), "x"),
            _node("DequantizeLinear", ("w", "scale", "weight_zero"), "v"),
            _node("MatMul", ("x", "v"), "y"),
        ]
    given = _value(INPUT, _UINT8 if kind == "int8" else _FLOAT, (rows, inner))
    gives = _value("y", _INT32 if kind == "int8" else _FLOAT, (rows, columns))
    graph = b"".join(_field(1, node) for node in nodes) + _field(2, b"gemm")
    graph += b"".join(_field(5, _tensor(name, array)) for name, array in constants.items())
    graph += _field(11, given) + _field(12, gives)
    return _number(1, _IR_VERSION) + _field(7, graph) + _field(8, _number(2, _OPSET))


def gemm_input(kind: Kind, product: Product) -> npt.NDArray[np.float32] | npt.NDArray[np.uint8]:
    """Return a random left side of shape (rows, inner): uint8 for "int8", else float32."""
    random = np.random.default_rng(1)
    if kind == "int8":
        return random.integers(0, 256, product[:2], dtype=np.uint8)
    return random.standard_normal(product[:2], dtype=np.float32)


def _node(operator: str, inputs: Iterable[str], output: str) -> bytes:
    return (
        b"".join(_field(1, name.encode()) for name in inputs)
        + _field(2, output.encode())
        + _field(4, operator.encode())
    )


def _tensor(name: str, array: npt.NDArray[np.generic]) -> bytes:
    """Encode a constant. TensorProto: dims 1, data_type 2, name 8, raw_data 9, which is little-endian."""
    sizes = b"".join(_number(1, size) for size in array.shape)
    raw = array.astype(array.dtype.newbyteorder("<")).tobytes()
    return sizes + _number(2, _TYPES[array.dtype.name]) + _field(8, name.encode()) + _field(9, raw)


def _value(name: str, data_type: int, shape: Iterable[int]) -> bytes:
    """Encode an input or output.

    ValueInfoProto: name 1, type 2; TypeProto: tensor_type 1; Tensor: elem_type 1, shape 2; TensorShapeProto: dim 1;
    Dimension: dim_value 1.
    """
    sizes = b"".join(_field(1, _number(1, size)) for size in shape)
    return _field(1, name.encode()) + _field(2, _field(1, _number(1, data_type) + _field(2, sizes)))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3 | _VARINT) + _varint(value)


def _field(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | _BYTES) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    """Encode a non-negative number seven bits at a time, the lowest first; the high bit says that more follow."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)

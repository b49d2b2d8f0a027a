"""Graph and weights -> an ONNX file, written tensor by tensor: no weight is copied but the one being written.

`onnx.save` holds every weight three times (as it came, in the message, and serialized) and cannot write more than
2 GiB into one file. Here the message's own lengths are computed first, and the weights are streamed behind the graph;
above `EXTERNAL_ABOVE_BYTES` they go into a file beside it, which runtimes map into memory.

Source: protobuf, "Encoding"; onnx.proto (field numbers) and onnx's "External Data".
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
import onnx

from benchkit import __version__
from benchkit.core.errors import BenchkitError
from benchkit.runtimes.protocol import Array

DATA_SUFFIX = "_data"
"""Of the file with external data: model.onnx_data, as Optimum names it."""
# A protobuf message holds at most 2 GiB; what stands beside the weights takes a few hundred kilobytes.
EXTERNAL_ABOVE_BYTES = 2**31 - 2**24

# Small tensors stay in the graph, where shape inference can read them; onnx's own default.
_INLINE_BELOW_BYTES = 1024
# Data that starts at a page can be mapped into memory.
_PAGE_BYTES = 4096
# Field number and wire type 2 (length-delimited): ModelProto.graph, GraphProto.initializer, TensorProto.raw_data.
_GRAPH, _INITIALIZER, _RAW_DATA = b"\x3a", b"\x2a", b"\x4a"


def write_onnx(
    path: Path, skeleton: onnx.ModelProto, weights: Mapping[str, Array], *, properties: Mapping[str, str]
) -> None:
    """Write a model with benchkit as its producer.

    Args:
        path: The file; external data, where it is needed, goes into a file beside it.
        skeleton: The graph without these weights.
        weights: Initializers by name, of any memory layout.
        properties: Metadata of the file.

    Raises:
        BenchkitError: A weight holds a value that is no number.
    """
    skeleton.producer_name, skeleton.producer_version = "benchkit", __version__
    onnx.helper.set_model_props(skeleton, dict(properties))
    external = sum(array.nbytes for array in weights.values()) > EXTERNAL_ABOVE_BYTES
    data = path.with_name(path.name + DATA_SUFFIX)
    offset = 0
    heads: dict[str, onnx.TensorProto] = {}
    for name, array in weights.items():
        _check_numbers(name, array)
        heads[name] = _head(name, array)
        if external and array.nbytes >= _INLINE_BELOW_BYTES:
            _point_to(heads[name], data.name, offset, array.nbytes)
            offset = -(-(offset + array.nbytes) // _PAGE_BYTES) * _PAGE_BYTES
    inline = {name: array for name, array in weights.items() if not heads[name].external_data}
    with path.open("wb") as file:
        _write_message(file, skeleton, heads, inline)
    if external:
        with data.open("wb") as file:
            for name in (name for name in weights if name not in inline):
                file.write(b"\0" * (-file.tell() % _PAGE_BYTES))
                file.write(_bytes_of(weights[name]))


def add_properties(path: Path, properties: Mapping[str, str]) -> None:
    """Add metadata to an ONNX file that something else wrote, without reading it.

    Source: protobuf, "Encoding": concatenated messages merge, and repeated fields are joined.
    """
    addition = onnx.ModelProto()
    onnx.helper.set_model_props(addition, dict(properties))
    with path.open("ab") as file:
        file.write(addition.SerializeToString())


def _write_message(
    file: BinaryIO, skeleton: onnx.ModelProto, heads: Mapping[str, onnx.TensorProto], inline: Mapping[str, Array]
) -> None:
    graph = skeleton.graph.SerializeToString()
    outside = onnx.ModelProto()
    outside.CopyFrom(skeleton)
    outside.ClearField("graph")
    entries: list[tuple[str, bytes]] = []
    total = len(graph)
    for name, head in heads.items():
        start = head.SerializeToString()
        if name in inline:
            start += _RAW_DATA + _varint(inline[name].nbytes)
        size = len(start) + (inline[name].nbytes if name in inline else 0)
        entries.append((name, _INITIALIZER + _varint(size) + start))
        total += len(entries[-1][1]) - len(start) + size
    file.write(outside.SerializeToString() + _GRAPH + _varint(total) + graph)
    for name, start in entries:
        file.write(start)
        if name in inline:
            file.write(_bytes_of(inline[name]))


def _head(name: str, array: Array) -> onnx.TensorProto:
    """Return the tensor's message without its values."""
    kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    return onnx.TensorProto(name=name, data_type=kind, dims=array.shape)


def _point_to(head: onnx.TensorProto, location: str, offset: int, length: int) -> None:
    head.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(length))):
        head.external_data.add(key=key, value=value)


def _check_numbers(name: str, array: Array) -> None:
    # The extremes are no numbers as soon as one value is none; no copy is made for them.
    if array.size and array.dtype.kind == "f" and not math.isfinite(float(array.max()) - float(array.min())):
        raise BenchkitError(
            f"weights '{name}' of the checkpoint hold values that are no numbers",
            remedy="take an earlier checkpoint, or train again with a smaller learning rate",
        )


def _bytes_of(array: Array) -> memoryview:
    """Return the values row by row, little-endian, as TensorProto.raw_data wants them."""
    little = array.dtype.newbyteorder("<")
    rows: Array = np.ascontiguousarray(array, dtype=little)
    return rows.reshape(-1).view(np.uint8).data


def _varint(value: int) -> bytes:
    """Return a number as protobuf writes it: seven bits a byte, lowest first, all but the last marked."""
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])

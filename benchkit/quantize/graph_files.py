"""Graphs to files. What is in them is left to the quantizers."""

from pathlib import Path

import onnx

DATA_SUFFIX = "_data"
"""Of the file with weights beside the graph, as Optimum names it."""
# A protobuf message holds at most 2 GiB; what stands beside the weights takes a few hundred kilobytes.
EXTERNAL_ABOVE_BYTES = 2**31 - 2**24


def save_graph(model: onnx.ModelProto, path: Path) -> None:
    """Write a graph; its weights into a file beside it where they are too large for one message."""
    if weights_bytes(model) <= EXTERNAL_ABOVE_BYTES:
        onnx.save(model, path)
    else:
        onnx.save_model(model, str(path), save_as_external_data=True, location=path.name + DATA_SUFFIX)


def weights_bytes(model: onnx.ModelProto) -> int:
    """Return the bytes of the initializers, as far as they are large."""
    return sum(len(weights.raw_data) for weights in model.graph.initializer)

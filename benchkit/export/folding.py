"""Compute ahead what a graph computes from constants alone: axes, shapes, and weights that are stored transposed.

torch's exporter can do that itself, but holds every weight several times over for it.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from benchkit.runtimes.protocol import Array

# As the exporter names what it folds by itself: readers of such files know the prefix.
_FOLDED = "onnx::MatMul_"


def fold(model: onnx.ModelProto, weights: Mapping[str, Array]) -> dict[str, Array]:
    """Fold constants in place, and return the initializers that the graph still needs.

    Args:
        model: Graph whose weights are inputs, in topological order.
        weights: What those inputs stand for, by name.

    Returns:
        Weights by name, in the graph's order; transposed ones are views under a name of their own.
    """
    graph = model.graph
    constants: dict[str, Array] = {}
    available = dict(weights)
    renamed: dict[str, str] = {}
    for node in graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = renamed.get(name, name)
        if node.op_type == "Constant":
            constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        elif node.op_type == "Transpose" and node.input[0] in available:
            name = _FOLDED + node.input[0]
            available[name] = np.transpose(available[node.input[0]], _permutation(node))
            renamed[node.output[0]] = name
        elif node.input and all(name in constants for name in node.input) and len(node.output) == 1:
            value = _computed(model, node, constants)
            constants[node.output[0]] = value
            node.CopyFrom(_constant(node, value))
    _drop_unused(graph)
    return {name: available[name] for name in _names_read(graph) if name in available}


def _permutation(node: onnx.NodeProto) -> list[int] | None:
    return next((list(attribute.ints) for attribute in node.attribute if attribute.name == "perm"), None)


def _computed(model: onnx.ModelProto, node: onnx.NodeProto, constants: Mapping[str, Array]) -> Array:
    feed = {name: constants[name] for name in node.input}
    inputs = [onnx.helper.make_tensor_value_info(name, _kind(array), array.shape) for name, array in feed.items()]
    output = onnx.ValueInfoProto(name=node.output[0])
    graph = onnx.helper.make_graph([node], "constant", inputs, [output])
    alone = onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    outputs: Any = ReferenceEvaluator(alone).run(None, feed)
    value: Array = outputs[0]
    return value


def _kind(array: Array) -> int:
    return int(onnx.helper.np_dtype_to_tensor_dtype(array.dtype))


def _constant(node: onnx.NodeProto, value: Array) -> onnx.NodeProto:
    return onnx.helper.make_node(
        "Constant", [], [node.output[0]], name=node.name, value=numpy_helper.from_array(np.asarray(value))
    )


def _drop_unused(graph: onnx.GraphProto) -> None:
    """Remove nodes, inputs and type notes that nothing reads any more."""
    wanted = {output.name for output in graph.output}
    kept = []
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted.update(node.input)
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in reversed(kept)]
    made = {name for node in nodes for name in node.output}
    notes = [note for note in graph.value_info if note.name in made]
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.value_info.extend(notes)


def _names_read(graph: onnx.GraphProto) -> list[str]:
    return list(dict.fromkeys(name for node in graph.node for name in node.input))

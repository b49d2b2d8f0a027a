"""Embedding tables as int8 rows with a scale each, in operators that every runtime has.

A Gather from the int8 table, a Cast, and a product with the rows' scales, gathered as well: the table is never turned
back into fp32 as a whole. A single scale for the table, as onnxruntime's quantizers write it, fits most rows badly: on
fine-tuned MiniLM-L6 its error is 6 times as large for words, and 15 times for positions. Tables of few rows, such as
that of token types, stay fp32: they save nothing, and every token would carry the same error.

Source: Jacob et al., "Quantization and training of neural networks" (arXiv 1712.05877), symmetric, range -127 to 127.
"""

from collections.abc import Iterable

import numpy as np
import onnx
from onnx import helper, numpy_helper

from benchkit.quantize.graphs import embedding_nodes

_LARGEST = 127
_FEWEST_ROWS = 16


def quantize_embeddings(model: onnx.ModelProto, nodes: Iterable[str] | None = None) -> int:
    """Turn the tables that Gather nodes look up into int8 rows; return how many nodes were changed.

    Args:
        model: Changed in place.
        nodes: Names of the Gather nodes that may be changed; None allows all.
    """
    allowed = None if nodes is None else set(nodes)
    tables = {table.name: table for table in model.graph.initializer}
    chosen = {node.output[0] for node in long_tables(model) if allowed is None or node.name in allowed}
    written: dict[str, tuple[str, str]] = {}
    rebuilt: list[onnx.NodeProto] = []
    for node in model.graph.node:
        if node.output[0] not in chosen:
            rebuilt.append(node)
            continue
        if node.input[0] not in written:
            written[node.input[0]] = _add_rows(model, tables[node.input[0]])
        rebuilt += _looked_up(node, *written[node.input[0]])
    del model.graph.node[:]
    model.graph.node.extend(rebuilt)
    drop_unused_weights(model)
    return len(chosen)


def long_tables(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Return the Gather nodes whose tables are worth making small."""
    rows = {table.name: table.dims[0] for table in model.graph.initializer if table.dims}
    return [node for node in embedding_nodes(model) if rows[node.input[0]] >= _FEWEST_ROWS]


def drop_unused_weights(model: onnx.ModelProto) -> None:
    """Remove initializers that no node reads any more."""
    read = {name for node in model.graph.node for name in node.input} | {output.name for output in model.graph.output}
    kept = [weights for weights in model.graph.initializer if weights.name in read]
    if len(kept) != len(model.graph.initializer):
        del model.graph.initializer[:]
        model.graph.initializer.extend(kept)


def _add_rows(model: onnx.ModelProto, table: onnx.TensorProto) -> tuple[str, str]:
    """Add the int8 table and its scales; return their names."""
    values = numpy_helper.to_array(table)
    # A row of zeros keeps any scale; one that is no zero spares a division by it.
    scales = np.maximum(np.abs(values).max(axis=1, keepdims=True), np.finfo(np.float32).tiny) / _LARGEST
    rows = np.clip(np.rint(values / scales), -_LARGEST, _LARGEST).astype(np.int8)
    names = f"{table.name}_int8", f"{table.name}_row_scale"
    model.graph.initializer.append(numpy_helper.from_array(rows, names[0]))
    model.graph.initializer.append(numpy_helper.from_array(scales.astype(np.float32), names[1]))
    return names


def _looked_up(node: onnx.NodeProto, rows: str, scales: str) -> list[onnx.NodeProto]:
    """Return the nodes that take the place of a Gather from the fp32 table."""
    ids, output = node.input[1], node.output[0]
    return [
        helper.make_node("Gather", [rows, ids], [f"{output}_int8"], f"{node.name}_int8", axis=0),
        helper.make_node(
            "Cast", [f"{output}_int8"], [f"{output}_cast"], f"{node.name}_cast", to=onnx.TensorProto.FLOAT
        ),
        helper.make_node("Gather", [scales, ids], [f"{output}_scale"], f"{node.name}_scale", axis=0),
        helper.make_node("Mul", [f"{output}_cast", f"{output}_scale"], [output], f"{node.name}_scaled"),
    ]

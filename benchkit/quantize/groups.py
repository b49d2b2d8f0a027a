"""The parts of a graph that are kept in fp32 or not as one: embeddings, parts of layers, the head."""

import re
from collections.abc import Sequence

import onnx

from benchkit.quantize.graphs import embedding_nodes, linear_nodes

# layer.3, layers.3 and h.3, as encoders name their layers, and Attention_3 as onnxruntime's optimizer does.
_LAYER = re.compile(r"(?:\b(?:layers?|h|block)[._]|^Attention_)(\d+)\b")
_ATTENTION = re.compile(r"attention|attn|\bself\b|[qkv]_(?:lin|proj)|out_lin", re.IGNORECASE)
# Each group costs a quantization, a session and a pass over the texts.
_MOST_GROUPS = 32


def groups_of(model: onnx.ModelProto) -> dict[str, list[str]]:
    """Return the names of the nodes with weights by group, in the order of the graph.

    Layers are parted as finely as 32 groups allow: into what enters and what leaves attention and feed-forward, into
    those halves, or not at all. Where names tell no layers, runs of nodes that follow one another take their place.
    """
    linear = {node.name for node in linear_nodes(model)}
    linear |= {node.name for node in model.graph.node if node.op_type == "Attention"}
    tables = {node.name for node in embedding_nodes(model)}
    tables |= {node.name for node in model.graph.node if node.op_type == "EmbedLayerNormalization"}
    names = [node.name for node in model.graph.node if node.name in linear]
    groups = {"embeddings": [node.name for node in model.graph.node if node.name in tables]} if tables else {}
    if not any(_LAYER.search(name) for name in names):
        return groups | _runs(names, _MOST_GROUPS - len(groups))
    parted = _parted(names)
    for fineness in (3, 2, 1):
        found: dict[str, list[str]] = {}
        for name, parts in parted.items():
            found.setdefault(" ".join(parts[:fineness]), []).append(name)
        if len(groups) + len(found) <= _MOST_GROUPS:
            break
    return groups | found


def _parted(names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return layer, half and side of each node: what leaves a half is its last product."""
    halves = {name: _half(name) for name in names}
    last = {half: name for name, half in halves.items()}
    return {
        name: half if len(half) == 1 else (*half, "out" if last[half] == name else "in")
        for name, half in halves.items()
    }


def _half(name: str) -> tuple[str, ...]:
    found = _LAYER.search(name)
    if found is None:
        return ("head",)
    return f"layer {found.group(1)}", "attention" if _ATTENTION.search(name) else "feed-forward"


def _runs(names: Sequence[str], most: int) -> dict[str, list[str]]:
    length = max(1, -(-len(names) // most))
    return {names[start]: list(names[start : start + length]) for start in range(0, len(names), length)}

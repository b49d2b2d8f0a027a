"""Read a BERT encoder's weights back out of an ONNX file, and prove that they are the same model.

Exporters name biases, norms and embeddings after the PyTorch module, but leave the weights of linear
layers as anonymous initialisers, transposed for MatMul. Each is named by the bias that is added to it.
"""

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx.checker
import torch
import transformers
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import numpy_helper

from benchkit.core.errors import BenchkitError
from benchkit.core.registry import RUNTIMES
from benchkit.runtimes.protocol import SessionOptions

# What the reading may differ by from onnxruntime on any token; seen: 1.2e-6 for paraphrase-MiniLM-L3-v2.
TOLERANCE = 1e-4

_MODULE = re.compile(r"(?:^|\.)((?:embeddings|encoder\.layer\.\d+)\.[\w.]+)$")
_REMEDY = "give a plain fp32 export of a BERT encoder, or a checkpoint with model.safetensors"


def encoder_from_onnx(path: Path, *, heads: int = 12) -> tuple[Any, float]:
    """Read a BERT encoder (without pooler) from an ONNX file.

    Args:
        path: A plain fp32 export of a BERT encoder.
        heads: Attention heads, which no shape in the file tells.

    Returns:
        The model, and its largest difference from onnxruntime on a few inputs.

    Raises:
        BenchkitError: No ONNX file, not a BERT encoder, or the model read back answers differently.
    """
    graph_model = _loaded(path)
    weights = _named_weights(graph_model.graph)
    model: Any = transformers.BertModel(_config(weights, graph_model.graph, heads, path), add_pooling_layer=False)
    try:
        model.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in weights.items()})
    except RuntimeError as error:
        raise BenchkitError(
            f"'{path}' does not hold a whole BERT encoder: {' '.join(str(error).split())[:300]}", remedy=_REMEDY
        ) from error
    model.eval()
    difference = _largest_difference(graph_model, model)
    if not difference <= TOLERANCE:
        raise BenchkitError(
            f"the encoder read from '{path}' differs from onnxruntime by {difference:.2g}, more than {TOLERANCE:g}",
            remedy=f"check the number of heads (assumed: {heads}); {_REMEDY}",
        )
    return model, difference


def _loaded(path: Path) -> onnx.ModelProto:
    try:
        return onnx.load(path)
    # ValidationError: external data that lies outside its folder.
    except (OSError, ValueError, DecodeError, onnx.checker.ValidationError) as error:
        raise BenchkitError(f"cannot read '{path}': {error}", remedy="get the file again") from error


def _named_weights(graph: onnx.GraphProto) -> dict[str, npt.NDArray[Any]]:
    """Return the encoder's tensors by their name in BertModel, linear weights as (out, in)."""
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    named = {match[1]: arrays[name] for name in arrays if (match := _MODULE.search(name))}
    for weight, bias in _linear_layers(graph, arrays):
        match = _MODULE.search(bias)
        if match and match[1].endswith(".bias"):
            named.setdefault(match[1].removesuffix("bias") + "weight", arrays[weight].T)
    # An older transformers kept the positions 0, 1, 2, ... as a tensor.
    return {name: array for name, array in named.items() if not name.endswith("position_ids")}


def _linear_layers(graph: onnx.GraphProto, arrays: dict[str, npt.NDArray[Any]]) -> Iterator[tuple[str, str]]:
    """Yield weight and bias of each MatMul by a constant that an Add of a constant follows."""
    bias_by_input = {
        other: constant
        for node in graph.node
        if node.op_type == "Add"
        for constant, other in (node.input, reversed(node.input))
        if constant in arrays
    }
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in arrays and node.output[0] in bias_by_input:
            yield node.input[1], bias_by_input[node.output[0]]


def _config(
    weights: dict[str, npt.NDArray[Any]], graph: onnx.GraphProto, heads: int, path: Path
) -> transformers.BertConfig:
    """Derive the architecture from the shapes."""
    try:
        vocabulary_size, hidden_size = weights["embeddings.word_embeddings.weight"].shape
        positions = len(weights["embeddings.position_embeddings.weight"])
        types = len(weights["embeddings.token_type_embeddings.weight"])
        intermediate_size = len(weights["encoder.layer.0.intermediate.dense.bias"])
    except KeyError as error:
        raise BenchkitError(f"'{path}' is no BERT encoder: it has no {error}", remedy=_REMEDY) from error
    if hidden_size % heads:
        raise BenchkitError(
            f"'{path}' has a hidden size of {hidden_size}, which {heads} heads do not divide",
            remedy="give the number of heads of the model",
        )
    norm = next((node for node in graph.node if node.op_type == "LayerNormalization"), None)
    epsilons = [attribute.f for attribute in norm.attribute if attribute.name == "epsilon"] if norm else []
    return transformers.BertConfig(
        vocab_size=vocabulary_size,
        hidden_size=hidden_size,
        num_hidden_layers=len({name.split(".")[2] for name in weights if name.startswith("encoder.layer.")}),
        num_attention_heads=heads,
        intermediate_size=intermediate_size,
        max_position_embeddings=positions,
        type_vocab_size=types,
        # A float32 in the file; the decimal that was meant, such as 1e-12, is its shortest spelling.
        layer_norm_eps=float(np.format_float_positional(np.float32(epsilons[0]))) if epsilons else 1e-12,
    )


def _largest_difference(graph_model: onnx.ModelProto, model: Any) -> float:
    """Compare the last hidden states of a few inputs, one padded, with those of onnxruntime."""
    feed = _trial_feed(model.config)
    with torch.inference_mode():
        states = model(**{name: torch.from_numpy(array) for name, array in feed.items()}).last_hidden_state.numpy()
    expected = _hidden_states(graph_model, feed, f"encoder.layer.{model.config.num_hidden_layers - 1}.output")
    if expected.shape != states.shape:
        return float("inf")
    real = feed["attention_mask"].astype(bool)  # What stands at padding is nobody's business.
    return float(np.abs(states - expected)[real].max())


def _trial_feed(config: transformers.BertConfig) -> dict[str, npt.NDArray[np.int64]]:
    generator = np.random.default_rng(0)
    width = min(24, config.max_position_embeddings)
    mask = (np.arange(width) < np.array([[width], [width // 2], [3]])).astype(np.int64)
    ids = generator.integers(1, config.vocab_size, mask.shape) * mask
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(mask)}


def _hidden_states(graph_model: onnx.ModelProto, feed: dict[str, npt.NDArray[np.int64]], module: str) -> Any:
    """Run the graph as it is, but let it give the output of the last layer's norm."""
    probe = onnx.ModelProto()
    probe.CopyFrom(graph_model)
    output = _norm_output(graph_model.graph, module)
    del probe.graph.output[:]
    probe.graph.output.append(onnx.helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, None))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "probe.onnx"
        onnx.save(probe, path)
        session = RUNTIMES.get("onnxruntime")().open(path, SessionOptions())
        return session.call(session.prepare(feed))


def _norm_output(graph: onnx.GraphProto, module: str) -> str:
    """Return the value that the norm of a module gives: the last op that takes the norm's bias."""
    bias = f"{module}.LayerNorm.bias"
    for node in reversed(graph.node):
        if any(name.endswith(bias) for name in node.input):
            return str(node.output[0])
    raise BenchkitError(f"no op of the graph takes '{bias}'", remedy=_REMEDY)

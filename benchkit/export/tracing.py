"""One transformers encoder -> its graph, in the form that onnxruntime fuses whole.

The graph and the weights stay apart, so that no weight is copied: `onnx_file` writes both. What is traced is checked
by `parity`; what lies beside the file is left to `onnx_from_checkpoint`.
"""

import contextlib
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import onnx
import torch
import transformers

from benchkit.core.errors import BenchkitError
from benchkit.export.folding import fold
from benchkit.runtimes.protocol import Array
from benchkit.runtimes.torch import LoadedCheckpoint

_CLASSIC = "benchkit-classic"
# Any shape does, as long as no dimension is 1: a 1 could be folded into the graph as a broadcast.
_TRACED_SHAPE = (2, 7)
_BATCH, _SEQUENCE = "batch_size", "sequence_length"


def trace(checkpoint: LoadedCheckpoint, *, opset: int) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """Return the checkpoint's graph with dynamic batch and sequence axes, and its weights.

    Returns:
        The graph without initializers, and the initializers by name, which are views of the checkpoint's memory.

    Raises:
        BenchkitError: The exporter cannot make this opset, or not this architecture.
    """
    with tempfile.TemporaryDirectory() as folder, _weights_as_inputs(checkpoint) as weights:
        path = Path(folder) / "graph.onnx"
        _export(checkpoint, weights, path, opset=opset)
        model = onnx.load(path)
    needed = fold(model, {name: tensor.numpy() for name, tensor in weights.items()})
    inputs = [value for value in model.graph.input if value.name in checkpoint.input_names]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    return model, needed


def _export(checkpoint: LoadedCheckpoint, weights: Mapping[str, torch.Tensor], path: Path, *, opset: int) -> None:
    """Write the graph of a model whose weights are inputs."""
    ids = [torch.ones(_TRACED_SHAPE, dtype=torch.int64) for _ in checkpoint.input_names]
    axes = {name: {0: _BATCH, 1: _SEQUENCE} for name in checkpoint.input_names}
    axes[checkpoint.output_name] = {0: _BATCH} if checkpoint.output_name == "logits" else {0: _BATCH, 1: _SEQUENCE}
    try:
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")  # The exporter is deprecated, and tracing warns of every assertion.
            # dynamo=False on purpose: the newer exporter's graph loses the Attention and EmbedLayerNormalization
            # fusions and runs 5-20 % slower.
            torch.onnx.export(
                checkpoint.model,
                (*ids, *(_hollow(tensor) for tensor in weights.values())),
                str(path),
                input_names=[*checkpoint.input_names, *weights],
                output_names=[checkpoint.output_name],
                dynamic_axes=axes,
                opset_version=opset,
                do_constant_folding=False,
                dynamo=False,
            )
    except (torch.onnx.errors.OnnxExporterError, RuntimeError, ValueError) as error:
        raise BenchkitError(
            f"torch {torch.__version__} cannot export {checkpoint.architecture} with opset {opset}: "
            f"{' '.join(str(error).split())[:200]}",
            remedy="choose opset 17, which is tested",
        ) from error


def additive_mask(attention_mask: torch.Tensor) -> torch.Tensor:
    """Turn a mask of ones and zeros, shape (batch, sequence), into what is added to the attention scores.

    Returns:
        float32 tensor of shape (batch, 1, 1, sequence): 0 where a token is, the lowest float where padding is.
    """
    visible = attention_mask.unsqueeze(1).unsqueeze(2).to(torch.float32)
    return (1.0 - visible) * torch.finfo(torch.float32).min


def classic_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attend as BERT was first written: scores divided by a constant, then the mask added.

    transformers 5 multiplies by the reciprocal. onnxruntime's fusion then finds that product where it looks
    for the mask's (`fusion_attention.py`, mask paths), and fuses neither attention nor embeddings.

    Args:
        module: The attention layer; not used.
        query: float32 tensor of shape (batch, heads, sequence, width of a head); key and value alike.
        key: As query.
        value: As query.
        attention_mask: From `additive_mask`.
        scaling: Factor of the scores; None takes 1 / sqrt(width of a head).

    Returns:
        float32 tensor of shape (batch, sequence, heads, width of a head), and no attention weights.
    """
    divisor = query.size(-1) ** 0.5 if scaling is None else 1.0 / scaling
    scores = torch.matmul(query, key.transpose(2, 3)) / divisor
    if attention_mask is not None:
        scores = scores + attention_mask
    mixed = torch.matmul(torch.softmax(scores, dim=-1), value)
    return mixed.transpose(1, 2).contiguous(), None


@contextlib.contextmanager
def _weights_as_inputs(checkpoint: LoadedCheckpoint) -> Iterator[dict[str, torch.Tensor]]:
    """Let the model take ids and weights by position, and attend classically, while the block runs.

    What a graph holds as its own, the exporter copies again and again (type inference alone serializes every weight).
    So the weights become inputs: their values are never looked at.

    Returns:
        The weights by their names in the checkpoint, in the order of the inputs. Weights that are one and the same
        under two names come once.
    """
    model, plain_forward = checkpoint.model, checkpoint.model.forward
    # transformers 4 computes the classic graph itself, from the two-dimensional mask.
    makes_own_mask = int(transformers.__version__.partition(".")[0]) < 5
    attention = model.config._attn_implementation
    parameters = dict(model.named_parameters())
    slots = [(_slot(model, name), parameter) for name, parameter in model.named_parameters(remove_duplicate=False)]
    position = {id(parameter): index for index, parameter in enumerate(parameters.values())}

    def forward(*inputs: torch.Tensor) -> torch.Tensor:
        count = len(checkpoint.input_names)
        feed = dict(zip(checkpoint.input_names, inputs[:count], strict=True))
        for (module, leaf), parameter in slots:
            setattr(module, leaf, inputs[count + position[id(parameter)]])
        if not makes_own_mask:
            # transformers takes a four-dimensional mask as it is; its own mask code would trace into a mask
            # of shape (batch, 1, sequence, sequence) and 60 more nodes.
            feed["attention_mask"] = additive_mask(feed["attention_mask"])
        output: torch.Tensor = plain_forward(**feed, return_dict=True)[checkpoint.output_name]
        return output

    if not makes_own_mask:
        transformers.AttentionInterface.register(_CLASSIC, classic_attention)
        model.set_attn_implementation(_CLASSIC)
    for (module, leaf), _ in slots:
        delattr(module, leaf)
    # On the instance, not in a wrapper module: the nodes then keep the names of the checkpoint's modules.
    model.forward = forward
    try:
        yield {name: parameter.detach() for name, parameter in parameters.items()}
    finally:
        del model.forward
        for (module, leaf), parameter in slots:
            if leaf in module.__dict__:
                delattr(module, leaf)
            setattr(module, leaf, parameter)
        if not makes_own_mask:
            model.set_attn_implementation(attention)


def _slot(model: Any, name: str) -> tuple[Any, str]:
    """Return the module that holds a parameter, and what it is called there."""
    path, _, leaf = name.rpartition(".")
    return model.get_submodule(path), leaf


def _hollow(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor of the same shape that takes the memory of one value."""
    return torch.ones(1, dtype=tensor.dtype).expand(tensor.shape)

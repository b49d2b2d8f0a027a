"""One transformers encoder -> one ONNX file, in the form that onnxruntime fuses whole.

What is traced is checked by `parity`; what lies beside the file is left to `onnx_from_checkpoint`.
"""

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import torch
import transformers

from benchkit import __version__
from benchkit.core.errors import BenchkitError
from benchkit.runtimes.torch import LoadedCheckpoint

# A protobuf message holds at most 2 GiB; graph structure beside the weights takes a few hundred kilobytes.
MAX_WEIGHTS_BYTES = 2**31 - 2**24
_CLASSIC = "benchkit-classic"
# Any shape does, as long as no dimension is 1: a 1 could be folded into the graph as a broadcast.
_TRACED_SHAPE = (2, 7)
_BATCH, _SEQUENCE = "batch_size", "sequence_length"


def trace(checkpoint: LoadedCheckpoint, path: Path, *, opset: int) -> None:
    """Write the checkpoint's graph to `path` with dynamic batch and sequence axes.

    Raises:
        BenchkitError: The weights do not fit into one file, or the exporter cannot make this opset.
    """
    _check_size(checkpoint)
    names = checkpoint.input_names
    example = tuple(torch.ones(_TRACED_SHAPE, dtype=torch.int64) for _ in names)
    axes = {name: {0: _BATCH, 1: _SEQUENCE} for name in names}
    axes[checkpoint.output_name] = {0: _BATCH} if checkpoint.output_name == "logits" else {0: _BATCH, 1: _SEQUENCE}
    try:
        with _classic_graph(checkpoint), warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")  # The exporter is deprecated, and tracing warns of every assertion.
            # dynamo=False on purpose: the newer exporter's graph loses the Attention and EmbedLayerNormalization
            # fusions and runs 5-20 % slower.
            torch.onnx.export(
                checkpoint.model,
                example,
                str(path),
                input_names=list(names),
                output_names=[checkpoint.output_name],
                dynamic_axes=axes,
                opset_version=opset,
                dynamo=False,
            )
    except (torch.onnx.errors.OnnxExporterError, RuntimeError, ValueError) as error:
        raise BenchkitError(
            f"torch {torch.__version__} cannot export {checkpoint.architecture} with opset {opset}: "
            f"{' '.join(str(error).split())[:200]}",
            remedy="choose opset 17, which is tested",
        ) from error


def add_metadata(path: Path, properties: dict[str, str]) -> None:
    """Name benchkit as the producer of an ONNX file and add properties to it, without reading the weights.

    Source: protobuf, "Encoding": concatenated messages merge; of a plain field the last value wins, and
        repeated fields are joined.
    """
    addition = onnx.ModelProto(producer_name="benchkit", producer_version=__version__)
    onnx.helper.set_model_props(addition, properties)
    with path.open("ab") as file:
        file.write(addition.SerializeToString())


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
def _classic_graph(checkpoint: LoadedCheckpoint) -> Iterator[None]:
    """Let the model take its inputs by position and attend classically while the block runs."""
    model, plain_forward = checkpoint.model, checkpoint.model.forward
    # transformers 4 computes the classic graph itself, from the two-dimensional mask.
    makes_own_mask = int(transformers.__version__.partition(".")[0]) < 5
    attention = model.config._attn_implementation

    def forward(*inputs: torch.Tensor) -> torch.Tensor:
        feed = dict(zip(checkpoint.input_names, inputs, strict=True))
        if not makes_own_mask:
            # transformers takes a four-dimensional mask as it is; its own mask code would trace into a mask
            # of shape (batch, 1, sequence, sequence) and 60 more nodes.
            feed["attention_mask"] = additive_mask(feed["attention_mask"])
        output: torch.Tensor = plain_forward(**feed, return_dict=True)[checkpoint.output_name]
        return output

    if not makes_own_mask:
        transformers.AttentionInterface.register(_CLASSIC, classic_attention)
        model.set_attn_implementation(_CLASSIC)
    # On the instance, not in a wrapper module: the graph then keeps the checkpoint's own weight names.
    model.forward = forward
    try:
        yield
    finally:
        del model.forward
        if not makes_own_mask:
            model.set_attn_implementation(attention)


def _check_size(checkpoint: LoadedCheckpoint) -> None:
    size_bytes = sum(weights.numel() * 4 for weights in checkpoint.model.parameters())
    if size_bytes > MAX_WEIGHTS_BYTES:
        raise BenchkitError(
            f"{checkpoint.architecture} has {size_bytes / 2**30:.1f} GiB of fp32 weights, "
            "and one ONNX file holds at most 2 GiB",
            remedy="choose a smaller model; external data is not written yet",
        )

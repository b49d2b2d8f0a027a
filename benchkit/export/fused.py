"""An fp32 ONNX artifact -> the same with attention, norms and activations fused by onnxruntime's transformer optimizer.

onnxruntime fuses a part of that by itself whenever it opens a graph. Whether fusing all of it ahead is any faster is
for measuring on the target to say: on some CPUs it is slower.

The attention mask is kept as it is, of shape (batch, sequence). By default the optimizer would count its ones instead,
which takes for granted that padding stands on the right, and gives other answers where it does not.

Source: onnxruntime.ai, "Transformers optimizer"; onnxruntime/python/tools/transformers/fusion_options.py.
"""

import contextlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import onnx
from onnxruntime.transformers.fusion_options import AttentionMaskFormat, FusionOptions
from onnxruntime.transformers.optimizer import optimize_by_fusion

from benchkit.core.artifacts import Artifact, copy_companions
from benchkit.core.errors import BenchkitError
from benchkit.core.manifest import ONNX_FILE, write_manifest
from benchkit.core.progress import Progress, silent
from benchkit.core.recipes import ExportRecipe, QuantizeRecipe
from benchkit.export.onnx_file import write_onnx
from benchkit.export.parity import Parity, compare, open_graph, parity_feeds, random_feeds, ranges_of
from benchkit.runtimes.protocol import Array, Session
from benchkit.tasks.tokenization import TextTokenizer, load_tokenizer

PRECISION = "fp32-fused"
# By the config's names, BERT's and then DistilBERT's.
_HEADS = ("num_attention_heads", "n_heads")
_WIDTH = ("hidden_size", "dim")
_LAYERS = ("num_hidden_layers", "n_layers")
_MICROSOFT = "com.microsoft"
_NARROW = {onnx.TensorProto.FLOAT16: "fp16", onnx.TensorProto.BFLOAT16: "bf16", onnx.TensorProto.INT8: "int8"}
_REMEDY = "give the fp32 export of an encoder: benchkit export CHECKPOINT -o DIR"


def fuse(
    recipe: QuantizeRecipe,
    *,
    source: Artifact,
    name: str,
    out: Path,
    calibration: object = None,
    progress: Progress = silent,
) -> None:
    """Fuse an fp32 ONNX artifact into `out`, and prove that it computes what the plain graph computes.

    Args:
        recipe: Not used: there is nothing to choose.
        source: Artifact of kind "onnx" in fp32.
        name: Name of the new artifact.
        out: Empty folder to fill.
        calibration: Not used.
        progress: Told of each stage.

    Raises:
        BenchkitError: No plain fp32 ONNX artifact, nothing that fuses, or a difference above what an export may have.
    """
    del recipe, calibration
    _check_source(source)
    progress(f"run {source.manifest.name} as it is", 0.0)
    session = open_graph(source.model_file)  # Before onnx reads the file: a runtime explains a damaged one better.
    model = onnx.load(source.model_file)
    _check_weights(model, source)
    references = _References(session, model, source)
    del session  # The optimizer copies the weights more than once.
    progress(f"fuse {source.manifest.name}", 0.3)
    config, before = source.config(), len(model.graph.node)
    own = _operators(model)
    fused = _fused(model, config)
    counts = {name: count for name, count in _operators(fused).items() if name not in own}
    if not counts:
        raise _nothing_fuses(source, own)
    write_onnx(out / ONNX_FILE, fused, _taken_out(fused), properties=_properties(source))
    progress(f"compare {name} with the plain graph", 0.7)
    parity, tolerance = references.compare(out / ONNX_FILE), ExportRecipe().tolerance
    parity.check(tolerance)
    if source.folder is not None:
        copy_companions(source.folder, out)
    manifest = source.manifest
    write_manifest(
        out,
        kind="onnx",
        name=name,
        recipe={"step": "quantize", "method": PRECISION, "opset": _opset(fused)},
        candidate=manifest.candidate,
        task=manifest.task,
        seed=manifest.seed,
        precision=PRECISION,
        weights=manifest.weights,
        parents=(manifest.id,),
        notes={
            "output": references.output,
            "fusions": counts,
            "nodes": {"before": before, "after": len(fused.graph.node)},
            "parity": parity.notes(tolerance),
            "warnings": _warnings(counts, config),
        },
    )


class _References:
    """What the plain graph answers, to hold the fused one against."""

    def __init__(self, session: Session, model: onnx.ModelProto, source: Artifact) -> None:
        ranges = ranges_of({"vocab_size": _vocabulary_size(model)} | source.config(), session.input_names)
        fixed = _fixed_shape(model)
        if fixed is None:
            self._feeds, self._inputs = parity_feeds(ranges, _tokenizer(source))
        else:
            self._feeds, self._inputs = random_feeds(ranges, shapes=(fixed,)), "random token ids"
        self._answers: list[Array] = [session.call(session.prepare(feed)) for feed in self._feeds]
        self.output = "logits" if self._answers[0].ndim == 2 else "last_hidden_state"

    def compare(self, path: Path) -> Parity:
        return compare(path, self._feeds, self._answers, output=self.output, inputs=self._inputs)


def _fixed_shape(model: onnx.ModelProto) -> tuple[int, int] | None:
    """Return (batch size, sequence length) of a graph that takes only that shape; None when it takes any."""
    for value in model.graph.input:
        sizes = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        if value.name == "input_ids" and len(sizes) == 2 and any(sizes):
            return sizes[0] or 1, sizes[1] or 16
    return None


def _vocabulary_size(model: onnx.ModelProto) -> int | None:
    """Return the rows of the table that `input_ids` look up; None when no node shows it."""
    rows = {tensor.name: int(tensor.dims[0]) for tensor in model.graph.initializer if len(tensor.dims) == 2}
    ids = {"input_ids"}
    for node in model.graph.node:
        if node.op_type == "Cast" and node.input[0] in ids:
            ids.update(node.output)
        elif node.op_type in ("Gather", "EmbedLayerNormalization") and not ids.isdisjoint(node.input):
            return next((rows[name] for name in node.input if name in rows), None)
    return None


def _tokenizer(source: Artifact) -> TextTokenizer | None:
    folder = source.folder
    if folder is None or not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.txt")):
        return None
    return load_tokenizer(folder)


def _check_source(source: Artifact) -> None:
    manifest = source.manifest
    if manifest.kind != "onnx":
        raise BenchkitError(
            f"'{source.path}' is a checkpoint, and only ONNX artifacts are fused",
            remedy=f"export it with its fusions: benchkit export '{source.path}' -o DIR --fused",
        )
    if manifest.precision not in ("fp32", "unknown"):
        raise BenchkitError(f"'{source.path}' is {manifest.precision}, and a plain fp32 graph is fused", remedy=_REMEDY)


def _check_weights(model: onnx.ModelProto, source: Artifact) -> None:
    for tensor in model.graph.initializer:
        if tensor.data_type in _NARROW:
            raise BenchkitError(
                f"'{source.path}' holds {_NARROW[tensor.data_type]} weights ('{tensor.name}'), and a plain fp32 graph "
                "is fused",
                remedy=_REMEDY,
            )


def _nothing_fuses(source: Artifact, own: Mapping[str, int]) -> BenchkitError:
    if own:
        return BenchkitError(
            f"nothing more fuses in '{source.path}': it holds {', '.join(own)} already", remedy="take it as it is"
        )
    return BenchkitError(
        f"nothing fuses in '{source.path}': its nodes form no attention, norm or activation that onnxruntime's "
        "optimizer knows",
        remedy="take the plain graph, or export the checkpoint anew: benchkit's own exporter gives the form that fuses",
    )


def _fused(model: onnx.ModelProto, config: Mapping[str, Any]) -> onnx.ModelProto:
    heads, width = _first(config, _HEADS), _first(config, _WIDTH)
    options = FusionOptions("bert")
    options.attention_mask_format = AttentionMaskFormat.AttentionMask
    model.producer_name = ""  # A name that it does not know makes it warn.
    # Heads and width of 0: the optimizer looks for them in the graph.
    known = bool(heads and width and width % heads == 0)
    with _quiet():
        optimizer = optimize_by_fusion(
            model,
            "bert",
            num_heads=heads if known else 0,
            hidden_size=width if known else 0,
            optimization_options=options,
        )
    fused: onnx.ModelProto = optimizer.model
    if _MICROSOFT not in {item.domain for item in fused.opset_import}:
        fused.opset_import.append(onnx.helper.make_opsetid(_MICROSOFT, 1))
    return fused


def _operators(model: onnx.ModelProto) -> dict[str, int]:
    """Count onnxruntime's own operators."""
    names = [node.op_type for node in model.graph.node if node.domain == _MICROSOFT]
    return {name: names.count(name) for name in sorted(set(names))}


def _first(config: Mapping[str, Any], names: tuple[str, ...]) -> int:
    return next((value for value in map(config.get, names) if isinstance(value, int)), 0)


def _taken_out(model: onnx.ModelProto) -> dict[str, Array]:
    """Take the weights out of a graph, so that `write_onnx` can stream them."""
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    del model.graph.initializer[:]
    return weights


def _properties(source: Artifact) -> dict[str, str]:
    return {"benchkit.source_name": source.manifest.name, "benchkit.source_id": source.manifest.id}


def _opset(model: onnx.ModelProto) -> int | None:
    return next((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), None)


def _warnings(counts: Mapping[str, int], config: Mapping[str, Any]) -> list[str]:
    """Say what of an encoder stayed as it was."""
    layers, attention = _first(config, _LAYERS), counts.get("Attention", 0)
    found = []
    if not _first(config, _HEADS) and not attention:
        found.append("attention did not fuse: no config.json beside the graph says how many heads there are")
    elif attention < layers:
        found.append(f"attention fused in {attention} of {layers} layers")
    if not counts.get("EmbedLayerNormalization"):
        found.append("the embeddings did not fuse")
    return found


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the optimizer's remarks off the terminal; what fused is counted."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)

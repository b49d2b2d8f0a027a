"""Dynamic int8: weights quantized once, activations as they come, by onnxruntime's own quantizer.

Weights are signed (QInt8): with unsigned ones the same graph takes twice as long (DESIGN.md). The file
does not depend on the machine that makes it. What it computes can depend on the machine that runs it: x86
CPUs with AVX2 or AVX-512 but without VNNI add pairs of products in 16 bits, which saturate; `reduce_range`
keeps the weights to 7 bits and so rules it out, at some loss of precision everywhere. It is off by default,
since CPUs without VNNI are the exception by now, and the artifact says so.

Source: onnxruntime.ai, "Quantize ONNX models", "When and why do I need to try U8U8?".

Static quantization and its calibration are left to other files of this room.
"""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic

from benchkit.core.artifacts import Artifact, copy_companions
from benchkit.core.errors import BenchkitError
from benchkit.core.manifest import ONNX_FILE, write_manifest
from benchkit.core.progress import Progress, silent
from benchkit.core.recipes import QuantizeRecipe
from benchkit.core.registry import RUNTIMES
from benchkit.quantize.graphs import check_quantizable, coverage, input_shape, quantized_share, vocabulary_size
from benchkit.runtimes.protocol import Array, Feed, Session, SessionOptions

PRECISION = "dynamic-int8"
SATURATION = (
    "weights use all 8 bits: on x86 CPUs without VNNI onnxruntime's sums may saturate, so measure the score "
    "there, or quantize with reduce_range = true"
)
_COMPARED_SHAPES = ((1, 16), (4, 32))
# Any vocabulary has so many ids; for bare files that do not show theirs.
_SAFE_VOCABULARY = 100


def quantize_dynamic_int8(
    recipe: QuantizeRecipe, *, source: Artifact, name: str, out: Path, progress: Progress = silent
) -> None:
    """Quantize an fp32 ONNX artifact into `out`, and say what was covered and how far the outputs moved.

    Args:
        recipe: Scales by tensor or by channel; range of the weights.
        source: Artifact of kind "onnx" in fp32.
        name: Name of the new artifact.
        out: Empty folder to fill.
        progress: Told of each stage.

    Raises:
        BenchkitError: No fp32 ONNX artifact, quantized already, nothing to quantize, or unusable outputs.
    """
    _check_source(source)
    progress(f"run {source.manifest.name} in fp32", 0.0)
    model, feeds, references = _run_source(source)
    progress(f"quantize {source.manifest.name}", 0.2)
    messages = _quantize(recipe, model, out / ONNX_FILE)
    rows = coverage(model, onnx.load(out / ONNX_FILE))
    if not any(row["quantized"] for row in rows.values()):
        raise BenchkitError(
            f"'{source.path}' has no operator with weights that could be quantized",
            remedy="give the ONNX export of an encoder, with its weights as initializers",
        )
    progress(f"compare {name} with fp32", 0.8)
    difference = _difference(references, _outputs(_open(out / ONNX_FILE), feeds), name)
    if source.folder is not None:
        copy_companions(source.folder, out)
    write_manifest(
        out,
        kind="onnx",
        name=name,
        recipe={"step": "quantize", "method": PRECISION, "weight_type": "QInt8", **recipe.model_dump(mode="json")},
        candidate=source.manifest.candidate,
        task=source.manifest.task,
        seed=source.manifest.seed,
        precision=PRECISION,
        weights=source.manifest.weights,
        parents=(source.manifest.id,),
        notes={
            "coverage": rows,
            "quantized_matmul_share": quantized_share(rows),
            "size_before_bytes": source.size_bytes,
            "size_after_bytes": (out / ONNX_FILE).stat().st_size,
            "logit_difference": difference,
            "portability": "weights kept to 7 bits: no saturation on any CPU" if recipe.reduce_range else SATURATION,
            "warnings": messages,
        },
    )


def _check_source(source: Artifact) -> None:
    if source.manifest.kind != "onnx":
        raise BenchkitError(
            f"'{source.path}' is a checkpoint, and only ONNX artifacts are quantized",
            remedy=f"export it first: benchkit export '{source.path}' -o DIR",
        )
    # A foreign graph does not say; whether it holds quantized operators is looked up in the graph itself.
    if source.manifest.precision not in ("fp32", "unknown"):
        raise BenchkitError(
            f"'{source.path}' is quantized already: {source.manifest.precision}",
            remedy="quantize the fp32 artifact it was made from",
        )


def _run_source(source: Artifact) -> tuple[onnx.ModelProto, list[Feed], list[Array]]:
    """Return the source's graph, inputs for it and its fp32 outputs."""
    session = _open(source.model_file)  # Before onnx reads the file: a runtime explains a damaged one better.
    model = onnx.load(source.model_file)
    check_quantizable(model, str(source.path))
    feeds = _random_feeds(model, source.config())
    return model, feeds, _outputs(session, feeds)


def _quantize(recipe: QuantizeRecipe, model: onnx.ModelProto, path: Path) -> list[str]:
    """Write the quantized graph; return what the quantizer had to say."""
    with _quantizer_messages() as messages:
        # The model, not its path: given a path, onnxruntime writes a scratch file beside the source.
        quantize_dynamic(
            model,
            path,
            weight_type=QuantType.QInt8,
            per_channel=recipe.per_channel,
            reduce_range=recipe.reduce_range,
            # onnx infers no types behind operators of com.microsoft, so that a fused graph fails with "Unable to
            # find data type for weight_name"; `check_quantizable` has seen that all weights are fp32.
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )
    return messages


@contextlib.contextmanager
def _quantizer_messages() -> Iterator[list[str]]:
    """Collect what onnxruntime.quantization logs by way of the root logger, instead of letting it print."""
    messages: list[str] = []

    def taken(record: logging.LogRecord) -> bool:
        if "onnxruntime" not in record.pathname:
            return True
        # Pre-processing is advice for convolutions and static quantization.
        if record.levelno >= logging.WARNING and "pre-processing" not in record.getMessage():
            messages.append(record.getMessage())
        return False

    root = logging.getLogger()
    # Without a handler `logging.warning` would install one that prints, for the rest of the process.
    handler = logging.NullHandler()
    root.addHandler(handler)
    root.addFilter(taken)
    try:
        yield messages
    finally:
        root.removeFilter(taken)
        root.removeHandler(handler)


def _random_feeds(model: onnx.ModelProto, config: dict[str, Any]) -> list[Feed]:
    """Draw padded batches of token ids that the model's embeddings have rows for."""
    generator = np.random.default_rng(0)
    rows = vocabulary_size(model) or config.get("vocab_size") or _SAFE_VOCABULARY
    feeds: list[Feed] = []
    for default in _COMPARED_SHAPES:
        shape = input_shape(model, default)
        lengths = generator.integers(max(2, shape[1] // 2), shape[1] + 1, (shape[0], 1))
        mask = np.arange(shape[1]) < lengths
        feeds.append(
            {
                "input_ids": np.where(mask, generator.integers(0, rows, shape), 0),
                "attention_mask": mask.astype(np.int64),
                "token_type_ids": np.zeros(shape, dtype=np.int64),
                "position_ids": np.tile(np.arange(shape[1]), (shape[0], 1)),
            }
        )
    return feeds


def _open(path: Path) -> Session:
    session: Session = RUNTIMES.get("onnxruntime")().open(path, SessionOptions())
    return session


def _outputs(session: Session, feeds: list[Feed]) -> list[Array]:
    return [session.call(session.prepare(feed)) for feed in feeds]


def _difference(references: list[Array], outputs: list[Array], name: str) -> dict[str, Any]:
    if not all(np.isfinite(output).all() for output in outputs):
        raise BenchkitError(
            f"'{name}' gives outputs that are no numbers", remedy="try per_channel = true, or keep the model in fp32"
        )
    worst = max(float(np.abs(one - other).max()) for one, other in zip(references, outputs, strict=True))
    return {
        "max": worst,
        "largest_fp32_output": max(float(np.abs(reference).max()) for reference in references),
        "inputs": "random token ids",
        "examples": sum(reference.shape[0] for reference in references),
    }

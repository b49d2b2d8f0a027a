"""Static int8 by NNCF, for OpenVINO: SmoothQuant, ranges, bias correction, placed where OpenVINO's kernels want them.

NNCF works on the ONNX graph, so that the artifact stays one .onnx file; its OpenVINO backend gives an IR that took the
same time within 3 %. Activations are symmetric (NNCF's preset "performance"): on fine-tuned MiniLM-L6 that was both
faster than its default for transformers, which adds zero points, and nearer to fp32. onnxruntime runs the file too, but
has no kernels for signed activations on x86: it is for OpenVINO.

NNCF sends usage statistics unless it is told not to; benchkit tells it.

Source: openvino.ai, "Basic quantization flow"; Xiao et al., "SmoothQuant" (arXiv 2211.10438).
"""

import contextlib
import io
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Read when nncf is imported: with it, the statistics go nowhere (nncf/telemetry/wrapper.py).
os.environ["NNCF_CI"] = "1"
import nncf
import onnx

from benchkit.core.artifacts import Artifact
from benchkit.core.errors import BenchkitError
from benchkit.core.progress import Progress, silent
from benchkit.core.recipes import QuantizeRecipe
from benchkit.quantize.graph_files import EXTERNAL_ABOVE_BYTES, save_graph
from benchkit.quantize.graphs import operators_of
from benchkit.quantize.making import Job, Method, make_artifact
from benchkit.quantize.messages import taken_messages
from benchkit.tasks.calibration import Calibration

_OFF = -1.0


def quantize_nncf_int8(
    recipe: QuantizeRecipe,
    *,
    source: Artifact,
    name: str,
    out: Path,
    calibration: Calibration | None = None,
    progress: Progress = silent,
) -> None:
    """Quantize an fp32 ONNX artifact to int8 for OpenVINO.

    Args:
        recipe: Symmetry and SmoothQuant.
        source: Artifact of kind "onnx" in plain fp32, with its tokenizer beside it.
        name: Name of the new artifact.
        out: Empty folder to fill.
        calibration: Texts without labels; needed unless the weights are random.
        progress: Told of each stage.

    Raises:
        BenchkitError: No calibration, a fused graph, a graph that NNCF cannot take, or as
            `benchkit.quantize.making.make_artifact`.
    """
    make_artifact(_METHOD, recipe, source=source, name=name, out=out, calibration=calibration, progress=progress)


def _write(job: Job) -> dict[str, Any]:
    source = job.source
    fused = operators_of(source.model, "com.microsoft")
    if fused:
        raise BenchkitError(
            f"NNCF knows standard operators, and '{source.artifact.path}' holds {', '.join(fused)}",
            remedy="give the plain fp32 export that it was fused from",
        )
    model = onnx.ModelProto()
    model.CopyFrom(source.model)
    data = [source.bound(feed) for feed in job.batches.fit]
    job.progress(f"run NNCF on {sum(len(feed['input_ids']) for feed in job.batches.fit)} texts", 0.2)
    try:
        with _quiet(), taken_messages():
            quantized = nncf.quantize(
                model,
                nncf.Dataset(data),
                subset_size=len(data),
                model_type=nncf.ModelType.TRANSFORMER,
                preset=nncf.QuantizationPreset.PERFORMANCE if job.recipe.symmetric else nncf.QuantizationPreset.MIXED,
                advanced_parameters=_advanced(job.recipe),
            )
    except (nncf.ValidationError, nncf.UnsupportedModelError, nncf.InternalError, RuntimeError) as error:
        raise BenchkitError(
            f"NNCF cannot quantize '{source.artifact.path}': {' '.join(str(error).split())[:300]}",
            remedy="choose --method static-int8, which OpenVINO runs in int8 as well",
        ) from error
    save_graph(quantized, job.path)
    return {
        "nncf": nncf.__version__,
        "portability": "for OpenVINO: onnxruntime's x86 kernels are slow on signed activations",
    }


def _advanced(recipe: QuantizeRecipe) -> Any:
    if recipe.smooth_quant:
        return None
    return nncf.AdvancedQuantizationParameters(smooth_quant_alphas=nncf.AdvancedSmoothQuantParameters(matmul=_OFF))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep NNCF's bars and messages from stdout, where results go."""
    logger = logging.getLogger("nncf")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(before)


_METHOD = Method(
    name="nncf-int8",
    settings=("symmetric", "smooth_quant"),
    fixed={"model_type": "transformer", "format": "QDQ"},
    needs_text=True,
    write=_write,
    largest_bytes=EXTERNAL_ABOVE_BYTES,
)

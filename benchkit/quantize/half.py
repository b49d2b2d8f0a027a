"""fp16 weights and arithmetic, for GPUs; inputs stay integers and outputs fp32, so that callers see no difference.

A CPU runs the file as well, and gains size only: onnxruntime's CPU provider has no fp16 products on x86 and puts casts
around fp32 ones, so that it was 7 to 10 % slower than the fp32 graph.

Source: onnxruntime.ai, "Create Float16 and Mixed Precision Models".
"""

from pathlib import Path
from typing import Any

import onnx
from onnxruntime.transformers.float16 import convert_float_to_float16

from benchkit.core.artifacts import Artifact
from benchkit.core.progress import Progress, silent
from benchkit.core.recipes import QuantizeRecipe
from benchkit.quantize.graph_files import EXTERNAL_ABOVE_BYTES, save_graph
from benchkit.quantize.making import Job, Method, make_artifact
from benchkit.quantize.messages import taken_messages
from benchkit.tasks.calibration import Calibration

_ON_A_CPU = "meant for GPUs: on x86 CPUs onnxruntime casts to fp32 around every product, and gains size only"


def convert_to_fp16(
    recipe: QuantizeRecipe,
    *,
    source: Artifact,
    name: str,
    out: Path,
    calibration: Calibration | None = None,
    progress: Progress = silent,
) -> None:
    """Convert an fp32 ONNX artifact to fp16 inside; arguments and errors as the quantizers'."""
    make_artifact(_METHOD, recipe, source=source, name=name, out=out, calibration=calibration, progress=progress)


def _write(job: Job) -> dict[str, Any]:
    model = onnx.ModelProto()
    model.CopyFrom(job.source.model)
    with taken_messages() as messages:
        model = convert_float_to_float16(model, keep_io_types=True)
    save_graph(model, job.path)
    return {"portability": _ON_A_CPU, "warnings": messages}


_METHOD = Method(name="fp16", settings=(), write=_write, largest_bytes=EXTERNAL_ABOVE_BYTES)

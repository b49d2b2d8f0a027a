"""Dynamic int8: weights quantized once, activations as they come, by onnxruntime's own quantizer; embeddings by ours.

Weights are signed (QInt8): with unsigned ones the same graph takes twice as long (DESIGN.md). The file
does not depend on the machine that makes it. What it computes can depend on the machine that runs it: x86
CPUs with AVX2 or AVX-512 but without VNNI add pairs of products in 16 bits, which saturate; `reduce_range`
keeps the weights to 7 bits and so rules it out, at some loss of precision everywhere. It is off by default,
since CPUs without VNNI are the exception by now, and the artifact says so.

Source: onnxruntime.ai, "Quantize ONNX models", "When and why do I need to try U8U8?".
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic

from benchkit.core.artifacts import Artifact
from benchkit.core.progress import Progress, silent
from benchkit.core.recipes import QuantizeRecipe
from benchkit.quantize.embeddings import quantize_embeddings
from benchkit.quantize.graph_files import EXTERNAL_ABOVE_BYTES, save_graph, weights_bytes
from benchkit.quantize.making import Job, Method, make_artifact
from benchkit.quantize.messages import taken_messages
from benchkit.tasks.calibration import Calibration

SATURATION = (
    "weights use all 8 bits: on x86 CPUs without VNNI onnxruntime's sums may saturate, so measure the score "
    "there, or quantize with reduce_range = true"
)
NO_SATURATION = "weights kept to 7 bits: no saturation on any CPU"


def quantize_dynamic_int8(
    recipe: QuantizeRecipe,
    *,
    source: Artifact,
    name: str,
    out: Path,
    calibration: Calibration | None = None,
    progress: Progress = silent,
) -> None:
    """Quantize the weights of an fp32 ONNX artifact to int8, and its activations whenever it runs.

    Args:
        recipe: Scales by tensor or by channel; range of the weights.
        source: Artifact of kind "onnx" in fp32, plain or fused.
        name: Name of the new artifact.
        out: Empty folder to fill.
        calibration: Not needed; where it is given, outputs are compared on it.
        progress: Told of each stage.

    Raises:
        BenchkitError: As `benchkit.quantize.making.make_artifact`.
    """
    make_artifact(_METHOD, recipe, source=source, name=name, out=out, calibration=calibration, progress=progress)


def write_dynamic(
    model: onnx.ModelProto, path: Path, recipe: QuantizeRecipe, *, nodes: Collection[str] | None = None
) -> list[str]:
    """Write the dynamically quantized graph without touching `model`; return what the quantizer had to say.

    Args:
        model: The fp32 graph, its weights all fp32 and its nodes named.
        path: File to write.
        recipe: Settings.
        nodes: Names of the nodes that may be quantized; None allows all.
    """
    is_large = weights_bytes(model) > EXTERNAL_ABOVE_BYTES
    if recipe.embeddings:
        copied = onnx.ModelProto()
        copied.CopyFrom(model)
        quantize_embeddings(copied, nodes)
        model = copied
    # onnxruntime would give each table a single scale, and those of our rows one more.
    tables = [node.name for node in model.graph.node if node.op_type == "Gather"]
    with taken_messages() as messages:
        # The model, not its path: given a path, onnxruntime writes a scratch file beside the source.
        quantize_dynamic(
            model,
            path,
            weight_type=QuantType.QInt8,
            per_channel=recipe.per_channel,
            reduce_range=recipe.reduce_range,
            # Gemm becomes MatMul and Add first, under the second of these names.
            nodes_to_quantize=None if nodes is None else [form for node in nodes for form in (node, f"{node}_MatMul")],
            nodes_to_exclude=tables,
            use_external_data_format=is_large,
            # onnx infers no types behind operators of com.microsoft, so that a fused graph fails with "Unable to
            # find data type for weight_name"; `check_quantizable` has seen that all weights are fp32.
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )
    if is_large:  # What came out may fit into one file, and onnxruntime's second one is for its owner's eyes only.
        small = onnx.load(path)
        for written in path.parent.glob(f"{path.name}*"):
            written.unlink()
        save_graph(small, path)
    return messages


def _write(job: Job) -> dict[str, Any]:
    messages = write_dynamic(job.source.model, job.path, job.recipe)
    return {"portability": NO_SATURATION if job.recipe.reduce_range else SATURATION, "warnings": messages}


_METHOD = Method(
    name="dynamic-int8",
    settings=("per_channel", "reduce_range", "embeddings"),
    fixed={"weight_type": "QInt8"},
    write=_write,
)

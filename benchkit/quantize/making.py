"""What every quantizer does around its own work: check the source, write, count what was covered, compare, sign."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx

from benchkit.core.artifacts import Artifact, copy_companions
from benchkit.core.errors import BenchkitError
from benchkit.core.manifest import ONNX_FILE, write_manifest
from benchkit.core.progress import Progress
from benchkit.core.recipes import QuantizeRecipe
from benchkit.quantize.agreement import agreement, answers_of, as_note
from benchkit.quantize.batches import Batches, batches_for
from benchkit.quantize.graphs import coverage, quantized_share
from benchkit.quantize.source import Source, open_graph, read_source
from benchkit.tasks.calibration import Calibration

_TEXT_SETTINGS = ("calibration_examples", "calibration_batch_size", "max_length", "seed")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a method works on.

    Attributes:
        recipe: Settings.
        source: The fp32 artifact.
        batches: What ranges are found on and answers compared on.
        path: The file to write.
        name: Name of the new artifact.
        progress: Told of each stage; its share runs from 0.1 to 0.8.
    """

    recipe: QuantizeRecipe
    source: Source
    batches: Batches
    path: Path
    name: str
    progress: Progress


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A way to quantize.

    Attributes:
        name: Its row in the table, and the artifact's precision.
        settings: Names of the recipe's settings that it reads; only those are recorded.
        fixed: What else is recorded and cannot be chosen.
        needs_text: Whether it runs the model on calibration texts.
        write: Writes `job.path` and returns the method's own notes; "warnings" among them if there are any.
        largest_bytes: Size of the largest source that it takes; None for any.
    """

    name: str
    settings: tuple[str, ...]
    write: Callable[[Job], dict[str, Any]]
    fixed: dict[str, Any] = dataclasses.field(default_factory=dict)
    needs_text: bool = False
    largest_bytes: int | None = None


def make_artifact(
    method: Method,
    recipe: QuantizeRecipe,
    *,
    source: Artifact,
    name: str,
    out: Path,
    calibration: Calibration | None,
    progress: Progress,
) -> None:
    """Quantize an fp32 ONNX artifact into `out`, and say what was covered and how far the outputs moved.

    Raises:
        BenchkitError: No fp32 ONNX artifact, quantized already, nothing to quantize, no text where the method needs
            it, or unusable outputs.
    """
    progress(f"run {source.manifest.name} in fp32", 0.0)
    opened = read_source(source)
    _check_size(method, source)
    batches = batches_for(opened, recipe, calibration, needed_by=method.name if method.needs_text else "")
    references = answers_of(opened.session, batches.compared)
    progress(f"quantize {source.manifest.name}: {method.name}", 0.1)
    job = Job(recipe=recipe, source=opened, batches=batches, path=out / ONNX_FILE, name=name, progress=progress)
    notes = method.write(job)
    rows = coverage(opened.model, onnx.load(out / ONNX_FILE, load_external_data=False))
    if not any(row["quantized"] for row in rows.values()):
        raise BenchkitError(
            f"'{source.path}' has no operator with weights that could be quantized",
            remedy="give the ONNX export of an encoder, with its weights as initializers",
        )
    progress(f"compare {name} with fp32", 0.8)
    examples = sum(len(feed["input_ids"]) for feed in batches.compared)
    answers = answers_of(open_graph(out / ONNX_FILE), batches.compared)
    found = agreement(opened, references, answers, examples=examples, name=name)
    size_after_bytes = sum(path.stat().st_size for path in out.iterdir())
    if source.folder is not None:
        copy_companions(source.folder, out)
    settings = (*method.settings, *(_TEXT_SETTINGS if batches.facts else ()))
    write_manifest(
        out,
        kind="onnx",
        name=name,
        recipe={
            "step": "quantize",
            "method": method.name,
            **method.fixed,
            **{key: value for key, value in recipe.model_dump(mode="json").items() if key in settings},
        },
        candidate=source.manifest.candidate,
        task=source.manifest.task,
        seed=source.manifest.seed,
        precision=method.name,
        weights=source.manifest.weights,
        parents=(source.manifest.id,),
        notes={
            "coverage": rows,
            "quantized_matmul_share": quantized_share(rows),
            "size_before_bytes": source.size_bytes,
            "size_after_bytes": size_after_bytes,
            "logit_difference": as_note(found, batches.inputs),
            "source_precision": source.manifest.precision,
            "warnings": [],
            **({"calibration": batches.facts} if batches.facts else {}),
            **notes,
        },
    )


def _check_size(method: Method, source: Artifact) -> None:
    if method.largest_bytes is not None and source.size_bytes > method.largest_bytes:
        raise BenchkitError(
            f"'{source.path}' has {source.size_bytes / 2**30:.1f} GiB, and {method.name} takes at most "
            f"{method.largest_bytes / 2**30:.0f} GiB",
            remedy="choose dynamic-int8, static-int8 or weight-int8, which take any size",
        )

"""`benchkit quantize ONNX_DIR -o DIR --method static-int8 --task sst2 --data GLUE`: a smaller number format."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from benchkit.cli import options
from benchkit.core.errors import Exit

if TYPE_CHECKING:
    from benchkit.core.artifacts import Artifact
    from benchkit.core.recipes import QuantizeRecipe
    from benchkit.tasks.calibration import Calibration


def command(
    source: Annotated[
        str, typer.Argument(metavar="TARGET", help="Folder of an fp32 ONNX artifact, a checkpoint or arch:PRESET.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the quantized artifact.")],
    method: Annotated[
        str,
        typer.Option(
            "--method", help="dynamic-int8, static-int8, mixed-int8, nncf-int8, weight-int8, weight-int4 or fp16."
        ),
    ] = "dynamic-int8",
    task: Annotated[
        str | None, typer.Option("--task", help="Task whose unlabelled train part the ranges are found on.")
    ] = None,
    data: options.DataOption = None,
    calibration_file: Annotated[
        Path | None,
        typer.Option("--calibration-file", help="Texts to find ranges on: one a line, a tab between those of a pair."),
    ] = None,
    per_channel: Annotated[
        bool | None, typer.Option("--per-channel/--per-tensor", help="One scale for each output channel, or for all.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="Setting of the method, KEY=VALUE, such as activation_ranges=percentile."),
    ] = None,
    format: Annotated[
        Literal["text", "json"], typer.Option("--format", help="How the facts are written to stdout.")
    ] = "text",
    quiet: options.QuietOption = False,
) -> Exit:
    """Quantize an ONNX artifact; say how small it became, how much of it is covered, and how far its answers moved."""
    from benchkit.bench.targets import quantize_to
    from benchkit.cli.talk import progress_on
    from benchkit.core.overrides import from_overrides
    from benchkit.core.recipes import QuantizeRecipe

    given = [] if per_channel is None else [f"per_channel={str(per_channel).lower()}"]
    recipe = from_overrides(QuantizeRecipe, [*given, *(overrides or [])])
    progress = progress_on(quiet=quiet)
    calibration = _calibration(recipe, task, data, calibration_file)
    artifact = quantize_to(source, out, method, recipe, calibration=calibration, progress=progress)
    progress("quantize", 1.0)
    facts = _facts(artifact)
    typer.echo(json.dumps(facts, indent=2) if format == "json" else f"{artifact.path}\n{_in_words(facts)}")
    return Exit.OK


def _calibration(
    recipe: "QuantizeRecipe", task: str | None, data: Path | None, file: Path | None
) -> "Calibration | None":
    """Return the texts that were named; a task beside a file tells which texts must not be in it."""
    from benchkit.bench.score import data_for
    from benchkit.core.recipes import SplitRecipe
    from benchkit.tasks.calibration import calibration_for, calibration_from_file
    from benchkit.tasks.table import task_named

    known = None if task is None else task_named(task)
    folder = None if known is None else data_for(known, data)
    count, seed = recipe.calibration_examples, recipe.seed
    if file is not None:
        return calibration_from_file(file, count=count, seed=seed, task=known, data=folder)
    if known is None or folder is None:
        return None
    return calibration_for(known, folder, SplitRecipe(), count=count, seed=seed)


def _facts(artifact: "Artifact") -> dict[str, Any]:
    manifest = artifact.manifest
    left_out = ("portability",)
    return {
        "path": str(artifact.path),
        "name": manifest.name,
        "id": manifest.id,
        "precision": manifest.precision,
        "recipe": manifest.recipe,
    } | {name: value for name, value in manifest.notes.items() if name not in left_out}


def _in_words(facts: dict[str, Any]) -> str:
    """Return what a person asks first: how small, how much of it, at what cost."""
    lines = []
    if "coverage" in facts:
        before, after = facts["size_before_bytes"], facts["size_after_bytes"]
        rows = facts["coverage"].items()
        covered = "; ".join(f"{name} {row['quantized']} of {row['with_weights']} with weights" for name, row in rows)
        lines.append(
            f"{facts['precision']}: {before / 2**20:.1f} MiB -> {after / 2**20:.1f} MiB ({after / before:.2f})"
        )
        lines.append(f"covered: {covered}")
    if "logit_difference" in facts:
        lines.append(_difference(facts["logit_difference"]))
    if facts.get("kept_in_fp32"):
        lines.append(f"kept in fp32: {', '.join(facts['kept_in_fp32'])}")
    if "calibration" in facts:
        lines.append(f"calibrated on {facts['calibration']['texts']} texts: {facts['calibration']['source']}")
    return "\n".join([*lines, *(f"warning: {warning}" for warning in facts.get("warnings", ()))])


def _difference(found: dict[str, Any]) -> str:
    parts = [f"outputs differ by {found['mean']:.3g} on average, {found['max']:.3g} at most"]
    if found["relative"] is not None:
        parts.append(f"{found['relative']:.1%} of their spread")
    if found["changed_answers"] is not None:
        parts.append(f"{found['changed_answers']} of {found['examples']} answers change")
    return f"{', '.join(parts)} ({found['inputs']})"

"""`benchkit export CHECKPOINT -o DIR`: a checkpoint becomes an ONNX artifact, with its parity beside it."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from benchkit.cli import options
from benchkit.core.errors import Exit

if TYPE_CHECKING:
    from benchkit.core.artifacts import Artifact


def command(
    checkpoint: Annotated[str, typer.Argument(metavar="CHECKPOINT", help="Checkpoint folder, hub id, or arch:PRESET.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the ONNX artifact.")],
    exporter: Annotated[
        str, typer.Option("--exporter", help="torch, or optimum (in an environment of its own).")
    ] = "torch",
    opset: Annotated[int, typer.Option("--opset", min=14, help="ONNX opset.")] = 17,
    fused: Annotated[
        bool, typer.Option("--fused", help="Fuse attention, norms and activations ahead, by onnxruntime's optimizer.")
    ] = False,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Read a pickled .bin with weights_only; refused without this flag.")
    ] = False,
    format: Annotated[
        Literal["text", "json"], typer.Option("--format", help="How the facts are written to stdout.")
    ] = "text",
    quiet: options.QuietOption = False,
) -> Exit:
    """Export a checkpoint to ONNX with dynamic axes, and check its logits against the checkpoint's."""
    from benchkit.bench.targets import export_to
    from benchkit.cli.talk import progress_on
    from benchkit.core.recipes import ExportRecipe

    progress = progress_on(quiet=quiet)
    artifact = export_to(
        checkpoint,
        out,
        ExportRecipe(opset=opset),
        exporter=exporter,
        fused=fused,
        allow_pickle=allow_pickle,
        progress=progress,
    )
    progress("export", 1.0)
    facts = _facts(artifact)
    typer.echo(json.dumps(facts, indent=2) if format == "json" else f"{artifact.path}\n{_in_words(facts)}")
    return Exit.OK


def _facts(artifact: "Artifact") -> dict[str, Any]:
    manifest = artifact.manifest
    known = ("architecture", "inputs", "output", "parity", "fusions", "warnings")
    return {
        "path": str(artifact.path),
        "name": manifest.name,
        "id": manifest.id,
        "precision": manifest.precision,
        "size_bytes": artifact.size_bytes,
        "opset": manifest.recipe["opset"],
        **{name: manifest.notes[name] for name in known if name in manifest.notes},
    }


def _in_words(facts: dict[str, Any]) -> str:
    parity, warnings = facts["parity"], facts["warnings"]
    fused = f", fused: {', '.join(f'{count} {name}' for name, count in facts.get('fusions', {}).items())}"
    line = (
        f"{facts['size_bytes'] / 1e6:.1f} MB, opset {facts['opset']}{fused if 'fusions' in facts else ''}; "
        f"{parity['output']} at most {parity['max_difference']:.1e} off ({parity['relative_difference']:.1e} of the "
        f"largest) on {parity['inputs']} in {len(parity['shapes'])} shapes; "
        f"a tolerance of {parity['passing_tolerance']:g} passes"
    )
    return "\n".join([line, *(f"warning: {text}" for text in warnings)])

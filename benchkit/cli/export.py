"""`benchkit export CHECKPOINT -o DIR`: a checkpoint becomes an ONNX artifact, with its parity beside it."""

from pathlib import Path
from typing import Annotated

import typer

from benchkit.cli import options
from benchkit.core.errors import Exit


def command(
    checkpoint: Annotated[str, typer.Argument(metavar="CHECKPOINT", help="Checkpoint folder, hub id, or arch:PRESET.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the ONNX artifact.")],
    opset: Annotated[int, typer.Option("--opset", min=14, help="ONNX opset.")] = 17,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Read a pickled .bin with weights_only; refused without this flag.")
    ] = False,
    quiet: options.QuietOption = False,
) -> Exit:
    """Export a checkpoint to ONNX with dynamic axes, and check its logits against the checkpoint's."""
    from benchkit.bench.targets import export_to
    from benchkit.cli.talk import progress_on
    from benchkit.core.recipes import ExportRecipe

    progress = progress_on(quiet=quiet)
    artifact = export_to(checkpoint, out, ExportRecipe(opset=opset), allow_pickle=allow_pickle, progress=progress)
    progress("export", 1.0)
    typer.echo(str(artifact.path))
    return Exit.OK

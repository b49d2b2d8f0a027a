"""`benchkit quantize ONNX_DIR -o DIR --method dynamic-int8`."""

from pathlib import Path
from typing import Annotated

import typer

from benchkit.cli import options
from benchkit.core.errors import Exit


def command(
    source: Annotated[str, typer.Argument(metavar="ONNX_DIR", help="Folder of an fp32 ONNX artifact.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the quantized artifact.")],
    method: Annotated[str, typer.Option("--method", help="dynamic-int8.")] = "dynamic-int8",
    per_channel: Annotated[
        bool, typer.Option("--per-channel/--per-tensor", help="One scale for each output channel, or for all.")
    ] = True,
    quiet: options.QuietOption = False,
) -> Exit:
    """Quantize an ONNX artifact and say how much of it runs in int8."""
    from benchkit.bench.targets import quantize_to
    from benchkit.cli.talk import progress_on
    from benchkit.core.recipes import QuantizeRecipe

    progress = progress_on(quiet=quiet)
    artifact = quantize_to(source, out, method, QuantizeRecipe(per_channel=per_channel), progress=progress)
    progress("quantize", 1.0)
    typer.echo(str(artifact.path))
    return Exit.OK

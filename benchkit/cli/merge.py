"""`benchkit merge RECIPE`: merge a fine-tuned donor into a base, of the same shape or another."""

from pathlib import Path
from typing import Annotated

import typer

from benchkit.cli import options
from benchkit.core.errors import Exit


def command(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="Our TOML, or a mergekit YAML file.")],
    data: options.DataOption = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Checkpoint folder; models/NAME by default.")] = None,
    quiet: options.QuietOption = False,
) -> Exit:
    """Merge checkpoints and write a checkpoint folder with the resolved recipe, lineage and fit beside it."""
    from benchkit.cli.talk import progress_on
    from benchkit.core.registry import STEPS

    progress = progress_on(quiet=quiet)
    folder = STEPS.get("merge-file")(recipe, data=data, out=out, progress=progress)
    progress("merge", 1.0)
    typer.echo(str(folder))
    return Exit.OK

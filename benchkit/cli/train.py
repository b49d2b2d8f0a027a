"""`benchkit train RECIPE.toml`: fine-tune one encoder on one task."""

from pathlib import Path
from typing import Annotated

import typer

from benchkit.cli import options
from benchkit.core.errors import Exit


def command(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE.toml", help="Such as models/recipes/bert-base-sst2.toml.")],
    data: options.DataOption = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Checkpoint folder; models/NAME by default.")] = None,
    quiet: options.QuietOption = False,
) -> Exit:
    """Fine-tune an encoder on a task and write a checkpoint folder with every hyperparameter beside it."""
    from benchkit.bench.score import data_for
    from benchkit.cli.talk import progress_on
    from benchkit.core.recipes import TrainFile
    from benchkit.core.registry import STEPS
    from benchkit.core.settings import load_toml
    from benchkit.tasks.table import task_named

    task = task_named(load_toml(recipe, TrainFile).task)
    progress = progress_on(quiet=quiet)
    folder = STEPS.get("train-file")(recipe, data=data_for(task, data), out=out, progress=progress)
    progress("train", 1.0)
    typer.echo(str(folder))
    return Exit.OK

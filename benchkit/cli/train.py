"""`benchkit train RECIPE.toml`: fine-tune one encoder on one or several tasks, once for each seed."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from benchkit.cli import options
from benchkit.core.errors import BenchkitError, Exit

if TYPE_CHECKING:
    from benchkit.pipeline.train_all import Made, Plan


def command(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE.toml", help="Such as models/recipes/bert-base.toml.")],
    data: options.DataOption = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Checkpoint folder, or the folder around several; models/NAME by default."),
    ] = None,
    task: Annotated[
        str | None, typer.Option("--task", help="Instead of the recipe's: tasks or task files, a comma list.")
    ] = None,
    seeds: Annotated[
        str | None, typer.Option("--seeds", help="Instead of the recipe's: one training each, a comma list.")
    ] = None,
    override: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override one key, such as train.epochs=1.")
    ] = None,
    jobs: Annotated[
        str, typer.Option("--jobs", help="Trainings side by side, each with its share of the cores; auto or a number.")
    ] = "auto",
    format: Annotated[
        Literal["text", "json"], typer.Option("--format", help="How the scores are written to stdout.")
    ] = "text",
    quiet: options.QuietOption = False,
    dry_run: options.DryRunOption = False,
) -> Exit:
    """Fine-tune an encoder and write checkpoint folders with every hyperparameter beside the weights.

    Finished trainings are reused, an interrupted one goes on where it was. On several GPUs or machines:
    `accelerate launch -m benchkit train RECIPE.toml`; then there is one training at a time, its batch_size is that of
    each process, machines share the output folder, and only the main process writes and prints.
    """
    from benchkit.cli.talk import progress_on
    from benchkit.core.launcher import is_main_process
    from benchkit.pipeline.train_all import plan_training, train_all
    from benchkit.pipeline.trainings import order_from

    order = order_from(
        recipe,
        tasks=options.words(task or ""),
        seeds=_seeds(seeds),
        overrides=override or (),
        data=data,
        out=out,
    )
    count = _jobs(jobs)
    if dry_run:
        _print_plan(plan_training(order, jobs=count))
        return Exit.OK
    progress = progress_on(quiet=quiet or not is_main_process())
    made = train_all(order, jobs=count, progress=progress)
    progress("train", 1.0)
    if made:
        _print(made, format)
    return _exit_of(made)


def _seeds(text: str | None) -> tuple[int, ...]:
    if text is None:
        return ()
    parts = options.words(text)
    if not parts or not all(part.isdecimal() for part in parts):
        raise BenchkitError(f"--seeds: '{text}' is no list of whole numbers", remedy="write it as --seeds 0,1,2")
    return tuple(int(part) for part in parts)


def _jobs(text: str) -> int | None:
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise BenchkitError(f"--jobs: '{text}' is no positive whole number", remedy="write --jobs auto or --jobs 2")
    return int(text)


def _print_plan(plan: "Plan") -> None:
    for training in plan.trainings:
        word = "reuse" if training.name in plan.finished else "go on" if training.name in plan.interrupted else "train"
        changes = "; ".join(plan.changes.get(training.name, ()))
        recipe = training.recipe
        detail = f"{training.task.name}, seed {recipe.seed}, {recipe.epochs:g} epochs at {recipe.learning_rate:g}"
        typer.echo(f"{word:<6} {training.folder!s:<44} {detail}{f'; again, since {changes}' if changes else ''}")
    threads = ", ".join(sorted({str(training.recipe.threads) for training in plan.trainings}))
    typer.echo(f"{plan.jobs} at a time, {threads} threads each")


def _print(made: "list[Made]", format: str) -> None:
    from benchkit.cli.train_table import training_json, training_table

    if format == "json":
        typer.echo(training_json(made), nl=False)
    else:
        from benchkit.report.rendering import render

        typer.echo(render(training_table(made), format), nl=False)
    for error, names in _failures(made).items():
        typer.echo(f"error: {', '.join(names)}: {error}", err=True)


def _failures(made: "list[Made]") -> dict[str, list[str]]:
    """Return each error once, with the names of the trainings that it ended."""
    names: dict[str, list[str]] = {}
    for one in made:
        if one.error is not None:
            told = str(one.error).removeprefix(f"{one.training.name}: ")
            names.setdefault(f"{told}\n  fix: {one.error.remedy}", []).append(one.training.name)
    return names


def _exit_of(made: "list[Made]") -> Exit:
    """Return 70 for a bug, else 4 where this machine could not, else 2 where something was wrong with a training."""
    codes = {one.error.exit for one in made if one.error is not None}
    return next((code for code in (Exit.BUG, Exit.NOT_MEASURED, Exit.USAGE) if code in codes), Exit.OK)

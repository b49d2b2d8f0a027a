"""`benchkit run EXPERIMENT.toml`: the whole pipeline; finished steps are reused, an interrupted run resumes."""

from pathlib import Path
from typing import Annotated

import typer

from benchkit.cli import options
from benchkit.core.errors import Exit


def command(
    experiment: Annotated[Path, typer.Argument(metavar="EXPERIMENT.toml", help="Such as models/demo.toml.")],
    data: options.DataOption = None,
    models: Annotated[Path, typer.Option("--models", help="Artifacts go to MODELS/NAME.")] = Path("models"),
    reports: Annotated[Path, typer.Option("--reports", help="Records and page go to REPORTS/NAME.")] = Path("reports"),
    override: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override one key, such as train.small.epochs=1."),
    ] = None,
    format: options.FormatOption = "text",
    quiet: options.QuietOption = False,
    dry_run: options.DryRunOption = False,
) -> Exit:
    """Fine-tune, merge, export, quantize, score, profile and report, as the experiment file says."""
    from benchkit.cli.results import exit_of_records, print_records
    from benchkit.cli.talk import progress_on
    from benchkit.pipeline.experiment import load_experiment
    from benchkit.pipeline.run import plan_experiment, run_experiment

    loaded = load_experiment(experiment, override or ())
    if dry_run:
        for planned in plan_experiment(loaded, data=data, models=models):
            word = "reuse" if planned.reused else "make"
            typer.echo(f"{word:<6} {planned.kind:<12} {planned.name:<44} {planned.detail}".rstrip())
        return Exit.OK
    progress = progress_on(quiet=quiet)
    finished = run_experiment(loaded, data=data, models=models, reports=reports, progress=progress)
    progress("run", 1.0)
    print_records(finished.records, format)
    if not quiet:
        typer.echo("\nwritten: " + ", ".join(str(path) for path in finished.files), err=True)
    return exit_of_records(finished.records)

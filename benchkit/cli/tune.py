"""`benchkit tune TARGET --task sst2`: the fastest variant on this machine that keeps the score."""

from pathlib import Path
from typing import Annotated

import typer

from benchkit.cli import options
from benchkit.core.errors import Exit


def command(
    target: Annotated[str, typer.Argument(metavar="TARGET", help="Checkpoint folder or fp32 artifact folder.")],
    task: Annotated[str, typer.Option("--task", help="Task that the score is kept on, such as sst2.")],
    data: options.DataOption = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Folder of the winner, with its settings.")] = None,
    max_score_drop: Annotated[
        float, typer.Option("--max-score-drop", min=0, max=0.99, help="0.005 is half a point.")
    ] = 0.005,
    precision: Annotated[str, typer.Option("--precision", help="Tried beside fp32; a comma list.")] = "dynamic-int8",
    runtime: options.RuntimeOption = "onnxruntime",
    threads: options.ThreadsOption = "1",
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Examples per call.")] = 1,
    sequence_length: Annotated[int, typer.Option("--sequence-length", min=2, help="Tokens per example.")] = 128,
    quiet: options.QuietOption = False,
    seed: options.SeedOption = 0,
) -> Exit:
    """Try precisions, runtimes and threads; return the fastest that keeps the score, confirmed in fresh processes."""
    from benchkit.bench.score import data_for
    from benchkit.cli.talk import progress_on
    from benchkit.core.quantities import format_value
    from benchkit.judge.compare import Verdict
    from benchkit.pipeline.tune import TuneSettings, tune
    from benchkit.tasks.table import task_named

    known = task_named(task)
    settings = TuneSettings(
        max_score_drop=max_score_drop,
        precisions=options.words(precision),
        runtimes=options.words(runtime),
        threads=options.integers(threads, "--threads"),
        batch_size=batch_size,
        sequence_length=sequence_length,
        seed=seed,
    )
    progress = progress_on(quiet=quiet)
    tuned = tune(target, known, data_for(known, data), settings, out=out, progress=progress)
    progress("tune", 1.0)
    for tried in tuned.tried:
        where = f"{tried.runtime}, {tried.threads} thread(s)" if tried.threads else "-"
        typer.echo(f"{tried.precision:<16} {where:<28} {format_value('latency', tried.p50_s):>10}  {tried.fate}")
    typer.echo(tuned.sentence)
    undecided = tuned.compared is not None and tuned.compared.comparison.verdict is not Verdict.FASTER
    return Exit.INCONCLUSIVE if undecided else Exit.OK

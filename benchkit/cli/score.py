"""`benchkit score TARGET... [--task sst2]`: the scores of the very artifacts that would be deployed, as one table."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchkit.cli import options
from benchkit.core.errors import BenchkitError, Exit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchkit.core.artifacts import Artifact
    from benchkit.core.records import Record
    from benchkit.tasks.own import Columns
    from benchkit.tasks.table import Task


def command(
    targets: Annotated[list[str], typer.Argument(metavar="TARGET...", help="Artifact folder or checkpoint folder.")],
    task: Annotated[
        str | None,
        typer.Option(
            "--task",
            help="A comma list of tasks (sst2), task files (.toml) or data files; by default each artifact's own task.",
        ),
    ] = None,
    data: options.DataOption = None,
    text_column: Annotated[
        str | None, typer.Option("--text-column", help="Of a data file: column of the text, or two, A,B, for pairs.")
    ] = None,
    label_column: Annotated[str, typer.Option("--label-column", help="Of a data file: column of the label.")] = "label",
    labels: Annotated[
        str | None,
        typer.Option(
            "--labels", help="Of a data file: label names in the order of the logits; the model's by default."
        ),
    ] = None,
    split: Annotated[str, typer.Option("--split", help="A comma list; validation is GLUE's dev set.")] = "validation",
    batch_size: Annotated[
        int | None,
        typer.Option(
            "--batch-size",
            min=1,
            help="Examples per call; by default 1 where batches change the answers, as in dynamic int8, else many.",
        ),
    ] = None,
    batch_tokens: Annotated[
        int | None, typer.Option("--batch-tokens", min=1, help="Most tokens per call, padding included.")
    ] = None,
    max_length: Annotated[
        int, typer.Option("--max-length", min=4, help="Longer inputs are truncated and counted.")
    ] = 128,
    threads: Annotated[int, typer.Option("--threads", min=1, help="Cores that are used.")] = 1,
    runtime: Annotated[str, typer.Option("--runtime", help="onnxruntime, openvino or torch.")] = "onnxruntime",
    device: Annotated[str, typer.Option("--device", help="cpu or cuda.")] = "cpu",
    submission: Annotated[
        Path | None, typer.Option("--submission", help="Also write the answers there as GLUE's site takes them.")
    ] = None,
    format: options.FormatOption = "text",
    output: options.OutputOption = None,
    quiet: options.QuietOption = False,
    seed: options.SeedOption = 0,
) -> Exit:
    """Score artifacts on tasks through the same runtime and settings as profile, with bounds, as one table."""
    from benchkit.bench.score import ScoreSettings, data_for, score, splits_of
    from benchkit.bench.targets import resolve
    from benchkit.cli.results import keep
    from benchkit.cli.talk import progress_on

    progress = progress_on(quiet=quiet)
    columns = _columns(text_column, label_column, labels)
    settings = ScoreSettings(
        batch_size=batch_size,
        batch_tokens=batch_tokens,
        max_length=max_length,
        runtime=runtime,
        device=device,
        threads=threads,
        seed=seed,
    )
    asked = _asked(task, columns)
    keep([], output)
    artifacts = [resolve(target, runtime=runtime, progress=progress) for target in targets]
    records: list[Record] = []
    for artifact in artifacts:
        for each in _tasks(artifact, asked, columns, alone=len(targets) == 1, quiet=quiet):
            folder = data_for(each, data)
            splits = [half for name in options.words(split) for half in splits_of(each, name, folder)]
            for one in dict.fromkeys(splits):
                record = score(
                    artifact,
                    each,
                    folder,
                    settings.model_copy(update={"split": one}),
                    predictions=output.parent if output is not None else None,
                    submission=submission,
                    progress=progress,
                )
                keep([record], output)
                records.append(record)
    _print(records, format)
    return _exit(records, submission)


def _columns(text_column: str | None, label_column: str, labels: str | None) -> "Columns | None":
    if text_column is None:
        if labels is not None or label_column != "label":
            raise BenchkitError(
                "--label-column and --labels describe a data file, and its text is not named",
                remedy="--text-column NAME; a task file (.toml) says everything itself",
            )
        return None
    from benchkit.tasks.own import Columns

    return Columns.from_flags(text_column, label_column, labels=options.words(labels or ""))


def _asked(names: str | None, columns: "Columns | None") -> tuple[str, ...]:
    """Return the names of the tasks asked for, checked before anything heavy is done; () for each artifact's own."""
    if names is None and columns is None:
        return ()
    from benchkit.tasks.formats import SUFFIX_FORMATS
    from benchkit.tasks.table import task_named

    asked = options.words(names or "")
    if not asked:
        raise BenchkitError("--task names nothing", remedy="--task sst2, a task file, or a data file and --text-column")
    for name in asked:
        if columns is None or Path(name).suffix.lower() not in SUFFIX_FORMATS:
            task_named(name)
    return asked


def _tasks(
    artifact: "Artifact", asked: "Sequence[str]", columns: "Columns | None", *, alone: bool, quiet: bool
) -> "Sequence[Task]":
    """Return what an artifact is scored on; tell when that is nothing."""
    from benchkit.bench.asked import asked_tasks, own_task

    if not asked:
        return [own_task(artifact)]
    tasks = asked_tasks(artifact, asked, columns)
    if tasks:
        return tasks
    problem = f"'{artifact.manifest.name}' is made for {artifact.manifest.task}, and not for {', '.join(asked)}"
    if alone:
        raise BenchkitError(problem, remedy=f"--task {artifact.manifest.task}, or leave --task out")
    if not quiet:
        typer.echo(f"{problem}: skipped", err=True)
    return []


def _print(records: "Sequence[Record]", format: options.Format) -> None:
    """Write the table of scores to stdout; JSON has the records whole."""
    from benchkit.cli.results import print_records

    if format == "json":
        print_records(records, format)
        return
    from benchkit.report.rendering import render
    from benchkit.report.score_table import score_table

    typer.echo(render(score_table(records), format))


def _exit(records: "Sequence[Record]", submission: Path | None) -> Exit:
    """Return 4 when there is no score at all, unless answers without labels are what was asked for."""
    from benchkit.core.records import NotMeasured

    missing = [found for record in records if isinstance(found := record.measurements["score"], NotMeasured)]
    if len(missing) < len(records) or (records and submission is not None):
        return Exit.OK
    reason = missing[0] if missing else None
    typer.echo(f"nothing was scored: {reason.detail if reason else 'no artifact is made for these tasks'}", err=True)
    if reason:
        typer.echo(f"  fix: {reason.remedy}", err=True)
    return Exit.NOT_MEASURED

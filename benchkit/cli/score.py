"""`benchkit score TARGET... --task sst2`: the score of the very artifact that would be deployed."""

from typing import Annotated

import typer

from benchkit.cli import options
from benchkit.core.errors import Exit


def command(
    targets: Annotated[list[str], typer.Argument(metavar="TARGET...", help="Artifact folder or checkpoint folder.")],
    task: options.TaskOption,
    data: options.DataOption = None,
    split: Annotated[str, typer.Option("--split", help="validation is GLUE's dev set.")] = "validation",
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, help="Examples per call; dynamic int8 answers differ with it.")
    ] = 1,
    max_length: Annotated[
        int, typer.Option("--max-length", min=4, help="Longer inputs are truncated and counted.")
    ] = 128,
    threads: Annotated[int, typer.Option("--threads", min=1, help="Threads inside one operator.")] = 1,
    runtime: Annotated[str, typer.Option("--runtime", help="onnxruntime, openvino or torch.")] = "onnxruntime",
    device: Annotated[str, typer.Option("--device", help="cpu or cuda.")] = "cpu",
    format: options.FormatOption = "text",
    output: options.OutputOption = None,
    quiet: options.QuietOption = False,
    seed: options.SeedOption = 0,
) -> Exit:
    """Score artifacts on tasks through the same runtime and settings as profile, with bounds."""
    from benchkit.bench.score import ScoreSettings, data_for, score
    from benchkit.bench.targets import resolve
    from benchkit.cli.results import keep, print_records
    from benchkit.cli.talk import progress_on
    from benchkit.tasks.table import task_named

    progress = progress_on(quiet=quiet)
    settings = ScoreSettings(
        batch_size=batch_size,
        max_length=max_length,
        split=split,
        runtime=runtime,
        device=device,
        threads=threads,
        seed=seed,
    )
    tasks = [task_named(name) for name in options.words(task)]
    beside = output.parent if output is not None else None
    keep([], output)
    records = []
    for target in targets:
        artifact = resolve(target, runtime=runtime, progress=progress)
        for each in tasks:
            folder = data_for(each, data)
            records.append(score(artifact, each, folder, settings, predictions=beside, progress=progress))
    keep(records, output)
    print_records(records, format)
    return Exit.OK

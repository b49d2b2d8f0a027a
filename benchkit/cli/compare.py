"""`benchkit compare A B`: interleaved pairs of fresh processes, a ratio with bounds, a verdict."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from benchkit.cli import options
from benchkit.core.errors import BenchkitError, Exit

if TYPE_CHECKING:
    from benchkit.judge.pairs import Compared


def command(
    a: Annotated[str, typer.Argument(metavar="A", help="The target that is compared with.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The target in question.")],
    batch_size: options.BatchSizeOption = "1",
    sequence_length: options.SequenceLengthOption = "128",
    threads: options.ThreadsOption = "1",
    runtime: options.RuntimeOption = "onnxruntime",
    device: options.DeviceOption = "cpu",
    quantity: Annotated[
        str,
        typer.Option("--quantity", help="latency, throughput, cpu_time, peak_memory, energy_package or energy_gpu."),
    ] = "latency",
    statistic: Annotated[
        str | None, typer.Option("--statistic", help="Of each process's latencies: p50, p90, p95 or p99.")
    ] = None,
    margin: Annotated[float, typer.Option("--margin", min=0.001, help="Relative change that counts.")] = 0.05,
    max_seconds: Annotated[
        float | None,
        typer.Option("--max-seconds", min=1, help="Budget of time for the pairs; the looks within it decide."),
    ] = None,
    confirm: Annotated[bool, typer.Option("--confirm", help="Slower must be found twice, independently.")] = False,
    must_detect: Annotated[
        float | None, typer.Option("--must-detect", min=0.001, help="Increase that must be findable before B passes.")
    ] = None,
    task: Annotated[str | None, typer.Option("--task", help="Compare the scores on this task too: sst2 ...")] = None,
    data: options.DataOption = None,
    max_drop: Annotated[
        float, typer.Option("--max-drop", min=0, max=1, help="Loss of score that counts, as a share of 1.")
    ] = 0.005,
    cell_timeout: options.CellTimeoutOption = 300.0,
    format: Annotated[Literal["text", "json"], typer.Option("--format", help="text or json.")] = "text",
    output: options.OutputOption = None,
    quiet: options.QuietOption = False,
    seed: options.SeedOption = 0,
) -> Exit:
    """Compare B with A: exit code 0 equal or better, 1 worse, 3 cannot tell, 4 not measured."""
    from benchkit.bench.matrix import Matrix
    from benchkit.bench.targets import resolve
    from benchkit.cli.results import keep
    from benchkit.cli.talk import progress_on
    from benchkit.core.settings import validated
    from benchkit.judge.pairs import compare_artifacts
    from benchkit.tasks.table import task_named

    if data is not None and task is None:
        raise BenchkitError(
            "--data is given, and no --task that is read from it", remedy="--task sst2, or leave --data out"
        )
    values = options.matrix_values(
        batch_size=batch_size,
        sequence_length=sequence_length,
        threads=threads,
        runtime=runtime,
        device=device,
        scenario="single-stream",
    )
    matrix = validated(values | {"seed": seed}, Matrix, where="the matrix flags")
    matrix.check_names()
    progress = progress_on(quiet=quiet)
    keep([], output)
    first, second = (resolve(target, runtime=matrix.runtime[0], progress=progress) for target in (a, b))
    if not quiet:
        typer.echo("what can be detected here is not known before the first pairs", err=True)
    compared = compare_artifacts(
        first,
        second,
        matrix,
        quantity=quantity,
        statistic=statistic,
        margin=margin,
        timeout_s=cell_timeout,
        max_seconds=max_seconds,
        confirm=confirm,
        must_detect=must_detect,
        task=None if task is None else task_named(task),
        data=data,
        max_drop=max_drop,
        progress=progress,
        told=lambda text: None if quiet else typer.echo(f"\n{text}", err=True),
    )
    progress("compare", 1.0)
    keep([compared.record], output)
    _print(compared, quantity, statistic, as_json=format == "json")
    return exit_of(compared)


def _print(compared: "Compared", quantity: str, statistic: str | None, *, as_json: bool) -> None:
    if as_json:
        from benchkit.cli.results import print_records

        print_records([compared.record], "json")
    else:
        from benchkit.judge.in_words import comparison_in_words

        typer.echo(comparison_in_words(compared, quantity, statistic))


def exit_of(compared: "Compared") -> Exit:
    """Return the exit code: the worse of the pairs' verdict and the scores'."""
    from benchkit.core.errors import worst_exit
    from benchkit.judge.compare import Verdict
    from benchkit.judge.score_pairs import ScoreVerdict

    exits = {Verdict.SLOWER: Exit.FAIL, Verdict.INCONCLUSIVE: Exit.INCONCLUSIVE}
    codes = [exits.get(compared.comparison.verdict, Exit.OK)]
    if compared.score is not None:
        scores = {ScoreVerdict.WORSE: Exit.FAIL, ScoreVerdict.INCONCLUSIVE: Exit.INCONCLUSIVE}
        codes.append(scores.get(compared.score.verdict, Exit.OK))
    return worst_exit(codes)

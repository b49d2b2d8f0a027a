"""`benchkit compare A B`: interleaved pairs of fresh processes, a ratio with bounds, a verdict."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from benchkit.cli import options
from benchkit.core.errors import Exit

if TYPE_CHECKING:
    from benchkit.judge.compare import Comparison


def command(
    a: Annotated[str, typer.Argument(metavar="A", help="The target that is compared with.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The target in question.")],
    batch_size: options.BatchSizeOption = "1",
    sequence_length: options.SequenceLengthOption = "128",
    threads: options.ThreadsOption = "1",
    runtime: options.RuntimeOption = "onnxruntime",
    device: options.DeviceOption = "cpu",
    quantity: Annotated[str, typer.Option("--quantity", help="latency (its p50) or throughput.")] = "latency",
    margin: Annotated[float, typer.Option("--margin", min=0.001, help="Relative change that counts.")] = 0.05,
    cell_timeout: options.CellTimeoutOption = 300.0,
    format: Annotated[Literal["text", "json"], typer.Option("--format", help="text or json.")] = "text",
    output: options.OutputOption = None,
    quiet: options.QuietOption = False,
    seed: options.SeedOption = 0,
) -> Exit:
    """Compare B with A: exit code 0 equal or faster, 1 slower, 3 cannot tell."""
    from benchkit.bench.plan import Matrix
    from benchkit.bench.targets import resolve
    from benchkit.cli.results import keep, print_records
    from benchkit.cli.talk import progress_on
    from benchkit.core.settings import validated
    from benchkit.judge.compare import Verdict
    from benchkit.judge.pairs import compare_artifacts

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
    compared = compare_artifacts(
        first, second, matrix, quantity=quantity, margin=margin, timeout_s=cell_timeout, progress=progress
    )
    progress("compare", 1.0)
    keep([compared.record], output)
    if format == "json":
        print_records([compared.record], "json")
    else:
        typer.echo(_in_words(compared.comparison, quantity))
    exits = {Verdict.SLOWER: Exit.FAIL, Verdict.INCONCLUSIVE: Exit.INCONCLUSIVE}
    return exits.get(compared.comparison.verdict, Exit.OK)


def _in_words(comparison: "Comparison", quantity: str) -> str:
    ratio, control = comparison.ratio, comparison.control

    def bounds(low: float | None, high: float | None) -> str:
        return "no bounds" if low is None or high is None else f"{low:.3f}-{high:.3f}"

    return "\n".join(
        [
            f"{comparison.verdict}: {comparison.reason}",
            f"  {quantity}, B / A: {ratio.estimate:.3f} ({bounds(ratio.low, ratio.high)}), {comparison.pairs} pairs",
            f"  control, A' / A: {control.estimate:.3f} ({bounds(control.low, control.high)})",
            f"  found with 80 % power: an increase of {comparison.detectable:.1%}",
        ]
    )

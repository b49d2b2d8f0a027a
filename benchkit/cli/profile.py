"""`benchkit profile TARGET...`: measure latency, throughput, memory and size of each target over a matrix."""

from typing import TYPE_CHECKING, Annotated

import typer

from benchkit.cli import options
from benchkit.core.errors import Exit

if TYPE_CHECKING:
    from benchkit.bench.plan import Matrix
    from benchkit.core.artifacts import Artifact


def command(
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="TARGET...", help="Artifact folder, .onnx file, checkpoint folder, hub id, or arch:PRESET."
        ),
    ],
    batch_size: options.BatchSizeOption = "1",
    sequence_length: options.SequenceLengthOption = "128",
    threads: options.ThreadsOption = "1",
    runtime: options.RuntimeOption = "onnxruntime",
    device: options.DeviceOption = "cpu",
    scenario: options.ScenarioOption = "single-stream",
    precision: options.PrecisionOption = None,
    provider: options.ProviderOption = None,
    runs: options.RunsOption = 5,
    cell_timeout: options.CellTimeoutOption = 300.0,
    format: options.FormatOption = "text",
    output: options.OutputOption = None,
    quiet: options.QuietOption = False,
    dry_run: options.DryRunOption = False,
    seed: options.SeedOption = 0,
) -> Exit:
    """Measure latency with bounds, throughput, peak memory and size, each cell in fresh processes."""
    from benchkit.bench.plan import Matrix
    from benchkit.bench.profile import artifacts_for, profile
    from benchkit.cli.results import exit_of_records, journal_of, keep, print_records
    from benchkit.cli.talk import progress_on
    from benchkit.core.settings import validated

    values = options.matrix_values(
        batch_size=batch_size,
        sequence_length=sequence_length,
        threads=threads,
        runtime=runtime,
        device=device,
        scenario=scenario,
        precision=precision,
    )
    matrix = validated(values | {"provider": provider, "runs": runs, "seed": seed}, Matrix, where="the matrix flags")
    progress = progress_on(quiet=quiet)
    artifacts = artifacts_for(targets, matrix, progress)
    if dry_run:
        _print_plan(artifacts, matrix)
        return Exit.OK
    keep([], output)
    journal = journal_of(output)
    records = profile(artifacts, matrix, journal=journal, cell_timeout_s=cell_timeout, progress=progress)
    keep(records, output)
    print_records(records, format)
    if journal is not None and exit_of_records(records) is Exit.OK:
        journal.unlink(missing_ok=True)
    return exit_of_records(records)


def _print_plan(artifacts: "dict[str, list[Artifact]]", matrix: "Matrix") -> None:
    from benchkit.bench.plan import predicted_s
    from benchkit.bench.profile import plan
    from benchkit.bench.timing import Schedule

    cells, jobs, energy = plan(artifacts, matrix, Schedule())
    for cell in cells:
        typer.echo(f"{cell.label()}, {cell.runtime} on {cell.options.device}, {cell.scenario}")
    typer.echo(f"{len(cells)} cells, {len(jobs)} fresh processes, about {predicted_s(jobs):.0f} s if calls are short")
    if energy is not None:
        typer.echo(f"energy will not be measured: {energy.detail}")

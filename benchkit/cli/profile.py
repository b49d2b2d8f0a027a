"""`benchkit profile TARGET...`: measure latency, throughput, memory, energy and size of each target over a matrix."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchkit.cli import options
from benchkit.core.errors import Exit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchkit.bench.plan import Spot
    from benchkit.bench.sweep import Plan
    from benchkit.core.progress import Progress
    from benchkit.core.records import Record


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
    padding: options.PaddingOption = "max",
    lengths_from: options.LengthsFromOption = None,
    data: options.DataOption = None,
    rate: options.RateOption = None,
    load: options.LoadOption = None,
    find_max: options.FindMaxOption = False,
    p99_at_most_s: options.P99Option = None,
    engine: options.EngineOption = "benchkit",
    provider: options.ProviderOption = None,
    affinity: options.AffinityOption = None,
    spinning: options.SpinningOption = True,
    transfers: options.TransfersOption = True,
    cold_start: options.ColdStartOption = False,
    runs: options.RunsOption = None,
    max_seconds: options.MaxSecondsOption = None,
    cell_timeout: options.CellTimeoutOption = 300.0,
    trace: Annotated[
        Path | None, typer.Option("--trace", help="Keep the runtime's profile of each cell in this folder (Perfetto).")
    ] = None,
    flame: Annotated[
        Path | None, typer.Option("--flame", help="Keep py-spy's flame graph of each cell in this folder.")
    ] = None,
    format: options.FormatOption = "text",
    output: options.OutputOption = None,
    quiet: options.QuietOption = False,
    dry_run: options.DryRunOption = False,
    seed: options.SeedOption = 0,
) -> Exit:
    """Measure latency with bounds, throughput, peak memory and size, each cell in fresh processes."""
    from benchkit.bench.matrix import Matrix
    from benchkit.bench.profile import artifacts_for, plan
    from benchkit.cli.results import exit_of_records, journal_of, print_records
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
        padding=padding,
        affinity=affinity,
    ) | {
        "provider": provider,
        "lengths_from": lengths_from,
        "rate_per_s": rate,
        "load": load,
        "find_max": find_max,
        "p99_at_most_s": p99_at_most_s,
        "engine": engine,
        "spinning": spinning,
        "transfers": transfers,
        "cold_start": cold_start,
        "runs": runs,
        "stopping": {} if max_seconds is None else {"max_seconds": max_seconds},
        "seed": seed,
    }
    matrix = validated(values, Matrix, where="the matrix flags")
    progress = progress_on(quiet=quiet)
    planned = plan(artifacts_for(targets, matrix, progress), matrix, data=data)
    if dry_run:
        _print_plan(planned)
        return Exit.OK
    extras = {"traces": trace, "flames": flame}
    records = _measured(planned, output, extras, timeout_s=cell_timeout, progress=progress, quiet=quiet)
    print_records(records, format)
    code, journal = exit_of_records(records), journal_of(output)
    if journal is not None and code is Exit.OK:
        journal.unlink(missing_ok=True)
    return code


def _measured(
    planned: "Plan",
    output: Path | None,
    extras: "Mapping[str, Path | None]",
    *,
    timeout_s: float,
    progress: "Progress",
    quiet: bool,
) -> "list[Record]":
    """Measure a sweep under a live table, keep its records, then what is asked for beside them.

    Args:
        planned: The sweep.
        output: File of records; None keeps none.
        extras: Folders of "traces" and "flames", None for what was not asked for.
        timeout_s: Longest life of one worker.
        progress: Takes the talk where nobody watches a table.
        quiet: No talk at all.
    """
    from benchkit.bench.profile import profile
    from benchkit.bench.traces.keeping import keep_flames, keep_traces
    from benchkit.cli.live import LiveTable
    from benchkit.cli.results import is_failed, journal_of, keep

    keep([], output)
    with LiveTable(progress, quiet=quiet) as table:
        records = profile(
            planned,
            journal=journal_of(output),
            cell_timeout_s=timeout_s,
            progress=table.progress,
            watch=table.watch,
            told=lambda text: None if quiet else typer.echo(text, err=True),
        )
        # Before the traces: whatever becomes of those, hours of measuring are on disk.
        keep(records, output)
        failed = {index for index, record in enumerate(records) if is_failed(record)}
        for name, keep_extra in (("traces", keep_traces), ("flames", keep_flames)):
            folder = extras[name]
            if folder is not None:
                keep_extra(planned, folder, timeout_s=timeout_s, leave_out=failed, progress=table.progress)
    return records


def _asked(cell: "Spot") -> list[str]:
    """Say how the calls of a cell come, and what they carry where that is drawn."""
    workload, load = cell.workload, cell.load
    words: list[str] = [cell.scenario]
    if load is not None and load.rate_per_s is not None:
        words.append(f"{load.rate_per_s:g} calls/s")
    elif load is not None and load.share_of_capacity is not None:
        words.append(f"load {load.share_of_capacity:g} of the capacity")
    elif load is not None:
        words.append(f"the largest rate with a p99 of at most {load.p99_at_most_s:g} s")
    if load is not None and load.engine != "benchkit":
        words.append(f"by {load.engine}")
    return words + (
        [f"{workload.padding} padding, lengths of {workload.lengths_from}"] if workload.lengths_from else []
    )


def _print_plan(planned: "Plan") -> None:
    from benchkit.bench.prediction import Prediction

    rule = planned.matrix.rule
    for cell in planned.cells:
        typer.echo(", ".join([cell.label(), f"{cell.runtime} on {cell.options.device}", *_asked(cell)]))
    first_s = Prediction(planned.cells).of(planned.jobs)
    typer.echo(f"{len(planned.cells)} cells, {len(planned.jobs)} fresh processes, about {first_s:.0f} s")
    budget_s = rule.budget_s(len(planned.cells))
    if rule.max_seconds is not None and budget_s < first_s:
        typer.echo(f"ended by --max-seconds after {budget_s:.0f} s, with what is there by then")
    if len(rule.looks) > 1 and budget_s > first_s:
        more = f"where bounds are wider than {rule.p50_within:.0%} (p50) or {rule.p95_within:.0%} (p95)"
        typer.echo(f"then more processes {more}, up to {budget_s:.0f} s in all")
    for quantity, missing in planned.no_energy.items():
        typer.echo(f"{quantity} will not be measured: {missing.detail}")
    for index, error in planned.refused.items():
        typer.echo(f"void: {planned.cells[index].label()}: {error}")

"""Measure artifacts over a matrix: plan, launch each job in a fresh process, make one record a cell."""

import dataclasses
from collections.abc import Callable, Container, Mapping, Sequence
from pathlib import Path

from benchkit.bench.journal import Journal
from benchkit.bench.matrix import Matrix
from benchkit.bench.passes.energy import energy_meters
from benchkit.bench.plan import PlannedJob, Spot, check_lengths, first_look, spots
from benchkit.bench.record import failed_record, profile_record
from benchkit.bench.roofs.peaks import Peaks, kept_peaks, measured_peaks
from benchkit.bench.sweep import CellState, Plan, Sweep, Watch
from benchkit.bench.targets import Refused, cache_folder, resolve_or_refuse
from benchkit.bench.timing import Schedule
from benchkit.bench.workload import ASSUMED_VOCABULARY
from benchkit.core.artifacts import Artifact
from benchkit.core.errors import BenchkitError, MeasurementFailed
from benchkit.core.progress import Progress, silent
from benchkit.core.records import NotMeasured, Record
from benchkit.core.store import utc_now
from benchkit.meters.energy import EnergyMeter
from benchkit.tasks.lengths import Drawn, lengths_to, texts_for
from benchkit.tasks.table import task_named

_CELL_TIMEOUT_S = 300.0


def artifacts_for(targets: Sequence[str], matrix: Matrix, progress: Progress = silent) -> dict[str, list[Artifact]]:
    """Resolve every target for every runtime and precision of the matrix, in the order asked.

    Raises:
        BenchkitError: No such target, an unknown name, or a length beyond a model's positions: mistakes that are
            plain before anything runs. What could not be exported or quantized is among the artifacts as `Refused`.
    """
    matrix.check_names()
    precisions: tuple[str | None, ...] = matrix.precision or (None,)
    found = {
        runtime: [
            resolve_or_refuse(target, runtime=runtime, precision=precision, progress=progress)
            for target in targets
            for precision in precisions
        ]
        for runtime in matrix.runtime
    }
    for artifacts in found.values():
        for artifact in artifacts:
            if not isinstance(artifact, Refused):  # Of it nothing is run, and why not is what has to be told.
                check_lengths(artifact, matrix)
    return found


def plan(
    artifacts: dict[str, list[Artifact]],
    matrix: Matrix,
    schedule: Schedule | None = None,
    *,
    data: Path | None = None,
) -> Plan:
    """Plan a sweep; nothing is measured.

    Args:
        artifacts: Artifacts by runtime, from `artifacts_for`.
        matrix: What is asked of each.
        schedule: How long each pass lasts.
        data: Folder of the data, where the matrix draws lengths from a task.
    """
    schedule = schedule or Schedule()
    drawn, untold = _drawn(artifacts, matrix, data)
    cells = spots(artifacts, matrix, drawn)
    refused = {index: error for index, cell in enumerate(cells) if (error := _refusal(cell, untold)) is not None}
    meters = energy_meters(matrix.device)
    no_energy = _missing(meters)
    jobs = first_look(cells, matrix, schedule, with_energy=len(no_energy) < len(meters))
    return Plan(
        cells=cells,
        jobs=_without(jobs, refused),
        no_energy=no_energy,
        matrix=matrix,
        schedule=schedule,
        refused=refused,
    )


def _without(jobs: Sequence[PlannedJob], refused: Container[int]) -> list[PlannedJob]:
    """Take cells out of the jobs, and jobs that are left without a cell out of the plan."""
    kept = [job._replace(spots=tuple(index for index in job.spots if index not in refused)) for job in jobs]
    return [job for job in kept if job.spots]


def _refusal(cell: Spot, untold: Mapping[str, BenchkitError]) -> BenchkitError | None:
    """Return why a cell cannot be measured; None when nothing is known against it."""
    return cell.artifact.error if isinstance(cell.artifact, Refused) else untold.get(cell.artifact.manifest.id)


def profile(
    planned: Plan,
    *,
    journal: Path | None = None,
    cell_timeout_s: float = _CELL_TIMEOUT_S,
    progress: Progress = silent,
    watch: Watch = lambda _: None,
    told: Callable[[str], None] = lambda _: None,
) -> list[Record]:
    """Measure every cell and return one record each.

    A worker that crashes or hangs voids its own cell only, and so does a model that cannot be opened or fed while
    others can: hours of a sweep are not lost to one of its files.

    Args:
        planned: From `plan`.
        journal: JSON-lines file of finished jobs: what is in it is not measured again.
        cell_timeout_s: Longest life of one worker.
        progress: Told of each job.
        watch: Shown all cells after each job; it runs between processes, so that it may take its time.
        told: Told how much was measured before, and what the budget of time left out.

    Raises:
        BenchkitError: No model can be opened or fed.
        EnvironmentLacks: A device or provider is not here, and no cell asks for another.
    """
    sweep = Sweep(planned, Journal(journal), cell_timeout_s, progress, watch)
    before = sweep.measured_before()
    if before:
        told(f"{before} of {len(planned.jobs)} processes were measured before")
    sweep.run(planned.jobs)
    sweep.until_narrow()
    progress("profile", 1.0)
    if sweep.left_out:
        told(f"the time budget of {sweep.budget_s:g} s was over: {sweep.left_out} planned processes were left out")
    peaks = _peaks(planned.cells, progress, only_kept=sweep.left_out > 0)
    return [_record(state, planned, peaks, sweep.budget_s) for state in sweep.states]


def _record(state: CellState, planned: Plan, peaks: Mapping[int, Peaks], budget_s: float) -> Record:
    matrix, rule = planned.matrix, planned.matrix.rule
    if "time" in state.failed:
        return failed_record(state.spot, state.failed["time"], started_at_utc=utc_now(), seed=matrix.seed)
    sampling = {
        "looks": list(rule.looks),
        "alpha": rule.alpha,
        "p50_within": rule.p50_within,
        "p95_within": rule.p95_within,
        "budget_s": budget_s,
        "stopped_by": state.stopped_by,
        "runs": len(state.outcomes["time"]),
        "p50_reached": state.reached.p50,
        "p95_reached": state.reached.p95,
        "schedule": dataclasses.asdict(planned.schedule),
    }
    return profile_record(
        state.spot,
        state.outcomes,
        no_energy=planned.no_energy,
        seed=matrix.seed,
        sampling=sampling,
        failed={kind: reason for kind, reason in state.failed.items() if kind != "time"},
        warnings=_warnings(state.spot),
        found=state.found,
        peaks=peaks.get(state.spot.options.threads),
        alpha=rule.alpha,
    )


def _peaks(cells: Sequence[Spot], progress: Progress, *, only_kept: bool = False) -> dict[int, Peaks]:
    """Measure what the machine can do at each thread count, once a day: the roofs of the roofline.

    Args:
        cells: The cells.
        progress: Told of each measuring.
        only_kept: Take what was measured today, and measure nothing.
    """
    found: dict[int, Peaks] = {}
    for threads in sorted({cell.options.threads for cell in cells if cell.options.device == "cpu"}):
        if only_kept:
            kept = kept_peaks(threads, cache=cache_folder())
            found |= {} if kept is None else {threads: kept}
            continue
        progress(f"measure the machine's own peaks, {threads} thread(s)")
        try:
            found[threads] = measured_peaks(threads, cache=cache_folder())
        except MeasurementFailed:
            continue
    return found


def _drawn(
    artifacts: dict[str, list[Artifact]], matrix: Matrix, data: Path | None
) -> tuple[dict[str, Drawn], dict[str, BenchkitError]]:
    """Return the lengths of a task's texts to each artifact, and why an artifact cannot tell them, by artifact id.

    Raises:
        BenchkitError: No such task, or no readable data of it.
    """
    if matrix.lengths_from is None:
        return {}, {}
    from benchkit.bench.score import data_for  # Most sweeps read no task.

    task = task_named(matrix.lengths_from)
    texts = texts_for(task, data_for(task, data), seed=matrix.seed)
    drawn: dict[str, Drawn] = {}
    untold: dict[str, BenchkitError] = {}
    for artifact in {artifact.manifest.id: artifact for each in artifacts.values() for artifact in each}.values():
        try:
            drawn[artifact.manifest.id] = lengths_to(texts, artifact.folder, max_length=max(matrix.sequence_length))
        except BenchkitError as error:
            untold[artifact.manifest.id] = error
    return drawn, untold


def _missing(meters: Sequence[EnergyMeter]) -> dict[str, NotMeasured]:
    probed = {meter.quantity: meter.probe() for meter in meters}
    return {
        quantity: NotMeasured(reason=missing.reason, detail=missing.detail, remedy=missing.remedy)
        for quantity, missing in probed.items()
        if missing is not None
    }


def _warnings(cell: Spot) -> list[str]:
    if isinstance(cell.artifact.config().get("vocab_size"), int):
        return []
    return [f"no config.json says how large the vocabulary is: token ids below {ASSUMED_VOCABULARY} were drawn"]

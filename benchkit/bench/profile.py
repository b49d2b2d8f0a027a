"""Measure artifacts over a matrix: plan, launch each job in a fresh process, make one record a cell."""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchkit.bench.job import Job
from benchkit.bench.journal import Journal
from benchkit.bench.launch import run_in_child
from benchkit.bench.matrix import Matrix
from benchkit.bench.measurements import Outcome
from benchkit.bench.passes.cold_start import leave_in_page_cache
from benchkit.bench.passes.energy import energy_meters
from benchkit.bench.plan import PlannedJob, Spot, check_lengths, first_look, interleaved, spots
from benchkit.bench.prediction import Prediction
from benchkit.bench.record import cell_measurements, failed_record, profile_record
from benchkit.bench.roofs.peaks import Peaks, measured_peaks
from benchkit.bench.stopping import NOT_REACHED, Reached, reached
from benchkit.bench.targets import cache_folder, resolve
from benchkit.bench.timing import Schedule
from benchkit.bench.workload import ASSUMED_VOCABULARY
from benchkit.core.artifacts import Artifact
from benchkit.core.errors import BenchkitError, MeasurementFailed
from benchkit.core.progress import Progress, silent
from benchkit.core.records import NotMeasured, Record
from benchkit.core.store import utc_now
from benchkit.meters.energy import EnergyMeter
from benchkit.tasks.lengths import Drawn, draw_lengths

_CELL_TIMEOUT_S = 300.0
_PASSES = ("coverage", "time", "memory", "cold-start", "energy", "idle")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A sweep before it runs.

    Attributes:
        cells: The cells.
        jobs: What each cell gets whatever its bounds turn out to be, in the order to run.
        no_energy: Why an energy is not among it, by quantity.
        matrix: What was asked.
        schedule: How long each pass lasts.
    """

    cells: list[Spot]
    jobs: list[PlannedJob]
    no_energy: dict[str, NotMeasured]
    matrix: Matrix
    schedule: Schedule


@dataclasses.dataclass(slots=True, kw_only=True)
class CellState:
    """How far one cell is: what a live table shows.

    Attributes:
        spot: The cell.
        outcomes: Outcomes by pass so far.
        failed: Why a pass gave nothing, by pass.
        stopped_by: What ended the timed runs: "targets", "runs", "time"; "" while they go on.
        reached: Widths of the bounds at the last look.
    """

    spot: Spot
    outcomes: dict[str, list[Outcome]] = dataclasses.field(default_factory=lambda: {kind: [] for kind in _PASSES})
    failed: dict[str, str] = dataclasses.field(default_factory=dict)
    stopped_by: str = ""
    reached: Reached = NOT_REACHED


Watch = Callable[[Sequence[CellState]], None]


def artifacts_for(targets: Sequence[str], matrix: Matrix, progress: Progress = silent) -> dict[str, list[Artifact]]:
    """Resolve every target for every runtime and precision of the matrix, in the order asked."""
    matrix.check_names()
    precisions: tuple[str | None, ...] = matrix.precision or (None,)
    found = {
        runtime: [
            resolve(target, runtime=runtime, precision=precision, progress=progress)
            for target in targets
            for precision in precisions
        ]
        for runtime in matrix.runtime
    }
    for artifacts in found.values():
        for artifact in artifacts:
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
    cells = spots(artifacts, matrix, _drawn(artifacts, matrix, data))
    meters = energy_meters(matrix.device)
    no_energy = _missing(meters)
    jobs = first_look(cells, matrix, schedule, with_energy=len(no_energy) < len(meters))
    return Plan(cells=cells, jobs=jobs, no_energy=no_energy, matrix=matrix, schedule=schedule)


def profile(
    planned: Plan,
    *,
    journal: Path | None = None,
    cell_timeout_s: float = _CELL_TIMEOUT_S,
    progress: Progress = silent,
    watch: Watch = lambda _: None,
) -> list[Record]:
    """Measure every cell and return one record each.

    A worker that crashes or hangs voids its own cell only. A mistake in the request (a corrupt model, an
    input that does not fit) is raised at once: the first block meets every cell.

    Args:
        planned: From `plan`.
        journal: JSON-lines file of finished jobs: what is in it is not measured again.
        cell_timeout_s: Longest life of one worker.
        progress: Told of each job.
        watch: Shown all cells after each job; it runs between processes, so that it may take its time.

    Raises:
        BenchkitError: A model cannot be opened or fed.
        EnvironmentLacks: A device or provider is not here.
    """
    sweep = _Sweep(planned, Journal(journal), cell_timeout_s, progress, watch)
    sweep.run(planned.jobs)
    sweep.until_narrow()
    progress("profile", 1.0)
    peaks = _peaks(planned.cells, progress)
    return [_record(state, planned, peaks, sweep.budget_s) for state in sweep.states]


class _Sweep:
    """The loop over jobs, and what is known of each cell meanwhile."""

    def __init__(self, planned: Plan, journal: Journal, timeout_s: float, progress: Progress, watch: Watch) -> None:
        self.planned = planned
        self.states = [CellState(spot=cell) for cell in planned.cells]
        self.budget_s = planned.matrix.rule.budget_s(len(planned.cells))
        self._journal = journal
        self._timeout_s = timeout_s
        self._progress = progress
        self._watch = watch
        self._begin_s = time.perf_counter()
        self._prediction = Prediction(planned.cells)

    def run(self, jobs: Sequence[PlannedJob]) -> None:
        """Do the jobs in their order, leaving out those of cells that failed."""
        for number, job in enumerate(jobs):
            states = [self.states[index] for index in job.spots]
            if all("time" in state.failed or job.job.kind in state.failed for state in states):
                continue
            left = _left(self._prediction.of(jobs[number:]))
            what = f"profile {states[0].spot.label()}, {job.job.kind} run {job.run + 1}, {left}"
            self._progress(what, number / len(jobs))
            try:
                outcome = self._outcome(job)
            except MeasurementFailed as error:
                for state in states:
                    state.failed[job.job.kind] = f"{error}; {error.remedy}"
            else:
                for state in states:
                    state.outcomes[job.job.kind].append(outcome)
            self._watch(self.states)

    def until_narrow(self) -> None:
        """Look at the bounds, and run more blocks of the cells that need them, until a rule says stop."""
        rule = self.planned.matrix.rule
        for this, following in zip(rule.looks, (*rule.looks[1:], None), strict=True):
            wide = self._look(last=following is None)
            if following is None or not wide:
                return
            matrix, schedule = self.planned.matrix, self.planned.schedule
            more = interleaved(self.planned.cells, "time", range(this, following), matrix, schedule, only=wide)
            if time.perf_counter() - self._begin_s + self._prediction.of(more) > self.budget_s:
                for index in wide:
                    self.states[index].stopped_by = "time"
                return
            self.run(more)

    def _look(self, *, last: bool) -> list[int]:
        """Mark the cells that have been measured enough; return the others."""
        rule, wide = self.planned.matrix.rule, []
        for index, state in enumerate(self.states):
            if state.stopped_by or "time" in state.failed:
                continue
            found = cell_measurements(
                state.spot, state.outcomes, no_energy=self.planned.no_energy, failed=state.failed, alpha=rule.alpha
            )
            state.reached = reached(found)
            if state.reached.is_enough(rule) and len(rule.looks) > 1:
                state.stopped_by = "targets"
            elif last:
                state.stopped_by = "runs"
            else:
                wide.append(index)
        return wide

    def _outcome(self, planned: PlannedJob) -> Outcome:
        cell = self.planned.cells[planned.spots[0]]
        known = self._journal.find(planned.job, cell.artifact.manifest.id, planned.run)
        if known is not None:
            return known
        outcome = _timed_child(planned.job, self._timeout_s)
        self._journal.keep(planned.job, cell.artifact.manifest.id, planned.run, outcome)
        self._prediction.learn(planned, outcome["elapsed_s"])
        return outcome


def _timed_child(job: Job, timeout_s: float) -> Outcome:
    cached = leave_in_page_cache(job) if job.page_cache else {}
    started_at_utc, begin_s = utc_now(), time.perf_counter()
    outcome = run_in_child(job, timeout_s=timeout_s)
    took_s = round(time.perf_counter() - begin_s, 3)
    return outcome | cached | {"started_at_utc": started_at_utc, "elapsed_s": took_s}


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
        peaks=peaks.get(state.spot.options.threads),
        alpha=rule.alpha,
    )


def _peaks(cells: Sequence[Spot], progress: Progress) -> dict[int, Peaks]:
    """Measure what the machine can do at each thread count, once a day: the roofs of the roofline."""
    found = {}
    for threads in sorted({cell.options.threads for cell in cells if cell.options.device == "cpu"}):
        progress(f"measure the machine's own peaks, {threads} thread(s)")
        try:
            found[threads] = measured_peaks(threads, cache=cache_folder())
        except MeasurementFailed:
            continue
    return found


def _drawn(artifacts: dict[str, list[Artifact]], matrix: Matrix, data: Path | None) -> dict[str, Drawn]:
    if matrix.lengths_from is None:
        return {}
    if data is None:
        raise BenchkitError(
            f"lengths are to be drawn from '{matrix.lengths_from}', and no data was given",
            remedy="name the folder of the data: --data DIR",
        )
    everything = {artifact.manifest.id: artifact for each in artifacts.values() for artifact in each}
    return {
        artifact_id: draw_lengths(
            matrix.lengths_from, data, artifact.folder, max_length=max(matrix.sequence_length), seed=matrix.seed
        )
        for artifact_id, artifact in everything.items()
    }


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


def _left(seconds: float) -> str:
    return f"about {seconds:.0f} s left" if seconds < 100 else f"about {seconds / 60:.0f} min left"

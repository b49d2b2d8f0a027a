"""The loop over the jobs of a sweep: each in a fresh process, until a rule says that a cell was measured enough.

What is planned is left to `plan`, making records of what was seen to `profile`.
"""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence

from benchkit.bench.job import Job, Pass
from benchkit.bench.journal import Journal
from benchkit.bench.launch import run_in_child
from benchkit.bench.matrix import Matrix
from benchkit.bench.measurements import Outcome, gave_nothing
from benchkit.bench.passes.cold_start import leave_in_page_cache
from benchkit.bench.plan import PlannedJob, Spot, interleaved
from benchkit.bench.prediction import Prediction
from benchkit.bench.record import cell_measurements
from benchkit.bench.stopping import NOT_REACHED, Reached, reached
from benchkit.bench.timing import Schedule
from benchkit.core.errors import BenchkitError, MeasurementFailed
from benchkit.core.progress import Progress
from benchkit.core.records import Measurement, NotMeasured
from benchkit.core.store import utc_now

# A cold start is a pair of starts: one without the other compares nothing.
_LEAST_OUTCOMES = {"cold-start": 2}
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
        refused: Why a cell cannot be measured, by its index, where that was found before anything ran.
    """

    cells: list[Spot]
    jobs: list[PlannedJob]
    no_energy: dict[str, NotMeasured]
    matrix: Matrix
    schedule: Schedule
    refused: Mapping[int, BenchkitError] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(slots=True, kw_only=True)
class CellState:
    """How far one cell is: what a live table shows.

    Attributes:
        spot: The cell.
        outcomes: Outcomes by pass so far.
        failed: Why a pass gave nothing, by pass.
        stopped_by: What ended the timed runs: "targets", "runs", "time"; "" while they go on.
        reached: Widths of the bounds at the last look.
        found: The quantities at the last look, after which nothing more is measured; {} before it.
    """

    spot: Spot
    outcomes: dict[str, list[Outcome]] = dataclasses.field(default_factory=lambda: {kind: [] for kind in _PASSES})
    failed: dict[str, NotMeasured] = dataclasses.field(default_factory=dict)
    stopped_by: str = ""
    reached: Reached = NOT_REACHED
    found: dict[str, Measurement] = dataclasses.field(default_factory=dict)


Watch = Callable[[Sequence[CellState]], None]


class Sweep:
    """The loop over jobs, and what is known of each cell meanwhile.

    Attributes:
        planned: The sweep.
        states: The cells so far.
        budget_s: Budget of time.
        left_out: Jobs that were not begun, since the budget was over.
    """

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
        self.left_out = 0
        self._refused: dict[int, BenchkitError] = {}
        for index, error in planned.refused.items():
            self._fail(index, "time", error)

    def measured_before(self) -> int:
        """Return how many of the planned processes a former sweep has left the outcome of."""
        return sum(self._known(job) is not None for job in self.planned.jobs)

    def run(self, jobs: Sequence[PlannedJob]) -> None:
        """Do the jobs in their order, leaving out those of cells that failed.

        Raises:
            BenchkitError: No cell at all can be opened or fed: the mistake of the first one.
        """
        self._raise_if_nothing_opens()
        for number, job in enumerate(jobs):
            states = [self.states[index] for index in job.spots]
            if all("time" in state.failed or job.job.kind in state.failed for state in states):
                continue
            if not self._has_time_for(job, jobs[number:]):
                self._leave_out(job, states)
                continue
            left = _left(self._prediction.of(jobs[number:]))
            what = f"profile {states[0].spot.label()}, {job.job.kind} run {job.run + 1}, {left}"
            self._progress(what, number / len(jobs))
            try:
                outcome = self._outcome(job)
            except BenchkitError as error:
                for index in job.spots:
                    self._fail(index, job.job.kind, error)
                self._raise_if_nothing_opens()
            else:
                for state in states:
                    state.outcomes[job.job.kind].append(outcome)
            self._watch(self.states)

    def _has_time_for(self, planned: PlannedJob, rest: Sequence[PlannedJob]) -> bool:
        """Tell whether a job may begin: always without a budget that was asked for, and where its outcome is known.

        The first job of each cell and pass may begin while any time is left, since nothing knows how long it takes.
        A further timed run leaves the other passes their time: a cell has more of use in its memory than in one
        run more.
        """
        limit_s = self.planned.matrix.rule.max_seconds
        if limit_s is None or self._known(planned) is not None:
            return True
        seen_s = self._prediction.seen_s(planned)
        need_s = seen_s or 0.0
        if planned.job.kind == "time" and seen_s is not None:
            need_s += self._prediction.of([job for job in rest if job.job.kind != "time"])
        return self._spent_s() + need_s < limit_s

    def _leave_out(self, planned: PlannedJob, states: Sequence[CellState]) -> None:
        """Note that a job was not begun; a pass that has given something already keeps that."""
        kind = planned.job.kind
        self.left_out += 1
        for state in states:
            if kind == "time":
                state.stopped_by = "time"
            if len(state.outcomes[kind]) < _LEAST_OUTCOMES.get(kind, 1):
                state.failed[kind] = NotMeasured(
                    reason="out_of_time",
                    detail=f"the time budget of {self.budget_s:g} s was over before it was measured",
                    remedy="give it longer with --max-seconds",
                )

    def _spent_s(self) -> float:
        return time.perf_counter() - self._begin_s

    def _fail(self, index: int, kind: Pass, error: BenchkitError) -> None:
        self.states[index].failed[kind] = gave_nothing(error)
        # A crash is an event, which is recorded; a file that is no model is a mistake, which is told.
        if kind == "time" and not isinstance(error, MeasurementFailed):
            self._refused[index] = error

    def _raise_if_nothing_opens(self) -> None:
        if self.states and len(self._refused) == len(self.states):
            raise self._refused[min(self._refused)]

    def until_narrow(self) -> None:
        """Look at the bounds, and run more blocks of the cells that need them, until a rule says stop."""
        rule = self.planned.matrix.rule
        for this, following in zip(rule.looks, (*rule.looks[1:], None), strict=True):
            wide = self._look(last=following is None)
            if following is None or not wide:
                return
            matrix, schedule = self.planned.matrix, self.planned.schedule
            more = interleaved(self.planned.cells, "time", range(this, following), matrix, schedule, only=wide)
            if self._spent_s() + self._prediction.of(more) > self.budget_s:
                for index in wide:
                    self.states[index].stopped_by = "time"
                return
            self.run(more)

    def _look(self, *, last: bool) -> list[int]:
        """Mark the cells that have been measured enough; return the others."""
        rule, wide = self.planned.matrix.rule, []
        for index, state in enumerate(self.states):
            if state.stopped_by in ("targets", "runs") or "time" in state.failed:
                continue
            state.found = cell_measurements(
                state.spot, state.outcomes, no_energy=self.planned.no_energy, failed=state.failed, alpha=rule.alpha
            )
            state.reached = reached(state.found)
            if state.stopped_by:
                continue
            if state.reached.is_enough(rule) and len(rule.looks) > 1:
                state.stopped_by = "targets"
            elif last:
                state.stopped_by = "runs"
            else:
                wide.append(index)
        return wide

    def _outcome(self, planned: PlannedJob) -> Outcome:
        known = self._known(planned)
        if known is not None:
            return known
        outcome = _timed_child(planned.job, self._timeout_s)
        self._journal.keep(planned.job, self._artifact_id(planned), planned.run, outcome)
        self._prediction.learn(planned, outcome["elapsed_s"])
        return outcome

    def _known(self, planned: PlannedJob) -> Outcome | None:
        return self._journal.find(planned.job, self._artifact_id(planned), planned.run)

    def _artifact_id(self, planned: PlannedJob) -> str:
        return self.planned.cells[planned.spots[0]].artifact.manifest.id


def _timed_child(job: Job, timeout_s: float) -> Outcome:
    cached = leave_in_page_cache(job) if job.page_cache else {}
    started_at_utc, begin_s = utc_now(), time.perf_counter()
    outcome = run_in_child(job, timeout_s=timeout_s)
    took_s = round(time.perf_counter() - begin_s, 3)
    return outcome | cached | {"started_at_utc": started_at_utc, "elapsed_s": took_s}


def _left(seconds: float) -> str:
    return f"about {seconds:.0f} s left" if seconds < 100 else f"about {seconds / 60:.0f} min left"

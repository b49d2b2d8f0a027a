"""Measure two artifacts in turn, in fresh processes, and make a record of what `looks` says of them."""

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from benchkit.bench.launch import run_in_child
from benchkit.bench.matrix import Matrix
from benchkit.bench.noise_verdict import nonsense_in
from benchkit.bench.plan import Spot, job_for, spots
from benchkit.bench.record import cell_of, ran_otherwise, seal
from benchkit.bench.timing import Schedule
from benchkit.core.artifacts import Artifact
from benchkit.core.errors import BenchkitError, EnvironmentLacks, MeasurementFailed
from benchkit.core.progress import Progress, silent
from benchkit.core.quantities import quantity_named
from benchkit.core.records import Record
from benchkit.core.store import utc_now
from benchkit.host.facts import host_facts
from benchkit.judge.arms import ARMS, compared_named, long_enough, statistics_of_pairs
from benchkit.judge.compare import MARGIN, Comparison
from benchkit.judge.looks import Rules, compare
from benchkit.judge.processes import Processes
from benchkit.judge.ratios import ratio_measurement
from benchkit.judge.score_pairs import MAX_DROP, ScoreComparison, compare_scores
from benchkit.stats.order_statistics import ALPHA
from benchkit.tasks.table import Task

# A thousand values of a process tell its percentiles; sixty processes of five thousand would be a record of megabytes.
_SCHEDULE = Schedule(max_values=1000)


class Compared(NamedTuple):
    """A comparison and its record.

    Attributes:
        comparison: What the pairs say.
        record: The evidence.
        score: What the same examples say of the two scores; None when no task was given.
    """

    comparison: Comparison
    record: Record
    score: ScoreComparison | None = None

    @property
    def verdict(self) -> str:
        """The word: faster, equal, not slower, slower or inconclusive."""
        return str(self.comparison.verdict)


def compare_artifacts(
    a: Artifact,
    b: Artifact,
    matrix: Matrix,
    *,
    quantity: str = "latency",
    statistic: str | None = None,
    margin: float = MARGIN,
    schedule: Schedule | None = None,
    timeout_s: float = 300.0,
    max_seconds: float | None = None,
    confirm: bool = False,
    must_detect: float | None = None,
    task: Task | None = None,
    data: Path | None = None,
    max_drop: float = MAX_DROP,
    progress: Progress = silent,
    told: Callable[[str], None] = lambda _: None,
) -> Compared:
    """Compare B with A in one cell, by pairs of fresh processes; with a task, their scores on the same examples too.

    Args:
        a: The artifact that is compared with.
        b: The artifact in question.
        matrix: Exactly one cell: one runtime, device, thread count, scenario, batch size, sequence length.
        quantity: "latency", "throughput", "cpu_time", "peak_memory", "energy_package" or "energy_gpu".
        statistic: For latency: "p50" (the default), "p90", "p95" or "p99" of each process.
        margin: Relative change that counts.
        schedule: How long each process measures.
        timeout_s: Longest life of one process.
        max_seconds: Budget of time for the pairs and the look at both arms before; the looks completed within it
            decide. Scoring comes before it.
        confirm: Whether "slower" must be found a second time, independently.
        must_detect: Increase that the pairs must be able to find before B may pass.
        task: Task whose examples both are scored on.
        data: Folder of its data, in the layout of the GLUE download.
        max_drop: Loss of the task's headline metric that counts, as a share of 1.
        progress: Told of each pair.
        told: Told what will be detectable, once it is known.

    Raises:
        BenchkitError: More than one cell, or a quantity that no pair of processes gives.
        EnvironmentLacks: The quantity cannot be measured here.
        MeasurementFailed: A worker crashed, or an arm does not run as its label says.
    """
    how, chosen = compared_named(quantity, statistic), statistic or statistics_of_pairs(quantity)[0]
    cells = _cells(a, b, matrix)
    if how.kind == "energy":
        _check_energy(quantity)
    scores = None
    if task is not None:
        scores = compare_scores(a, b, task, data, matrix, max_drop=max_drop, progress=progress)
    started_at_utc, begin_s = utc_now(), time.monotonic()
    for arm in ("a", "b"):
        _check_arm(cells[arm], arm.upper(), matrix, timeout_s)
    rules = Rules(
        margin=margin,
        better=quantity_named(quantity).better,
        max_seconds=max_seconds,
        confirm=confirm,
        must_detect=must_detect,
    )
    processes = Processes(
        jobs={arm: job_for(cells[arm], how.kind, matrix, long_enough(schedule or _SCHEDULE, chosen)) for arm in ARMS},
        batch_size=matrix.batch_size[0],
        affinity=matrix.affinity,
        timeout_s=timeout_s,
        quantity=quantity,
        statistic=chosen,
        most_pairs=rules.looks[-1],
        progress=progress,
        end_s=math.inf if max_seconds is None else begin_s + max_seconds,
    )
    comparison = compare(processes.measure, rules, noisy=processes.noisy, told=told, begun_s=begin_s)
    took = _Took(started_at_utc, round(time.monotonic() - begin_s, 3))
    return Compared(comparison, _record(comparison, rules, processes, scores=scores, cells=cells, took=took), scores)


class _Took(NamedTuple):
    """When the processes ran."""

    started_at_utc: str
    elapsed_s: float


def _record(
    comparison: Comparison,
    rules: Rules,
    processes: Processes,
    *,
    scores: ScoreComparison | None,
    cells: Mapping[str, Spot],
    took: _Took,
) -> Record:
    """Make the evidence: the raw values of every process, the ratio, the scores where they were asked for."""
    quantity = processes.quantity
    return seal(
        kind="compare",
        artifact=cells["b"].artifact.facts(),
        baseline=cells["a"].artifact.facts().model_dump(mode="json"),
        cell=cell_of(cells["b"], processes.provider),
        host=host_facts(),
        started_at_utc=took.started_at_utc,
        elapsed_s=took.elapsed_s,
        seed=processes.jobs["b"].seed,
        measurements={
            quantity: processes.raw(),
            f"{quantity}_ratio": ratio_measurement(comparison, rules, left_out=processes.disturbed),
            **(scores.measurements() if scores else {}),
        },
        noise=processes.noise(),
        warnings=_warnings(comparison, scores),
        sampling={"alpha": ALPHA / len(rules.looks), "looks": list(rules.looks), "ended": comparison.ended}
        | processes.evidence(),
    )


def _check_arm(cell: Spot, arm: str, matrix: Matrix, timeout_s: float) -> None:
    """Raise the error for an arm that runs otherwise than its label says, or answers nonsense: no pairs are spent."""
    outcome = run_in_child(job_for(cell, "coverage", matrix, Schedule()), timeout_s=timeout_s)
    reasons = [*nonsense_in([outcome]), *ran_otherwise(cell, outcome, outcome["proof"]["provider"])]
    if reasons:
        raise MeasurementFailed(
            f"{arm}, '{cell.artifact.manifest.name}', is void: {'; '.join(reasons)}",
            remedy="compare artifacts that answer, in a runtime that runs them as they are labelled",
        )


def _cells(a: Artifact, b: Artifact, matrix: Matrix) -> dict[str, Spot]:
    runtime = matrix.runtime[0]
    cells = spots({runtime: [a, b]}, matrix) if len(matrix.runtime) == 1 else []
    if len(cells) != 2:
        raise BenchkitError(
            "a comparison is made in one cell, and the matrix has several",
            remedy="give one value to each of --batch-size, --sequence-length, --threads, --runtime, --scenario",
        )
    return {"a": cells[0], "b": cells[1], "control": cells[0]}


def _check_energy(quantity: str) -> None:
    """Raise the error that says why energy is not measured here, before anything is run."""
    if quantity == "energy_gpu":
        from benchkit.meters.nvml import NvmlEnergy

        missing = NvmlEnergy().probe()
    else:
        from benchkit.meters.powercap import Powercap

        missing = Powercap().probe()
    if missing is not None:
        raise EnvironmentLacks(f"{quantity} is not measured here: {missing.detail}", remedy=missing.remedy)


def _warnings(comparison: Comparison, scores: ScoreComparison | None) -> tuple[str, ...]:
    told: list[str | None] = [f"{comparison.verdict}: {comparison.reason}", comparison.drift.detail]
    if scores is not None:
        told.append(f"score {scores.verdict}: {scores.reason}")
        told += scores.warnings
    return tuple(text for text in told if text)

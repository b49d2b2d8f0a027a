"""Measure artifacts over a matrix: plan, launch each job in a fresh process, make one record a cell."""

import json
import time
from collections.abc import Sequence
from pathlib import Path

import benchkit
from benchkit.bench.inputs import ASSUMED_VOCABULARY
from benchkit.bench.job import Job
from benchkit.bench.launch import run_in_child
from benchkit.bench.plan import Matrix, PlannedJob, Spot, check_lengths, interleaved, predicted_s, spots
from benchkit.bench.record import Outcome, failed_record, is_spoiled, profile_record
from benchkit.bench.targets import resolve
from benchkit.bench.timing import Schedule
from benchkit.core.artifacts import Artifact
from benchkit.core.errors import MeasurementFailed
from benchkit.core.progress import Progress, silent
from benchkit.core.records import NotMeasured, Record
from benchkit.core.store import append_lines, digest, utc_now
from benchkit.host.facts import host_facts
from benchkit.meters.powercap import Powercap

_CELL_TIMEOUT_S = 300.0


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
    artifacts: dict[str, list[Artifact]], matrix: Matrix, schedule: Schedule
) -> tuple[list[Spot], list[PlannedJob], NotMeasured | None]:
    """Plan a sweep.

    Returns:
        The cells, their jobs in the order to run, and why energy is not among them (None when it is).
    """
    missing = Powercap().probe()
    energy = (
        None if missing is None else NotMeasured(reason=missing.reason, detail=missing.detail, remedy=missing.remedy)
    )
    cells = spots(artifacts, matrix)
    vocabulary = {cell.artifact.manifest.id: vocabulary_size(cell.artifact) for cell in cells}
    return cells, interleaved(cells, matrix, schedule, vocabulary=vocabulary, with_energy=energy is None), energy


def profile(
    artifacts: dict[str, list[Artifact]],
    matrix: Matrix,
    *,
    schedule: Schedule | None = None,
    journal: Path | None = None,
    cell_timeout_s: float = _CELL_TIMEOUT_S,
    progress: Progress = silent,
) -> list[Record]:
    """Measure every cell and return one record each.

    A worker that crashes or hangs voids its own cell only. A mistake in the request (a corrupt model, an
    input that does not fit) is raised at once: the first block meets every cell.

    Args:
        artifacts: Artifacts by runtime, from `artifacts_for`.
        matrix: What is asked of each.
        schedule: How long each pass lasts.
        journal: JSON-lines file of finished jobs: what is in it is not measured again.
        cell_timeout_s: Longest life of one worker.
        progress: Told of each job.

    Raises:
        BenchkitError: A model cannot be opened or fed.
        EnvironmentLacks: A device or provider is not here.
    """
    schedule = schedule or Schedule()
    cells, jobs, energy = plan(artifacts, matrix, schedule)
    done = _read_journal(journal)
    outcomes: list[dict[str, list[Outcome]]] = [{"time": [], "memory": [], "energy": []} for _ in cells]
    failures: dict[tuple[int, str], str] = {}
    host = host_facts()
    made_by = [host.id, host.versions, benchkit.__version__]  # Another wheel measures another thing.
    remaining_s = predicted_s(jobs)
    for number, planned in enumerate(jobs):
        index, run, job = planned
        if (index, "time") in failures or (index, job.kind) in failures:
            continue
        progress(f"profile {cells[index].label()}, {job.kind} run {run + 1}, {_left(remaining_s)}", number / len(jobs))
        key = digest([job.as_json(), cells[index].artifact.manifest.id, run, made_by])
        if key not in done:
            try:
                done[key] = _timed_child(job, cell_timeout_s)
            except MeasurementFailed as error:
                failures[index, job.kind] = f"{error}; {error.remedy}"
                continue
            if journal is not None:
                append_lines(journal, [{"key": key, "outcome": done[key]}])
            remaining_s = _predict_again(remaining_s, jobs, number, done[key]["elapsed_s"])
        outcomes[index][job.kind].append(done[key])
    progress("profile", 1.0)
    return [
        failed_record(cell, failures[n, "time"], started_at_utc=utc_now(), seed=matrix.seed)
        if (n, "time") in failures
        else profile_record(
            cell,
            outcomes[n],
            energy=energy,
            seed=matrix.seed,
            failed={kind: reason for (index, kind), reason in failures.items() if index == n},
            warnings=_warnings(cell),
        )
        for n, cell in enumerate(cells)
    ]


def _timed_child(job: Job, timeout_s: float) -> Outcome:
    started_at_utc, begin_s = utc_now(), time.perf_counter()
    outcome = run_in_child(job, timeout_s=timeout_s)
    return outcome | {"started_at_utc": started_at_utc, "elapsed_s": round(time.perf_counter() - begin_s, 3)}


def vocabulary_size(artifact: Artifact) -> int:
    """Return how many token ids the model knows; a bare .onnx file does not say, so that few are assumed."""
    value = artifact.config().get("vocab_size")
    return value if isinstance(value, int) else ASSUMED_VOCABULARY


def _warnings(cell: Spot) -> list[str]:
    if isinstance(cell.artifact.config().get("vocab_size"), int):
        return []
    return [f"no config.json says how large the vocabulary is: token ids below {ASSUMED_VOCABULARY} were drawn"]


def _read_journal(journal: Path | None) -> dict[str, Outcome]:
    """Read the finished jobs; what an interrupted writer left half, and runs that were spoiled, are run again."""
    done: dict[str, Outcome] = {}
    if journal is None or not journal.is_file():
        return done
    for line in journal.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
            key, outcome = entry["key"], entry["outcome"]
        except (ValueError, KeyError, TypeError):
            continue
        if "snapshots" in outcome and is_spoiled(outcome):
            done.pop(key, None)
        else:
            done[key] = outcome
    return done


def _predict_again(remaining_s: float, jobs: list[PlannedJob], number: int, took_s: float) -> float:
    """Correct the time left by what the last job really took: slow models take longer than their floors."""
    predicted = predicted_s(jobs[number : number + 1])
    rest = predicted_s(jobs[number + 1 :])
    expected_ratio = (remaining_s - predicted) / rest if rest > 0 else 1.0
    # A slow average over the cells, since neighbours in a block may differ by orders of magnitude.
    ratio = 0.9 * expected_ratio + 0.1 * took_s / max(predicted, 1e-9)
    return rest * ratio


def _left(seconds: float) -> str:
    return f"about {seconds:.0f} s left" if seconds < 100 else f"about {seconds / 60:.0f} min left"

"""Measure two artifacts in turn, in fresh processes, and make a record of what `compare` says of them."""

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from benchkit.bench.job import Job
from benchkit.bench.launch import run_in_child
from benchkit.bench.plan import Matrix, Spot, interleaved, spots
from benchkit.bench.profile import vocabulary_size
from benchkit.bench.record import Outcome, cell_of, noise_of, seal
from benchkit.bench.timing import Schedule
from benchkit.core.artifacts import Artifact
from benchkit.core.errors import BenchkitError
from benchkit.core.progress import Progress, silent
from benchkit.core.quantities import quantity_named
from benchkit.core.records import Measured, Measurement, Noise, Record, Statistic
from benchkit.core.store import utc_now
from benchkit.host.facts import host_facts
from benchkit.judge.compare import LOOKS, MARGIN, Comparison, Triple, compare, compare_triples
from benchkit.stats.order_statistics import nearest_rank

_ARMS = ("a", "b", "control")


class Compared(NamedTuple):
    """A comparison and its record."""

    comparison: Comparison
    record: Record

    @property
    def verdict(self) -> str:
        """The word: faster, equal, not slower, slower or inconclusive."""
        return str(self.comparison.verdict)


def _median_latency(outcome: Outcome, _batch_size: int) -> float:
    return nearest_rank(np.sort(np.asarray(outcome["latency_ns"], dtype=np.float64)), 0.5) * 1e-9


def _throughput(outcome: Outcome, batch_size: int) -> float:
    return float(outcome["window"]["calls"] * batch_size / outcome["window"]["wall_s"])


# Statistic of one process, by quantity. Each is taken from the same timed pass.
_STATISTICS: dict[str, Callable[[Outcome, int], float]] = {"latency": _median_latency, "throughput": _throughput}


def compare_artifacts(
    a: Artifact,
    b: Artifact,
    matrix: Matrix,
    *,
    quantity: str = "latency",
    margin: float = MARGIN,
    schedule: Schedule | None = None,
    timeout_s: float = 300.0,
    progress: Progress = silent,
) -> Compared:
    """Compare B with A in one cell, by pairs of fresh processes.

    Args:
        a: The artifact that is compared with.
        b: The artifact in question.
        matrix: Exactly one cell: one runtime, device, thread count, scenario, batch size, sequence length.
        quantity: "latency" (its p50) or "throughput".
        margin: Relative change that counts.
        schedule: How long each process measures.
        timeout_s: Longest life of one process.
        progress: Told of each pair.

    Raises:
        BenchkitError: More than one cell, or a quantity that no pair of processes gives.
        MeasurementFailed: A worker crashed.
    """
    if quantity not in _STATISTICS:
        raise BenchkitError(
            f"quantity '{quantity}' is not compared by pairs in this version",
            remedy=f"choose among {', '.join(_STATISTICS)}; sizes and memory stand in the profile table",
        )
    arms = _arms(a, b, matrix)
    jobs = {arm: _timed_job(spot, matrix, schedule or Schedule()) for arm, spot in arms.items()}
    outcomes: dict[str, list[Outcome]] = {arm: [] for arm in _ARMS}
    started_at_utc, begin_s = utc_now(), time.perf_counter()

    def measure() -> Triple:
        pair = len(outcomes["a"])
        progress(f"compare: pair {pair + 1} of at most {LOOKS[-1]}", pair / LOOKS[-1])
        for arm in _ARMS if pair % 2 == 0 else reversed(_ARMS):
            outcomes[arm].append(run_in_child(jobs[arm], timeout_s=timeout_s))
        values = (_STATISTICS[quantity](outcomes[arm][-1], matrix.batch_size[0]) for arm in _ARMS)
        return Triple(*values)

    better = quantity_named(quantity).better
    comparison = compare(measure, margin=margin, better=better)
    noise = _joint_noise(outcomes, matrix.threads[0])
    if noise.verdict != "clean":
        reasons = "; ".join(noise.reasons[:3])
        comparison = compare_triples(comparison.triples, margin=margin, better=better, noisy=reasons)
    record = seal(
        kind="compare",
        artifact=b.facts(),
        baseline=a.facts().model_dump(mode="json"),
        cell=cell_of(arms["b"], outcomes["b"][0]["proof"]["provider"]),
        host=host_facts(),
        started_at_utc=started_at_utc,
        elapsed_s=round(time.perf_counter() - begin_s, 3),
        seed=matrix.seed,
        measurements=_measurements(quantity, comparison),
        noise=noise,
        warnings=(f"{comparison.verdict}: {comparison.reason}",),
    )
    return Compared(comparison, record)


def _arms(a: Artifact, b: Artifact, matrix: Matrix) -> dict[str, Spot]:
    runtime = matrix.runtime[0]
    cells = spots({runtime: [a, b]}, matrix) if len(matrix.runtime) == 1 else []
    if len(cells) != 2:
        raise BenchkitError(
            "a comparison is made in one cell, and the matrix has several",
            remedy="give one value to each of --batch-size, --sequence-length, --threads, --runtime, --scenario",
        )
    return {"a": cells[0], "b": cells[1], "control": cells[0]}


def _timed_job(spot: Spot, matrix: Matrix, schedule: Schedule) -> Job:
    vocabulary = {spot.artifact.manifest.id: vocabulary_size(spot.artifact)}
    single = matrix.model_copy(update={"runs": 1})
    return interleaved([spot], single, schedule, vocabulary=vocabulary, with_energy=False)[0].job


def _joint_noise(outcomes: dict[str, list[Outcome]], threads: int) -> Noise:
    return noise_of([outcome for arm in _ARMS for outcome in outcomes[arm]], threads=threads)


def _measurements(quantity: str, comparison: Comparison) -> dict[str, Measurement]:
    """Keep the raw statistics of every triple (A, B, A') in their unit, and the ratios apart from them."""
    ratio, control = comparison.ratio, comparison.control
    n = comparison.pairs
    runs = tuple(tuple(float(f"{value:.9g}") for value in triple) for triple in comparison.triples)
    return {
        quantity: Measured(unit=quantity_named(quantity).unit, runs=runs, statistics={}),
        f"{quantity}_ratio": Measured(
            unit="ratio",
            statistics={
                "ratio": Statistic(value=ratio.estimate, low=ratio.low, high=ratio.high, n=n),
                "control_ratio": Statistic(value=control.estimate, low=control.low, high=control.high, n=n),
            },
        ),
    }

"""How long jobs will take: from the model's arithmetic before anything ran, from what was seen afterwards."""

from collections.abc import Sequence

from benchkit.bench.job import Job
from benchkit.bench.load.rehearsal import search_s
from benchkit.bench.plan import PlannedJob, Spot
from benchkit.bench.roofs.peaks import kept_peaks
from benchkit.bench.roofs.roofline import flops_per_call
from benchkit.bench.targets import cache_folder

# Seconds that a worker spends besides its loops: interpreter, imports, session. Seen on two cores of a server.
_START_S = 0.7
# What encoders reach of a machine's peak, and a server core's peak where it was not measured today: enough to tell
# seconds from minutes; the first job of each cell takes its place.
_ATTAINED_SHARE = {"fp32": 0.65, "int8": 0.3}
_USUAL_PEAK = {"fp32": 100e9, "int8": 300e9}
_MEMORY_CALLS = 12
_COVERAGE_CALLS = 5
_ENERGY_S = 2.0


class Prediction:
    """Predicts the time of jobs, and learns from those that ran."""

    def __init__(self, cells: Sequence[Spot]) -> None:
        """Begin with the arithmetic of each cell's model; without a config.json, calls count as short."""
        self._call_s = [_arithmetic_s(cell) for cell in cells]
        self._seen_s: dict[tuple[int, str], float] = {}

    def of(self, jobs: Sequence[PlannedJob]) -> float:
        """Return how long the jobs take one after the other, in seconds."""
        return sum(self._one(planned) for planned in jobs)

    def learn(self, planned: PlannedJob, took_s: float) -> None:
        """Take what a job took as the prediction of the next one of its cell and pass."""
        self._seen_s[planned.spots[0], planned.job.kind] = took_s

    def seen_s(self, planned: PlannedJob) -> float | None:
        """Return what the last job of this cell and pass took; None before the first."""
        return self._seen_s.get((planned.spots[0], planned.job.kind))

    def _one(self, planned: PlannedJob) -> float:
        seen_s = self.seen_s(planned)
        return expected_s(planned.job, self._call_s[planned.spots[0]]) if seen_s is None else seen_s


def expected_s(job: Job, call_s: float) -> float:
    """Return how long a job takes when one call takes `call_s` seconds."""
    schedule = job.schedule
    warm_up_s = max(schedule.warmup_s, schedule.warmup_calls * call_s)
    window_s = max(schedule.throughput_s, call_s)
    if job.kind == "idle":
        return _START_S + schedule.idle_s
    if job.kind == "memory":
        return _START_S + _MEMORY_CALLS * call_s
    if job.kind == "coverage":
        return _START_S + _COVERAGE_CALLS * call_s
    if job.kind == "cold-start":
        return _START_S + warm_up_s
    if job.kind == "energy":
        return _START_S + warm_up_s + max(_ENERGY_S, call_s)
    total_s = _START_S + 2 * call_s + warm_up_s + window_s
    if job.scenario == "single-stream":
        loop_s = max(schedule.min_duration_s, min(schedule.min_values * call_s, schedule.max_duration_s))
        total_s += loop_s * (3 if job.workload.texts else 1)
    elif job.load is not None:
        total_s += _open_loop_s(job, call_s)
    return total_s


def _open_loop_s(job: Job, call_s: float) -> float:
    load = job.load
    assert load is not None
    if load.p99_at_most_s is not None:
        return search_s(load, call_s, job.seed)
    rate_per_s = load.rate_per_s or (load.share_of_capacity or 1.0) / max(call_s, 1e-4)
    return min(load.queries / rate_per_s, load.max_duration_s)


def _arithmetic_s(cell: Spot) -> float:
    workload = cell.workload
    flops = flops_per_call(cell.artifact, workload.batch_size, workload.sequence_length or 128)
    if flops is None:
        return 0.0
    data_type = "int8" if "int8" in cell.artifact.manifest.precision else "fp32"
    known = kept_peaks(cell.options.threads, cache=cache_folder(), affinity=cell.affinity)
    peak = known.gemm_flops_per_s.get(data_type) if known is not None else None
    return flops / (_ATTAINED_SHARE[data_type] * (peak or _USUAL_PEAK[data_type] * cell.options.threads))

"""Records as `profile` and `score` make them, built without measuring: several models, precisions, tasks and cells."""

import hashlib
import random
import sys
from collections.abc import Callable

import pytest

from benchkit.core.records import (
    ArtifactFacts,
    Cell,
    Host,
    Measured,
    Measurement,
    Noise,
    NotMeasured,
    Record,
    Statistic,
)
from benchkit.core.store import sealed

HOST = Host(
    id="4f2a90c1d3e7",
    cpu_model="AMD EPYC 9R14",
    cores=2,
    memory_bytes=16 * 2**30,
    flags=("avx2", "avx512f", "avx512_vnni", "fma"),
    os="Debian GNU/Linux 12 (bookworm)",
    kernel="6.1.0",
    versions={"python": "3.11.2", "onnxruntime": "1.32.0", "numpy": "2.3.1"},
)
NO_ENERGY = NotMeasured(
    reason="no_powercap",
    detail="/sys/class/powercap does not exist: no RAPL on this machine",
    remedy="measure on bare metal with an Intel or AMD processor",
)
# Latency of one example of 128 tokens in ms, size and resident memory in MiB, scores by task.
MODELS = {
    "small": (4.0, 42.0, 190.0, {"sst2": 0.908, "mrpc": 0.873, "stsb": 0.861}),
    "merged": (31.0, 417.0, 720.0, {"sst2": 0.894, "mrpc": 0.868, "stsb": 0.842}),
    "large": (30.5, 417.0, 715.0, {"sst2": 0.927, "mrpc": 0.902, "stsb": 0.889}),
}
METRICS = {"sst2": "accuracy", "mrpc": "f1", "stsb": "spearman"}
EXAMPLES = {"sst2": 872, "mrpc": 408, "stsb": 1500}


def identity(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def facts(name: str, **changes: object) -> ArtifactFacts:
    fields: dict[str, object] = {
        "name": name,
        "id": identity(name)[:12],
        "precision": "fp32",
        "sha256": identity(name + "file"),
        "size_bytes": 42 * 2**20,
        "candidate": name,
        "weights": "trained",
    }
    return ArtifactFacts.model_validate(fields | changes)


def sealed_record(**fields: object) -> Record:
    draft = {
        "schema": "benchkit.record/1",
        "record_id": "",
        "host": HOST,
        "started_at_utc": "2026-03-04T05:06:07Z",
        "elapsed_s": 12.5,
        "seed": 0,
        "benchkit_version": "0.1.0",
        "noise": Noise(verdict="clean"),
        "warnings": (),
    } | fields
    return Record.model_validate(sealed(Record.model_validate(draft).as_json()))


def latencies(seed: str, median_s: float, runs: int = 5, calls: int = 80) -> tuple[tuple[float, ...], ...]:
    draw = random.Random(seed)
    return tuple(
        tuple(round(level * (1 + draw.expovariate(30)) * (1.9 if draw.random() < 0.01 else 1), 9) for _ in range(calls))
        for level in (median_s * 0.98 * (1 + draw.gauss(0, 0.01)) for _ in range(runs))
    )


def ranked(values: list[float], q: float, spread: float = 0.012) -> Statistic:
    value = values[min(len(values) - 1, int(q * len(values)))]
    return Statistic(value=value, low=value * (1 - spread), high=value * (1 + spread), n=len(values))


def latency(runs: tuple[tuple[float, ...], ...]) -> Measured:
    values = sorted(value for run in runs for value in run)
    figures = {"p50": ranked(values, 0.5), "p90": ranked(values, 0.9, 0.02), "p95": ranked(values, 0.95, 0.03)}
    figures["p99"] = Statistic(
        value=None,
        n=len(values),
        reason=f"p99 needs 299 independent values; these {len(values)} calls are worth 180: about 264 more calls",
    )
    return Measured(unit="s", runs=runs, statistics=figures)


def one(unit: str, name: str, value: float, *, spread: float = 0.01, n: int = 5) -> Measured:
    figure = Statistic(value=value, low=value * (1 - spread), high=value * (1 + spread), n=n)
    return Measured(unit=unit, runs=((value,),) * n, statistics={name: figure})


def profile(
    artifact: ArtifactFacts,
    *,
    batch_size: int = 1,
    sequence_length: int | None = 128,
    median_s: float = 0.004,
    memory_bytes: float = 190 * 2**20,
    cell: dict[str, object] | None = None,
    measurements: dict[str, Measurement] | None = None,
    **fields: object,
) -> Record:
    settings = {
        "runtime": "onnxruntime",
        "device": "cpu",
        "provider": "CPUExecutionProvider",
        "threads": 1,
        "batch_size": batch_size,
        "sequence_length": sequence_length,
    } | (cell or {})
    control = Statistic(value=61 * 2**20, n=3)
    peak = Statistic(value=memory_bytes, n=3, reason="the largest of the processes; no bound is claimed")
    size = float(artifact.size_bytes)
    found: dict[str, Measurement] = {
        "latency": latency(latencies(f"{artifact.id}{batch_size}{sequence_length}{settings['threads']}", median_s)),
        "throughput": one("examples/s", "median", batch_size / median_s * 1.02),
        "cpu_time": one("s", "median", median_s / batch_size * 0.99),
        "load_time": one("s", "median", 0.21),
        "first_call": one("s", "median", median_s * 3),
        "peak_memory": Measured(
            unit="B", runs=((memory_bytes,),) * 3, statistics={"max": peak, "imports_only": control}
        ),
        "artifact_size": Measured(
            unit="B", runs=((size,),), statistics={"value": Statistic(value=size, low=size, high=size, n=1)}
        ),
        "energy_package": NO_ENERGY,
    }
    return sealed_record(
        kind="profile",
        artifact=artifact,
        cell=Cell.model_validate(settings),
        measurements=found | (measurements or {}),
        **fields,
    )


def score(
    artifact: ArtifactFacts,
    task: str,
    value: float,
    *,
    metric: str | None = None,
    n: int | None = None,
    cell: dict[str, object] | None = None,
    **fields: object,
) -> Record:
    n = n or EXAMPLES.get(task, 200)
    name = metric or METRICS.get(task, "accuracy")
    reach = 1.64 * (max(value * (1 - value), 0.01) / n) ** 0.5
    figures = {name: Statistic(value=value, low=value - reach, high=value + reach, n=n)}
    if name == "f1":
        figures["accuracy"] = Statistic(value=value - 0.03, low=value - 0.03 - reach, high=value - 0.03 + reach, n=n)
    settings = {
        "runtime": "onnxruntime",
        "device": "cpu",
        "provider": "CPUExecutionProvider",
        "threads": 1,
        "batch_size": 16,
        "scenario": "score",
        "padding": "longest",
        "task": task,
        "split": "validation",
    } | (cell or {})
    return sealed_record(
        kind="score",
        artifact=artifact,
        cell=Cell.model_validate(settings),
        measurements={"score": Measured(unit="ratio", statistics=figures)},
        **fields,
    )


def study(
    tasks: tuple[str, ...] = ("sst2", "mrpc", "stsb"),
    cells: tuple[tuple[int, int], ...] = ((1, 32), (1, 128), (8, 32), (8, 128)),
) -> list[Record]:
    """A run as `benchkit run` leaves it: 3 models, 2 precisions, tasks, cells; two models with random weights."""
    records = []
    for model, (milliseconds, size_mib, memory_mib, scores) in MODELS.items():
        for precision, speed, shrink, drop in (("fp32", 1.0, 1.0, 0.0), ("dynamic-int8", 0.45, 0.27, 0.007)):
            for task in tasks:
                name = f"{model}-{task}" + ("-int8" if precision != "fp32" else "")
                parents = {
                    "fp32": (identity(f"{model}-{task}-checkpoint")[:12],),
                    "dynamic-int8": (identity(f"{model}-{task}")[:12],),
                }
                artifact = facts(
                    name,
                    candidate=model,
                    precision=precision,
                    size_bytes=int(size_mib * shrink * 2**20),
                    parents=parents[precision],
                )
                records.append(score(artifact, task, round(scores[task] - drop, 4)))
                records += [
                    profile(
                        artifact,
                        batch_size=batch_size,
                        sequence_length=length,
                        median_s=milliseconds * speed * 1e-3 * batch_size**0.93 * (length / 128) ** 0.95,
                        memory_bytes=(61 + (memory_mib - 61) * shrink) * 2**20,
                    )
                    for batch_size, length in cells
                ]
    for name, milliseconds in (("bert-base", 118.0), ("tinybert-4l-312", 3.1)):
        artifact = facts(name, weights="random", size_bytes=int(milliseconds * 2**20))
        records += [
            profile(artifact, batch_size=b, sequence_length=s, median_s=milliseconds * 1e-3 * b**0.93 * (s / 128))
            for b, s in cells
        ]
    return records


PROOF = {
    "provider": "CPUExecutionProvider",
    "version": "1.32.0",
    "settings": {"intra_op_threads": "1", "graph_optimization_level": "ORT_ENABLE_ALL"},
    "variables": {"OMP_NUM_THREADS": "1"},
    "busy_cores": [0.995, 1.0],
    "os_threads": 2,
    "affinity": [0, 1],
    "output_sha256": ["8c56f7e540244a41"],
    "output_values": [-1.22, 1.04],
    "coverage": {
        "by_provider": {"CPUExecutionProvider": {"nodes": 1.0, "time": 1.0}},
        "matmul_by_precision": {"fp32": {"nodes": 0.23, "time": 0.06}, "int8": {"nodes": 0.77, "time": 0.94}},
    },
    "top_operators": [{"op_type": "MatMulInteger", "provider": "CPUExecutionProvider", "calls": 44, "share": 0.46}],
}
SAMPLING = {
    "alpha": 0.0167,
    "looks": [6, 9, 14],
    "stopped_by": "targets",
    "runs": 6,
    "budget_s": 20.0,
    "p50_reached": 0.012,
    "p50_within": 0.02,
    "p95_reached": None,
    "p95_within": 0.05,
}


def with_details(unit: str, statistics: dict[str, Statistic], details: dict[str, object], n: int = 5) -> Measured:
    runs = tuple((figure.value,) for figure in statistics.values() if figure.value is not None) * n
    return Measured(unit=unit, runs=runs, statistics=statistics, details=details)


def figure(value: float, spread: float = 0.01, n: int = 5) -> Statistic:
    return Statistic(value=value, low=value * (1 - spread), high=value * (1 + spread), n=n)


def phase(name: str, peak: float) -> dict[str, object]:
    return {"name": name, "footprint": {"peak_bytes": peak, "resident_bytes": peak, "pss_bytes": peak / 2}}


def thorough() -> dict[str, Measurement]:
    """What a profile with every pass measures beside its latency."""
    start = {"interpreter": 0.02, "imports": 0.13, "tokenizer": 0.01, "session": 0.05, "first inference": 0.004}
    return {
        "peak_memory": with_details(
            "B",
            {"max": Statistic(value=94 * 2**20, n=2), "imports_only": Statistic(value=56 * 2**20, n=2)},
            {
                "imports_only_bytes": [56 * 2**20] * 2,
                "phases": [[phase("imports", 56 * 2**20), phase("session", 94 * 2**20)]] * 2,
                "ratchet": [{"first_short_bytes": 2**26, "peak_bytes": 2**27, "plateau_bytes": 2**27}],
                "cgroup_peak": [{"bytes": 2**28, "source": "memory.peak"}],
            },
        ),
        "plateau_memory": one("B", "max", 93 * 2**20),
        "cold_start": with_details(
            "s",
            {"median": figure(0.214), "warm_median": figure(0.195)},
            {
                "phases_s": {
                    "cold": [start | {"steady": 0.2}] * 5,
                    "warm": [{name: value * 0.9 for name, value in start.items()}] * 5,
                },
                "unaccounted_share": [0.004] * 5,
            },
        ),
        "energy_package": with_details(
            "J",
            {"median": figure(0.0123), "net_median": figure(0.0045)},
            {
                "source": "powercap",
                "scope": "CPU package, whole machine",
                "windows": [{"reading": {"joules": 24.6, "wall_s": 2.0}, "examples": 2000, "foreign_share": 0.01}] * 5,
                "idle_w": [8.0, 8.1],
                "contaminated": [False, True],
                "warnings": ["one die mirrored another"],
            },
        ),
        "attained_flops": one("FLOP/s", "median", 2.2e11),
        "roofline_share": with_details(
            "ratio",
            {"median": figure(0.5)},
            {
                "ceiling_flops_per_s": 4.4e11,
                "arithmetic_intensity_flops_per_byte": 60.3,
                "bound_by": "compute",
                "data_type": "int8",
                "library": "onnxruntime",
                "flops_per_call": 3.4e8,
                "bytes_per_call": 5.7e6,
                "notes": ["all of it fits into the last cache"],
            },
        ),
    }


def served(artifact: ArtifactFacts, *, cell: dict[str, object], median_s: float = 0.004, **fields: object) -> Record:
    """A server or low-rate row: response times, and no latency."""
    services = latencies(f"{artifact.id}{cell}", median_s, runs=2)
    responses = tuple(tuple(value * (1.0 + (k % 7) / 2) for k, value in enumerate(run)) for run in services)
    run = {
        "rate_per_s": 125.0,
        "utilisation": 0.5,
        "littles_law": {"relative_difference": 0.002},
        "waiting": 0,
        "service_ratio": 1.18,
        "overloaded": False,
    }
    details = {"runs": [run, run], "service_s": [list(one) for one in services], "lateness_ns": [{"p99": 14151}]}
    response = latency(responses).model_copy(update={"details": details})
    record = profile(artifact, median_s=median_s, cell={"scenario": "server"} | cell, proof=PROOF, sampling=SAMPLING)
    found: dict[str, Measurement] = {name: one for name, one in record.measurements.items() if name != "latency"}
    found |= {"response_time": response} if cell.get("scenario") != "offline" else {}
    if "p99_at_most_s" in cell:
        trials = [{"rate_per_s": 339.5, "p99_s": 0.006, "met": True, "confirms": True}]
        search = {"reason": "confirmed", "trials": trials}
        found["sustained_rate"] = with_details("examples/s", {"median": figure(339.5)}, {"searches": [search]})
    return sealed_record(**(dict(record) | {"measurements": found} | fields))


def compared(
    b: ArtifactFacts, a: ArtifactFacts, *, verdict: str = "faster", ratio: float = 0.6, **fields: object
) -> Record:
    """A paired comparison as `benchkit compare` leaves it."""
    statistics = {"ratio": figure(ratio, n=12), "control_ratio": figure(1.0, n=12), "drift_ratio": figure(1.002, n=12)}
    details = {
        "verdict": verdict,
        "judged_pairs": 12,
        "taken_pairs": 12,
        "margin": 0.05,
        "looks": [6, 12, 20],
        "detectable": 0.071,
        "ended": "look 2 of 3",
        "disturbed_triples_left_out": ["other processes used 30% of a core"],
    }
    raw = Measured(unit="s", runs=((0.004,), (0.003,), (0.004,)), statistics={}, details={"statistic": "p50"})
    settings = {"runtime": "onnxruntime", "device": "cpu", "provider": "CPUExecutionProvider", "threads": 1}
    return sealed_record(
        **{
            "kind": "compare",
            "artifact": b,
            "baseline": a.model_dump(mode="json"),
            "cell": Cell(**settings, batch_size=1, sequence_length=128),
            "measurements": {"latency": raw, "latency_ratio": with_details("ratio", statistics, details)},
            "warnings": (f"{verdict}: better by more than the margin of 5%", "drift: none to speak of"),
        }
        | fields
    )


@pytest.fixture(scope="session")
def builders() -> object:
    """Every builder of this file, for tests that need many of them."""
    return sys.modules[__name__]


@pytest.fixture(scope="session")
def make_study() -> Callable[..., list[Record]]:
    return study


@pytest.fixture(scope="session")
def make_profile() -> Callable[..., Record]:
    return profile


@pytest.fixture(scope="session")
def make_score() -> Callable[..., Record]:
    return score


@pytest.fixture(scope="session")
def make_facts() -> Callable[..., ArtifactFacts]:
    return facts


@pytest.fixture(scope="session")
def no_energy() -> NotMeasured:
    return NO_ENERGY


@pytest.fixture(scope="session")
def troubled() -> list[Record]:
    """One task at one cell with everything that can go wrong: a noisy row, a void row, a missing score."""
    quick, slow, broken = (
        facts("quick"),
        facts("slow", parents=(identity("quick")[:12], "0123456789ab")),
        facts("broken"),
    )
    fresh = facts("fresh", weights="random")
    return [
        profile(quick, median_s=0.004),
        profile(slow, median_s=0.040, noise=Noise(verdict="noisy", reasons=("other processes used 12% of a core",))),
        profile(
            broken,
            median_s=0.001,
            noise=Noise(verdict="invalid", reasons=("the model gives the same answer to different inputs",)),
        ),
        profile(fresh, median_s=0.020, warnings=("no tokenizer in the folder",)),
        score(quick, "sst2", 0.90),
        score(slow, "sst2", 0.93),
        score(broken, "sst2", 0.95),
    ]

"""Fake outcomes of workers, so that records are made without starting a process."""

from pathlib import Path
from typing import Any

import pytest

from benchkit.bench.plan import Spot
from benchkit.bench.workload import Workload
from benchkit.core.artifacts import Artifact
from benchkit.core.manifest import FileFacts, Manifest
from benchkit.runtimes.protocol import SessionOptions

QUIET = {"wall_s": 0.0, "own_cpu_s": 0.0, "busy_s": 0.0, "steal_s": 0.0, "run_delay_s": 0.0, "major_faults": 0}
STAMP = {"started_at_utc": "2026-01-01T00:00:00Z", "elapsed_s": 1.5}
FED = {
    "tokens": [20, 30],
    "padded_tokens": [32, 32],
    "examples": 4,
    "truncated": 0,
    "shapes": 1,
    "shortest": 8,
    "longest": 16,
}


@pytest.fixture
def spot(tmp_path: Path) -> Spot:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"x" * 100)
    files = {"model.onnx": FileFacts(sha256="0" * 64, size_bytes=100)}
    manifest = Manifest(kind="onnx", name="model", id="abc", files=files)
    artifact = Artifact(path=path, manifest=manifest, foreign=True)
    workload = Workload(batch_size=2, sequence_length=16)
    return Spot(artifact, "onnxruntime", SessionOptions(threads=1), workload, "single-stream")


def timed_outcome(**changes: Any) -> dict[str, Any]:
    after = QUIET | {"wall_s": 1.0, "own_cpu_s": 1.0, "busy_s": 1.0}
    outcome = {
        "proof": {
            "provider": "CPUExecutionProvider",
            "version": "1",
            "settings": {},
            "affinity": [0, 1],
            "os_threads": 2,
            "variables": {},
            "python": "3.11.0",
        },
        "load_s": 0.2,
        "first_call_s": 0.02,
        "output": {"shape": [2, 2], "finite": True, "constant": False, "sha256": "0" * 64, "values": [0.1, 0.2]},
        "fed": FED,
        "warmup_ns": [20_000_000, 11_000_000],
        "overhead_ns": 100.0,
        "latency_ns": [10_000_000 + n for n in range(20)],
        "begin_us": [10_000 * n for n in range(20)],
        "steadiness": {"start": 0, "verdict": "steady", "change": 0.0, "detail": "steady"},
        "canary_ns": [],
        "gpu_states": [None, None],
        "window": {"calls": 50, "wall_s": 0.5, "cpu_s": 0.5},
        "snapshots": [QUIET, after],
        **STAMP,
    }
    return outcome | changes


def memory_outcome(peak: int | None = 300 << 20) -> dict[str, Any]:
    return {
        "peak_bytes": peak,
        "imports_only_bytes": 60 << 20,
        "phases": [],
        "ratchet": {"first_short_bytes": 100 << 20, "peak_bytes": 290 << 20, "plateau_bytes": 280 << 20},
        "children_peak_bytes": 0,
        "cgroup_peak": None,
        "gpu": None,
        **STAMP,
    }


@pytest.fixture
def outcomes() -> dict[str, list[dict[str, Any]]]:
    passes: dict[str, list[dict[str, Any]]] = {
        kind: [] for kind in ("coverage", "time", "memory", "cold-start", "energy", "idle")
    }
    return passes | {"time": [timed_outcome() for _ in range(5)], "memory": [memory_outcome()]}


@pytest.fixture
def make_timed() -> Any:
    return timed_outcome


@pytest.fixture
def make_memory() -> Any:
    return memory_outcome

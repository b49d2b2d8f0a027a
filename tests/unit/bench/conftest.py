"""Fake outcomes of workers, so that records are made without starting a process."""

from pathlib import Path
from typing import Any

import pytest

from benchkit.bench.plan import Spot
from benchkit.core.artifacts import Artifact
from benchkit.core.manifest import FileFacts, Manifest
from benchkit.runtimes.protocol import SessionOptions

QUIET = {"wall_s": 0.0, "own_cpu_s": 0.0, "busy_s": 0.0, "steal_s": 0.0, "run_delay_s": 0.0, "major_faults": 0}


@pytest.fixture
def spot(tmp_path: Path) -> Spot:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"x" * 100)
    files = {"model.onnx": FileFacts(sha256="0" * 64, size_bytes=100)}
    manifest = Manifest(kind="onnx", name="model", id="abc", files=files)
    artifact = Artifact(path=path, manifest=manifest, foreign=True)
    return Spot(artifact, "onnxruntime", SessionOptions(threads=1), 2, 16, "single-stream")


def timed_outcome(**changes: Any) -> dict[str, Any]:
    after = QUIET | {"wall_s": 1.0, "own_cpu_s": 1.0, "busy_s": 1.0}
    outcome = {
        "proof": {"provider": "CPUExecutionProvider", "version": "1"},
        "load_s": 0.2,
        "first_call_s": 0.02,
        "output": {"shape": [2, 2], "finite": True, "constant": False, "sha256": "0" * 64},
        "warmup_calls": 3,
        "latency_ns": [10_000_000 + n for n in range(20)],
        "window": {"calls": 50, "wall_s": 0.5, "cpu_s": 0.5},
        "snapshots": [QUIET, after],
        "started_at_utc": "2026-01-01T00:00:00Z",
        "elapsed_s": 1.5,
    }
    return outcome | changes


def memory_outcome(peak: int | None = 300 << 20) -> dict[str, Any]:
    return {
        "peak_bytes": peak,
        "imports_only_bytes": 60 << 20,
        "started_at_utc": "2026-01-01T00:00:00Z",
        "elapsed_s": 0.5,
    }


@pytest.fixture
def outcomes() -> dict[str, list[dict[str, Any]]]:
    return {"time": [timed_outcome() for _ in range(5)], "memory": [memory_outcome()], "energy": []}


@pytest.fixture
def make_timed() -> Any:
    return timed_outcome


@pytest.fixture
def make_memory() -> Any:
    return memory_outcome

from typing import Any

import pytest

from benchkit.core.store import sealed


@pytest.fixture
def record_json() -> dict[str, Any]:
    """The smallest record, as the JSON object of the contract."""
    return sealed(
        {
            "schema": "benchkit.record/1",
            "kind": "profile",
            "artifact": {"name": "a", "id": "1", "precision": "fp32", "sha256": "0" * 64, "size_bytes": 10},
            "cell": {"runtime": "onnxruntime", "device": "cpu", "provider": "p", "threads": 1, "batch_size": 1},
            "host": {"id": "h", "cpu_model": "c", "cores": 2, "memory_bytes": 1, "os": "o", "kernel": "k"},
            "started_at_utc": "2026-01-01T00:00:00Z",
            "elapsed_s": 1.0,
            "seed": 0,
            "benchkit_version": "0",
            "measurements": {
                "latency": {
                    "status": "measured",
                    "unit": "s",
                    "runs": [[0.1]],
                    "statistics": {"p50": {"value": 0.1, "low": None, "high": None, "n": 1}},
                },
                "energy_package": {"status": "not_measured", "reason": "no_powercap"},
            },
            "noise": {"verdict": "clean", "reasons": []},
            "warnings": [],
        }
    )

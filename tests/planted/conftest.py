"""Real workers run a runtime whose truth is scripted (runtime/planted_runtime.py); what is said of it is the test."""

import dataclasses
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchkit.bench import profile as profiling
from benchkit.bench.matrix import Matrix
from benchkit.bench.timing import Schedule
from benchkit.cli.app import app
from benchkit.cli.boundary import guarded
from benchkit.core.errors import MeasurementFailed
from benchkit.core.records import Record

PLUG_IN = Path(__file__).parent / "runtime"
QUICK = Schedule(warmup_s=0.02, max_warmup_s=0.1, min_values=100, min_duration_s=0.1, throughput_s=0.05, idle_s=1.0)


@dataclasses.dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def _planted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let this process and its workers find the plug-in; leave out the machine's peaks and its own energy counters."""

    def no_peaks(*_: object, **__: object) -> None:
        raise MeasurementFailed("not looked for", remedy="none")

    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(PLUG_IN))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(PLUG_IN), os.environ.get("PYTHONPATH")])))
    monkeypatch.setenv("BENCHKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("BENCHKIT_POWERCAP_ROOT", str(tmp_path / "no-powercap"))
    monkeypatch.setattr(profiling, "measured_peaks", no_peaks)


@pytest.fixture
def script(tmp_path: Path) -> Callable[..., Path]:
    """Write a model file that is a script for the planted runtime."""

    def write(name: str = "model", /, **keys: Any) -> Path:
        path = tmp_path / f"{name}.onnx"
        path.write_text(json.dumps({"name": name} | keys))
        return path

    return write


@pytest.fixture
def measure() -> Callable[..., list[Record]]:
    """Profile scripts in fresh processes, each for a moment only."""

    def run(*targets: Path, schedule: Schedule = QUICK, journal: Path | None = None, **values: Any) -> list[Record]:
        matrix = Matrix(**({"runtime": ("planted",), "sequence_length": (8,), "runs": 1} | values))
        artifacts = profiling.artifacts_for(list(map(str, targets)), matrix)
        return profiling.profile(profiling.plan(artifacts, matrix, schedule), journal=journal)

    return run


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Run `benchkit ARGUMENTS` in this process."""

    def run(*arguments: object) -> Ended:
        err = io.StringIO()
        code = guarded(lambda: app(list(map(str, arguments)), standalone_mode=False), err)
        captured = capsys.readouterr()
        return Ended(int(code), captured.out, captured.err + err.getvalue())

    return run


@pytest.fixture
def quick() -> Schedule:
    """A moment only."""
    return QUICK

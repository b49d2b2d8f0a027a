import dataclasses
import json
from typing import Any

import pytest

from benchkit.bench.roofs.peaks import Peaks
from benchkit.core.errors import EnvironmentLacks, MeasurementFailed
from benchkit.judge import examination, instruments
from benchkit.judge.examination import examine, watched
from benchkit.judge.instruments import Readiness
from benchkit.meters.energy import Missing

PEAKS = Peaks(
    threads=1,
    gemm_flops_per_s={"fp32": 1.1e11, "int8": 4.4e11},
    library={"fp32": "onnxruntime", "int8": "onnxruntime", "bandwidth": "read"},
    seen={"fp32": (9e10, 1e11), "int8": (3e11, 4e11), "bandwidth": (1e10, 2e10)},
    bandwidth_bytes_per_s=3.2e10,
    missing={"bf16": "openvino: the package 'openvino' is not installed"},
    versions={},
)


@pytest.fixture
def light(monkeypatch: pytest.MonkeyPatch) -> None:
    """No runtime is imported: torch takes seconds."""
    monkeypatch.setattr(examination, "runtime", lambda name: Readiness(ready=name == "onnxruntime", detail="1.2.3"))


@pytest.mark.usefixtures("light")
def test_every_section_is_there_as_text_and_as_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "measured_peaks", lambda threads, **_: dataclasses.replace(PEAKS, threads=threads))
    found = examine(watch_s=0.1, peak_threads=(1,))
    assert list(found.sections) == ["machine", "instruments", "runtimes", "extras", "noise", "peaks, 1 thread"]
    answer = json.loads(json.dumps(found.as_json()))
    assert answer["runtimes"]["onnxruntime"] == "ready: 1.2.3"
    assert answer["details"]["runtimes"]["torch"] == {"ready": False, "detail": "1.2.3", "remedy": ""}
    assert answer["details"]["peaks"][0]["gemm_flops_per_s"]["int8"] == 4.4e11
    assert answer["details"]["noise"]["verdict"] in ("clean", "noisy", "invalid")
    assert answer["machine"]["fingerprint"] == answer["details"]["host"]["id"]


@pytest.mark.usefixtures("light")
def test_peaks_are_told_with_library_and_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    disturbed = dataclasses.replace(PEAKS, disturbed=True, noise=("other processes used 131% of a core",))
    monkeypatch.setattr(examination, "measured_peaks", lambda threads, **_: disturbed)
    lines = examine(watch_s=0.1, peak_threads=(1,)).sections["peaks, 1 thread"]
    assert lines["fp32 products"] == "110 GFLOP/s by onnxruntime (median of its repeats 100)"
    assert lines["bf16 products"] == "not measured: openvino: the package 'openvino' is not installed"
    assert lines["memory bandwidth"].startswith("32.0 GB/s by the kernel 'read'")
    assert "131% of a core" in lines["disturbed"]


@pytest.mark.usefixtures("light")
def test_peaks_that_fail_do_not_end_the_examination(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(threads: int, **_: object) -> Peaks:
        raise MeasurementFailed("no library multiplied a matrix here", remedy="install one")

    monkeypatch.setattr(examination, "measured_peaks", fails)
    found = examine(watch_s=0.1, peak_threads=(1,))
    assert found.sections["peaks, 1 thread"] == {"not measured": "no library multiplied a matrix here; install one"}
    assert found.details["peaks"] == []


@pytest.mark.usefixtures("light")
def test_without_thread_counts_no_peak_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "measured_peaks", lambda *_, **__: pytest.fail("measured"))
    assert list(examine(watch_s=0.1).sections)[-1] == "noise"


def test_more_threads_than_cores_are_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "watched", lambda _: pytest.fail("watched"))
    with pytest.raises(EnvironmentLacks, match="asked for 999999 threads"):
        examine(watch_s=0.1, peak_threads=(1, 999_999))


def test_a_limit_of_the_container_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "cpu_quota_cores", lambda: 1.5)
    monkeypatch.setattr(examination, "memory_limit_bytes", lambda: 2**31)
    monkeypatch.setattr(examination, "smt_siblings", lambda: ((0, 4), (1, 5)))
    monkeypatch.setattr(examination, "own_cores", lambda: {0, 1, 4, 5})
    lines = examination._machine()
    assert lines["CPU quota"].startswith("1.5 cores")
    assert "may use 2.0 GiB" in lines["memory"]
    assert lines["threads per core"].startswith("2: (0, 4) (1, 5) share")
    assert lines["usable cores"].endswith("(affinity 0-1,4-5)")


def test_a_watch_ends_with_fixed_work() -> None:
    watch = watched(0.1)
    assert watch.verdict in ("clean", "noisy", "invalid")
    assert len(watch.canary_ns) >= 3
    assert watch.after.wall_s > watch.before.wall_s


def test_a_canary_that_drifts_makes_the_watch_noisy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "disturbances", lambda *_: ("clean", ()))
    monkeypatch.setattr(examination, "canary_drift", lambda _: "fixed work took 9% longer")
    watch = watched(0.1)
    assert (watch.verdict, watch.reasons) == ("noisy", ("fixed work took 9% longer",))


def test_an_instrument_that_is_not_ready_says_why_and_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unreadable:
        scope = source = ""

        def probe(self) -> Missing:
            return Missing(reason="x", detail="readable by root only", remedy="a udev rule")

    monkeypatch.setattr(instruments, "Powercap", Unreadable)
    monkeypatch.setattr(instruments, "NvmlEnergy", Unreadable)
    found = instruments.instruments()
    for name in ("CPU energy", "GPU energy"):
        assert str(found[name]) == "not ready: readable by root only; a udev rule"


def test_instruments_that_are_ready_say_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    class Ready:
        source, scope = "nvml", "GPU board"

        def probe(self) -> None:
            return None

    monkeypatch.setattr(instruments, "NvmlEnergy", Ready)
    monkeypatch.setattr(instruments, "gpu_state", object)
    found = instruments.instruments()
    assert str(found["GPU energy"]) == "ready: nvml: GPU board"
    assert found["GPU clock"].ready


def test_whatever_is_not_ready_has_a_reason_and_a_remedy() -> None:
    for name, found in instruments.instruments().items():
        assert found.detail, name
        assert found.ready or found.remedy, name


def test_a_runtime_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacks(name: str) -> Any:
        raise EnvironmentLacks(f"runtime '{name}' needs a package", remedy="pip install it")

    monkeypatch.setattr(instruments.RUNTIMES, "get", lacks)
    assert str(instruments.runtime("torch")) == "not ready: runtime 'torch' needs a package; pip install it"

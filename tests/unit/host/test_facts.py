import sys
import types

import pytest

from benchkit.core.records import NotMeasured
from benchkit.host import gpus
from benchkit.host.facts import host_facts


def test_the_machine_has_a_fingerprint() -> None:
    host = host_facts()
    assert len(host.id) == 12
    assert host.cores >= 1
    assert host.memory_bytes > 0
    assert host.versions["python"].count(".") == 2


def test_without_the_package_there_are_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert gpus.gpu_names() == ()
    with gpus.nvml() as library:
        assert isinstance(library, NotMeasured)
        assert "benchkit[gpu]" in library.remedy


def test_gpus_are_named_and_nvml_is_shut_down(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    fake = types.ModuleType("pynvml")
    fake.NVMLError = RuntimeError
    fake.nvmlInit = lambda: calls.append("init")
    fake.nvmlShutdown = lambda: calls.append("shutdown")
    fake.nvmlDeviceGetCount = lambda: 2
    fake.nvmlDeviceGetHandleByIndex = lambda index: index
    fake.nvmlDeviceGetName = lambda handle: f"GPU {handle}"
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    assert gpus.gpu_names() == ("GPU 0", "GPU 1")
    assert calls == ["init", "shutdown"]


def test_a_driver_that_does_not_start_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = types.ModuleType("pynvml")
    fake.NVMLError = RuntimeError

    def fails() -> None:
        raise RuntimeError("Driver Not Loaded")

    fake.nvmlInit = fails
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    with gpus.nvml() as library:
        assert isinstance(library, NotMeasured)
        assert library.reason == "no_nvidia_driver"

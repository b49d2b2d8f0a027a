"""What this machine and installation can measure: the facts behind `benchkit doctor`."""

import dataclasses
import importlib
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from benchkit.core.errors import EnvironmentLacks
from benchkit.core.records import NotMeasured
from benchkit.core.registry import RUNTIMES
from benchkit.host.facts import host_facts
from benchkit.host.gpus import nvml
from benchkit.host.noise import disturbances, take_snapshot
from benchkit.meters.memory import peak_memory, reset_peak
from benchkit.meters.powercap import Powercap

_EXTRAS = {
    "train": ("torch", "transformers", "accelerate", "onnx", "onnxscript"),
    "report": ("jinja2", "vl-convert-python"),
    "gpu": ("onnxruntime-gpu", "nvidia-ml-py"),
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What was found: text by name, by section."""

    sections: dict[str, dict[str, str]]

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return dict(self.sections)


def examine(*, watch_s: float) -> Examination:
    """Look at the machine, the instruments, the runtimes and `watch_s` seconds of noise."""
    return Examination(
        sections={
            "machine": _machine(),
            "instruments": _instruments(),
            "runtimes": {name: _runtime(name) for name in RUNTIMES.names()},
            "extras": {extra: _extra(packages) for extra, packages in _EXTRAS.items()},
            "noise": _noise(watch_s),
        }
    )


def _machine() -> dict[str, str]:
    host = host_facts()
    return {
        "fingerprint": host.id,
        "processor": host.cpu_model,
        "usable cores": str(host.cores),
        "memory": f"{host.memory_bytes / 2**30:.1f} GiB",
        "instructions": " ".join(host.flags) or "not known",
        "system": f"{host.os}, kernel {host.kernel}, {host.machine}",
        "GPUs": ", ".join(host.gpus) or "none found",
        "versions": ", ".join(f"{name} {version}" for name, version in host.versions.items()),
    }


def _instruments() -> dict[str, str]:
    found = {"clock": f"ready: perf_counter, resolution {time.get_clock_info('perf_counter').resolution:g} s"}
    peak = peak_memory()
    found["peak memory"] = (
        f"ready: {peak.source}" if peak else "not ready: this system keeps no peak of resident memory"
    )
    found["peak memory reset"] = (
        "ready: clear_refs" if reset_peak() else "not ready: /proc/self/clear_refs cannot be written"
    )
    missing = Powercap().probe()
    found["CPU energy"] = "ready: powercap" if missing is None else f"not ready: {missing.detail}; {missing.remedy}"
    with nvml() as library:
        if isinstance(library, NotMeasured):
            found["GPU energy"] = f"not ready: {library.detail}; {library.remedy}"
        else:
            found["GPU energy"] = "NVML is here; energy of GPUs is not measured by this version"
    for name, path in (
        ("CPU clock", "/sys/devices/system/cpu/cpu0/cpufreq"),
        ("temperature", "/sys/class/thermal/thermal_zone0"),
    ):
        found[name] = "ready" if Path(path).is_dir() else "not ready: a virtual machine often shows none"
    return found


def _runtime(name: str) -> str:
    try:
        RUNTIMES.get(name)
    except EnvironmentLacks as error:
        return f"not ready: {error}; {error.remedy}"
    if name == "onnxruntime":
        module = importlib.import_module("onnxruntime")
        return f"ready: {module.__version__}, {', '.join(module.get_available_providers())}"
    return f"ready: {metadata.version(name)}"


def _extra(packages: tuple[str, ...]) -> str:
    absent = []
    for package in packages:
        try:
            metadata.version(package)
        except metadata.PackageNotFoundError:
            absent.append(package)
    return f"not installed: {', '.join(absent)}" if absent else "installed"


def _noise(watch_s: float) -> dict[str, str]:
    before = take_snapshot()
    time.sleep(watch_s)  # Asleep on purpose: what runs now is not ours.
    verdict, reasons = disturbances(before, take_snapshot())
    return {f"last {watch_s:g} s": "; ".join([verdict, *reasons])}

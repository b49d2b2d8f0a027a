"""Each instrument of this machine: ready, or why not and what would make it so. Using them is left to others."""

import dataclasses
import importlib
import os
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from benchkit.bench.traces.flame import py_spy
from benchkit.core.errors import EnvironmentLacks
from benchkit.core.registry import RUNTIMES
from benchkit.host.clocks import clock_state
from benchkit.host.gpus import gpu_state
from benchkit.host.noise import take_snapshot
from benchkit.meters.memory import cgroup_peak_bytes, footprint, peak_memory, reset_peak
from benchkit.meters.nvml import NvmlEnergy
from benchkit.meters.powercap import Powercap

_LINUX = "measure on Linux"
_METAL = "measure on bare metal; the canary, fixed work between the calls, stands in"
_OLDER = "a kernel that keeps it: Linux 4.20 with CONFIG_PSI, booted with psi=1"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """Whether one instrument can be used here.

    Attributes:
        ready: Whether it can.
        detail: What it is, or why it cannot.
        remedy: What would make it ready; "" when it is.
    """

    ready: bool
    detail: str
    remedy: str = ""

    def __str__(self) -> str:
        if self.ready:
            return f"ready: {self.detail}"
        return f"not ready: {self.detail}" + (f"; {self.remedy}" if self.remedy else "")


def instruments() -> dict[str, Readiness]:
    """Ask every instrument, and return the answers by its name."""
    return {name: probe() for name, probe in _PROBES.items()}


def runtime(name: str) -> Readiness:
    """Import a runtime, which alone proves that it is whole, and say which version and providers it has."""
    try:
        RUNTIMES.get(name)
        version = metadata.version(name if name != "onnxruntime" else _onnxruntime_package())
    except EnvironmentLacks as error:
        return Readiness(ready=False, detail=str(error), remedy=error.remedy)
    except metadata.PackageNotFoundError:
        version = "version not known"
    if name == "onnxruntime":
        providers = importlib.import_module("onnxruntime").get_available_providers()
        return Readiness(ready=True, detail=f"{version}, {', '.join(providers)}")
    return Readiness(ready=True, detail=version)


def _onnxruntime_package() -> str:
    """Return which of the packages that bring the module is installed; the GPU build is another package."""
    for package in ("onnxruntime", "onnxruntime-gpu"):
        try:
            metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
        return package
    return "onnxruntime"


def _clock() -> Readiness:
    resolution_s = time.get_clock_info("perf_counter").resolution
    return Readiness(ready=True, detail=f"perf_counter, steps of {resolution_s * 1e9:g} ns")


def _peak_memory() -> Readiness:
    peak = peak_memory()
    if peak is None:
        return Readiness(ready=False, detail="this system keeps no peak of resident memory", remedy=_LINUX)
    return Readiness(ready=True, detail=peak.source)


def _memory_by_phase() -> Readiness:
    if reset_peak():
        return Readiness(ready=True, detail="clear_refs sets the peak back")
    return Readiness(ready=False, detail="/proc/self/clear_refs cannot be written", remedy=_LINUX)


def _memory_by_kind() -> Readiness:
    if footprint().pss_bytes is not None:
        return Readiness(ready=True, detail="smaps_rollup: shared, private, file-backed, anonymous")
    return Readiness(ready=False, detail="/proc/self/smaps_rollup cannot be read", remedy=_LINUX)


def _cgroup_memory() -> Readiness:
    found = cgroup_peak_bytes()
    if found is not None:
        return Readiness(ready=True, detail=found[1])
    return Readiness(
        ready=False, detail="no control group that keeps its peak", remedy="run in a group of its own: systemd-run"
    )


def _cold_cache() -> Readiness:
    if hasattr(os, "posix_fadvise"):
        return Readiness(ready=True, detail="posix_fadvise drops a file from the page cache, without root")
    return Readiness(ready=False, detail="this system has no posix_fadvise", remedy=_LINUX)


def _cpu_energy() -> Readiness:
    missing = Powercap().probe()
    if missing is not None:
        return Readiness(ready=False, detail=missing.detail, remedy=missing.remedy)
    return Readiness(ready=True, detail=f"powercap: {Powercap.scope}")


def _gpu_energy() -> Readiness:
    meter = NvmlEnergy()
    missing = meter.probe()
    if missing is not None:
        return Readiness(ready=False, detail=missing.detail, remedy=missing.remedy)
    return Readiness(ready=True, detail=f"{meter.source}: {meter.scope}")


def _gpu_clock() -> Readiness:
    state = gpu_state()
    if state is None:
        return Readiness(ready=False, detail="NVML shows no GPU", remedy="see GPU energy")
    return Readiness(ready=True, detail="NVML: clocks, temperature, reasons to slow down")


def _cpu_clock() -> Readiness:
    clock_hz = clock_state().fastest_hz
    if clock_hz is None:
        return Readiness(ready=False, detail="no cpufreq: a virtual machine often shows none", remedy=_METAL)
    return Readiness(ready=True, detail=f"cpufreq: the fastest usable core runs at {clock_hz * 1e-6:,.0f} MHz")


def _temperature() -> Readiness:
    celsius = clock_state().hottest_celsius
    if celsius is None:
        return Readiness(ready=False, detail="no sensor: a virtual machine often shows none", remedy=_METAL)
    return Readiness(ready=True, detail=f"the processor's hottest sensor shows {celsius:.0f} °C")


def _throttling() -> Readiness:
    events = clock_state().throttle_events
    if events is None:
        return Readiness(ready=False, detail="no counter of throttling: Intel's processors have one", remedy=_METAL)
    return Readiness(ready=True, detail=f"thermal_throttle: {events} times since the system was started")


def _run_delay() -> Readiness:
    if take_snapshot().run_delay_s is None:
        return Readiness(ready=False, detail="the kernel keeps no run delay", remedy=_LINUX)
    return Readiness(ready=True, detail="schedstat: how long each thread waited for a core")


def _pressure() -> Readiness:
    if take_snapshot().pressure_s is None:
        return Readiness(ready=False, detail="no /proc/pressure", remedy=_OLDER if sys.platform == "linux" else _LINUX)
    return Readiness(ready=True, detail="PSI: stalls for a core, memory and disks")


def _flame() -> Readiness:
    try:
        return Readiness(ready=True, detail=f"py-spy at {Path(py_spy())}")
    except EnvironmentLacks as error:
        return Readiness(ready=False, detail=str(error), remedy=error.remedy)


def _loadgen() -> Readiness:
    try:
        return Readiness(ready=True, detail=f"mlcommons-loadgen {metadata.version('mlcommons-loadgen')}")
    except metadata.PackageNotFoundError:
        detail = "the package 'mlcommons-loadgen' is not installed"
        return Readiness(ready=False, detail=detail, remedy="pip install 'benchkit[loadgen]'")


_PROBES: dict[str, Callable[[], Readiness]] = {
    "clock": _clock,
    "peak memory": _peak_memory,
    "peak memory by phase": _memory_by_phase,
    "memory by kind": _memory_by_kind,
    "memory of the group": _cgroup_memory,
    "cold page cache": _cold_cache,
    "CPU energy": _cpu_energy,
    "GPU energy": _gpu_energy,
    "GPU clock": _gpu_clock,
    "CPU clock": _cpu_clock,
    "CPU temperature": _temperature,
    "CPU throttling": _throttling,
    "run delay": _run_delay,
    "pressure": _pressure,
    "flame graphs": _flame,
    "MLPerf load generator": _loadgen,
}

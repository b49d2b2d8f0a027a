"""What this machine and installation can measure, and what they can do: the facts behind `benchkit doctor`.

The instruments are asked in `instruments`; the smallest effect that can be told apart is left to `calibration`.
"""

import dataclasses
import time
from collections.abc import Sequence
from importlib import metadata
from typing import Any

from benchkit.bench.matrix import check_threads
from benchkit.bench.roofs.peaks import BANDWIDTH, DATA_TYPES, Peaks, measured_peaks
from benchkit.bench.targets import cache_folder
from benchkit.core.errors import BenchkitError, MeasurementFailed
from benchkit.core.progress import Progress, silent
from benchkit.core.quantities import format_number
from benchkit.core.registry import RUNTIMES
from benchkit.host.cgroups import cpu_quota_cores, memory_limit_bytes
from benchkit.host.clocks import Canary, canary_drift, own_cores
from benchkit.host.facts import host_facts
from benchkit.host.noise import Snapshot, disturbances, take_snapshot
from benchkit.host.topology import governor, hypervisor, last_level_cache, smt_siblings, turbo
from benchkit.judge.instruments import Readiness, instruments, runtime

_EXTRAS = {
    "cpu": ("onnxruntime",),
    "gpu": ("onnxruntime-gpu", "nvidia-ml-py"),
    "openvino": ("openvino",),
    "train": ("torch", "transformers", "accelerate", "onnx", "onnxscript"),
    "report": ("jinja2", "vl-convert-python"),
    "flame": ("py-spy",),
    "loadgen": ("mlcommons-loadgen",),
}

# The canary wants a core of its own for long enough to see a neighbour come and go.
_CANARY_S = 0.3


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What was found.

    Attributes:
        sections: Text by name, by section, for people.
        details: The same as values, for programs: host, instruments, runtimes, peaks, noise.
    """

    sections: dict[str, dict[str, str]]
    details: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON object: the sections, and "details"."""
        return {**self.sections, "details": self.details}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What disturbed the machine while benchkit did nothing, and then fixed work.

    Attributes:
        verdict: "clean", "noisy" or "invalid".
        reasons: What gave it away.
        before: Counters when the watch began.
        after: Counters when it ended.
        canary_ns: What each run of the fixed work took, at the end of the watch.
    """

    verdict: str
    reasons: tuple[str, ...]
    before: Snapshot
    after: Snapshot
    canary_ns: tuple[int, ...]


def examine(*, watch_s: float, peak_threads: Sequence[int] = (), progress: Progress = silent) -> Examination:
    """Look at the machine, the instruments, the runtimes and `watch_s` seconds of noise.

    Args:
        watch_s: How long the noise is watched.
        peak_threads: Thread counts at which the peaks are measured now; each takes about 4 s.
        progress: Told what is being done.

    Raises:
        EnvironmentLacks: More threads are asked for than this process has cores.
    """
    check_threads(max(peak_threads, default=1))
    progress("watch the machine's noise")
    watch = watched(watch_s)
    progress("ask the instruments and the runtimes")
    ready = instruments()
    runtimes = {name: runtime(name) for name in RUNTIMES.names()}
    peaks = [_peaks(threads, progress) for threads in peak_threads]
    sections = {
        "machine": _machine(),
        "instruments": {name: str(found) for name, found in ready.items()},
        "runtimes": {name: str(found) for name, found in runtimes.items()},
        "extras": {extra: _extra(packages) for extra, packages in _EXTRAS.items()},
        "noise": _noise(watch, watch_s),
    }
    for threads, found in zip(peak_threads, peaks, strict=True):
        sections[f"peaks, {threads} thread{'s' if threads > 1 else ''}"] = _in_words(found)
    details = {
        "host": host_facts().model_dump(mode="json"),
        "cores": sorted(own_cores()),
        "cpu_quota_cores": cpu_quota_cores(),
        "memory_limit_bytes": memory_limit_bytes(),
        "instruments": _as_json(ready),
        "runtimes": _as_json(runtimes),
        "noise": dataclasses.asdict(watch),
        "peaks": [found.as_json() for found in peaks if isinstance(found, Peaks)],
    }
    return Examination(sections=sections, details=details)


def watched(watch_s: float) -> Watch:
    """Watch the machine: asleep, so that what runs is not ours, and at the end with fixed work on one core."""
    canary = Canary()
    before = take_snapshot()
    canary_s = min(_CANARY_S, watch_s / 3)
    time.sleep(watch_s - canary_s)
    until_s = time.perf_counter() + canary_s
    canary_ns = []
    while time.perf_counter() < until_s:
        canary_ns.append(canary.run())
    after = take_snapshot()
    verdict, reasons = disturbances(before, after)
    drift = canary_drift(canary_ns)
    if drift is not None:
        verdict, reasons = ("noisy" if verdict == "clean" else verdict), (*reasons, drift)
    return Watch(verdict=verdict, reasons=reasons, before=before, after=after, canary_ns=tuple(canary_ns))


def _machine() -> dict[str, str]:
    host, cores = host_facts(), sorted(own_cores())
    quota, limit_bytes, cache = cpu_quota_cores(), memory_limit_bytes(), last_level_cache()
    siblings, boosted = smt_siblings(), turbo()
    limit = "" if limit_bytes is None else f", the control group may use {limit_bytes / 2**30:.1f} GiB"
    return {
        "fingerprint": host.id,
        "processor": host.cpu_model,
        "instructions": " ".join(host.flags) or "not known",
        "last cache": "not known" if cache is None else _cache_words(cache.level, cache.size_bytes, cache.instances),
        "usable cores": f"{host.cores} (affinity {_ranges(cores)})",
        "threads per core": _sibling_words(siblings),
        "CPU quota": "none" if quota is None else f"{quota:.3g} cores by the control group: it stops what exceeds it",
        "governor": governor() or "not shown",
        "turbo": "not shown" if boosted is None else "on: the clock depends on heat" if boosted else "off",
        "hypervisor": hypervisor() or "none seen",
        "memory": f"{host.memory_bytes / 2**30:.1f} GiB{limit}",
        "GPUs": ", ".join(host.gpus) or "none found",
        "system": f"{host.os}, kernel {host.kernel}, {host.machine}",
        "versions": ", ".join(f"{name} {version}" for name, version in host.versions.items()),
    }


def _cache_words(level: int, size_bytes: int, instances: int) -> str:
    count = "" if instances == 1 else f"{instances} x "
    return f"L{level}, {count}{size_bytes / 2**20:g} MiB"


def _sibling_words(siblings: Sequence[Sequence[int]] | None) -> str:
    if siblings is None:
        return "not shown"
    if not siblings:
        return "1: no two usable cores share a physical one, as far as this system shows"
    groups = " ".join(f"({', '.join(map(str, group))})" for group in siblings[:4])
    more = f" and {len(siblings) - 4} more" if len(siblings) > 4 else ""
    return f"{max(map(len, siblings))}: {groups}{more} share one physical core each; bind to one of each"


def _ranges(cores: Sequence[int]) -> str:
    """Write cores as the kernel does: 0-3,8."""
    parts: list[list[int]] = []
    for core in cores:
        if parts and core == parts[-1][1] + 1:
            parts[-1][1] = core
        else:
            parts.append([core, core])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)


def _noise(watch: Watch, watch_s: float) -> dict[str, str]:
    before, after = watch.before, watch.after
    wall_s = after.wall_s - before.wall_s
    own_s = after.own_cpu_s - before.own_cpu_s
    found = {f"last {watch_s:g} s": "; ".join([watch.verdict, *watch.reasons])}
    if before.busy_s is not None and after.busy_s is not None:
        others = max(after.busy_s - before.busy_s - own_s, 0.0) / wall_s
        found["other processes"] = f"{others:.1%} of a core"
    if before.steal_s is not None and after.steal_s is not None:
        found["hypervisor took"] = f"{(after.steal_s - before.steal_s) / wall_s:.1%} of a core"
    if before.pressure_s and after.pressure_s:
        shares = {name: (after.pressure_s[name] - begin_s) / wall_s for name, begin_s in before.pressure_s.items()}
        found["pressure"] = ", ".join(f"{name} {share:.1%}" for name, share in shares.items()) + " of the time"
    if watch.canary_ns:
        ordered = sorted(watch.canary_ns)
        low, middle, high = (ordered[int(q * (len(ordered) - 1))] * 1e-6 for q in (0.1, 0.5, 0.9))
        found["fixed work"] = f"median {middle:.3f} ms, eight in ten within {low:.3f} to {high:.3f} ms"
    return found


def _peaks(threads: int, progress: Progress) -> Peaks | BenchkitError:
    progress(f"measure the peaks at {threads} thread(s)")
    try:
        return measured_peaks(threads, cache=cache_folder(), fresh=True)
    except MeasurementFailed as error:
        return error


def _in_words(peaks: Peaks | BenchkitError) -> dict[str, str]:
    if isinstance(peaks, BenchkitError):
        return {"not measured": f"{peaks}; {peaks.remedy}"}
    found = {}
    for name in (*DATA_TYPES, BANDWIDTH):
        is_memory = name == BANDWIDTH
        label, unit = ("memory bandwidth", "GB/s") if is_memory else (f"{name} products", "GFLOP/s")
        best = peaks.bandwidth_bytes_per_s if is_memory else peaks.gemm_flops_per_s.get(name)
        if best is None:
            found[label] = f"not measured: {peaks.missing[name]}"
        else:
            by = f"the kernel '{peaks.library[name]}'" if is_memory else peaks.library[name]
            median = format_number(peaks.seen[name][1] * 1e-9)
            found[label] = f"{format_number(best * 1e-9)} {unit} by {by} (median of its repeats {median})"
    if peaks.disturbed:
        found["disturbed"] = f"these may be too low: {peaks.noise[0]}"
    return found


def _extra(packages: tuple[str, ...]) -> str:
    absent = []
    for package in packages:
        try:
            metadata.version(package)
        except metadata.PackageNotFoundError:
            absent.append(package)
    return f"not installed: {', '.join(absent)}" if absent else "installed"


def _as_json(found: dict[str, Readiness]) -> dict[str, Any]:
    return {name: dataclasses.asdict(readiness) for name, readiness in found.items()}

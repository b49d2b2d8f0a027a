"""What this machine can do at best, measured: matrix products by data type, and memory bandwidth, at a thread count.

How one library is timed is left to `peaks_worker`; what a model attains of it to `roofline`.
"""

import dataclasses
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from benchkit.core.errors import MeasurementFailed
from benchkit.core.store import canonical_json, digest, utc_now, write_text
from benchkit.host.cgroups import memory_limit_bytes
from benchkit.host.clocks import own_cores
from benchkit.host.facts import host_facts
from benchkit.host.topology import last_level_cache

DATA_TYPES = ("fp32", "bf16", "int8")
BANDWIDTH = "bandwidth"

# What a newer version of this file and of the worker would measure otherwise.
_FORMAT = 1
_TIMEOUT_S = 60.0
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
# STREAM's rule: each array at least four times the caches that hold it. Three arrays lie in memory at once.
_ARRAY_PER_CACHE = 4
_ARRAYS = 3
_UNKNOWN_CACHE_BYTES = 32 << 20
_MEMORY_SHARE = 0.25
# A day of a disturbed machine: peaks are looked for so often, and then taken as they are.
_MOST_TRIES = 3


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Peaks:
    """The best that was seen of this machine at one thread count. A peak is a maximum: noise can only lower it.

    Attributes:
        threads: Threads that each library was given.
        gemm_flops_per_s: Operations per second of the best library, by data type; a multiply-add counts as two, in
            integers too.
        library: Which library, by data type; under "bandwidth" which kernel.
        seen: The least and the median rate of the repeats behind each peak, by the same names.
        bandwidth_bytes_per_s: Main memory, bytes counted as STREAM counts them.
        missing: Why something was not measured, by data type, "bandwidth" or library.
        versions: Of the libraries.
        cache_bytes: Last cache that these threads reach; None where the system does not show it.
        noise: What disturbed the measurement, in words.
        disturbed: Whether one of the processes was disturbed so much that its peak may be too low.
        tries: Measurements that these are the best of.
        measured_at_utc: When the last of them was taken.
    """

    threads: int
    gemm_flops_per_s: dict[str, float]
    library: dict[str, str]
    seen: dict[str, tuple[float, float]]
    bandwidth_bytes_per_s: float | None
    missing: dict[str, str]
    versions: dict[str, str]
    cache_bytes: int | None = None
    noise: tuple[str, ...] = ()
    disturbed: bool = False
    tries: int = 1
    measured_at_utc: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the peaks as a JSON object."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Peaks":
        """Read them back."""
        seen = {name: (least, median) for name, (least, median) in value["seen"].items()}
        return cls(**(value | {"seen": seen, "noise": tuple(value["noise"])}))


def measured_peaks(
    threads: int, *, cache: Path | None, affinity: Sequence[int] | None = None, fresh: bool = False
) -> Peaks:
    """Return the peaks at a thread count, from the cache or measured now in about 4 s.

    What is cached holds for the host's fingerprint, the cores, the thread count, the versions of the libraries and
    the day (UTC), since what a hypervisor gives changes with its other guests. What is measured again on the same day
    is joined with it by maximum; so is what was badly disturbed, up to three times.

    Args:
        threads: Threads of each library.
        cache: Folder to keep the figures in; None keeps none.
        affinity: Logical cores to bind the processes to; None for those of this process.
        fresh: Measure in any case.

    Raises:
        MeasurementFailed: No library gave any figure.
    """
    path = None if cache is None else _place(threads, cache, affinity)
    known = None if path is None else _kept_today(path)
    if known is not None and not fresh and (not known.disturbed or known.tries >= _MOST_TRIES):
        return known
    peaks = _measured_now(threads, affinity)
    if known is not None:
        peaks = joined(known, peaks)
    if path is not None:
        write_text(path, canonical_json(peaks.as_json()))
    return peaks


def kept_peaks(threads: int, *, cache: Path, affinity: Sequence[int] | None = None) -> Peaks | None:
    """Return the peaks at a thread count if they were measured today; nothing is measured now."""
    return _kept_today(_place(threads, cache, affinity))


def joined(first: Peaks, second: Peaks) -> Peaks:
    """Return the best of two measurements of the same machine at the same thread count."""
    ours, theirs = first.gemm_flops_per_s, second.gemm_flops_per_s
    source = {name: first if ours.get(name, 0) >= theirs.get(name, 0) else second for name in {**ours, **theirs}}
    source[BANDWIDTH] = max(first, second, key=lambda peaks: peaks.bandwidth_bytes_per_s or 0)
    return dataclasses.replace(
        second,
        gemm_flops_per_s={name: source[name].gemm_flops_per_s[name] for name in DATA_TYPES if name in source},
        library={name: peaks.library[name] for name, peaks in source.items() if name in peaks.library},
        seen={name: peaks.seen[name] for name, peaks in source.items() if name in peaks.seen},
        bandwidth_bytes_per_s=source[BANDWIDTH].bandwidth_bytes_per_s,
        missing={name: why for name, why in (first.missing | second.missing).items() if name not in source},
        noise=tuple(dict.fromkeys((*first.noise, *second.noise))),
        disturbed=first.disturbed and second.disturbed,
        tries=first.tries + second.tries,
    )


def best_of(outcomes: Mapping[str, Mapping[str, Any]], *, threads: int, cache_bytes: int | None) -> Peaks:
    """Make peaks of what the workers answered.

    Args:
        outcomes: Answers by library, "memory" among them: either "error", or rates by data type under "seen" and
            reasons under "missing".
        threads: Threads that they were given.
        cache_bytes: Last cache that these threads reach.
    """
    best: dict[str, tuple[float, str, tuple[float, float]]] = {}
    missing: dict[str, list[str]] = {}
    for library, outcome in outcomes.items():
        what_for = (BANDWIDTH,) if library == "memory" else DATA_TYPES
        for name in what_for:
            if why := outcome.get("error") or outcome.get("missing", {}).get(name):
                missing.setdefault(name, []).append(f"{library}: {why}")
        for kernel, rates in outcome.get("seen", {}).items():
            name, by = (BANDWIDTH, kernel) if library == "memory" else (kernel, library)
            if max(rates) > best.get(name, (0.0,))[0]:
                best[name] = (max(rates), by, (min(rates), statistics.median(rates)))
    verdicts = [outcome.get("noise", ("clean", ())) for outcome in outcomes.values()]
    return Peaks(
        threads=threads,
        gemm_flops_per_s={name: best[name][0] for name in DATA_TYPES if name in best},
        library={name: by for name, (_, by, _) in best.items()},
        seen={name: spread for name, (_, _, spread) in best.items()},
        bandwidth_bytes_per_s=best[BANDWIDTH][0] if BANDWIDTH in best else None,
        missing={
            name: "; ".join(missing.get(name, ["no library here multiplies it"]))
            for name in (*DATA_TYPES, BANDWIDTH)
            if name not in best
        },
        versions=dict(host_facts().versions),
        cache_bytes=cache_bytes,
        noise=tuple(dict.fromkeys(reason for _, reasons in verdicts for reason in reasons)),
        disturbed=any(word == "invalid" for word, _ in verdicts),
        measured_at_utc=utc_now(),
    )


def _measured_now(threads: int, affinity: Sequence[int] | None) -> Peaks:
    cache = last_level_cache(cores=affinity)
    cache_bytes = None if cache is None else cache.size_bytes * min(cache.instances, threads)
    array_bytes = _ARRAY_PER_CACHE * (cache_bytes or _UNKNOWN_CACHE_BYTES)
    outcomes: dict[str, dict[str, Any]] = {}
    if _ARRAYS * array_bytes > _MEMORY_SHARE * _available_bytes():
        need = f"{_ARRAYS} arrays of {array_bytes / 2**20:.0f} MiB"
        outcomes["memory"] = {"error": f"{need}, four times the last cache, are too much for the memory that is free"}
    else:
        outcomes["memory"] = _asked("memory", threads, affinity, array_bytes=array_bytes)
    for library in ("numpy", "onnxruntime", "openvino"):
        outcomes[library] = _asked(library, threads, affinity)
    # Two seconds of importing torch buy nothing where OpenVINO, which has the same kernels (oneDNN), gave a figure.
    if "bf16" not in outcomes["openvino"].get("seen", {}):
        outcomes["torch"] = _asked("torch", threads, affinity)
    peaks = best_of(outcomes, threads=threads, cache_bytes=cache_bytes)
    if not peaks.gemm_flops_per_s:
        raise MeasurementFailed(
            f"no library multiplied a matrix here: {peaks.missing['fp32']}", remedy="pip install 'benchkit[cpu]'"
        )
    return peaks


def _asked(library: str, threads: int, affinity: Sequence[int] | None, **more: int) -> dict[str, Any]:
    """Start a fresh process for one library and return what it saw, or why it saw nothing."""
    job = {"library": library, "threads": threads, "cores": list(affinity) if affinity else None} | more
    try:
        # -P: the folder we are in must not shadow the packages that are measured.
        child = subprocess.run(
            [sys.executable, "-P", "-m", "benchkit.bench.roofs.peaks_worker"],
            input=json.dumps(job),
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
            env=os.environ | dict.fromkeys(_THREAD_VARIABLES, str(threads)),
        )
    except subprocess.TimeoutExpired:
        return {"error": f"no answer after {_TIMEOUT_S:g} s"}
    if child.returncode != 0:
        # A library built for another processor dies of SIGILL, code -4; the others go on.
        said = [line.strip() for line in child.stderr.splitlines() if line.strip()]
        return {"error": f"its process ended with code {child.returncode}: {said[-1] if said else 'no message'}"}
    outcome: dict[str, Any] = json.loads(child.stdout)
    return outcome


def _available_bytes() -> int:
    return min(int(psutil.virtual_memory().available), memory_limit_bytes() or sys.maxsize)


def _place(threads: int, cache: Path, affinity: Sequence[int] | None) -> Path:
    key = [_FORMAT, host_facts().id, host_facts().versions, threads, sorted(affinity or own_cores())]
    return cache / f"peaks-{digest(key)}.json"


def _kept_today(path: Path) -> Peaks | None:
    try:
        peaks = Peaks.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # Not there, or not ours: measured anew.
    return peaks if peaks.measured_at_utc[:10] == utc_now()[:10] else None

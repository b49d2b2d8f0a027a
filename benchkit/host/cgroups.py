"""What a container's control group allows and withholds: CPU quota, throttling, memory limit. Version 2 and version 1.

Peak memory of the group is left to `meters`. Standard library only: the worker imports this.

Source: Linux Documentation/admin-guide/cgroup-v2.rst (cpu.max, cpu.stat, memory.max),
scheduler/sched-bwc.rst (cpu.cfs_quota_us, cpu.stat of version 1), cgroup-v1/memory.rst (memory.limit_in_bytes).
"""

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

PROC, CGROUP = Path("/proc"), Path("/sys/fs/cgroup")

# Version 1 writes "no limit" as the largest multiple of the page size in a signed 64-bit integer.
_NO_LIMIT_BYTES = 1 << 60


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Throttling:
    """How often, and how long, the quota of this process's group stopped it, since the group was made.

    Attributes:
        quota_cores: CPU time allowed per time of the clock.
        periods: Periods in which the quota ran out.
        stopped_s: Time that it was stopped for, summed over the group's cores.
    """

    quota_cores: float
    periods: int
    stopped_s: float


def throttling(proc: Path = PROC, root: Path = CGROUP) -> Throttling | None:
    """Return what the tightest quota has withheld so far; None where no quota binds this process."""
    limited = [(quota, folder) for folder in _folders("cpu", proc, root) if (quota := _quota_cores(folder)) is not None]
    if not limited:
        return None
    quota_cores, folder = min(limited, key=lambda found: found[0])
    stat = dict(line.split(maxsplit=1) for line in _text(folder / "cpu.stat").splitlines() if " " in line)
    try:
        if "throttled_usec" in stat:
            stopped_s = int(stat["throttled_usec"]) * 1e-6
        else:  # Version 1 counts nanoseconds.
            stopped_s = int(stat["throttled_time"]) * 1e-9
        return Throttling(quota_cores=quota_cores, periods=int(stat["nr_throttled"]), stopped_s=stopped_s)
    except (KeyError, ValueError):
        return None


def cpu_quota_cores(proc: Path = PROC, root: Path = CGROUP) -> float | None:
    """Return the cores' worth of CPU time that this process may use, None where no quota is set."""
    quotas = (_quota_cores(folder) for folder in _folders("cpu", proc, root))
    return min((quota for quota in quotas if quota is not None), default=None)


def memory_limit_bytes(proc: Path = PROC, root: Path = CGROUP) -> int | None:
    """Return the memory that this process's group may use, None where no limit is set."""
    limits = []
    for folder in _folders("memory", proc, root):
        text = (_text(folder / "memory.max") or _text(folder / "memory.limit_in_bytes")).strip()
        if text.isdecimal() and int(text) < _NO_LIMIT_BYTES:
            limits.append(int(text))
    return min(limits, default=None)


def _folders(controller: str, proc: Path, root: Path) -> Iterator[Path]:
    """Yield the folders of this process's group and of its ancestors: the limit of each of them binds."""
    for line in _text(proc / "self" / "cgroup").splitlines():
        hierarchy, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if hierarchy == "0" and not controllers:
            # A mixed system mounts version 2 below "unified", beside the controllers of version 1.
            mount = root / "unified" if (root / "unified").is_dir() else root
        elif controller in controllers.split(","):
            mount = root / controller if (root / controller).is_dir() else root / controllers
        else:
            continue
        here = mount / path.lstrip("/")
        # A container often sees its own group mounted as the root, under a path that only the host knows.
        while here != mount and here.is_relative_to(mount):
            yield here
            here = here.parent
        yield mount


def _quota_cores(folder: Path) -> float | None:
    quota, _, period = _text(folder / "cpu.max").strip().partition(" ")
    if not quota:
        quota, period = (_text(folder / name).strip() for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us"))
    try:
        cores = float(quota) / float(period)  # "max" is no number, and -1 no quota.
    except (ValueError, ZeroDivisionError):
        return None
    return cores if cores > 0 and math.isfinite(cores) else None


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""

"""What disturbed a measurement: counters of the kernel read before and after, and a verdict from their difference.

Pure functions of two snapshots, so that tests script them. Standard library only: the worker imports this.
"""

import dataclasses
import os
import time
from pathlib import Path

# Shares of one core-second of capacity. Below 5 % foreign load the runs of one machine agree within their
# bounds; above 25 % nothing can be said about the model any more.
_NOISY_SHARE = 0.05
_INVALID_SHARE = 0.25
# A worker that waited for a core more than this share of its wall time was not alone.
_RUN_DELAY_SHARE = 0.02
# The kernel counts CPU time in ticks of 10 ms: three of them may be missing or too many without a meaning.
_TICKS_S = 0.03


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Counters at one moment; None where this system has no such counter.

    Attributes:
        wall_s: Monotonic clock.
        own_cpu_s: CPU time of this process, children included.
        busy_s: CPU time of all processes of the machine, stolen time left out.
        steal_s: Time that the hypervisor gave to others.
        run_delay_s: Time that the main thread was runnable without a core.
        involuntary_switches: Context switches that this process did not ask for.
        major_faults: Page faults that went to disk.
        pressure_s: Time in which something was stalled, by resource (PSI "some").
    """

    wall_s: float
    own_cpu_s: float
    busy_s: float | None = None
    steal_s: float | None = None
    run_delay_s: float | None = None
    involuntary_switches: int | None = None
    major_faults: int | None = None
    pressure_s: dict[str, float] | None = None


def take_snapshot(proc: Path = Path("/proc")) -> Snapshot:
    """Read the counters.

    Source: Linux Documentation/filesystems/proc.rst (/proc/stat), accounting/psi.rst, scheduler/sched-stats.rst.
    """
    own = os.times()
    busy_s, steal_s = _machine_cpu(proc)
    involuntary, faults = _own_disturbances()
    return Snapshot(
        wall_s=time.perf_counter(),
        own_cpu_s=own.user + own.system + own.children_user + own.children_system,
        busy_s=busy_s,
        steal_s=steal_s,
        run_delay_s=_run_delay(proc),
        involuntary_switches=involuntary,
        major_faults=faults,
        pressure_s=_pressure(proc),
    )


def disturbances(before: Snapshot, after: Snapshot) -> tuple[str, tuple[str, ...]]:
    """Judge what happened between two snapshots.

    Args:
        before: Taken when the timed part began.
        after: Taken when it ended.

    Returns:
        "clean", "noisy" or "invalid", and the reasons in words.
    """
    wall_s = max(after.wall_s - before.wall_s, 1e-9)
    own_s = after.own_cpu_s - before.own_cpu_s
    found: list[tuple[str, str]] = []

    def weigh(share: float, what: str) -> None:
        if share > _NOISY_SHARE:
            found.append(("invalid" if share > _INVALID_SHARE else "noisy", f"{what} {share:.0%} of a core"))

    if before.busy_s is not None and after.busy_s is not None:
        foreign_s = (after.busy_s - before.busy_s) - own_s - _TICKS_S
        weigh(foreign_s / wall_s, "other processes used")
    if before.steal_s is not None and after.steal_s is not None:
        weigh((after.steal_s - before.steal_s) / wall_s, "the hypervisor took")
    if before.run_delay_s is not None and after.run_delay_s is not None:
        share = (after.run_delay_s - before.run_delay_s) / wall_s
        if share > _RUN_DELAY_SHARE:
            found.append(("noisy", f"the worker waited for a core {share:.1%} of the time"))
    if before.major_faults is not None and after.major_faults is not None and after.major_faults > before.major_faults:
        found.append(("noisy", f"{after.major_faults - before.major_faults} page faults went to disk"))
    worst = next((word for word in ("invalid", "noisy") if any(word == verdict for verdict, _ in found)), "clean")
    return worst, tuple(reason for _, reason in found)


def _machine_cpu(proc: Path) -> tuple[float | None, float | None]:
    try:
        fields = (proc / "stat").read_text().split("\n", 1)[0].split()[1:]
        ticks = [int(field) for field in fields]
    except (OSError, ValueError, IndexError):
        return None, None
    if len(ticks) < 8:
        return None, None
    user, nice, system, _idle, _iowait, irq, softirq, steal = ticks[:8]
    per_s = os.sysconf("SC_CLK_TCK")
    return (user + nice + system + irq + softirq) / per_s, steal / per_s


def _own_disturbances() -> tuple[int | None, int | None]:
    try:
        import resource  # POSIX only
    except ImportError:
        return None, None
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_nivcsw, usage.ru_majflt


def _run_delay(proc: Path) -> float | None:
    try:
        return int((proc / "self" / "schedstat").read_text().split()[1]) * 1e-9
    except (OSError, ValueError, IndexError):
        return None


def _pressure(proc: Path) -> dict[str, float] | None:
    pressure_s = {}
    for resource_name in ("cpu", "memory", "io"):
        try:
            first = (proc / "pressure" / resource_name).read_text().split("\n", 1)[0]
            pressure_s[resource_name] = int(first.rpartition("total=")[2]) * 1e-6
        except (OSError, ValueError):
            continue
    return pressure_s or None

"""What disturbed a measurement: counters of the kernel read before and after, and a verdict from their difference.

Pure functions of two snapshots, so that tests script them. The clock and the canary are left to `clocks`, the quota of
a container to `cgroups`. Standard library only: the worker imports this.
"""

import dataclasses
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchkit.host.cgroups import CGROUP, throttling
from benchkit.host.clocks import SYS, ClockState, clock_disturbances, clock_state

Found = Iterator[tuple[str, str]]  # Verdict and reason.

# CPU time of others, in cores. Below 5 % of a core the runs of one machine agree within their bounds; above 25 %
# nothing can be said about the model any more. On a machine of many cores others find room beside the worker: there
# shares of the whole machine count, with the same meaning from 5 and from 2.5 cores on.
_NOISY_CORES, _NOISY_SHARE = 0.05, 0.01
_INVALID_CORES, _INVALID_SHARE = 0.25, 0.10
# Of the time that the worker wanted to run. A quiet machine shows less than 0.1 %.
_NOISY_DELAY, _INVALID_DELAY = 0.02, 0.25
# Waking up costs some 50 us each time: of a process that mostly sleeps, a large share of very little.
_LEAST_DELAY_S = 0.005
# A CPU quota that stops the worker at all stops it for milliseconds; beyond a quarter it measures the quota.
_INVALID_THROTTLED = 0.25
# A lone thread is preempted 2 to 10 times a second by the kernel's own threads; beside a second one, at every slice
# of 3 to 10 ms, so 100 times and more.
_NOISY_SWITCHES_PER_S = 50
# Shares of the wall time in which some task of the whole machine was stalled (PSI "some"). Waiting for a core is the
# machine's, whose share in the worker `run_delay_s` knows, so the bar is high. Stalls for memory mean reclaim, which
# any allocation runs into. Other people's files cost the worker interrupts only.
_NOISY_PRESSURE = {"cpu": 0.10, "memory": 0.01, "io": 0.10}
# The kernel counts CPU time in ticks of 10 ms: three of them may be missing or too many without a meaning.
_TICKS_S = 0.03
_STEAL_TICK_S = 0.01


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Counters at one moment; None where this system has no such counter.

    Attributes:
        wall_s: Monotonic clock.
        own_cpu_s: CPU time of this process, children included.
        busy_s: CPU time of all processes of the machine, stolen time left out.
        steal_s: Time that the hypervisor gave to others.
        run_delay_s: Time that the threads of this process were runnable without a core.
        involuntary_switches: Context switches that this process did not ask for.
        major_faults: Page faults that went to disk.
        pressure_s: Time in which something was stalled, by resource (PSI "some").
        machine_cores: Logical cores that `busy_s` is summed over.
        quota_cores: CPU time that the container may use per time of the clock.
        throttled_periods: Periods in which that quota ran out.
        throttled_s: Time that it stopped the container's threads.
        clock: The fields of a `ClockState`.
    """

    wall_s: float
    own_cpu_s: float
    busy_s: float | None = None
    steal_s: float | None = None
    run_delay_s: float | None = None
    involuntary_switches: int | None = None
    major_faults: int | None = None
    pressure_s: dict[str, float] | None = None
    machine_cores: int | None = None
    quota_cores: float | None = None
    throttled_periods: int | None = None
    throttled_s: float | None = None
    clock: dict[str, Any] | None = None


def take_snapshot(proc: Path = Path("/proc"), *, cgroup_root: Path = CGROUP, sys_root: Path = SYS) -> Snapshot:
    """Read the counters; about a millisecond, so not within a timed block.

    Source: Linux Documentation/filesystems/proc.rst (/proc/stat), accounting/psi.rst, scheduler/sched-stats.rst.
    """
    own = os.times()
    busy_s, steal_s, machine_cores = _machine_cpu(proc)
    involuntary, faults = _own_disturbances()
    quota = throttling(proc, cgroup_root)
    return Snapshot(
        wall_s=time.perf_counter(),
        own_cpu_s=own.user + own.system + own.children_user + own.children_system,
        busy_s=busy_s,
        steal_s=steal_s,
        run_delay_s=_run_delay(proc),
        involuntary_switches=involuntary,
        major_faults=faults,
        pressure_s=_pressure(proc),
        machine_cores=machine_cores,
        quota_cores=quota.quota_cores if quota else None,
        throttled_periods=quota.periods if quota else None,
        throttled_s=quota.stopped_s if quota else None,
        clock=dataclasses.asdict(clock_state(sys_root)),
    )


def disturbances(before: Snapshot, after: Snapshot) -> tuple[str, tuple[str, ...]]:
    """Judge what happened between two snapshots.

    Args:
        before: Taken when the timed part began.
        after: Taken when it ended.

    Returns:
        "clean", "noisy" or "invalid", and the reasons in words, each with the figure that gave it away.
    """
    found = [reason for rule in _RULES for reason in rule(before, after)]
    worst = next((word for word in ("invalid", "noisy") if any(word == verdict for verdict, _ in found)), "clean")
    return worst, tuple(reason for _, reason in found)


def _others(before: Snapshot, after: Snapshot) -> Found:
    busy_s = _delta(before, after, "busy_s")
    if busy_s is not None:
        foreign_s = busy_s - (after.own_cpu_s - before.own_cpu_s) - _TICKS_S
        yield from _weighed(foreign_s / _wall_s(before, after), after.machine_cores or 1, "other processes used")


def _stolen(before: Snapshot, after: Snapshot) -> Found:
    steal_s = _delta(before, after, "steal_s")
    if steal_s is not None:
        yield from _weighed((steal_s - _STEAL_TICK_S) / _wall_s(before, after), 1, "the hypervisor took")


def _weighed(cores: float, machine_cores: int, what: str) -> Found:
    if cores > max(_NOISY_CORES, _NOISY_SHARE * machine_cores):
        invalid = cores > max(_INVALID_CORES, _INVALID_SHARE * machine_cores)
        yield "invalid" if invalid else "noisy", f"{what} {cores:.0%} of a core"


def _waited(before: Snapshot, after: Snapshot) -> Found:
    delay_s = _delta(before, after, "run_delay_s")
    if delay_s is None or delay_s < _LEAST_DELAY_S:
        return
    share = delay_s / (delay_s + max(after.own_cpu_s - before.own_cpu_s, 1e-9))
    if share > _NOISY_DELAY:
        word = "invalid" if share > _INVALID_DELAY else "noisy"
        yield word, f"the worker waited for a core {share:.1%} of the time that it wanted to run"


def _preempted(before: Snapshot, after: Snapshot) -> Found:
    switches = _delta(before, after, "involuntary_switches")
    own_s = after.own_cpu_s - before.own_cpu_s
    # Below a tenth of a second of CPU a handful of switches would be a high rate.
    if switches is not None and own_s > 0.1 and switches / own_s > _NOISY_SWITCHES_PER_S:
        yield "noisy", f"the worker was preempted {switches / own_s:.0f} times per second of its CPU time"


def _faulted(before: Snapshot, after: Snapshot) -> Found:
    faults = _delta(before, after, "major_faults")
    if faults:
        counted = "1 page fault" if faults == 1 else f"{faults:.0f} page faults"
        yield "noisy", f"{counted} went to disk"


def _throttled(before: Snapshot, after: Snapshot) -> Found:
    periods, stopped_s = _delta(before, after, "throttled_periods"), _delta(before, after, "throttled_s")
    if not periods or stopped_s is None:
        return
    # Stopped time is summed over cores, of which the quota's number could run.
    share = stopped_s / _wall_s(before, after) / max(after.quota_cores or 1.0, 1.0)
    quota = f"the container's CPU quota of {after.quota_cores:.3g} cores ran out"
    word = "invalid" if share > _INVALID_THROTTLED else "noisy"
    yield word, f"{quota} {periods:.0f} times and stopped it {stopped_s:.3g} s"


def _stalled(before: Snapshot, after: Snapshot) -> Found:
    wanted = {"cpu": "a core", "memory": "memory", "io": "a disk"}
    for name, bar in _NOISY_PRESSURE.items():
        begin_s, end_s = (before.pressure_s or {}).get(name), (after.pressure_s or {}).get(name)
        if begin_s is not None and end_s is not None:
            share = (end_s - begin_s) / _wall_s(before, after)
            if share > bar:
                yield "noisy", f"tasks of this machine waited for {wanted[name]} {share:.0%} of the time"


def _clocked(before: Snapshot, after: Snapshot) -> Found:
    if before.clock and after.clock:
        for reason in clock_disturbances(ClockState(**before.clock), ClockState(**after.clock)):
            yield "noisy", reason


_RULES: tuple[Callable[[Snapshot, Snapshot], Found], ...] = (
    _others,
    _stolen,
    _waited,
    _preempted,
    _faulted,
    _throttled,
    _stalled,
    _clocked,
)


def _delta(before: Snapshot, after: Snapshot, counter: str) -> float | None:
    begin, end = getattr(before, counter), getattr(after, counter)
    return None if begin is None or end is None else end - begin


def _wall_s(before: Snapshot, after: Snapshot) -> float:
    return max(after.wall_s - before.wall_s, 1e-9)


def _machine_cpu(proc: Path) -> tuple[float | None, float | None, int | None]:
    """Return busy and stolen seconds of the machine, and its number of cores."""
    try:
        lines = [line.split() for line in (proc / "stat").read_text().splitlines() if line.startswith("cpu")]
        ticks = [int(field) for field in lines[0][1:]]
    except (OSError, ValueError, IndexError):
        return None, None, None
    if len(ticks) < 8:
        return None, None, None
    user, nice, system, _idle, _iowait, irq, softirq, steal = ticks[:8]
    per_s = os.sysconf("SC_CLK_TCK")
    return (user + nice + system + irq + softirq) / per_s, steal / per_s, len(lines) - 1 or None


def _own_disturbances() -> tuple[int | None, int | None]:
    try:
        import resource  # POSIX only
    except ImportError:
        return None, None
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_nivcsw, usage.ru_majflt


def _run_delay(proc: Path) -> float | None:
    """Sum over the threads: /proc/self/schedstat itself knows the first one only."""
    files = list((proc / "self" / "task").glob("*/schedstat")) or [proc / "self" / "schedstat"]
    delays_ns = []
    for file in files:
        try:
            delays_ns.append(int(file.read_text().split()[1]))
        except (OSError, ValueError, IndexError):
            continue  # The thread ended meanwhile.
    return sum(delays_ns) * 1e-9 if delays_ns else None


def _pressure(proc: Path) -> dict[str, float] | None:
    pressure_s = {}
    for resource_name in ("cpu", "memory", "io"):
        try:
            first = (proc / "pressure" / resource_name).read_text().split("\n", 1)[0]
            pressure_s[resource_name] = int(first.rpartition("total=")[2]) * 1e-6
        except (OSError, ValueError):
            continue
    return pressure_s or None

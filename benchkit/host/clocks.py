"""The processor's clock, its throttling and its temperature, as far as the system shows them; and what to do if not.

A virtual machine shows none of them: then a canary, a fixed piece of work run between the blocks of a measurement,
tells whether the same work took the same time. Standard library only: the worker imports this.
"""

import dataclasses
import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

SYS = Path("/sys")

# Turbo bins lie 25 to 100 MHz apart: a few bins up and down are normal, a tenth is another clock.
_CLOCK_CHANGE = 0.10
# Sensors of the processor among all of hwmon's; disks and network cards have theirs too.
_CPU_SENSORS = ("coretemp", "k10temp", "zenpower", "cpu_thermal")
# Reading a core's clock may cost the kernel milliseconds: enough of them tell the fastest.
_MOST_CORES = 64

# About half a millisecond of the interpreter's integer loop: no allocation, no memory beyond the first cache.
_CANARY_STEPS = 8_000
_CANARY_WARMUP = 20  # The interpreter specialises a loop within its first runs (PEP 659).
_CANARY_LEAST = 10
_CANARY_DRIFT = 0.05
# On an idle core with a steady clock the quartiles lie within 3 % of the median; a sibling thread of the host that
# starts and stops puts them 30 to 60 % apart.
_CANARY_SPREAD = 0.10


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ClockState:
    """Clock, throttling and heat at one moment; None where the system does not show it.

    Attributes:
        fastest_hz: Clock of the fastest core that this process may use.
        throttle_events: Times that the hardware slowed down because of heat or power since it was started.
        hottest_celsius: Hottest sensor of the processor.
    """

    fastest_hz: float | None = None
    throttle_events: int | None = None
    hottest_celsius: float | None = None


def clock_state(sys_root: Path = SYS, cores: Iterable[int] | None = None) -> ClockState:
    """Read the state of the cores that this process may use.

    Args:
        sys_root: Where sysfs is mounted.
        cores: Logical cores to look at; None for the process's own.

    Source: Linux Documentation/admin-guide/pm/cpufreq.rst (scaling_cur_freq in kHz), hwmon/sysfs-interface.rst and
        driver-api/thermal/sysfs-api.rst (thousandths of a degree), x86's thermal_throttle counters.
    """
    folders = [sys_root / "devices/system/cpu" / f"cpu{core}" for core in sorted(cores or own_cores())[:_MOST_CORES]]
    clocks_hz = _numbers((folder / "cpufreq/scaling_cur_freq" for folder in folders), 1e3)
    by_core = _numbers(folder / "thermal_throttle/core_throttle_count" for folder in folders)
    # Every core of a package shows the package's one counter.
    by_package = _numbers(folder / "thermal_throttle/package_throttle_count" for folder in folders)
    counted = by_core or by_package
    return ClockState(
        fastest_hz=max(clocks_hz, default=None),
        throttle_events=int(sum(by_core) + max(by_package, default=0)) if counted else None,
        hottest_celsius=_hottest_celsius(sys_root),
    )


def own_cores() -> set[int]:
    """Return the logical cores that this process may run on; all of them where no affinity is kept."""
    if hasattr(os, "sched_getaffinity"):
        return set(os.sched_getaffinity(0))
    return set(range(os.cpu_count() or 1))


def clock_disturbances(before: ClockState, after: ClockState) -> tuple[str, ...]:
    """Say what changed between two states, in words with figures; () when nothing did, or nothing can be seen."""
    found = []
    if before.throttle_events is not None and after.throttle_events is not None:
        events = after.throttle_events - before.throttle_events
        heat = "" if after.hottest_celsius is None else f", at {after.hottest_celsius:.0f} °C"
        if events > 0:
            found.append(f"the processor throttled {events} times{heat}")
    if before.fastest_hz and after.fastest_hz:
        change = after.fastest_hz / before.fastest_hz - 1
        if abs(change) > _CLOCK_CHANGE:
            ends = f"from {before.fastest_hz * 1e-6:.0f} to {after.fastest_hz * 1e-6:.0f} MHz"
            found.append(f"the clock {'rose' if change > 0 else 'fell'} by {abs(change):.0%}, {ends}")
    return tuple(found)


class Canary:
    """A fixed piece of work, to be run between blocks: what it takes follows the clock of the core."""

    def __init__(self, clock_ns: Callable[[], int] = time.perf_counter_ns) -> None:
        """Warm up; tests script `clock_ns`."""
        self._clock_ns = clock_ns
        for _ in range(_CANARY_WARMUP):
            _fixed_work()

    def run(self) -> int:
        """Do the work once and return the nanoseconds that it took, about half a million."""
        begin_ns = self._clock_ns()
        _fixed_work()
        return self._clock_ns() - begin_ns


def canary_drift(values_ns: Sequence[int]) -> str | None:
    """Judge what a canary took over a measurement.

    The medians of the first and the last fifth are compared, and the quartiles with the median: single runs are
    interrupted now and then, and mean nothing.

    Args:
        values_ns: What each run took, in the order taken.

    Returns:
        What changed, with its figure; None when nothing did, or fewer than ten values cannot tell.
    """
    n = len(values_ns)
    if n < _CANARY_LEAST:
        return None
    fifth = n // 5
    first_ns, last_ns = _quantile(values_ns[:fifth], 0.5), _quantile(values_ns[-fifth:], 0.5)
    change = last_ns / first_ns - 1
    if abs(change) > _CANARY_DRIFT:
        return f"fixed work took {abs(change):.0%} {'longer' if change > 0 else 'less'} at the end than at the start"
    spread = (_quantile(values_ns, 0.75) - _quantile(values_ns, 0.25)) / _quantile(values_ns, 0.5)
    if spread > _CANARY_SPREAD:
        return f"the same fixed work varied by {spread:.0%} between its quartiles"
    return None


def _fixed_work() -> int:
    state = 1
    for _ in range(_CANARY_STEPS):
        state = (state * 1_103_515_245 + 12_345) & 0x7FFFFFFF
    return state


def _quantile(values: Sequence[int], q: float) -> float:
    # By hand: the module `statistics` brings decimal and fractions into the worker's memory.
    return float(sorted(values)[int(q * (len(values) - 1))])


def _hottest_celsius(sys_root: Path) -> float | None:
    sensors = []
    for name in (sys_root / "class/hwmon").glob("hwmon*/name"):
        if _text(name) in _CPU_SENSORS:
            sensors += list(name.parent.glob("temp*_input"))
    sensors = sensors or [kind.parent / "temp" for kind in _zones(sys_root)]
    return max(_numbers(sensors, 1e-3), default=None)


def _zones(sys_root: Path) -> list[Path]:
    zones = list((sys_root / "class/thermal").glob("thermal_zone*/type"))
    return [zone for zone in zones if _text(zone) == "x86_pkg_temp"] or zones


def _numbers(paths: Iterable[Path], factor: float = 1.0) -> list[float]:
    """Read one number of each file that is there and answers: a sensor may be asleep."""
    texts = map(_text, paths)
    return [int(text) * factor for text in texts if text.removeprefix("-").isdecimal()]


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""

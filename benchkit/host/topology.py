"""How the processor is built and set up: caches, threads that share a core, governor, turbo, hypervisor.

What does not change while benchkit runs; the clock itself is left to `clocks`.

Source: Linux Documentation/admin-guide/pm/cpufreq.rst, intel_pstate.rst, cputopology.rst, ABI/testing/sysfs-devices-
system-cpu (cache, smt), ABI/stable/sysfs-hypervisor-xen.
"""

import dataclasses
import re
from collections.abc import Iterable
from pathlib import Path

from benchkit.host.clocks import SYS, own_cores

_CPU = "devices/system/cpu"
_SIZE = re.compile(r"(\d+)([KMG]?)")
_FACTORS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LastLevelCache:
    """The largest cache before main memory.

    Attributes:
        level: 3, or 2 where there is no third.
        size_bytes: Of one of them.
        instances: How many of them the cores of this process reach.
    """

    level: int
    size_bytes: int
    instances: int


def last_level_cache(sys_root: Path = SYS, cores: Iterable[int] | None = None) -> LastLevelCache | None:
    """Return the last cache of the cores that this process may use, None where the system does not show it."""
    found: dict[int, dict[str, int]] = {}
    for core in cores or own_cores():
        for folder in (sys_root / _CPU / f"cpu{core}/cache").glob("index*"):
            level, size = _text(folder / "level"), _SIZE.fullmatch(_text(folder / "size"))
            if level.isdecimal() and size and _text(folder / "type") != "Instruction":
                sharers = _text(folder / "shared_cpu_list") or str(core)
                found.setdefault(int(level), {})[sharers] = int(size[1]) * _FACTORS[size[2]]
    if not found:
        return None
    last = max(found)
    return LastLevelCache(level=last, size_bytes=max(found[last].values()), instances=len(found[last]))


def smt_siblings(sys_root: Path = SYS, cores: Iterable[int] | None = None) -> tuple[tuple[int, ...], ...] | None:
    """Return the groups of usable logical cores that share one physical core; None where nothing shows it."""
    usable = set(cores or own_cores())
    groups, shown = set(), False
    for core in usable:
        text = _text(sys_root / _CPU / f"cpu{core}/topology/thread_siblings_list")
        shown = shown or bool(text)
        together = tuple(sorted(usable & listed_cores(text)))
        if len(together) > 1:
            groups.add(together)
    return tuple(sorted(groups)) if shown else None


def governor(sys_root: Path = SYS, cores: Iterable[int] | None = None) -> str | None:
    """Return how the clock is chosen, such as "schedutil" or "performance, powersave"; None without cpufreq."""
    folders = [sys_root / _CPU / f"cpu{core}/cpufreq" for core in sorted(cores or own_cores())]
    names = {text for folder in folders if (text := _text(folder / "scaling_governor"))}
    return ", ".join(sorted(names)) or None


def turbo(sys_root: Path = SYS) -> bool | None:
    """Tell whether the clock may rise above its rated value; None where nothing says."""
    off = _text(sys_root / _CPU / "intel_pstate/no_turbo")
    on = _text(sys_root / _CPU / "cpufreq/boost")
    if off in ("0", "1"):
        return off == "0"
    return on == "1" if on in ("0", "1") else None


def hypervisor(sys_root: Path = SYS, proc: Path = Path("/proc")) -> str | None:
    """Name the hypervisor as far as the machine admits to one: its kind, "yes", or None."""
    kind = _text(sys_root / "hypervisor/type")
    if kind:
        return kind
    try:
        flags = (proc / "cpuinfo").read_text(errors="replace")
    except OSError:
        return None
    if not re.search(r"^flags\s*:.*\bhypervisor\b", flags, re.MULTILINE):
        return None
    return _text(sys_root / "class/dmi/id/product_name") or "yes"


def listed_cores(text: str) -> set[int]:
    """Read the kernel's list format: "0-3,8" is 0, 1, 2, 3, 8."""
    cores: set[int] = set()
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        if first.isdecimal() and (last or first).isdecimal():
            cores |= set(range(int(first), int(last or first) + 1))
    return cores


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""

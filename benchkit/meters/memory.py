"""Memory of this process by phase: the kernel's own high-water mark, reset at the start of each.

Not `ru_maxrss`, which survives fork and exec (a 13.5 MB child of a 300 MB parent reported 321 MB), not
`VmPeak`, which is virtual, not polling, which misses what is shorter than its period. Standard library
only: the worker imports this, and what it imports counts into what it measures.
"""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from benchkit.meters import memory_psutil
from benchkit.meters.process_tree import descendants, has_ended

_PROC = Path("/proc")
_CGROUPS = Path("/sys/fs/cgroup")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PeakMemory:
    """A peak in bytes, and where it comes from."""

    peak_bytes: int
    source: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """What a process occupies at one moment; None where this system does not say.

    Attributes:
        resident_bytes: Resident now.
        peak_bytes: Most that was resident since the last reset, or since the process began.
        pss_bytes: Resident, shared pages divided by the number of their users.
        uss_bytes: Resident and used by nobody else: what ending the process would give back.
        anonymous_bytes: Heap, stacks, arenas: memory that no file backs.
        file_backed_bytes: Libraries and mapped model files; the kernel can drop and read them again.
        shared_memory_bytes: Shared anonymous memory (shmem), in neither of the two above.
        source: Where the peak comes from: "VmHWM", "peak_wset" ...; "none" without a peak.
    """

    resident_bytes: int | None = None
    peak_bytes: int | None = None
    pss_bytes: int | None = None
    uss_bytes: int | None = None
    anonymous_bytes: int | None = None
    file_backed_bytes: int | None = None
    shared_memory_bytes: int | None = None
    source: str = "none"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PhaseMemory:
    """One phase: its own peak, and the rest of the footprint as it was at its end.

    Attributes:
        name: "imports", "session", "first_call" ...
        footprint: Of this process; its peak is None where it may be that of an earlier phase.
        children_peak_bytes: Sum of the peaks of the child processes that lived at the end; None where not known.
    """

    name: str
    footprint: Footprint
    children_peak_bytes: int | None = None

    @property
    def peak_bytes(self) -> int | None:
        """The process's peak with its children's: an upper bound, since they need not peak together."""
        own_bytes = self.footprint.peak_bytes
        return None if own_bytes is None else own_bytes + (self.children_peak_bytes or 0)


class Phases:
    """Records the memory of each phase of a process.

    A phase runs from the end of the one before (the first from the recorder's making) until `end`, or as long as the
    block of `phase`. Where the high-water mark cannot be reset, a phase that did not raise it has no peak of its own.
    """

    def __init__(self, proc: Path = _PROC) -> None:
        self._proc = proc
        self._done: list[PhaseMemory] = []
        self._earlier_peak_bytes: int | None = None
        self._begin()

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Record the block as a phase; one that raises is not recorded, and what lies between two blocks is in none."""
        self._begin()
        yield
        self.end(name)

    def end(self, name: str) -> PhaseMemory:
        """Store what happened since the last phase ended under `name`, and begin the next phase."""
        found = footprint(self._proc)
        earlier = self._earlier_peak_bytes
        if earlier is not None and found.peak_bytes is not None and found.peak_bytes <= earlier:
            found = dataclasses.replace(found, peak_bytes=None, source=f"{found.source}, not reset")
        ended = PhaseMemory(name=name, footprint=found, children_peak_bytes=children_peak_bytes(self._proc))
        self._done.append(ended)
        self._begin()
        return ended

    @property
    def done(self) -> tuple[PhaseMemory, ...]:
        """Phases in the order in which they ended."""
        return tuple(self._done)

    def as_json(self) -> list[dict[str, Any]]:
        """Return the phases as JSON objects, in order."""
        return [dataclasses.asdict(phase) for phase in self._done]

    def _begin(self) -> None:
        for child in descendants(self._proc) or ():
            _reset(child)
        self._earlier_peak_bytes = None if reset_peak(self._proc) else footprint(self._proc).peak_bytes


def highest_peak(phases: Iterable[PhaseMemory]) -> int | None:
    """Return the largest peak of the phases in bytes: the figure of the record. None when no phase has one."""
    return max((phase.peak_bytes for phase in phases if phase.peak_bytes is not None), default=None)


def reset_peak(proc: Path = _PROC) -> bool:
    """Set the high-water mark to the present resident size; False where the system cannot.

    Source: Linux Documentation/filesystems/proc.rst, /proc/PID/clear_refs, value 5.
    """
    return _reset(proc / "self")


def peak_memory(proc: Path = _PROC) -> PeakMemory | None:
    """Return the high-water mark of the resident size, None where nothing trustworthy gives it."""
    peak_bytes = _kilobytes(proc / "self" / "status").get("VmHWM")
    if peak_bytes is not None:
        return PeakMemory(peak_bytes=peak_bytes, source="VmHWM")
    found = memory_psutil.sizes()
    return None if found.peak_bytes is None else PeakMemory(peak_bytes=found.peak_bytes, source=found.source)


def footprint(proc: Path = _PROC) -> Footprint:
    """Return what this process occupies; never raises.

    The sizes come from smaps_rollup, which walks the pages and is exact. VmHWM is made of counters that Linux keeps by
    core since 6.2 and adds up lazily: it may lag by 32 pages a core (by twice the number of cores, if that is more).

    Source: Linux Documentation/filesystems/proc.rst (status, smaps_rollup).
    """
    status = _kilobytes(proc / "self" / "status")
    if "VmRSS" not in status:
        return Footprint(**dataclasses.asdict(memory_psutil.sizes()))
    rollup = _kilobytes(proc / "self" / "smaps_rollup")
    resident_bytes = rollup.get("Rss", status["VmRSS"])
    anonymous_bytes = rollup.get("Anonymous", status.get("RssAnon"))
    shared_bytes = status.get("RssShmem")
    file_backed_bytes = status.get("RssFile")
    if anonymous_bytes is not None and shared_bytes is not None:
        file_backed_bytes = max(0, resident_bytes - anonymous_bytes - shared_bytes)
    private = [rollup[name] for name in ("Private_Clean", "Private_Dirty") if name in rollup]
    peak_bytes = status.get("VmHWM")
    return Footprint(
        resident_bytes=resident_bytes,
        peak_bytes=None if peak_bytes is None else max(peak_bytes, resident_bytes),
        pss_bytes=rollup.get("Pss"),
        uss_bytes=sum(private) if len(private) == 2 else None,
        anonymous_bytes=anonymous_bytes,
        file_backed_bytes=file_backed_bytes,
        shared_memory_bytes=shared_bytes,
        source="none" if peak_bytes is None else "VmHWM",
    )


def children_peak_bytes(proc: Path = _PROC) -> int | None:
    """Return the sum of the peaks of all live descendants of this process, 0 when it has none.

    None where a descendant's peak cannot be read. One that has ended already is not in the sum: RUSAGE_CHILDREN knows
    it, but only by `ru_maxrss`, which may be this process's own size from before the child's exec.
    """
    folders = descendants(proc)
    if folders is None:
        return memory_psutil.children_peak_bytes()
    total_bytes = 0
    for folder in folders:
        status = _kilobytes(folder / "status")
        # What has ended has no memory left to show: its folder is gone, or its state is Z.
        if "VmHWM" not in status and os.path.isdir(folder) and not has_ended(folder):
            return None
        total_bytes += status.get("VmHWM", 0)
    return total_bytes


def cgroup_peak_bytes(proc: Path = _PROC, sys_root: Path = _CGROUPS) -> tuple[int, str] | None:
    """Return the peak of this process's control group in bytes and the file's name, or None.

    It is the group's and not the process's: it counts every process in it, the page cache that they filled, and all
    that happened since the group was made. Version 2 keeps it since Linux 5.19, for all but the root group.

    Source: Linux Documentation/admin-guide/cgroup-v2.rst (memory.peak), cgroup-v1/memory.rst (max_usage_in_bytes).
    """
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except (OSError, ValueError):
        return None
    for line in lines:
        controllers, _, group = line.partition(":")[2].partition(":")
        if ".." in group.split("/"):  # Outside of what this namespace can see.
            continue
        if controllers == "":
            mounts, file_name = ["", "unified"], "memory.peak"
        elif "memory" in controllers.split(","):
            mounts, file_name = ["memory"], "memory.max_usage_in_bytes"
        else:
            continue
        for mount in mounts:
            # A container that sees its host's path finds its own group at the mount itself.
            folder = sys_root / mount / group.lstrip("/")
            folder = folder if os.path.isdir(folder) else sys_root / mount
            peak_bytes = _integer(folder / file_name)
            if peak_bytes is not None:
                return peak_bytes, file_name
    return None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ratchet:
    """Whether the memory of long inputs is given back; None where the resident size is not known.

    Attributes:
        first_short_bytes: Resident after the first call, the shortest: what short inputs cost before any long one.
        peak_bytes: Most that was resident between two calls; the phase around gives what was within a call.
        plateau_bytes: Resident after the last short call that followed the longest: what a service keeps.
    """

    first_short_bytes: int | None
    peak_bytes: int | None
    plateau_bytes: int | None


def ratchet(
    call: Callable[[Any], object],
    inputs_ascending: Iterable[Any],
    inputs_short: Iterable[Any],
    read: Callable[[], int | None],
) -> Ratchet:
    """Call the model over growing lengths, then over short ones only, and read the resident size after each call.

    Args:
        call: Runs one prepared batch.
        inputs_ascending: Prepared batches from the shortest to the longest, at least one.
        inputs_short: Prepared batches of the shortest length; several, since arenas shrink between calls if at all.
        read: Returns the resident size in bytes, None where not known.
    """
    sizes_bytes: list[int | None] = []
    for prepared in (*inputs_ascending, *inputs_short):
        call(prepared)
        sizes_bytes.append(read())
    known = [size for size in sizes_bytes if size is not None]
    return Ratchet(
        first_short_bytes=sizes_bytes[0],
        peak_bytes=max(known) if len(known) == len(sizes_bytes) else None,
        plateau_bytes=sizes_bytes[-1],
    )


def _reset(folder: Path) -> bool:
    try:
        (folder / "clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _kilobytes(path: Path) -> dict[str, int]:
    """Read the lines `Name:  123 kB` of a file, in bytes; {} where it cannot be read."""
    sizes_bytes = {}
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return {}
    for line in lines:
        name, _, value = line.partition(":")
        match value.split():
            case [number, "kB"] if number.isdecimal():
                sizes_bytes[name] = int(number) * 1024
    return sizes_bytes


def _integer(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None

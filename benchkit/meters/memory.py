"""Peak memory of this process: the kernel's own high-water mark, reset at the start of each phase.

Not `ru_maxrss`, which survives fork and exec (a 13.5 MB child of a 300 MB parent reported 321 MB), not
polling, which misses what is shorter than its period.
"""

import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PeakMemory:
    """A peak in bytes, and where it comes from."""

    peak_bytes: int
    source: str


def reset_peak(proc: Path = Path("/proc")) -> bool:
    """Set the high-water mark to the present resident size; False where the system cannot.

    Source: Linux Documentation/filesystems/proc.rst, /proc/PID/clear_refs, value 5.
    """
    try:
        (proc / "self" / "clear_refs").write_text("5")
    except OSError:
        return False
    return True


def peak_memory(proc: Path = Path("/proc")) -> PeakMemory | None:
    """Return the high-water mark of the resident size, None where nothing trustworthy gives it."""
    try:
        for line in (proc / "self" / "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return PeakMemory(peak_bytes=int(line.split()[1]) * 1024, source="VmHWM")
    except (OSError, ValueError, IndexError):
        pass
    return _peak_by_psutil()


def _peak_by_psutil() -> PeakMemory | None:
    import psutil

    # Windows keeps a peak of the working set for each process; macOS has only the present resident size.
    peak_bytes = getattr(psutil.Process().memory_info(), "peak_wset", None)
    return None if peak_bytes is None else PeakMemory(peak_bytes=int(peak_bytes), source="peak_wset")

"""Memory where there is no /proc: macOS and Windows, as far as psutil knows. It is imported on the first question."""

import dataclasses
from typing import Any

# What psutil calls a peak: on Windows; on most systems in later versions; on macOS in the latest (dirty pages there).
_PEAKS = ("peak_wset", "peak_rss", "peak_footprint")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """What psutil says of this process; None where it does not."""

    resident_bytes: int | None = None
    peak_bytes: int | None = None
    pss_bytes: int | None = None
    uss_bytes: int | None = None
    source: str = "none"


def sizes() -> Sizes:
    """Return what this process occupies; never raises. The peak is that of its whole life."""
    import psutil

    try:
        process = psutil.Process()
        now = process.memory_info()
    except (psutil.Error, OSError):
        return Sizes()
    # The newer name first: `memory_full_info` is deprecated where `memory_footprint` exists.
    shares = _asked(process, "memory_footprint") or _asked(process, "memory_full_info")
    source, peak_bytes = _peak(now) or _peak(_asked(process, "memory_info_ex")) or ("none", None)
    return Sizes(
        resident_bytes=now.rss,
        peak_bytes=peak_bytes,
        pss_bytes=getattr(shares, "pss", None),
        uss_bytes=getattr(shares, "uss", None),
        source=source,
    )


def children_peak_bytes() -> int | None:
    """Return the sum of the peaks of the live descendants; None where one of them cannot be known."""
    import psutil

    total_bytes = 0
    try:
        for child in psutil.Process().children(recursive=True):
            found = _peak(child.memory_info())
            if found is None:
                return None
            total_bytes += found[1]
    except (psutil.Error, OSError):
        return None
    return total_bytes


def _peak(info: object) -> tuple[str, int] | None:
    return next(((name, int(size)) for name in _PEAKS if (size := getattr(info, name, None))), None)


def _asked(process: Any, method: str) -> object:
    """Call a method that not every version and system has, and that may need more rights than we have."""
    import psutil

    try:
        return getattr(process, method)()
    except (psutil.Error, OSError, AttributeError, NotImplementedError):
        return None

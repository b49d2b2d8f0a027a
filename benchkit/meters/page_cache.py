"""Cold files: drop them from the page cache without root, and prove by `mincore` that they are gone.

Whether a start is cold is a matter of what is resident, not of what was asked: files on tmpfs, files that another
process has mapped, and pages that are not written back yet stay, and the share that is left says so.
"""

import contextlib
import dataclasses
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

_COLD_SHARE = 0.01  # A few pages are read again by whoever looks at the file's head in between.

Reason = Literal["", "no_posix_fadvise", "unreadable", "share_not_known", "still_resident"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """What is left of some files in the page cache.

    Attributes:
        size_bytes: Of all the files.
        resident_share: Share of their pages that is still in memory, 0 to 1; None where it is not known.
        reason: Why the files are not known to be cold; "" when they are.
        detail: One sentence for people.
    """

    size_bytes: int
    resident_share: float | None
    reason: Reason = ""
    detail: str = ""

    @property
    def cold(self) -> bool:
        """Whether it is proved that the files have to be read from the disk."""
        return self.reason == ""


def drop_from_page_cache(paths: Iterable[Path]) -> Dropped:
    """Ask the kernel to forget the pages of these files, those of folders included, and look at what it kept.

    Dirty pages are written back first, since they cannot be dropped. Never raises: what could not be done is a reason.

    Source: posix_fadvise(2), POSIX_FADV_DONTNEED; an offset and a length of 0 mean the whole file.
    """
    files = list(_files(paths))
    if not hasattr(os, "posix_fadvise"):
        return Dropped(
            size_bytes=0,
            resident_share=None,
            reason="no_posix_fadvise",
            detail=f"{sys.platform} has no posix_fadvise: the files cannot be dropped from the page cache",
        )
    try:
        for file in files:
            _drop(file)
        size_bytes = sum(file.stat().st_size for file in files)
    except OSError as error:
        detail = f"'{error.filename or file}' cannot be dropped: {error.strerror}"
        return Dropped(size_bytes=0, resident_share=None, reason="unreadable", detail=detail)
    return _judged(size_bytes, _share_of([_pages(file) for file in files]))


def resident_share(path: Path) -> float | None:
    """Return the share of a file's pages that is in the page cache, 0 to 1; None where that is not known.

    Since Linux 5.2 the kernel tells it only of files that we own or may write to, and calls all others resident.

    Source: mincore(2), and `can_do_mincore` in Linux mm/mincore.c.
    """
    return _share_of([_pages(path)])


def _judged(size_bytes: int, share: float | None) -> Dropped:
    if share is None:
        detail = "the kernel does not tell which pages of these files are in memory"
        return Dropped(size_bytes=size_bytes, resident_share=None, reason="share_not_known", detail=detail)
    if share > _COLD_SHARE:
        detail = f"{share:.0%} stayed in memory: on tmpfs, mapped by another process, or not written back"
        return Dropped(size_bytes=size_bytes, resident_share=share, reason="still_resident", detail=detail)
    return Dropped(size_bytes=size_bytes, resident_share=share)


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        yield from sorted(inner for inner in path.rglob("*") if inner.is_file()) if path.is_dir() else (path,)


def _drop(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # A read-only file system has nothing to write back.
            os.fdatasync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def _share_of(counts: list[tuple[int, int] | None]) -> float | None:
    """Return resident / all pages of several files; None when one of them is not known or none has pages."""
    known = [count for count in counts if count is not None]
    pages = sum(count for _, count in known)
    return sum(resident for resident, _ in known) / pages if pages and len(known) == len(counts) else None


def _pages(path: Path) -> tuple[int, int] | None:
    """Return (resident pages, all pages) of a file; None where the kernel does not tell."""
    import ctypes
    import mmap

    try:
        about = path.stat()
        if about.st_uid != os.geteuid() and not os.access(path, os.W_OK):
            return None
        if about.st_size == 0:
            return 0, 0
        mincore = ctypes.CDLL(None, use_errno=True).mincore
        # A private mapping reads nothing by itself, and only a writable one has an address that ctypes may take.
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as mapping:
            residency = (ctypes.c_ubyte * -(-len(mapping) // mmap.PAGESIZE))()
            start = ctypes.c_char.from_buffer(mapping)
            failed = mincore(ctypes.c_void_p(ctypes.addressof(start)), ctypes.c_size_t(len(mapping)), residency)
            del start  # The mapping cannot be closed while something points into it.
    except (OSError, AttributeError, TypeError, ValueError):  # No mincore, no geteuid: not POSIX.
        return None
    return None if failed else (sum(page & 1 for page in residency), len(residency))

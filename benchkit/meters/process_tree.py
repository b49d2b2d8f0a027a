"""The processes below this one, by /proc; standard library only, since the worker imports this."""

import os
from pathlib import Path


def _stat_fields(folder: Path) -> list[str]:
    """Return the fields of /proc/PID/stat from the state on; the name before it may hold blanks and brackets."""
    try:
        return (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def has_ended(folder: Path) -> bool:
    """Tell whether the process of a /proc folder is gone, or is a zombie without memory."""
    return _stat_fields(folder)[:1] in ([], ["Z"], ["X"])


def descendants(proc: Path) -> list[Path] | None:
    """Return the /proc folders of this process's live descendants; None where they cannot be listed.

    By the parent in each `stat`: `task/TID/children` is not in every kernel, and whole only while all are stopped.
    """
    try:
        own = (proc / "self" / "stat").read_text(errors="replace").split(maxsplit=1)[0]
        folders = [proc / name for name in os.listdir(proc) if name.isdecimal()]
    except (OSError, IndexError):
        return None
    children: dict[str, list[Path]] = {}
    for folder in folders:
        fields = _stat_fields(folder)
        if len(fields) > 1:
            children.setdefault(fields[1], []).append(folder)
    found: list[Path] = []
    parents = [own]
    while parents:
        young = children.pop(parents.pop(), [])
        found += young
        parents += [folder.name for folder in young]
    return found

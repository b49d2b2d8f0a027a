"""Errors that a user can solve, and the exit codes that scripts rely on.

Each class stands for one exit code; what to do about it travels in `remedy`. Turning an error into
text and a process exit is left to `benchkit.cli.boundary`.
"""

import difflib
import enum
from collections.abc import Iterable


class Exit(enum.IntEnum):
    """Exit codes. Scripts rely on them, so a number is never given a second meaning."""

    OK = 0
    FAIL = 1
    USAGE = 2
    INCONCLUSIVE = 3
    NOT_MEASURED = 4
    BUG = 70  # EX_SOFTWARE of sysexits.h
    INTERRUPTED = 130  # 128 + SIGINT, as shells report it


# What could not be measured outweighs what failed, and that what is not known.
_WORST_FIRST = (Exit.NOT_MEASURED, Exit.FAIL, Exit.INCONCLUSIVE, Exit.OK)


def worst_exit(codes: Iterable[Exit]) -> Exit:
    """Return the exit code that stands for several outcomes together."""
    seen = set(codes)
    return next((code for code in _WORST_FIRST if code in seen), Exit.OK)


class BenchkitError(Exception):
    """A problem that the user can solve; `remedy` says how.

    Raised directly for wrong usage, configuration or input: a file, a name, a value.
    """

    exit = Exit.USAGE

    def __init__(self, problem: str, *, remedy: str) -> None:
        super().__init__(problem)
        self.remedy = remedy

    def __reduce__(self) -> tuple[object, ...]:
        """Keep `remedy` when the error crosses a process boundary."""
        return (_rebuilt, (type(self), str(self), self.remedy))


class EnvironmentLacks(BenchkitError):
    """This machine or installation cannot do what was asked; nothing is wrong with the request."""

    exit = Exit.NOT_MEASURED


class MeasurementFailed(BenchkitError):
    """A worker process ended without a result."""

    exit = Exit.NOT_MEASURED


def _rebuilt(kind: type[BenchkitError], problem: str, remedy: str) -> BenchkitError:
    return kind(problem, remedy=remedy)


def unknown_name(kind: str, name: str, known: Iterable[str], *, where: str = "") -> BenchkitError:
    """Build the error for a name that is in no table, with the nearest one that is."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean '{near[0]}'? " if near else ""
    prefix = f"{where}: " if where else ""
    return BenchkitError(f"{prefix}unknown {kind} '{name}'", remedy=f"{hint}known: {', '.join(names)}")

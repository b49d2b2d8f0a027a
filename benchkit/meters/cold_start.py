"""Cold start by phase: exec, interpreter, imports, tokenizer, session, first inference, steady.

The parent notes its clock just before exec and sends that number with the job; the worker notes the same clock at the
end of each phase. This needs one clock for both: `perf_counter_ns` is CLOCK_MONOTONIC on Linux, mach_absolute_time on
macOS and QueryPerformanceCounter on Windows, none of which belongs to a process.

Source: Python's documentation of `time.perf_counter` ("is system-wide"; on Windows since 3.10), `time.get_clock_info`.
"""

import time
from collections.abc import Callable, Mapping

from benchkit.core.errors import MeasurementFailed

Clock = Callable[[], int]

_TOLERANCE = 0.02


class ColdStart:
    """Marks the end of each phase of one start; whole nanoseconds, so that the phases add up to the total exactly.

    Args:
        exec_ns: The parent's `perf_counter_ns` just before it made this process.
        clock_ns: The clock; tests script it.
    """

    def __init__(self, exec_ns: int, clock_ns: Clock = time.perf_counter_ns) -> None:
        self._clock_ns = clock_ns
        self._begin_ns = exec_ns
        self._last_ns = exec_ns
        self._phases_ns: dict[str, int] = {}

    def mark(self, phase: str, at_ns: int | None = None) -> None:
        """End a phase: it took from the mark before (the first from exec) until now.

        Args:
            phase: Its name; each is marked once.
            at_ns: When it ended, where the moment was noted before this recorder could be made.

        Raises:
            MeasurementFailed: The phase was marked before, or ends before it begins.
        """
        end_ns = self._clock_ns() if at_ns is None else at_ns
        if phase in self._phases_ns:
            raise MeasurementFailed(f"the phase '{phase}' of the start ends twice", remedy="mark each phase once")
        if end_ns < self._last_ns:
            raise MeasurementFailed(
                f"the phase '{phase}' of the start ends {(self._last_ns - end_ns) * 1e-6:.3f} ms before it begins",
                remedy="give both processes the same clock: no time namespace between them, on one machine",
            )
        self._phases_ns[phase] = end_ns - self._last_ns
        self._last_ns = end_ns

    @property
    def phases_ns(self) -> dict[str, int]:
        """How long each phase took, in the order of the marks."""
        return dict(self._phases_ns)

    @property
    def total_ns(self) -> int:
        """From exec to the last mark: the sum of the phases."""
        return self._last_ns - self._begin_ns

    def phases_s(self) -> dict[str, float]:
        """Return how long each phase took in seconds, in the order of the marks."""
        return {phase: round(took_ns * 1e-9, 9) for phase, took_ns in self._phases_ns.items()}

    @property
    def total_s(self) -> float:
        """From exec to the last mark, in seconds."""
        return round(self.total_ns * 1e-9, 9)


def unaccounted_share(phases_s: Mapping[str, float], wall_s: float) -> float:
    """Return which share of the wall time is in no phase; negative when the phases say more than the clock."""
    return (wall_s - sum(phases_s.values())) / wall_s


def adds_up(phases_s: Mapping[str, float], wall_s: float, tolerance: float = _TOLERANCE) -> bool:
    """Tell whether the phases explain what the parent saw.

    Args:
        phases_s: By name, in seconds, from the worker.
        wall_s: By the parent's clock, from just before exec until the answer arrived. Not until the process was gone:
            giving the memory back is no part of a start.
        tolerance: Largest share of `wall_s` that may be in no phase, or in two.
    """
    return wall_s > 0 and abs(unaccounted_share(phases_s, wall_s)) <= tolerance

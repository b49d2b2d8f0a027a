"""The words that both energy meters share, and joules per example of several windows. Reading is left to each meter.

Only joules that a counter gave: no guess from a processor's rated power is made here or becomes one of these figures.
"""

import dataclasses
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from benchkit.core.errors import MeasurementFailed

IDLE_S = 10.0  # measurement.md, section 6: idle power is taken for so long before and after.
MAX_IDLE_DIFFERENCE = 0.1
MAX_FOREIGN_SHARE = 0.05


class WindowVoid(MeasurementFailed):
    """A counter vanished, stood still or could not be read inside a window: the window has no figure."""

    def as_missing(self) -> "Missing":
        """Return it as the reason why the quantity was not measured."""
        return Missing(reason="window_void", detail=str(self), remedy=self.remedy)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """Why energy cannot be measured here: the fields of a `NotMeasured`."""

    reason: str
    detail: str
    remedy: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the counters say of one window.

    Attributes:
        joules: Energy of what the meter's scope names; nothing is counted twice.
        wall_s: Time between the first and the last reading of the counters: what `joules` was spent in.
        source: Instrument, as it was used in this window.
        scope: What the joules belong to, in words.
        by_zone_j: Joules of every counter read, those that are not part of `joules` (dram, psys, mirrors) included.
        dram_j: Energy of the memory, a line of its own; None where no counter gives it.
        mirrored_j: Packages of `by_zone_j` left out of `joules`, since another package shows the same counter.
        warnings: What a reader has to know.
    """

    joules: float
    wall_s: float
    source: str
    scope: str
    by_zone_j: dict[str, float] = dataclasses.field(default_factory=dict)
    dram_j: float | None = None
    mirrored_j: dict[str, float] = dataclasses.field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def power_w(self) -> float:
        """Mean power of the window: of an idle one, the idle power."""
        return self.joules / self.wall_s

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Reading":
        """Return the reading that `dataclasses.asdict` and JSON made `fields` of."""
        return cls(**{**fields, "warnings": tuple(fields.get("warnings", ()))})


class EnergyMeter(Protocol):
    """An instrument: `probe` it, then `start` and `stop` around each window of at least `window_s`.

    From `start` on a thread of this process may read the counters; `stop` ends it. What `start` returns is the
    meter's own and means nothing to others.
    """

    quantity: str
    source: str
    scope: str
    window_s: float

    def probe(self) -> Missing | None:
        """Say why this cannot measure here, or None when it can."""

    def start(self) -> Any:
        """Open a window; raise `WindowVoid` when a counter cannot be read."""

    def stop(self, mark: Any) -> Reading:
        """Close the window; raise `WindowVoid` when it has no figure."""


class Lookout:
    """A thread that calls `look` every `period_s` while a window is open, and keeps what went wrong."""

    def __init__(self, look: Callable[[], None], period_s: float) -> None:
        self._look = look
        self._period_s = period_s
        self._closed = threading.Event()
        self.void: WindowVoid | None = None
        # A daemon, so that a window which is never closed does not keep the process alive.
        self._thread = threading.Thread(target=self._run, name="benchkit-energy", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while self.void is None and not self._closed.wait(self._period_s):
            try:
                self._look()
            except WindowVoid as void:
                self.void = void

    def close(self) -> None:
        """End the thread.

        Raises:
            WindowVoid: A look failed meanwhile.
        """
        self._closed.set()
        self._thread.join()
        if self.void is not None:
            raise self.void


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EnergyWindow:
    """One window with work in it.

    Attributes:
        reading: What the counters say.
        examples: Examples completed between `start` and `stop`.
        foreign_share: CPU time of other processes over the CPU time of the whole machine, 0 to 1; None where unknown.
    """

    reading: Reading
    examples: int
    foreign_share: float | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EnergySummary:
    """Joules per example of several windows, one value a window in the order taken.

    Attributes:
        gross_j_per_example: The headline: all that was spent, the idle share included.
        net_j_per_example: Gross less the idle power's share; None with `net_reason`.
        dram_j_per_example: Memory's own line, no part of the others; None unless every window has it.
        idle_w: Mean of the idle power before and after; None when one lacks.
        contaminated: Per window, whether others used more than 5 % of the CPU; None where that is not known.
        warnings: What a reader has to know.
    """

    gross_j_per_example: tuple[float, ...]
    net_j_per_example: tuple[float, ...] | None
    net_reason: str | None
    dram_j_per_example: tuple[float, ...] | None
    idle_w: float | None
    contaminated: tuple[bool | None, ...]
    warnings: tuple[str, ...]


def j_per_example(joules: float, examples: int) -> float:
    """Return joules per example.

    Raises:
        WindowVoid: No example was completed in the window.
    """
    if examples < 1:
        raise WindowVoid(
            "no example was completed in the energy window", remedy="use a smaller batch or longer windows"
        )
    return joules / examples


def idle_power(before_w: float | None, after_w: float | None) -> tuple[float | None, str | None]:
    """Return the mean idle power, and why it is not to be subtracted (None when it may be).

    The two readings differ by their difference over the smaller one.
    """
    if before_w is None or after_w is None:
        return None, f"idle power {'before' if before_w is None else 'after'} the windows was not measured"
    idle_w = (before_w + after_w) / 2
    if abs(before_w - after_w) > MAX_IDLE_DIFFERENCE * min(before_w, after_w):
        return idle_w, f"idle power before ({before_w:.3g} W) and after ({after_w:.3g} W) differ by more than 10 %"
    return idle_w, None


def summarise_windows(
    windows: Sequence[EnergyWindow], idle_before_w: float | None, idle_after_w: float | None
) -> EnergySummary:
    """Make joules per example of `windows`.

    Args:
        windows: At least one; all of the same meter, model and cell.
        idle_before_w: Idle power before the first window; None when it was not measured.
        idle_after_w: The same after the last window.

    Raises:
        ValueError: There is no window.
        WindowVoid: A window has no completed example.
    """
    if not windows:
        raise ValueError("no energy window to summarise")
    joules, said = _agreed_joules([window.reading for window in windows])
    examples = [window.examples for window in windows]
    idle_w, reason = idle_power(idle_before_w, idle_after_w)
    net: tuple[float, ...] | None = None
    if idle_w is not None and reason is None:
        rows = zip(windows, joules, examples, strict=True)
        net = tuple(j_per_example(spent_j - idle_w * row.reading.wall_s, n) for row, spent_j, n in rows)
        if min(net) <= 0:
            net, reason = None, f"a window spent less than the idle power of {idle_w:.3g} W would have"
    dram = [window.reading.dram_j for window in windows if window.reading.dram_j is not None]
    contaminated = tuple(
        None if window.foreign_share is None else window.foreign_share > MAX_FOREIGN_SHARE for window in windows
    )
    return EnergySummary(
        gross_j_per_example=tuple(map(j_per_example, joules, examples)),
        net_j_per_example=net,
        net_reason=reason,
        dram_j_per_example=tuple(map(j_per_example, dram, examples)) if len(dram) == len(windows) else None,
        idle_w=idle_w,
        contaminated=contaminated,
        warnings=tuple(dict.fromkeys([*said, *_contaminations(windows, contaminated)])),
    )


def mirror_warning(zone: str, twin: str) -> str:
    """Say that a package was counted once only."""
    return f"{zone} shows the counter of {twin} (they agree within 0.1 %), so it was counted once"


def _agreed_joules(readings: Sequence[Reading]) -> tuple[list[float], list[str]]:
    # A mirror is a property of the machine, so it shows in every window. Two sockets that happen to agree within
    # 0.1 % in one window are no mirror, and leaving one out would halve the energy: it is added again.
    always = set(readings[0].mirrored_j).intersection(*(reading.mirrored_j for reading in readings))
    chance = sorted(set[str]().union(*(reading.mirrored_j for reading in readings)) - always)
    joules = [
        math.fsum([reading.joules, *(j for zone, j in reading.mirrored_j.items() if zone not in always)])
        for reading in readings
    ]
    claims = tuple(f"{zone} shows the counter of " for zone in chance)
    said = [warning for reading in readings for warning in reading.warnings if not warning.startswith(claims)]
    return joules, [
        *said,
        *(f"{zone} agreed with another package in some windows only: counted in all" for zone in chance),
    ]


def _contaminations(windows: Sequence[EnergyWindow], contaminated: Sequence[bool | None]) -> list[str]:
    return [
        f"energy window {number} is contaminated: others used {window.foreign_share:.0%} of the CPU"
        for number, (window, dirty) in enumerate(zip(windows, contaminated, strict=True), 1)
        if dirty
    ]

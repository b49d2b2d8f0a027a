"""The measuring loops: pure, so that tests script the clock.

Statistics of the values are left to `stats`, what the calls run to the runtime.
"""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How long each pass of a worker lasts.

    Attributes:
        warmup_calls: Least calls before values are taken.
        warmup_s: Least time before values are taken.
        min_values: Least timed calls, unless `max_duration_s` is over.
        max_values: Most timed calls.
        min_duration_s: Least sum of the timed calls.
        max_duration_s: After this no further call is begun.
        throughput_s: Least length of the saturated window.
    """

    warmup_calls: int = 3
    warmup_s: float = 0.2
    min_values: int = 12
    max_values: int = 5000
    min_duration_s: float = 1.0
    max_duration_s: float = 10.0
    throughput_s: float = 0.5


Call = Callable[[Any], object]
Clock = Callable[[], int]


def warm_up(call: Call, inputs: Sequence[Any], schedule: Schedule, clock_ns: Clock) -> int:
    """Call until both floors of the warm-up are met, or the hard limit is over; return the number of calls."""
    begin_ns = clock_ns()
    for calls, prepared in enumerate(itertools.cycle(inputs)):
        spent_s = (clock_ns() - begin_ns) * 1e-9
        if (calls >= schedule.warmup_calls and spent_s >= schedule.warmup_s) or spent_s >= schedule.max_duration_s:
            return calls
        call(prepared)
    raise AssertionError("inputs are never empty")


def time_calls(call: Call, inputs: Sequence[Any], schedule: Schedule, clock_ns: Clock) -> list[int]:
    """Time each call, one in flight (a closed loop), going round the inputs.

    Returns:
        Latency of each call in nanoseconds, in the order taken.
    """
    latency_ns: list[int] = []
    spent_ns = 0
    floor_ns, limit_ns = schedule.min_duration_s * 1e9, schedule.max_duration_s * 1e9
    for prepared in itertools.cycle(inputs):
        begin_ns = clock_ns()
        call(prepared)
        value_ns = clock_ns() - begin_ns
        latency_ns.append(value_ns)
        spent_ns += value_ns
        enough = len(latency_ns) >= schedule.min_values and spent_ns >= floor_ns
        if enough or len(latency_ns) >= schedule.max_values or spent_ns >= limit_ns:
            break
    return latency_ns


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A saturated stretch: calls back to back, no clock between them but the one that ends it."""

    calls: int
    wall_s: float
    cpu_s: float


def saturate(
    call: Call, inputs: Sequence[Any], duration_s: float, *, call_s: float, clock_ns: Clock, cpu_clock_ns: Clock
) -> Window:
    """Call back to back for about `duration_s`; the clock is looked at in batches of calls, never around one.

    Args:
        call: Runs one prepared batch.
        inputs: Prepared batches, gone round.
        duration_s: Least length of the window.
        call_s: About how long one call takes, to choose the stride between looks at the clock.
        clock_ns: Monotonic clock.
        cpu_clock_ns: CPU time of the process, all threads.
    """
    stride = max(1, min(1000, int(duration_s / 20 / max(call_s, 1e-7))))
    source = itertools.cycle(inputs)
    calls = 0
    cpu_begin_ns, begin_ns = cpu_clock_ns(), clock_ns()
    while True:
        for prepared in itertools.islice(source, stride):
            call(prepared)
        calls += stride
        wall_ns = clock_ns() - begin_ns
        if wall_ns >= duration_s * 1e9:
            return Window(calls=calls, wall_s=wall_ns * 1e-9, cpu_s=(cpu_clock_ns() - cpu_begin_ns) * 1e-9)

"""The closed loops: one call in flight. Pure, so that tests script the clock.

Open loops are left to `open_loop`, statistics of the values to `stats`, what the calls run to the runtime.
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
        max_warmup_s: After this, values are taken though the calls have not become steady.
        min_values: Least timed calls, unless `max_duration_s` is over.
        max_values: Most timed calls.
        min_duration_s: Least sum of the timed calls.
        max_duration_s: After this no further call is begun.
        throughput_s: Least length of the saturated window.
        idle_s: How long the idle machine's power is watched, before and after the energy windows.
    """

    warmup_calls: int = 3
    warmup_s: float = 0.2
    max_warmup_s: float = 2.0
    min_values: int = 12
    max_values: int = 5000
    min_duration_s: float = 1.0
    max_duration_s: float = 10.0
    throughput_s: float = 0.5
    idle_s: float = 10.0


Call = Callable[[Any], object]
Clock = Callable[[], int]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """Calls of a closed loop, in the order made. Call i took input i modulo the number of inputs.

    Attributes:
        begin_ns: Start of each call on the loop's clock.
        latency_ns: How long each took.
        answers: Last answer to each input, by its index.
    """

    begin_ns: list[int]
    latency_ns: list[int]
    answers: dict[int, Any]


def warm_up(
    call: Call,
    inputs: Sequence[Any],
    schedule: Schedule,
    clock_ns: Clock,
    *,
    is_warm: Callable[[Sequence[float]], bool] = lambda _: True,
) -> list[int]:
    """Call until both floors are met and the calls have become steady, or a limit is over.

    Args:
        call: Runs one prepared batch.
        inputs: Prepared batches, gone round.
        schedule: Gives the floors and the limits.
        clock_ns: Monotonic clock.
        is_warm: Tells from the latencies so far, in seconds, whether they have become steady.

    Returns:
        Latency of each call in nanoseconds; never mixed with the values, and kept beside them.
    """
    latency_ns: list[int] = []
    begin_ns = asked_ns = clock_ns()
    limit_s = min(schedule.max_warmup_s, schedule.max_duration_s)
    while True:
        for prepared in inputs:
            now_ns = clock_ns()
            spent_s = (now_ns - begin_ns) * 1e-9
            floors = len(latency_ns) >= schedule.warmup_calls and spent_s >= schedule.warmup_s
            # Asking costs time of its own: every 50 ms is often enough.
            if spent_s >= max(limit_s, schedule.warmup_s) and latency_ns:
                return latency_ns
            if floors and (now_ns - asked_ns >= 50_000_000 or not latency_ns):
                asked_ns = now_ns
                if is_warm([value_ns * 1e-9 for value_ns in latency_ns]):
                    return latency_ns
            called_ns = clock_ns()
            call(prepared)
            latency_ns.append(clock_ns() - called_ns)


def time_calls(
    call: Call,
    inputs: Sequence[Any],
    schedule: Schedule,
    clock_ns: Clock,
    *,
    between: Callable[[], object] | None = None,
    every_ns: int = 100_000_000,
) -> Calls:
    """Time each call, one in flight, going round the inputs.

    Args:
        call: Runs one prepared batch; nothing else stands between the two readings of the clock.
        inputs: Prepared batches.
        schedule: Gives the floors and the limits.
        clock_ns: Monotonic clock.
        between: Run between two calls whenever `every_ns` of timed work has passed, such as a canary.
        every_ns: How often.
    """
    begins_ns: list[int] = []
    latency_ns: list[int] = []
    answers: dict[int, Any] = {}
    spent_ns, next_ns = 0, every_ns
    floor_ns, limit_ns = schedule.min_duration_s * 1e9, schedule.max_duration_s * 1e9
    for number, prepared in itertools.cycle(enumerate(inputs)):
        begin_ns = clock_ns()
        answer = call(prepared)
        value_ns = clock_ns() - begin_ns
        begins_ns.append(begin_ns)
        latency_ns.append(value_ns)
        answers[number] = answer
        spent_ns += value_ns
        enough = len(latency_ns) >= schedule.min_values and spent_ns >= floor_ns
        if enough or len(latency_ns) >= schedule.max_values or spent_ns >= limit_ns:
            break
        if between is not None and spent_ns >= next_ns:
            between()
            next_ns = spent_ns + every_ns
    return Calls(begin_ns=begins_ns, latency_ns=latency_ns, answers=answers)


def overhead_ns(clock_ns: Clock, *, calls: int = 1000) -> float:
    """Return what the loop itself costs a call, in nanoseconds: the median of a null model in the same loop.

    Below fifty times this, figures of single calls say more about the loop than about the model.
    """
    schedule = Schedule(min_values=calls, max_values=calls, min_duration_s=0.0)
    return middle_ns(time_calls(_nothing, [None], schedule, clock_ns).latency_ns)


def middle_ns(latency_ns: Sequence[int]) -> float:
    """Return what a call usually takes, in nanoseconds: for choosing lengths, where a figure's bounds do not matter."""
    return float(sorted(latency_ns)[len(latency_ns) // 2])


def _nothing(_: Any) -> None:
    return None


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

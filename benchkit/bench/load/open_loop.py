"""The open loop: queries arrive by a schedule, whatever the system does, and wait in a queue when it is busy.

One server and one first-in-first-out queue need no second thread: query i begins at max(arrival i, end of i - 1), so
the thread that serves also knows when to. A thread of its own would take a core and the interpreter from the call.
The schedule is left to `arrivals`, statistics of the values to `stats`.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from benchkit.bench.timing import Call, Clock

# The kernel wakes a sleeper late: 50 us of timer slack, and more under a hypervisor. The last stretch is spun away.
SPIN_NS = 200_000

Cut = Literal["", "time", "backlog", "late"]
Sleep = Callable[[float], object]
Nanoseconds = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What ends a run before its schedule does; an overloaded system would otherwise keep it for ever.

    Attributes:
        max_duration_s: No query begins after it, counted from the start.
        max_backlog: No query begins while more than these wait.
        late_ns: A response longer than this counts as late; None counts none.
        late_allowed: Late responses at which the run goes on; one more ends it, since its outcome is then known.
    """

    max_duration_s: float
    max_backlog: int = 1000
    late_ns: int | None = None
    late_allowed: int = 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What happened to each query, in nanoseconds after the start, in the order of arrival.

    With more than one example a batch, a query is one call of one batch: queries/s x batch size = examples/s.

    Attributes:
        arrival_ns: Scheduled arrival of each served query.
        begin_ns: When its call began.
        end_ns: When its call had returned.
        waiting_ns: Scheduled arrivals that were due when the run was cut, and were never served.
        cut: What ended the run before the schedule did; "" when nothing did.
    """

    arrival_ns: tuple[int, ...]
    begin_ns: tuple[int, ...]
    end_ns: tuple[int, ...]
    waiting_ns: tuple[int, ...] = ()
    cut: Cut = ""

    @property
    def response_ns(self) -> Nanoseconds:
        """What a client waits: end - scheduled arrival, shape (served,), queueing included."""
        return _array(self.end_ns) - _array(self.arrival_ns)

    @property
    def service_ns(self) -> Nanoseconds:
        """What the calls took: end - begin, shape (served,)."""
        return _array(self.end_ns) - _array(self.begin_ns)

    @property
    def lateness_ns(self) -> Nanoseconds:
        """How late the generator itself began each query, shape (served,): begin - max(arrival, end of the one before).

        It is part of the response, which counts from the schedule, and it is not the system's doing: after a sleep in
        the kernel it is the time to wake up.
        """
        free_ns = np.concatenate([np.zeros(1, dtype=np.int64), _array(self.end_ns)[:-1]])[: len(self.end_ns)]
        ready_ns: Nanoseconds = np.maximum(_array(self.arrival_ns), free_ns)
        return _array(self.begin_ns) - ready_ns

    @property
    def window_ns(self) -> int:
        """From the start to the last scheduled arrival that was due: what the schedule asked for happens in it."""
        return max((*self.arrival_ns[-1:], *self.waiting_ns[-1:]), default=0)


def serve(
    call: Call,
    inputs: Sequence[Any],
    arrivals_ns: Nanoseconds,
    limits: Limits,
    *,
    clock_ns: Clock,
    sleep: Sleep,
    spin_ns: int = SPIN_NS,
) -> Served:
    """Serve the queries of a schedule by one server, first in, first out, going round the inputs.

    Args:
        call: Runs one prepared batch.
        inputs: Prepared batches.
        arrivals_ns: Scheduled arrivals after the start, ascending, shape (queries,).
        limits: What ends the run early.
        clock_ns: Monotonic clock.
        sleep: Sleeps in the kernel for a number of seconds.
        spin_ns: How long before an arrival to stop sleeping and look at the clock instead, which begins the query
            on time. 0 really sleeps: the core is then as cold as sparse traffic finds it.

    Returns:
        What happened to each query.
    """
    schedule = [int(value) for value in arrivals_ns]
    ends_at_ns = int(limits.max_duration_s * 1e9)
    late_ns = math.inf if limits.late_ns is None else limits.late_ns
    begins: list[int] = []
    ends: list[int] = []
    late = 0
    cut: Cut = ""
    start_ns = clock_ns()
    for index, arrival_ns in enumerate(schedule):
        now_ns = _wait_until(arrival_ns, start_ns, clock_ns, sleep, spin_ns)
        if now_ns > ends_at_ns:
            cut = "time"
        elif index + limits.max_backlog < len(schedule) and schedule[index + limits.max_backlog] <= now_ns:
            cut = "backlog"
        elif late > limits.late_allowed:
            cut = "late"
        if cut:
            break
        prepared = inputs[index % len(inputs)]
        begins.append(clock_ns() - start_ns)
        call(prepared)
        ends.append(clock_ns() - start_ns)
        late += ends[-1] - arrival_ns > late_ns
    served = len(ends)
    due_ns = clock_ns() - start_ns
    waiting = tuple(arrival_ns for arrival_ns in schedule[served:] if arrival_ns <= due_ns) if cut else ()
    return Served(
        arrival_ns=tuple(schedule[:served]), begin_ns=tuple(begins), end_ns=tuple(ends), waiting_ns=waiting, cut=cut
    )


def _wait_until(arrival_ns: int, start_ns: int, clock_ns: Clock, sleep: Sleep, spin_ns: int) -> int:
    """Wait for an arrival; return the time after the start at which the query may begin."""
    now_ns = clock_ns() - start_ns
    while arrival_ns - now_ns > spin_ns:
        sleep((arrival_ns - now_ns - spin_ns) * 1e-9)
        now_ns = clock_ns() - start_ns
    while now_ns < arrival_ns:
        now_ns = clock_ns() - start_ns
    return now_ns


def _array(values: Sequence[int]) -> Nanoseconds:
    return np.asarray(values, dtype=np.int64)

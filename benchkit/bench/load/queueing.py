"""What a served schedule says about itself: whether its figures hang together, and whether the system kept up.

Serving is left to `open_loop`; percentiles and their bounds to `stats`.
"""

import dataclasses
import math

import numpy as np

from benchkit.bench.load.open_loop import Served

LITTLE_TOLERANCE = 0.05
_FEWEST_TO_JUDGE = 20  # Below it a quarter of the run is a handful of queries.
_LATE_SHARE = 0.02
# Where all calls take the same, the slowest hundredth of the responses takes 4 calls at half load, 12 at 80 % and 23 at
# 90 % (M/D/1, simulated).
_QUEUED_FACTOR = 25


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LittlesLaw:
    """Both sides of L = rate x W.

    Attributes:
        mean_in_system: L: queries waiting or in service, averaged over the time of the schedule.
        rate_per_s: Queries a second that the schedule asked for.
        mean_response_s: W: mean response of the served queries.
        relative_difference: L / (rate x W) - 1; None when nothing was served.
        complete: Whether every query that was due was served. A cut leaves the longest responses out of W, and by
            chance the sides may still agree: the law is then not claimed.
    """

    mean_in_system: float
    rate_per_s: float
    mean_response_s: float
    relative_difference: float | None
    complete: bool

    @property
    def holds(self) -> bool:
        """Whether the sides of a complete run agree within 5 %."""
        return (
            self.complete and self.relative_difference is not None and abs(self.relative_difference) <= LITTLE_TOLERANCE
        )


def littles_law(served: Served) -> LittlesLaw:
    """Hold the number in the system against rate x response.

    Over a window that cuts no query, with the achieved rate, the law is an identity and could not fail. So L is
    integrated from arrivals and departures over the schedule's own window [0, last arrival) only, the rate is that
    of the schedule, whether served or not, and W is of the queries that were served. The sides then differ by what
    is still in the system when the schedule ends: about L / n for a system that keeps up, 1 - 1 / utilisation for one
    that does not. It does not prove the clock or the service times right.

    Source: J. D. C. Little, "A proof for the queuing formula L = lambda W", Operations Research 9 (1961).
    """
    window_ns = served.window_ns
    arrival_ns = np.asarray(served.arrival_ns, dtype=np.int64)
    until_ns = np.minimum(np.asarray(served.end_ns, dtype=np.int64), window_ns)
    waited_ns = float(np.sum(until_ns - arrival_ns)) + float(sum(window_ns - value for value in served.waiting_ns))
    if not len(arrival_ns) or window_ns <= 0:
        return LittlesLaw(
            mean_in_system=0.0, rate_per_s=0.0, mean_response_s=0.0, relative_difference=None, complete=False
        )
    # The last arrival opens the next interval: it is no part of this one (and waits 0 s in it).
    arrivals = len(arrival_ns) + len(served.waiting_ns) - 1
    mean_in_system = waited_ns / window_ns
    rate_per_s = arrivals / window_ns * 1e9
    mean_response_s = float(np.mean(served.response_ns)) * 1e-9
    expected = rate_per_s * mean_response_s
    return LittlesLaw(
        mean_in_system=mean_in_system,
        rate_per_s=rate_per_s,
        mean_response_s=mean_response_s,
        relative_difference=mean_in_system / expected - 1 if expected > 0 else None,
        complete=not served.cut,
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """Whether the system kept up with its schedule.

    Attributes:
        utilisation: Scheduled rate x mean service time: from 1 on the queue grows without end.
        growth_s_per_s: Slope of response against arrival: seconds of response gained for each second; utilisation - 1
            when overloaded, near 0 when not. None below 2 queries.
        reasons: What says that it did not keep up.
    """

    utilisation: float
    growth_s_per_s: float | None
    reasons: tuple[str, ...]

    @property
    def overloaded(self) -> bool:
        """Whether the schedule asked for more than the system can do."""
        return bool(self.reasons)


def keeping_up(served: Served) -> Keeping:
    """Say whether the system kept up: by its own service times, by its queue, and by where the responses went."""
    response_ns = served.response_ns.astype(np.float64)
    n = len(response_ns)
    arrivals = n + len(served.waiting_ns)
    mean_service_ns = float(np.mean(served.service_ns)) if n else 0.0
    utilisation = (arrivals - 1) * mean_service_ns / served.window_ns if served.window_ns > 0 else 0.0
    reasons = []
    if served.cut == "backlog":
        reasons.append("the run was cut, since its queue had grown past the limit")
    if n >= _FEWEST_TO_JUDGE and utilisation >= 1:
        reasons.append(f"the schedule asked for {utilisation:.2f} s of service a second")
    elif n >= _FEWEST_TO_JUDGE and _grew_to_the_end(served):
        reasons.append("responses grew to the end, and the queue was never empty in the last third")
    return Keeping(utilisation=utilisation, growth_s_per_s=_slope(served), reasons=tuple(reasons))


def _slope(served: Served) -> float | None:
    arrival_ns = np.asarray(served.arrival_ns, dtype=np.float64)
    if len(arrival_ns) < 2:
        return None
    centred = arrival_ns - arrival_ns.mean()
    return float(centred @ served.response_ns / (centred @ centred))


def _grew_to_the_end(served: Served) -> bool:
    response_ns = served.response_ns
    n = len(response_ns)
    last_third, quarter = n - n // 3, n // 4
    found_idle = np.asarray(served.arrival_ns[last_third:]) >= np.asarray(served.end_ns[last_third - 1 : -1])
    grew = np.median(response_ns[-quarter:]) > 2 * np.median(response_ns[:quarter])
    return bool(grew and not found_idle.any())


def lateness_warning(served: Served) -> str:
    """Say when the generator's own lateness is a visible part of the responses; "" when it is not."""
    total_ns = int(served.response_ns.sum())
    share = int(served.lateness_ns.sum()) / total_ns if total_ns else 0.0
    if share <= _LATE_SHARE:
        return ""
    worst_s = int(served.lateness_ns.max()) * 1e-9
    return (
        f"{share:.0%} of the response time is the generator's own lateness (worst {worst_s * 1e3:.3g} ms): "
        "the machine is busy, or it wakes sleepers slowly"
    )


def queueing_warning(served: Served) -> str:
    """Say when the slowest responses are a queue behind a few slow calls, which no closed loop would show."""
    n = len(served.end_ns)
    if n < _FEWEST_TO_JUDGE:
        return ""
    rank = max(1, math.ceil(0.99 * n - 1e-9)) - 1
    response_s, service_s = (float(np.sort(values)[rank]) * 1e-9 for values in (served.response_ns, served.service_ns))
    if response_s <= _QUEUED_FACTOR * service_s:
        return ""
    return (
        f"the slowest hundredth of the responses took {response_s * 1e3:.3g} ms and more, of the calls alone "
        f"{service_s * 1e3:.3g} ms: they queued behind slow calls, which a closed loop does not show"
    )

"""What load a server or low-rate cell puts on the system, and the one function that puts it on.

The worker calls `drive` after it has measured the capacity; the generators are `open_loop` (benchkit's own) and
`loadgen` (MLCommons'). Statistics of the raw values are left to the parent.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from benchkit.bench.load.arrivals import Arrivals, even_arrivals_ns, poisson_arrivals_ns
from benchkit.bench.load.find_rate import Trial, find_max_rate
from benchkit.bench.load.open_loop import SPIN_NS, Limits, Served, Sleep, serve
from benchkit.bench.load.queueing import keeping_up, lateness_warning, littles_law, queueing_warning
from benchkit.bench.timing import Call, Clock
from benchkit.core.errors import BenchkitError, unknown_name

LowOrServer = Literal["server", "low-rate"]
ENGINES = ("benchkit", "loadgen")
# Beyond the last arrival, so that a queue within reason is served to its end.
_DRAIN_SHARE = 0.5
_SERVICE_TOLERANCE = 0.15


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Which load a server or low-rate cell puts on the system. A query is one call of one batch.

    Given is exactly one of `rate_per_s`, `share_of_capacity` and `p99_at_most_s`; for "low-rate" it is the first.

    Attributes:
        rate_per_s: Queries a second.
        share_of_capacity: Rate as a share of the saturated calls a second, above 0; from 1 on the queue grows.
        p99_at_most_s: Look for the largest Poisson rate whose p99 response is within this.
        engine: Who drives: "benchkit" or "loadgen".
        queries: Most queries of the run.
        max_duration_s: No query arrives after it; the queue then has half of it again to empty. A search for the
            largest rate takes no longer in all: give it a minute.
    """

    rate_per_s: float | None = None
    share_of_capacity: float | None = None
    p99_at_most_s: float | None = None
    engine: str = "benchkit"
    queries: int = 1000
    max_duration_s: float = 10.0


def drive(
    call: Call,
    inputs: Sequence[Any],
    load: Load,
    *,
    scenario: LowOrServer,
    capacity_per_s: float,
    seed: int,
    clock_ns: Clock,
    sleep: Sleep,
) -> dict[str, Any]:
    """Put the load on the system and return what happened, as a JSON object.

    Args:
        call: Runs one prepared batch.
        inputs: Prepared batches, gone round.
        load: Which load.
        scenario: "server" (Poisson arrivals) or "low-rate" (fixed spacing, the core really asleep in between).
        capacity_per_s: Saturated calls (not examples) a second, measured before in this process.
        seed: Seed of the arrivals.
        clock_ns: Monotonic clock.
        sleep: Sleeps in the kernel for a number of seconds.

    Returns:
        `rate_per_s` (None when no rate was found), `capacity_per_s`, the raw values `arrival_ns`, `begin_ns`, `end_ns`,
        `response_ns`, and what they say of themselves: `waiting`, `cut`, `overloaded`, `utilisation`, `service_ratio`
        (mean call against that of the saturated window), `growth_s_per_s`, `lateness_ns`, `littles_law`, `warnings`;
        `search` where the rate was searched for, `loadgen` where that drove. Where no rate was found there are no raw
        values: they belong to no rate that is claimed.

    Raises:
        BenchkitError: The load does not fit the scenario or the engine.
        EnvironmentLacks: `loadgen` is asked for and not installed.
    """
    check_load(load, scenario)
    if load.p99_at_most_s is not None:
        return _searched(call, inputs, load, capacity_per_s=capacity_per_s, seed=seed, clock_ns=clock_ns, sleep=sleep)
    rate_per_s = load.rate_per_s or (load.share_of_capacity or 0.0) * capacity_per_s
    if load.engine == "loadgen":
        return _by_loadgen(call, inputs, load, rate_per_s=rate_per_s, capacity_per_s=capacity_per_s, seed=seed)
    limits = Limits(max_duration_s=load.max_duration_s * (1 + _DRAIN_SHARE))
    arrivals_ns, spin_ns = _schedule(load, scenario, rate_per_s, seed)
    served = serve(call, inputs, arrivals_ns, limits, clock_ns=clock_ns, sleep=sleep, spin_ns=spin_ns)
    return outcome_of(served, rate_per_s=rate_per_s, capacity_per_s=capacity_per_s, scenario=scenario)


def check_load(load: Load, scenario: str) -> None:
    """Raise the error for a load that does not say one rate, or says it in a way that the scenario cannot use."""
    ways = {
        "rate": load.rate_per_s,
        "share of capacity": load.share_of_capacity,
        "p99 bound": load.p99_at_most_s,
    }
    if load.engine not in ENGINES:
        raise unknown_name("engine", load.engine, ENGINES)
    if load.queries < 1 or not 0 < load.max_duration_s < math.inf:
        raise BenchkitError(
            f"a load of {load.queries} queries in at most {load.max_duration_s:g} s",
            remedy="give at least one, in some time",
        )
    given = [name for name, value in ways.items() if value is not None]
    if len(given) != 1:
        raise BenchkitError(
            f"scenario '{scenario}' with {' and '.join(given) or 'no rate'}",
            remedy="give one of a rate, a share of the capacity, or a bound on p99 to search under",
        )
    value = ways[given[0]]
    assert value is not None
    if not 0 < value < math.inf:
        raise BenchkitError(f"a {given[0]} of {value:g}", remedy="give a value above 0")
    if scenario == "low-rate" and load.rate_per_s is None:
        raise BenchkitError(f"scenario 'low-rate' with a {given[0]}", remedy="give a rate, such as one query a second")
    if load.engine == "loadgen" and (scenario != "server" or load.p99_at_most_s is not None):
        raise BenchkitError(
            "engine 'loadgen' drives scenario 'server' at a rate or a share of the capacity only",
            remedy="leave the engine at benchkit's own",
        )


def outcome_of(served: Served, *, rate_per_s: float, capacity_per_s: float, scenario: str) -> dict[str, Any]:
    """Make the JSON object of a run: the raw values, and what they say of themselves."""
    little, keeping = littles_law(served), keeping_up(served)
    warnings = [f"overloaded: {reason}" for reason in keeping.reasons]
    if served.cut == "time":
        warnings.append(f"the time was over with {len(served.waiting_ns)} queries waiting")
    if not little.holds:
        warnings.append(_broken_law(little.relative_difference))
    ratio = float(np.mean(served.service_ns)) * 1e-9 * capacity_per_s if served.end_ns else None
    if scenario == "server" and ratio is not None and abs(ratio - 1) > _SERVICE_TOLERANCE:
        warnings.append(
            f"calls took {ratio:.2f} times as long as in the saturated window: shares of the capacity are off by that"
        )
    # At a low rate the waking up is what is looked for, not a fault of the generator.
    late = "" if scenario == "low-rate" else lateness_warning(served)
    queued = "" if keeping.overloaded else queueing_warning(served)
    return {
        "rate_per_s": rate_per_s,
        "capacity_per_s": capacity_per_s,
        "arrival_ns": list(served.arrival_ns),
        "begin_ns": list(served.begin_ns),
        "end_ns": list(served.end_ns),
        "response_ns": served.response_ns.tolist(),
        "waiting": len(served.waiting_ns),
        "cut": served.cut,
        "overloaded": keeping.overloaded,
        "utilisation": keeping.utilisation,
        "service_ratio": ratio,
        "growth_s_per_s": keeping.growth_s_per_s,
        "lateness_ns": _summary(served.lateness_ns),
        "littles_law": dataclasses.asdict(little),
        "warnings": [*warnings, *filter(None, (late, queued))],
    }


def _schedule(load: Load, scenario: LowOrServer, rate_per_s: float, seed: int) -> tuple[Arrivals, int]:
    if scenario == "low-rate":
        count = min(load.queries, max(1, int(rate_per_s * load.max_duration_s)))
        return even_arrivals_ns(rate_per_s, count), 0
    arrivals_ns = poisson_arrivals_ns(rate_per_s, count=load.queries, duration_s=load.max_duration_s, seed=seed)
    if not len(arrivals_ns):
        raise BenchkitError(
            f"no query arrives in {load.max_duration_s:g} s at {rate_per_s:g} queries a second",
            remedy="give more time, or scenario low-rate, whose spacing is fixed",
        )
    return arrivals_ns, SPIN_NS


def _searched(
    call: Call,
    inputs: Sequence[Any],
    load: Load,
    *,
    capacity_per_s: float,
    seed: int,
    clock_ns: Clock,
    sleep: Sleep,
) -> dict[str, Any]:
    bound_s = load.p99_at_most_s
    assert bound_s is not None
    runs: list[Served] = []

    def serve_at(rate_per_s: float, queries: int, seed: int) -> Trial:
        arrivals_ns = poisson_arrivals_ns(rate_per_s, count=queries, seed=seed)
        allowed = queries - rank_of_p99(queries)
        limits = Limits(max_duration_s=load.max_duration_s, late_ns=int(bound_s * 1e9), late_allowed=allowed)
        begin_ns = clock_ns()
        runs.append(serve(call, inputs, arrivals_ns, limits, clock_ns=clock_ns, sleep=sleep))
        return trial_of(
            runs[-1], rate_per_s=rate_per_s, queries=queries, bound_s=bound_s, elapsed_s=(clock_ns() - begin_ns) * 1e-9
        )

    found = find_max_rate(
        serve_at, capacity_per_s=capacity_per_s, p99_at_most_s=bound_s, seed=seed, max_duration_s=load.max_duration_s
    )
    search = dataclasses.asdict(found)
    if found.rate_per_s is None:
        return {"rate_per_s": None, "capacity_per_s": capacity_per_s, "search": search, "warnings": [found.reason]}
    outcome = outcome_of(runs[-1], rate_per_s=found.rate_per_s, capacity_per_s=capacity_per_s, scenario="server")
    return outcome | {"search": search}


def trial_of(served: Served, *, rate_per_s: float, queries: int, bound_s: float, elapsed_s: float) -> Trial:
    """Judge one run of a search.

    Args:
        served: The run.
        rate_per_s: Rate asked for.
        queries: Queries of the schedule.
        bound_s: Bound on p99.
        elapsed_s: How long it took.
    """
    n = len(served.end_ns)
    p99_s = float(np.sort(served.response_ns)[rank_of_p99(n) - 1]) * 1e-9 if n and not served.cut else None
    keeping = keeping_up(served)
    why_not = ""
    if served.cut == "late":
        why_not = f"{int(np.sum(served.response_ns > bound_s * 1e9))} of {n} responses were above it"
    elif served.cut or p99_s is None:
        why_not = f"the run was cut ({served.cut or 'nothing served'})"
    elif p99_s > bound_s:
        why_not = f"p99 was {p99_s:.4g} s"
    elif keeping.overloaded:
        why_not = keeping.reasons[0]
    return Trial(
        rate_per_s=rate_per_s,
        queries=queries,
        served=n,
        p99_s=p99_s,
        met=not why_not,
        elapsed_s=elapsed_s,
        why_not=why_not,
        hopeless=int(np.sum(served.service_ns > bound_s * 1e9)) > queries - rank_of_p99(queries),
    )


def _by_loadgen(
    call: Call, inputs: Sequence[Any], load: Load, *, rate_per_s: float, capacity_per_s: float, seed: int
) -> dict[str, Any]:
    from benchkit.bench.load.loadgen import run_loadgen

    ran = run_loadgen(
        call,
        inputs,
        scenario="Server",
        rate_per_s=rate_per_s,
        count=load.queries,
        max_duration_s=load.max_duration_s,
        seed=seed,
    )
    outcome = outcome_of(ran.served, rate_per_s=rate_per_s, capacity_per_s=capacity_per_s, scenario="server")
    return outcome | {"loadgen": {"version": ran.version, "results": ran.results, "errors": list(ran.errors)}}


def _broken_law(difference: float | None) -> str:
    if difference is None:
        return "Little's law was not checked: too little was served"
    return f"Little's law is off by {difference:+.0%}: the queue was not steady over the run, or the figures do not fit"


def rank_of_p99(n: int) -> int:
    """Return the rank of the nearest-rank p99 among n values."""
    return max(1, math.ceil(0.99 * n - 1e-9))


def _summary(values_ns: np.ndarray[Any, np.dtype[np.int64]]) -> dict[str, int]:
    if not len(values_ns):
        return {}
    ordered = np.sort(values_ns)
    middle = max(1, math.ceil(0.5 * len(ordered)))
    return {
        "p50": int(ordered[middle - 1]),
        "p99": int(ordered[rank_of_p99(len(ordered)) - 1]),
        "max": int(ordered[-1]),
    }

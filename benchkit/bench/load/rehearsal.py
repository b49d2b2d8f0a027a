"""How long a search for the largest rate will take: the search itself, on a queue that is computed and not served."""

import numpy as np

from benchkit.bench.load.arrivals import poisson_arrivals_ns
from benchkit.bench.load.driving import Load, rank_of_p99
from benchkit.bench.load.find_rate import Trial, find_max_rate

_LEAST_CALL_S = 1e-4  # Where nothing is known of a model: calls of 0 s would make the capacity endless.


def search_s(load: Load, call_s: float, seed: int) -> float:
    """Return the seconds that `find_max_rate` would spend if every call took `call_s`.

    The arrivals are those that the worker will draw; the queue is that of one server with calls of one length.

    Args:
        load: With its bound on p99.
        call_s: Seconds of one call.
        seed: Seed of the search, as in the job.

    Source: Lindley, "The theory of queues with a single server" (1952).
    """
    bound_s, call_s = load.p99_at_most_s, max(call_s, _LEAST_CALL_S)
    assert bound_s is not None

    def serve_at(rate_per_s: float, queries: int, seed: int) -> Trial:
        arrival_s = poisson_arrivals_ns(rate_per_s, count=queries, seed=seed) * 1e-9
        order = np.arange(queries) * call_s
        end_s = order + call_s + np.maximum.accumulate(arrival_s - order)
        # A trial is ended by the first response that is one too many above the bound.
        late = np.flatnonzero(end_s - arrival_s > bound_s)
        allowed = queries - rank_of_p99(queries)
        met = len(late) <= allowed
        return Trial(
            rate_per_s=rate_per_s,
            queries=queries,
            served=queries,
            p99_s=None,
            met=met,
            elapsed_s=float(end_s[-1 if met else late[allowed]]),
            hopeless=call_s > bound_s,
        )

    found = find_max_rate(
        serve_at, capacity_per_s=1 / call_s, p99_at_most_s=bound_s, seed=seed, max_duration_s=load.max_duration_s
    )
    return sum(trial.elapsed_s for trial in found.trials)

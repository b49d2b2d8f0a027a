"""The largest Poisson rate whose p99 response meets a bound.

Serving at a rate is left to the caller, so that tests script it; bounds of a percentile to `stats`.
"""

import dataclasses
from collections.abc import Callable

# 299 is the fewest values whose p99 has a finite upper bound (verdicts.md, section 2; stats imports scipy, which
# a worker must not).
SEARCH_QUERIES = 299
CONFIRM_QUERIES = 2 * SEARCH_QUERIES
_LOWEST_SHARE = 0.05
_HIGHEST_SHARE = 1.0
_STEP_DOWN = 0.9


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One run at one rate.

    Attributes:
        rate_per_s: Queries a second asked for.
        queries: Queries of the schedule.
        served: Queries that were served; fewer than asked for where the run was cut.
        p99_s: Nearest-rank p99 of the responses; None when the run was cut, which leaves the worst out.
        met: Whether every query was served, p99 is within the bound and the system kept up.
        elapsed_s: How long it took.
        why_not: What was not met.
        hopeless: The calls alone, without any queue, missed the bound: no lower rate can meet it.
        confirms: Whether it is a confirmation: more queries, arrivals of their own.
    """

    rate_per_s: float
    queries: int
    served: int
    p99_s: float | None
    met: bool
    elapsed_s: float
    why_not: str = ""
    hopeless: bool = False
    confirms: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The answer of a search.

    Attributes:
        rate_per_s: Largest rate found whose confirmation met the bound; None when there is none.
        trials: Every run, in the order made.
        reason: Why there is no rate, or what is claimed of it.
        out_of_time: There is no rate because the time was over, and not because the bound was missed.
    """

    rate_per_s: float | None
    trials: tuple[Trial, ...]
    reason: str
    out_of_time: bool = False


ServeAt = Callable[[float, int, int], Trial]


@dataclasses.dataclass(kw_only=True)
class _Search:
    serve_at: ServeAt
    seed: int
    budget_s: float
    trials: list[Trial] = dataclasses.field(default_factory=list)

    @property
    def left_s(self) -> float:
        return self.budget_s - sum(trial.elapsed_s for trial in self.trials)

    def search(self, rate_per_s: float) -> bool:
        # The same seed at every rate: the same arrivals, stretched, so that a higher rate is never luckier.
        self.trials.append(self.serve_at(rate_per_s, SEARCH_QUERIES, self.seed))
        return self.trials[-1].met

    def confirm(self, rate_per_s: float, attempt: int) -> bool:
        trial = self.serve_at(rate_per_s, CONFIRM_QUERIES, self.seed + 1 + attempt)
        self.trials.append(dataclasses.replace(trial, confirms=True))
        return trial.met


def find_max_rate(
    serve_at: ServeAt,
    *,
    capacity_per_s: float,
    p99_at_most_s: float,
    seed: int,
    max_duration_s: float,
    max_trials: int = 10,
    precision: float = 0.02,
) -> Found:
    """Find the largest Poisson rate whose p99 response is within a bound, and confirm it on arrivals of its own.

    Bisection between 5 % and 100 % of capacity, each trial with 299 queries of the same stretched schedule; then runs
    of 598 queries with fresh arrivals, at the rate found and a tenth lower each time, until one is met. Claimed is
    what was seen: in the confirmation, the nearest-rank p99 was within the bound. That is no bound on the true p99,
    and a rate between the one found and the lowest missed may do as well.

    Args:
        serve_at: Serves at (rate_per_s, queries, seed) and says how it went.
        capacity_per_s: Saturated calls a second.
        p99_at_most_s: The bound.
        seed: Seed of the search; its successors seed the confirmations.
        max_duration_s: Seconds for all trials together; no trial is begun that would not end within them.
        max_trials: Most trials of the bisection.
        precision: The bisection ends when its interval is this share of its upper end.
    """
    search = _Search(serve_at=serve_at, seed=seed, budget_s=max_duration_s)
    low: float | None = None
    high = _HIGHEST_SHARE * capacity_per_s
    floor = _LOWEST_SHARE * capacity_per_s
    out_of_time = False
    while len(search.trials) < max_trials and high - (low or floor) > precision * high:
        rate = ((low or floor) + high) / 2
        # The confirmation needs its time too, and at least that of the rate it would start with.
        if SEARCH_QUERIES / rate + CONFIRM_QUERIES / (low or rate) > search.left_s:
            out_of_time = True
            break
        if search.search(rate):
            low = rate
        elif search.trials[-1].hopeless:
            break
        else:
            high = rate
    if low is None:
        return Found(
            rate_per_s=None,
            trials=tuple(search.trials),
            reason=_why_none(search, capacity_per_s, p99_at_most_s),
            out_of_time=out_of_time,
        )
    return _confirmed(search, low, floor, p99_at_most_s)


def _confirmed(search: _Search, rate_per_s: float, floor_per_s: float, p99_at_most_s: float) -> Found:
    rate, attempt = rate_per_s, 0
    while CONFIRM_QUERIES / rate <= search.left_s and rate >= floor_per_s:
        if search.confirm(rate, attempt):
            reason = (
                f"over {CONFIRM_QUERIES} queries with arrivals of their own, the nearest-rank p99 was "
                f"at most {p99_at_most_s:g} s"
            )
            return Found(rate_per_s=rate, trials=tuple(search.trials), reason=reason)
        rate, attempt = _STEP_DOWN * rate, attempt + 1
    reason = (
        f"{rate_per_s:.4g} queries/s met the p99 bound of {p99_at_most_s:g} s, but fresh arrivals confirmed neither it "
        f"nor a lower rate, and the time left of {search.budget_s:g} s holds no run at {rate:.4g} queries/s"
    )
    return Found(rate_per_s=None, trials=tuple(search.trials), reason=reason, out_of_time=rate >= floor_per_s)


def _why_none(search: _Search, capacity_per_s: float, p99_at_most_s: float) -> str:
    if not search.trials:
        # Half a dozen trials near half of capacity, and one confirmation.
        need_s = (6 * SEARCH_QUERIES + CONFIRM_QUERIES) / (capacity_per_s / 2)
        return f"{search.budget_s:g} s hold no trial with its confirmation; about {need_s:.0f} s are needed"
    last = search.trials[-1]
    if last.hopeless:
        return f"the calls alone, without any queue, have a p99 above {p99_at_most_s:g} s"
    return (
        f"p99 was above {p99_at_most_s:g} s down to {last.rate_per_s:.4g} queries/s "
        f"({last.rate_per_s / capacity_per_s:.0%} of capacity), and the time or the search ended there: {last.why_not}"
    )

"""The search against a brute-force answer, on simulated queues."""

from collections.abc import Callable

import numpy as np
import pytest

from benchkit.bench.load.arrivals import poisson_arrivals_ns
from benchkit.bench.load.driving import Load
from benchkit.bench.load.find_rate import CONFIRM_QUERIES, SEARCH_QUERIES, Trial, find_max_rate
from benchkit.bench.load.rehearsal import search_s

SERVICE_S = 0.005
CAPACITY_PER_S = 1 / SERVICE_S


def p99_of_queue(rate_per_s: float, queries: int, seed: int) -> float:
    """Nearest-rank p99 response of M/D/1, by Lindley: end_i = (i + 1) S + max of a_j - j S over j <= i."""
    arrivals_s = poisson_arrivals_ns(rate_per_s, count=queries, seed=seed) * 1e-9
    order = np.arange(queries) * SERVICE_S
    response_s = order + SERVICE_S + np.maximum.accumulate(arrivals_s - order) - arrivals_s
    return float(np.sort(response_s)[int(np.ceil(0.99 * queries)) - 1])


def system(bound_s: float, p99: Callable[[float, int, int], float] = p99_of_queue, hopeless: bool = False):
    def serve_at(rate_per_s: float, queries: int, seed: int) -> Trial:
        p99_s = p99(rate_per_s, queries, seed)
        return Trial(
            rate_per_s=rate_per_s,
            queries=queries,
            served=queries,
            p99_s=p99_s,
            met=p99_s <= bound_s,
            elapsed_s=queries / rate_per_s,
            why_not="" if p99_s <= bound_s else f"p99 was {p99_s:.4g} s",
            hopeless=hopeless,
        )

    return serve_at


def search(bound_s: float, *, seed: int = 0, max_duration_s: float = 600.0, **more):
    return find_max_rate(
        system(bound_s, **more),
        capacity_per_s=CAPACITY_PER_S,
        p99_at_most_s=bound_s,
        seed=seed,
        max_duration_s=max_duration_s,
    )


def brute_force(bound_s: float) -> float:
    rates = np.linspace(0.05, 0.99, 48) * CAPACITY_PER_S
    return max(rate for rate in rates if p99_of_queue(rate, 100_000, 99) <= bound_s)


@pytest.mark.parametrize("bound_s", [0.015, 0.025, 0.050])
def test_it_finds_what_brute_force_finds(bound_s: float) -> None:
    truth = brute_force(bound_s)
    found = [search(bound_s, seed=seed).rate_per_s for seed in range(0, 300, 10)]
    assert all(rate is not None for rate in found)
    assert np.median(found) == pytest.approx(truth, rel=0.1)
    # 598 queries of a queue leave some room, and not more than that.
    assert np.mean([abs(rate / truth - 1) < 0.25 for rate in found]) > 0.8


def test_the_answer_was_confirmed_by_arrivals_of_its_own() -> None:
    seeds: list[tuple[int, int]] = []
    inner = system(0.025)

    def serve_at(rate_per_s: float, queries: int, seed: int) -> Trial:
        seeds.append((queries, seed))
        return inner(rate_per_s, queries, seed)

    found = find_max_rate(serve_at, capacity_per_s=CAPACITY_PER_S, p99_at_most_s=0.025, seed=7, max_duration_s=600)
    last = found.trials[-1]
    assert last.confirms
    assert last.met
    assert last.rate_per_s == found.rate_per_s
    assert {seed for queries, seed in seeds if queries == SEARCH_QUERIES} == {7}
    confirming = [seed for queries, seed in seeds if queries == CONFIRM_QUERIES]
    assert 7 not in confirming
    assert len(set(confirming)) == len(confirming)


def test_a_lucky_search_is_stepped_down_until_it_is_confirmed() -> None:
    def luckier_in_search(rate_per_s: float, queries: int, seed: int) -> float:
        return 0.01 if rate_per_s <= (150 if queries == SEARCH_QUERIES else 120) else 1.0

    found = search(0.02, p99=luckier_in_search)
    assert found.rate_per_s is not None
    assert 105 < found.rate_per_s <= 120
    assert [trial.met for trial in found.trials if trial.confirms][-2:] == [False, True]


def test_a_bound_below_the_service_time_has_no_rate() -> None:
    found = search(0.004)
    assert found.rate_per_s is None
    assert "p99 was above 0.004 s down to" in found.reason


def test_calls_that_miss_the_bound_alone_end_the_search_at_once() -> None:
    found = search(0.004, hopeless=True)
    assert found.rate_per_s is None
    assert len(found.trials) == 1
    assert "the calls alone" in found.reason


def test_a_lax_bound_is_met_near_capacity_and_never_above() -> None:
    found = search(10.0)
    assert found.rate_per_s is not None
    assert 0.95 * CAPACITY_PER_S < found.rate_per_s <= CAPACITY_PER_S


@pytest.mark.parametrize("max_duration_s", [5.0, 10.0, 20.0, 40.0])
def test_it_keeps_its_time(max_duration_s: float) -> None:
    found = search(0.025, max_duration_s=max_duration_s)
    assert sum(trial.elapsed_s for trial in found.trials) <= max_duration_s
    if found.rate_per_s is None:
        assert "s are needed" in found.reason or "time" in found.reason


def test_a_search_that_had_no_time_says_so_and_not_that_the_bound_was_missed() -> None:
    assert search(0.025, max_duration_s=1.0).out_of_time
    assert not search(0.025).out_of_time
    assert not search(0.004).out_of_time
    assert not search(0.004, hopeless=True).out_of_time


@pytest.mark.parametrize(("bound_s", "max_duration_s"), [(0.025, 600.0), (0.012, 600.0), (10.0, 600.0), (0.025, 20.0)])
def test_a_rehearsal_takes_as_long_as_the_search(bound_s: float, max_duration_s: float) -> None:
    found = search(bound_s, seed=3, max_duration_s=max_duration_s)
    load = Load(p99_at_most_s=bound_s, max_duration_s=max_duration_s)
    # The system of this test runs to the end what is above the bound; the real one ends such a trial early.
    met_s = sum(trial.elapsed_s for trial in found.trials if trial.met)
    whole_s = sum(trial.elapsed_s for trial in found.trials)
    assert 0.9 * met_s < search_s(load, SERVICE_S, seed=3) <= 1.3 * whole_s


def test_a_rehearsal_of_a_bound_below_the_call_ends_at_once() -> None:
    assert search_s(Load(p99_at_most_s=0.004), SERVICE_S, seed=0) < 5 / (0.4 * CAPACITY_PER_S)
    assert search_s(Load(p99_at_most_s=0.004), 0.0, seed=0) > 0.1  # Of a model without config.json nothing is known.

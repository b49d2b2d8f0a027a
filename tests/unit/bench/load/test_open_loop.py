"""Time is scripted: calls and sleeps move the clock."""

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from benchkit.bench.load.arrivals import poisson_arrivals_ns
from benchkit.bench.load.open_loop import Limits, Served, serve

MS = 1_000_000
NO_LIMITS = Limits(max_duration_s=1e9, max_backlog=10**9)


class World:
    """A clock that calls, sleeps (late by `overshoot_ns`) and looks (`tick_ns` each) move."""

    def __init__(self, tick_ns: int = 0, overshoot_ns: int = 0) -> None:
        self.now_ns, self.tick_ns, self.overshoot_ns = 12345, tick_ns, overshoot_ns
        self.slept_ns: list[int] = []

    def clock_ns(self) -> int:
        self.now_ns += self.tick_ns
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.slept_ns.append(round(seconds * 1e9))
        self.now_ns += round(seconds * 1e9) + self.overshoot_ns

    def call_taking(self, durations_ns: Sequence[int]) -> Callable[[object], None]:
        durations = itertools.cycle(durations_ns)

        def call(prepared: object) -> None:
            self.now_ns += next(durations)

        return call

    def serve(self, durations_ns: Sequence[int], arrivals_ns: Sequence[int], limits: Limits = NO_LIMITS, **more: int):
        return serve(
            self.call_taking(durations_ns),
            ["a"],
            np.asarray(arrivals_ns),
            limits,
            clock_ns=self.clock_ns,
            sleep=self.sleep,
            **({"spin_ns": 0} | more),
        )


def p99_ms(values_ns: Sequence[int]) -> float:
    return float(np.sort(values_ns)[int(np.ceil(0.99 * len(values_ns))) - 1]) / MS


def test_a_query_begins_when_it_has_arrived_and_the_one_before_has_ended() -> None:
    served = World().serve([5 * MS], [10 * MS, 12 * MS, 30 * MS])
    assert served.begin_ns == (10 * MS, 15 * MS, 30 * MS)
    assert served.end_ns == (15 * MS, 20 * MS, 35 * MS)
    assert served.response_ns.tolist() == [5 * MS, 8 * MS, 5 * MS]
    assert served.service_ns.tolist() == [5 * MS] * 3
    assert served.lateness_ns.tolist() == [0, 0, 0]
    assert (served.cut, served.waiting_ns) == ("", ())


def test_inputs_go_round() -> None:
    seen: list[str] = []
    serve(seen.append, ["a", "b"], np.zeros(5, dtype=np.int64), NO_LIMITS, clock_ns=lambda: 0, sleep=lambda _: None)
    assert seen == ["a", "b", "a", "b", "a"]


def test_a_generator_that_wakes_late_is_told_and_counts_into_the_response() -> None:
    served = World(overshoot_ns=2 * MS).serve([5 * MS], [10 * MS, 40 * MS, 41 * MS])
    assert served.lateness_ns.tolist() == [2 * MS, 2 * MS, 0]
    assert served.response_ns.tolist() == [7 * MS, 7 * MS, 11 * MS]


def test_the_last_stretch_is_spun_so_that_a_late_wake_up_does_not_count() -> None:
    world = World(tick_ns=1000, overshoot_ns=100_000)
    served = world.serve([5 * MS], [10 * MS, 40 * MS], spin_ns=200_000)
    assert served.lateness_ns.max() <= 5000
    assert len(world.slept_ns) == 2  # It slept first: a generator that spins all along warms the core.
    assert world.slept_ns[0] == pytest.approx(9.8 * MS, rel=0.001)


def test_at_a_low_rate_it_sleeps_to_the_arrival() -> None:
    world = World(tick_ns=10)
    world.serve([5 * MS], [1000 * MS], spin_ns=0)
    assert sum(world.slept_ns) == pytest.approx(1000 * MS, abs=100)


def test_a_run_is_cut_at_its_time_and_says_what_was_left() -> None:
    served = World().serve([100 * MS], [10 * MS * n for n in range(1, 101)], Limits(max_duration_s=0.5))
    assert served.cut == "time"
    assert len(served.end_ns) == 5
    # 510 ms after the start 51 queries had arrived: those that were not served are told, and later ones are not due.
    assert len(served.waiting_ns) == 51 - 5
    assert served.window_ns == 510 * MS


def test_an_overloaded_run_is_cut_at_its_backlog() -> None:
    served = World().serve([100 * MS], [MS * n for n in range(1, 1001)], Limits(max_duration_s=1e9, max_backlog=50))
    assert served.cut == "backlog"
    assert len(served.end_ns) == 1


def test_a_run_whose_outcome_is_known_is_cut() -> None:
    limits = Limits(max_duration_s=1e9, late_ns=6 * MS, late_allowed=2)
    served = World().serve([5 * MS, 7 * MS], [20 * MS * n for n in range(1, 100)], limits)
    assert served.cut == "late"
    assert int(np.sum(served.response_ns > 6 * MS)) == 3


def test_nothing_served_is_nothing() -> None:
    served = Served(arrival_ns=(), begin_ns=(), end_ns=())
    assert len(served.response_ns) == len(served.lateness_ns) == served.window_ns == 0


def test_the_closed_loop_does_not_see_a_stall_and_the_open_loop_does() -> None:
    """Section 1 of measurement.md: calls of 5 ms, 0.2 % of them of 400 ms, at 50 and 80 % of what they can do."""
    n = 600_000  # Stalls come in clusters: of 150,000 calls at 80 %, p99 still has a standard error of 12 %.
    durations = np.where(np.random.default_rng(0).random(n) < 0.002, 400 * MS, 5 * MS).tolist()
    # The closed loop asks again as soon as it has an answer, and times its own calls: all are there at 0.
    assert 5 <= p99_ms(World().serve(durations, [0] * n).service_ns) <= 6
    for load, expected_ms in ((0.5, 405), (0.8, 929)):
        arrivals_ns = poisson_arrivals_ns(load * 1e9 / float(np.mean(durations)), count=n, seed=1)
        assert p99_ms(World().serve(durations, arrivals_ns).response_ns) == pytest.approx(expected_ms, rel=0.15)


def test_one_stall_in_500_calls_at_half_load() -> None:
    """Section 10 of measurement.md."""
    found = []
    for seed in range(100):
        durations = [5 * MS] * 500
        durations[np.random.default_rng(seed).integers(500)] = 405 * MS
        found.append(p99_ms(World().serve(durations, poisson_arrivals_ns(100.0, count=500, seed=seed)).response_ns))
    assert np.median(found) == pytest.approx(405, rel=0.1)


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_the_mean_wait_of_deterministic_service_is_the_formula_of_pollaczek_and_khinchine(load: float) -> None:
    """Mean wait of M/D/1: utilisation x service / (2 (1 - utilisation)); Kleinrock, Queueing Systems I (1975), 5.6."""
    service_s, n = 0.005, 60_000
    waits_s = []
    for seed in range(3):
        served = World().serve([5 * MS], poisson_arrivals_ns(load / service_s, count=n, seed=seed))
        waits_s.append(float(np.mean(served.response_ns - served.service_ns)) * 1e-9)
    assert np.mean(waits_s) == pytest.approx(load * service_s / (2 * (1 - load)), rel=0.04)

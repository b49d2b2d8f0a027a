"""Time is scripted: nothing here sleeps, and nothing here looks at the real clock."""

import itertools

import pytest

from benchkit.bench.timing import Schedule, overhead_ns, saturate, time_calls, warm_up


class ScriptedClock:
    """A clock that moves only when a call takes time, or by `tick_ns` at each look."""

    def __init__(self, tick_ns: int = 0) -> None:
        self.now_ns = 0
        self.tick_ns = tick_ns

    def __call__(self) -> int:
        self.now_ns += self.tick_ns
        return self.now_ns


def calls_taking(clock: ScriptedClock, durations_ns: list[int], seen: list[object] | None = None):
    durations = itertools.cycle(durations_ns)

    def call(prepared: object) -> None:
        clock.now_ns += next(durations)
        if seen is not None:
            seen.append(prepared)

    return call


SCHEDULE = Schedule(
    warmup_calls=3, warmup_s=0.0, min_values=4, max_values=1000, min_duration_s=0.0, max_duration_s=10.0
)


def test_values_are_what_the_calls_took() -> None:
    clock = ScriptedClock()
    assert time_calls(calls_taking(clock, [5_000_000, 7_000_000]), ["a"], SCHEDULE, clock).latency_ns == [
        5e6,
        7e6,
        5e6,
        7e6,
    ]


def test_both_floors_are_kept() -> None:
    clock = ScriptedClock()
    longer = Schedule(min_values=4, min_duration_s=1.0, max_duration_s=10.0)
    assert len(time_calls(calls_taking(clock, [100_000_000]), ["a"], longer, clock).latency_ns) == 10


def test_a_slow_model_ends_at_the_hard_limit() -> None:
    clock = ScriptedClock()
    schedule = Schedule(min_values=12, min_duration_s=1.0, max_duration_s=10.0)
    assert len(time_calls(calls_taking(clock, [4_000_000_000]), ["a"], schedule, clock).latency_ns) == 3


def test_a_fast_model_ends_at_the_most_values() -> None:
    clock = ScriptedClock()
    schedule = Schedule(min_values=4, max_values=50, min_duration_s=10.0)
    assert len(time_calls(calls_taking(clock, [1000]), ["a"], schedule, clock).latency_ns) == 50


def test_inputs_go_round() -> None:
    clock, seen = ScriptedClock(), []
    time_calls(calls_taking(clock, [1], seen), ["a", "b", "c"], SCHEDULE, clock)
    assert seen == ["a", "b", "c", "a"]


@pytest.mark.parametrize(("call_ns", "calls"), [(1_000_000, 200), (90_000_000, 3), (11_000_000_000, 1)])
def test_warm_up_keeps_both_floors_and_the_limit(call_ns: int, calls: int) -> None:
    clock = ScriptedClock()
    schedule = Schedule(warmup_calls=3, warmup_s=0.2, max_duration_s=10.0)
    assert warm_up(calls_taking(clock, [call_ns]), ["a"], schedule, clock) == [call_ns] * calls


def test_a_saturated_window_counts_every_call() -> None:
    clock = ScriptedClock()
    window = saturate(
        calls_taking(clock, [1_000_000]), ["a"], 0.5, call_s=0.001, clock_ns=clock, cpu_clock_ns=lambda: clock.now_ns
    )
    assert window.calls * 0.001 == pytest.approx(window.wall_s)
    assert 0.5 <= window.wall_s <= 0.55
    assert window.cpu_s == pytest.approx(window.wall_s)


def test_the_window_looks_at_the_clock_between_strides_only() -> None:
    """A look costs time: a look a call would be a part of what is measured."""
    clock = ScriptedClock(tick_ns=1_000_000)
    window = saturate(
        calls_taking(clock, [1_000_000]), ["a"], 0.5, call_s=0.001, clock_ns=clock, cpu_clock_ns=lambda: 0
    )
    assert window.wall_s / (window.calls * 0.001) < 1.05


def test_calls_that_are_not_steady_are_warmed_up_longer_but_not_for_ever() -> None:
    clock = ScriptedClock()
    schedule = Schedule(warmup_calls=3, warmup_s=0.2, max_warmup_s=2.0)
    assert len(warm_up(calls_taking(clock, [10_000_000]), ["a"], schedule, clock, is_warm=lambda _: False)) == 200
    settled = warm_up(calls_taking(clock, [10_000_000]), ["a"], schedule, clock, is_warm=lambda seen: len(seen) >= 50)
    assert 50 <= len(settled) < 60


def test_every_value_has_its_time_stamp_and_every_input_its_answer() -> None:
    clock = ScriptedClock()

    def call(prepared: str) -> str:
        clock.now_ns += 2_000_000
        return prepared.upper()

    calls = time_calls(call, ["a", "b"], SCHEDULE, clock)
    assert [begin - calls.begin_ns[0] for begin in calls.begin_ns] == [0, 2e6, 4e6, 6e6]
    assert calls.answers == {0: "A", 1: "B"}


def test_a_canary_sings_between_calls_and_is_not_timed() -> None:
    clock, sung = ScriptedClock(), []

    def canary() -> None:
        sung.append(clock.now_ns)
        clock.now_ns += 500_000

    schedule = Schedule(min_values=10, min_duration_s=0.0)
    calls = time_calls(calls_taking(clock, [40_000_000]), ["a"], schedule, clock, between=canary, every_ns=100_000_000)
    assert len(sung) == 3
    assert set(calls.latency_ns) == {40_000_000}


def test_the_loops_own_cost_is_what_a_null_model_takes() -> None:
    assert overhead_ns(ScriptedClock(tick_ns=70), calls=100) == 70

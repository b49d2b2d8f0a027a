import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from benchkit.bench.load.driving import Load, check_load, drive
from benchkit.core.errors import BenchkitError


class World:
    """A system of 5 ms a call on a scripted clock."""

    def __init__(self, call_ns: int = 5_000_000) -> None:
        self.now_ns, self.call_ns, self.slept_ns = 0, call_ns, 0

    def clock_ns(self) -> int:
        self.now_ns += 100
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        self.slept_ns += round(seconds * 1e9)
        self.now_ns += round(seconds * 1e9)

    def call(self, prepared: object) -> None:
        self.now_ns += self.call_ns

    def drive(self, load: Load, scenario: Any = "server", seed: int = 0) -> dict[str, Any]:
        outcome = drive(
            self.call,
            ["a"],
            load,
            scenario=scenario,
            capacity_per_s=200.0,
            seed=seed,
            clock_ns=self.clock_ns,
            sleep=self.sleep,
        )
        return json.loads(json.dumps(outcome, allow_nan=False))  # It crosses a pipe.


def test_a_load_crosses_the_pipe() -> None:
    load = Load(share_of_capacity=0.5, queries=7)
    assert Load(**json.loads(json.dumps(dataclasses.asdict(load)))) == load


def test_a_share_of_the_capacity_is_a_rate() -> None:
    outcome = World().drive(Load(share_of_capacity=0.5))
    assert outcome["rate_per_s"] == 100.0
    assert len(outcome["response_ns"]) > 800
    assert outcome["utilisation"] == pytest.approx(0.5, rel=0.1)
    assert outcome["littles_law"]["relative_difference"] == pytest.approx(0, abs=0.05)
    assert (outcome["overloaded"], outcome["warnings"], outcome["cut"], outcome["waiting"]) == (False, [], "", 0)
    responses = np.subtract(outcome["end_ns"], outcome["arrival_ns"])
    assert responses.tolist() == outcome["response_ns"]
    assert outcome["lateness_ns"]["max"] < 10_000


def test_the_seed_draws_the_arrivals() -> None:
    first, again, other = (World().drive(Load(rate_per_s=100.0), seed=seed)["arrival_ns"] for seed in (0, 0, 1))
    assert first == again != other


def test_a_machine_that_changed_its_speed_since_the_capacity_was_measured_is_told() -> None:
    outcome = World(call_ns=6_500_000).drive(Load(share_of_capacity=0.5))
    assert outcome["service_ratio"] == pytest.approx(1.3, rel=1e-3)
    assert "1.30 times as long" in outcome["warnings"][0]


def test_an_overloaded_system_is_said_and_ends() -> None:
    outcome = World().drive(Load(rate_per_s=1000.0, queries=100_000, max_duration_s=3.0))
    assert outcome["overloaded"]
    assert outcome["cut"]
    assert outcome["waiting"] > 0
    assert any(warning.startswith("overloaded") for warning in outcome["warnings"])
    assert any("Little" in warning for warning in outcome["warnings"])
    assert outcome["end_ns"][-1] < 5e9


def test_a_slow_model_in_a_short_time_keeps_it() -> None:
    outcome = World(call_ns=2_000_000_000).drive(Load(rate_per_s=2.0, max_duration_s=4.0))
    assert outcome["cut"] == "time"
    assert any("queries waiting" in warning for warning in outcome["warnings"])
    assert outcome["end_ns"][-1] <= 4e9 * 1.5 + 2e9


def test_a_low_rate_really_sleeps() -> None:
    world = World()
    outcome = world.drive(Load(rate_per_s=2.0, max_duration_s=10.0), "low-rate")
    assert len(outcome["response_ns"]) == 20
    assert set(np.diff(outcome["arrival_ns"]).tolist()) == {500_000_000}
    # Everything but the calls is slept: 19 gaps less the call, and the first gap.
    assert world.slept_ns == pytest.approx(20 * 0.5e9 - 19 * 5e6, rel=1e-3)
    assert outcome["warnings"] == []


def test_the_largest_rate_is_searched_for() -> None:
    outcome = World().drive(Load(p99_at_most_s=0.020, max_duration_s=60.0))
    assert 0.3 * 200 < outcome["rate_per_s"] < 0.9 * 200
    last = outcome["search"]["trials"][-1]
    assert last["confirms"]
    assert last["met"]
    # The raw values are the confirmation's.
    assert len(outcome["response_ns"]) == last["queries"]
    assert float(np.sort(outcome["response_ns"])[-int(0.01 * last["queries"]) - 1]) <= 0.020e9


def test_a_search_keeps_its_time() -> None:
    world = World()
    world.drive(Load(p99_at_most_s=0.020, max_duration_s=20.0))
    assert world.now_ns <= 20e9 * 1.1


def test_no_rate_holds_a_bound_below_the_service_time() -> None:
    outcome = World().drive(Load(p99_at_most_s=0.004, max_duration_s=60.0))
    assert outcome["rate_per_s"] is None
    assert "response_ns" not in outcome
    assert "the calls alone" in outcome["warnings"][0]
    assert outcome["search"]["trials"][0]["served"] < 10  # Three misses in 299 decide it.


@pytest.mark.parametrize(
    ("load", "scenario", "what"),
    [
        (Load(), "server", "no rate"),
        (Load(rate_per_s=1.0, share_of_capacity=0.5), "server", "rate and share"),
        (Load(rate_per_s=0.0), "server", "a rate of 0"),
        (Load(share_of_capacity=0.5), "low-rate", "share of capacity"),
        (Load(p99_at_most_s=0.1), "low-rate", "p99 bound"),
        (Load(rate_per_s=1.0, engine="loadgen"), "low-rate", "loadgen"),
        (Load(p99_at_most_s=0.1, engine="loadgen"), "server", "loadgen"),
        (Load(rate_per_s=1.0, engine="logden"), "server", "unknown engine 'logden'"),
        (Load(rate_per_s=1.0, queries=0), "server", "0 queries"),
        (Load(rate_per_s=1.0, max_duration_s=0.0), "server", "0 s"),
    ],
)
def test_a_load_that_says_nothing_or_too_much(load: Load, scenario: str, what: str) -> None:
    with pytest.raises(BenchkitError, match=what):
        check_load(load, scenario)


def test_a_schedule_without_a_query() -> None:
    with pytest.raises(BenchkitError, match="no query arrives"):
        World().drive(Load(rate_per_s=0.001, max_duration_s=1.0))

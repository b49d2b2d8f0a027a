"""The loop over jobs with scripted workers and a scripted clock: what a budget of time leaves, what is told."""

import dataclasses
import types
from typing import Any

import pytest

from benchkit.bench import profile as profiling
from benchkit.bench import sweep
from benchkit.bench.matrix import Matrix
from benchkit.bench.plan import Spot, first_look
from benchkit.bench.profile import profile
from benchkit.bench.stopping import Stopping
from benchkit.bench.sweep import Plan
from benchkit.bench.timing import Schedule
from benchkit.cli.results import exit_of_records
from benchkit.core.errors import MeasurementFailed


class Workers:
    """Workers that answer at once, and a clock that says that each took so many seconds."""

    def __init__(self, outcomes: dict[str, dict[str, Any]], seconds: dict[str, float]) -> None:
        self.outcomes, self.seconds, self.now_s = outcomes, seconds, 0.0
        self.begun: list[str] = []

    def __call__(self, job: Any, *, timeout_s: float) -> dict[str, Any]:
        self.begun.append(job.kind)
        self.now_s += self.seconds.get(job.kind, 1.0)
        return dict(self.outcomes[job.kind])


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch, make_timed, make_memory) -> Workers:
    coverage = {"coverage": None, "top_operators": None}
    found = Workers({"time": make_timed(), "memory": make_memory(), "coverage": coverage}, {"time": 3.0})
    monkeypatch.setattr(sweep, "run_in_child", found)
    monkeypatch.setattr(sweep, "time", types.SimpleNamespace(perf_counter=lambda: found.now_s))
    monkeypatch.setattr(profiling, "measured_peaks", lambda *_, **__: pytest.fail("peaks take time, too"))
    return found


def planned(spots: list[Spot], **values: Any) -> Plan:
    matrix = Matrix(**values)
    jobs = first_look(spots, matrix, Schedule(), with_energy=False)
    return Plan(cells=spots, jobs=jobs, no_energy={}, matrix=matrix, schedule=Schedule())


def within(seconds: float) -> dict[str, Any]:
    return {"stopping": Stopping(max_seconds=seconds)}


def test_a_budget_ends_the_timed_runs_and_leaves_the_memory_its_time(spot: Spot, workers: Workers) -> None:
    said: list[str] = []
    [record] = profile(planned([spot], **within(12.5)), told=said.append)
    # Coverage 1 s, three timed runs of 3 s, two of memory: a fourth timed run would take the time of the memory.
    assert workers.begun == ["coverage", "time", "time", "time", "memory", "memory"]
    assert workers.now_s <= 12.5
    assert record.sampling["stopped_by"] == "time"
    assert record.sampling["runs"] == 3
    assert record.statistic("peak_memory", "max").value > 0
    assert "6 runs are needed, these are 3" in record.statistic("latency", "p50").reason
    assert said == ["the time budget of 12.5 s was over: 3 planned processes were left out"]
    assert exit_of_records([record]) == 0


def test_what_had_no_time_at_all_is_not_measured(spot: Spot, workers: Workers) -> None:
    other = spot._replace(workload=dataclasses.replace(spot.workload, batch_size=4))
    records = profile(planned([spot, other], **within(2.5)))
    assert workers.begun == ["coverage", "time"]
    measured = [record for record in records if record.measurements["latency"].status == "measured"]
    assert len(measured) == 1
    assert measured[0].measurements["peak_memory"].reason == "out_of_time"
    [nothing] = [record for record in records if record not in measured]
    assert nothing.measurements["latency"].reason == "out_of_time"
    assert nothing.noise.verdict == "invalid"
    assert exit_of_records(records) == 4


def test_a_given_number_of_runs_keeps_to_the_budget_too(spot: Spot, workers: Workers) -> None:
    [record] = profile(planned([spot], runs=50, **within(20.0)))
    assert record.sampling["runs"] < 10
    assert workers.now_s <= 20.0


def test_without_a_budget_the_first_look_is_completed(spot: Spot, workers: Workers, monkeypatch) -> None:
    def none(*_: object, **__: object) -> None:
        raise MeasurementFailed("not looked for", remedy="none")

    monkeypatch.setattr(profiling, "measured_peaks", none)
    workers.seconds["time"] = 100.0
    [record] = profile(planned([spot]))
    assert record.sampling["runs"] == 6


def test_how_much_was_measured_before_is_told(spot: Spot, workers: Workers, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(profiling, "measured_peaks", lambda *_, **__: None)
    journal, said = tmp_path / "journal", []
    plan = planned([spot], runs=3)
    profile(plan, journal=journal, told=said.append)
    assert said == []
    journal.write_text("\n".join(journal.read_text().splitlines()[:4]) + "\n")
    profile(plan, journal=journal, told=said.append)
    assert said == ["4 of 6 processes were measured before"]
    assert len(workers.begun) == 6 + 2


def test_statistics_are_made_once_a_look(spot: Spot, workers: Workers, monkeypatch) -> None:
    monkeypatch.setattr(profiling, "measured_peaks", lambda *_, **__: None)
    monkeypatch.setattr("benchkit.bench.record.cell_measurements", lambda *_, **__: pytest.fail("made twice"))
    [record] = profile(planned([spot], runs=3))
    assert record.statistic("latency", "p50").value > 0

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchkit.core.errors import BenchkitError, Exit
from benchkit.core.records import Record
from benchkit.core.settings import load_toml
from benchkit.judge.budget_file import BudgetFile, check_means_something, facts_of
from benchkit.judge.budgets import exit_of, judge
from benchkit.stats.summaries import measured


def record(
    *, low: float | None, value: float | None, high: float | None, noise: str = "clean", processes: int = 5
) -> Record:
    runs = [[0.01]] * processes
    figure = {"value": value, "low": low, "high": high, "n": 100, "reason": None if value else "p95 needs 59"}
    return Record.model_validate(
        {
            "schema": "benchkit.record/1",
            "record_id": "x",
            "kind": "profile",
            "artifact": {"name": "tiny", "id": "1", "precision": "fp32", "sha256": "0", "size_bytes": 10},
            "cell": {"runtime": "onnxruntime", "device": "cpu", "provider": "p", "threads": 1, "batch_size": 1},
            "host": {"id": "h", "cpu_model": "c", "cores": 2, "memory_bytes": 1, "os": "o", "kernel": "k"},
            "started_at_utc": "2026-01-01T00:00:00Z",
            "elapsed_s": 1.0,
            "seed": 0,
            "benchkit_version": "0",
            "measurements": {
                "latency": {"status": "measured", "unit": "s", "runs": runs, "statistics": {"p95": figure}},
                "throughput": {
                    "status": "measured",
                    "unit": "examples/s",
                    "runs": runs,
                    "statistics": {"median": {"value": 100, "low": 90, "high": 110, "n": 5}},
                },
                "peak_memory": {
                    "status": "measured",
                    "unit": "B",
                    "runs": [[100.0], [100.0]],
                    "statistics": {"max": {"value": 100, "n": 2}},
                },
                "energy_package": {"status": "not_measured", "reason": "no_powercap", "detail": "no zone"},
            },
            "noise": {"verdict": noise, "reasons": ["a hog"] if noise != "clean" else []},
        }
    )


def budget(**changes: Any) -> BudgetFile:
    values = {"name": "b", "quantity": "latency", "statistic": "p95", "at_most_s": 0.040} | changes
    return BudgetFile.model_validate({"budget": [{k: v for k, v in values.items() if v is not None}]})


def verdict(file: BudgetFile, *records: Record) -> tuple[str, Exit]:
    judgements = judge(file, records)
    return judgements[0].status.value, exit_of(judgements, file.gate)


@pytest.mark.parametrize(
    ("low", "value", "high", "status", "code"),
    [
        (0.030, 0.035, 0.039, "pass", Exit.OK),
        (0.041, 0.045, 0.050, "fail", Exit.FAIL),
        (0.038, 0.0396, 0.0407, "inconclusive", Exit.INCONCLUSIVE),
        (None, None, None, "inconclusive", Exit.INCONCLUSIVE),
        (0.030, 0.035, None, "inconclusive", Exit.INCONCLUSIVE),
    ],
)
def test_only_certainty_passes_or_fails(low, value, high, status, code) -> None:
    assert verdict(budget(), record(low=low, value=value, high=high)) == (status, code)


def test_at_least_is_mirrored() -> None:
    file = budget(quantity="throughput", statistic="median", at_most_s=None, at_least_per_s=80)
    assert verdict(file, record(low=1, value=1, high=1))[0] == "pass"
    file = budget(quantity="throughput", statistic="median", at_most_s=None, at_least_per_s=120)
    assert verdict(file, record(low=1, value=1, high=1))[0] == "fail"
    file = budget(quantity="throughput", statistic="median", at_most_s=None, at_least_per_s=100)
    assert verdict(file, record(low=1, value=1, high=1))[0] == "inconclusive"


def test_a_peak_is_held_as_it_is() -> None:
    file = budget(quantity="peak_memory", statistic="max", at_most_s=None, at_most_bytes=100)
    assert verdict(file, record(low=1, value=1, high=1))[0] == "pass"
    file = budget(quantity="peak_memory", statistic="max", at_most_s=None, at_most_bytes=99)
    assert verdict(file, record(low=1, value=1, high=1))[0] == "fail"


def test_silence_never_passes() -> None:
    good = record(low=0.01, value=0.01, high=0.01)
    assert verdict(budget(where={"model": "other"}), good) == ("missing", Exit.USAGE)
    file = budget(quantity="energy_package", statistic="median", at_most_s=None, at_most_j=1)
    assert verdict(file, good) == ("missing", Exit.NOT_MEASURED)
    assert verdict(budget(statistic="p42"), good) == ("missing", Exit.NOT_MEASURED)


def test_one_process_decides_nothing() -> None:
    for value in (0.01, 1.0):
        assert verdict(budget(), record(low=value, value=value, high=value, processes=1))[1] is Exit.INCONCLUSIVE


@pytest.mark.parametrize("noise", ["noisy", "invalid"])
def test_a_disturbed_record_decides_nothing(noise: str) -> None:
    assert verdict(budget(), record(low=1.0, value=1.0, high=1.0, noise=noise))[1] is Exit.INCONCLUSIVE


def test_the_gate_may_count_the_undecided_as_failed() -> None:
    file = budget().model_copy(
        update={"gate": BudgetFile.model_fields["gate"].default.model_copy(update={"on_inconclusive": "fail"})}
    )
    assert verdict(file, record(low=0.03, value=0.04, high=0.05))[1] is Exit.FAIL


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('quantity = "latency"\nstatistic = "p95"\nat_most_bytes = 1', "its limit is 'at_most_s'"),
        ('quantity = "throughput"\nstatistic = "median"\nat_most_s = 1', "its limit is 'at_least_per_s'"),
        ('quantity = "latency"\nstatistic = "p95"', "exactly one limit"),
        ('quantity = "latncy"\nstatistic = "p95"\nat_most_s = 1', "unknown quantity 'latncy'"),
        ('quantity = "latency"\nstatistic = "p95"\nat_most = 1', "unknown key 'at_most'"),
        (
            (
                'quantity = "latency"\nstatistic = "p95"\nat_most_s = 1\n[[budget]]\nname = "b"\nquantity = "latency"\n'
                'statistic = "p50"\nat_most_s = 1'
            ),
            "two budgets have the name 'b'",
        ),
    ],
)
def test_a_mistake_in_the_file_is_exit_2(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "budgets.toml"
    path.write_text(f'[[budget]]\nname = "b"\n{text}\n')
    with pytest.raises(BenchkitError, match=problem) as caught:
        load_toml(path, BudgetFile)
    assert caught.value.exit is Exit.USAGE


def real(values: list[float], name: str = "tiny", *, noise: str = "clean") -> Record:
    """A record whose figures follow from its raw values: one throughput a process."""
    source = record(low=1, value=1, high=1, noise=noise)
    artifact = source.artifact.model_copy(update={"name": name})
    found = {"throughput": measured("throughput", [[value] for value in values])}
    return source.model_copy(update={"artifact": artifact, "measurements": found})


def several(count: int, *, at_least: float = 100.0, gate: dict[str, Any] | None = None) -> BudgetFile:
    rows = [
        {
            "name": f"b{n}",
            "where": {"model": f"m{n}"},
            "quantity": "throughput",
            "statistic": "median",
            "at_least_per_s": at_least,
        }
        for n in range(count)
    ]
    return BudgetFile.model_validate({"gate": gate or {}, "budget": rows})


def test_failures_of_several_budgets_share_the_error() -> None:
    """99.9 at most, by five processes: sure at .05 (.031), and so a failure alone, but not one of ten."""
    below = [99.9, 98.0, 97.0, 90.0, 80.0]
    assert [j.status for j in judge(several(1), [real(below, "m0")])] == ["fail"]
    fine = [real([120.0 + n for n in range(5)], f"m{k}") for k in range(1, 10)]
    first, *others = judge(several(10), [real(below, "m0"), *fine])
    assert first.status == "inconclusive"
    assert "not among all budgets" in first.reason
    assert "--runs" in first.reason
    assert {j.status for j in others} == {"pass"}  # A pass does not pay for its neighbours.


def test_a_clear_failure_fails_among_many() -> None:
    clear = [50.0, 50.5, 51.0, 50.2, 50.7]
    fine = [real([120.0 + n for n in range(5)], f"m{k}") for k in range(1, 20)]
    assert judge(several(20), [real(clear, "m0"), *fine])[0].status == "fail"


def test_a_clear_failure_frees_its_share_for_the_next() -> None:
    """Holm: of two budgets the clearer is held at .025, the other then at .05."""
    clear, near = [50.0, 50.5, 51.0, 50.2, 50.7], [99.9, 98.0, 97.0, 90.0, 80.0]
    both = judge(several(2), [real(clear, "m0"), real(near, "m1")])
    assert [j.status for j in both] == ["fail", "fail"]


def test_false_failures_of_a_whole_file_stay_within_the_error() -> None:
    """Ten budgets that are exactly met: at most one file in twenty has a failure at all."""
    files = failed = 0
    for seed in range(60):
        noise = np.random.default_rng(seed)
        records = [real(list(100 * np.exp(noise.normal(0, 0.02, 8))), f"m{n}") for n in range(10)]
        failed += any(j.status == "fail" for j in judge(several(10), records))
        files += 1
    assert failed <= 0.05 * files + 4


def test_the_gates_own_error_is_held() -> None:
    values = [101.0, 102.0, 103.0, 104.0, 105.0]  # The least of five bounds the median at .031.
    assert judge(several(1), [real(values, "m0")])[0].status == "pass"
    strict = several(1, gate={"alpha": 0.001})
    assert judge(strict, [real(values, "m0")])[0].status == "inconclusive"


def test_a_record_of_several_looks_needs_the_runs_that_its_error_asks_for() -> None:
    early = record(low=0.01, value=0.01, high=0.01, processes=5).model_copy(update={"sampling": {"alpha": 0.05 / 3}})
    [judgement] = judge(budget(), [early])
    assert judgement.status == "inconclusive"
    assert "6 fresh processes are needed" in judgement.reason


@pytest.mark.parametrize(
    ("details", "why"),
    [
        ({"contaminated": [False, True]}, "whose joules count too"),
        ({"runs": [{"cut": "time", "waiting": 80}]}, "could not keep up"),
        ({"runs": [{"cut": "", "waiting": 0, "overloaded": True}]}, "could not keep up"),
        ({"steadiness": [{"verdict": "slowing"}] * 2 + [{"verdict": "steady"}] * 4}, "did not settle (slowing)"),
    ],
)
def test_figures_that_mean_less_than_they_say_decide_nothing(details, why) -> None:
    sound = record(low=0.01, value=0.01, high=0.01)
    latency = sound.measurements["latency"].model_copy(update={"details": details})
    unsound = sound.model_copy(update={"measurements": sound.measurements | {"latency": latency}})
    [judged] = judge(budget(), [unsound])
    assert judged.status == "inconclusive"
    assert why in judged.reason


def test_a_median_may_be_held_on_a_machine_of_two_levels_and_a_tail_may_not() -> None:
    sound = record(low=0.01, value=0.01, high=0.01)
    latency = sound.measurements["latency"]
    steadiness = [{"verdict": "bimodal"}] * 4 + [{"verdict": "steady"}]
    figures = dict.fromkeys(("p50", "p95"), latency.statistics["p95"])
    latency = latency.model_copy(update={"details": {"steadiness": steadiness}, "statistics": figures})
    walking = sound.model_copy(update={"measurements": sound.measurements | {"latency": latency}})
    assert judge(budget(statistic="p50"), [walking])[0].status == "pass"
    [judged] = judge(budget(statistic="p95"), [walking])
    assert (judged.status, "did not settle (bimodal)" in judged.reason) == ("inconclusive", True)


def test_a_peak_without_raw_values_is_missing() -> None:
    good = record(low=1, value=1, high=1)
    peak = good.measurements["peak_memory"].model_copy(update={"runs": ()})
    bare = good.model_copy(update={"measurements": good.measurements | {"peak_memory": peak}})
    file = budget(quantity="peak_memory", statistic="max", at_most_s=None, at_most_bytes=100)
    assert verdict(file, bare)[0] == "missing"


def dated(day: int, *, noise: str = "clean", value: float = 0.01, **changes: Any) -> Record:
    made = record(low=value, value=value, high=value, noise=noise)
    return made.model_copy(update={"started_at_utc": f"2026-01-{day:02d}T00:00:00Z"} | changes)


def test_only_the_latest_clean_record_of_a_cell_is_held() -> None:
    slow_once = [dated(1, value=1.0), dated(3), dated(2, value=1.0), dated(4, value=1.0, noise="noisy")]
    [judged] = judge(budget(), slow_once)
    assert (judged.status, judged.left_aside) == ("pass", 3)
    [judged] = judge(budget(), slow_once[-1:])
    assert (judged.status, judged.left_aside) == ("inconclusive", 0)


def test_another_artifact_host_or_cell_is_no_repeat() -> None:
    first = dated(1)
    others = [
        first.model_copy(update={"artifact": first.artifact.model_copy(update={"id": "2"})}),
        first.model_copy(update={"host": first.host.model_copy(update={"id": "elsewhere"})}),
        first.model_copy(update={"cell": first.cell.model_copy(update={"threads": 2})}),
        first.model_copy(update={"cell": first.cell.model_copy(update={"provider": "q"})}),
    ]
    assert len(judge(budget(), [first, *others])) == 5


def test_a_crash_after_a_good_record_of_the_cell_is_left_aside() -> None:
    nothing = {"status": "not_measured", "reason": "worker_failed", "detail": "SIGKILL"}
    good = dated(1)
    crashed = Record.model_validate(
        dated(2, noise="invalid").as_json()
        | {"measurements": {"latency": nothing}, "cell": good.cell.model_dump() | {"provider": "none"}}
    )
    [judged] = judge(budget(), [good, crashed])
    assert (judged.status, judged.left_aside) == ("pass", 1)
    [judged] = judge(budget(), [crashed])
    assert (judged.status, judged.exit) == ("missing", Exit.NOT_MEASURED)


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ({"model": "tony"}, "model = 'tony', and there is only tiny"),
        ({"batch_size": 8}, "batch_size = 8, and there is only 1"),
        ({"provider": "q"}, None),
        ({"model": "tiny", "host": "h"}, None),
    ],
)
def test_a_where_that_means_nothing_is_told_before_anything_is_measured(where, why) -> None:
    seen = record(low=1, value=1, high=1)
    there = facts_of(seen.artifact, seen.cell, seen.host.id)
    del there["provider"]  # Not known before the cell ran.
    if why is None:
        check_means_something(budget(where=where), [there])
        return
    with pytest.raises(BenchkitError, match=why) as caught:
        check_means_something(budget(where=where), [there])
    assert caught.value.exit is Exit.USAGE


def test_keys_that_are_met_by_different_cells_are_told() -> None:
    seen = record(low=1, value=1, high=1)
    there = [facts_of(seen.artifact, seen.cell.model_copy(update={"threads": n, "batch_size": n}), "h") for n in (1, 8)]
    with pytest.raises(BenchkitError, match="threads = 8, batch_size = 1 in one"):
        check_means_something(budget(where={"threads": 8, "batch_size": 1}), there)

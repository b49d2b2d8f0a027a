from pathlib import Path
from typing import Any

import pytest

from benchkit.core.errors import BenchkitError, Exit
from benchkit.core.records import Record
from benchkit.core.settings import load_toml
from benchkit.judge.budgets import BudgetFile, exit_of, judge


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

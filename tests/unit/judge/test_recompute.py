"""A record edited by hand: its digest tells, and so does every figure that no longer follows from its raw values."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchkit.bench.record import seal
from benchkit.core.errors import BenchkitError, Exit
from benchkit.core.records import Measured, Noise, Record
from benchkit.core.store import append_lines, sealed
from benchkit.judge.compare import Triple
from benchkit.judge.looks import Rules, compare
from benchkit.judge.ratios import ratio_measurement
from benchkit.judge.recompute import exit_of, in_words, recompute, recompute_file
from benchkit.judge.score_pairs import compare_answers
from benchkit.stats.summaries import exact_statistics, measured, peak_statistics
from benchkit.tasks.own import Columns, task_from
from benchkit.tasks.table import task_named

ARTIFACT = {"name": "tiny", "id": "1", "precision": "fp32", "sha256": "0", "size_bytes": 10}
CELL = {"runtime": "onnxruntime", "device": "cpu", "provider": "p", "threads": 1, "batch_size": 1}
_SCALES = {"a": 0.01, "b": 0.012, "control": 0.01}
HOST = {"id": "h", "cpu_model": "c", "cores": 2, "memory_bytes": 1, "os": "o", "kernel": "k"}


def evidence(runs: int, *, others_s: float = 0.0, **more: Any) -> dict[str, Any]:
    """What a record keeps of quiet runs, or of runs beside a neighbour that took so many seconds of each."""
    before = {"wall_s": 0.0, "own_cpu_s": 0.0, "busy_s": 0.0, "run_delay_s": 0.0}
    after = {"wall_s": 1.0, "own_cpu_s": 1.0, "busy_s": 1.0 + others_s, "run_delay_s": 0.0}
    one = {
        "snapshots": [before, after],
        "window": {"calls": 50, "wall_s": 0.5, "cpu_s": 0.5},
        "output": {"finite": True, "constant": False},
        "proof": {"provider": "p", "affinity": [0], "os_threads": 2},
        "steadiness": {"verdict": "steady"},
    }
    return {"noise": {"asked_provider": None, "runs": [copy.deepcopy(one) for _ in range(runs)]} | more}


def record(measurements: dict[str, Any], kind: str = "profile", **more: Any) -> Record:
    return seal(
        kind=kind,
        artifact=ARTIFACT,
        cell=CELL,
        host=HOST,
        started_at_utc="2026-01-01T00:00:00Z",
        elapsed_s=1.0,
        seed=0,
        measurements=measurements,
        **({"noise": Noise(verdict="clean")} | more),
    )


@pytest.fixture
def profile() -> Record:
    rng = np.random.default_rng(0)
    runs = [[round(0.01 + float(x), 9) for x in rng.exponential(1e-3, 80)] for _ in range(6)]
    alpha = 0.05 / 3
    # As `bench.measurements` leaves it: details of its own, the error in the record's sampling.
    latency = measured("latency", runs, alpha=alpha, overhead_s=1e-7).model_copy(
        update={"details": {"overhead_s": 1e-7}}
    )
    windows = [{"calls": 50 + n, "wall_s": 0.5, "cpu_s": 0.01 * (50 + n)} for n in range(6)]
    throughput = measured("throughput", [[100.0 + 2 * n] for n in range(6)], alpha=alpha)
    throughput = throughput.model_copy(update={"details": throughput.details | {"windows": windows}})
    memory = measured("peak_memory", [[100.0], [101.0]])
    only = peak_statistics([[60.0], [60.0]])["max"]
    memory = memory.model_copy(
        update={"statistics": memory.statistics | {"imports_only": only}, "details": {"imports_only_bytes": [60, 60]}}
    )
    return record(
        {
            "latency": latency,
            "throughput": throughput,
            "cpu_time": measured("cpu_time", [[0.01]] * 6, alpha=alpha),
            "attained_flops": measured("attained_flops", [[1e9 + n] for n in range(6)]),
            "peak_memory": memory,
            "artifact_size": Measured(unit="B", runs=((10.0,),), statistics=exact_statistics(10.0)),
            "energy_package": {"status": "not_measured", "reason": "no_powercap"},
        },
        sampling={"alpha": alpha} | evidence(6),
    )


@pytest.fixture
def compared() -> Record:
    rng = np.random.default_rng(1)
    runs: list[list[float]] = []
    order: list[str] = []
    triples: list[Triple] = []

    def measure() -> Triple:
        arms = ("a", "b", "control") if len(runs) % 2 == 0 else ("control", "b", "a")
        three = {
            arm: [0.01 * (1.2 if arm == "b" else 1.0) * (1 + 0.01 * float(x)) for x in rng.random(9)] for arm in arms
        }
        for arm in arms:
            order.append(arm)
            runs.append(three[arm])
        triples.append(Triple(*(sorted(three[arm])[4] for arm in ("a", "b", "control"))))
        return triples[-1]

    rules = Rules(confirm=True)
    comparison = compare(measure, rules)
    assert comparison.repeat is not None
    raw = Measured(unit="s", runs=tuple(map(tuple, runs)), statistics={}, details={"order": order, "statistic": "p50"})
    answers = np.array([[1, 0, 1, 1] * 20, [1, 0, 1, 0] * 20, [1, 0, 0, 1] * 20])
    scores = compare_answers(task_named("sst2"), answers)
    return record(
        {"latency": raw, "latency_ratio": ratio_measurement(comparison, rules), **scores.measurements()},
        kind="compare",
        sampling=evidence(len(runs)),
    )


def edited(source: Record, change: Callable[[dict[str, Any]], None], *, resealed: bool) -> dict[str, Any]:
    value = copy.deepcopy(source.as_json())
    change(value)
    return sealed(value) if resealed else value


def results_of(tmp_path: Path, *values: dict[str, Any]):
    path = tmp_path / "records.jsonl"
    append_lines(path, values)
    return list(recompute_file(path))


def test_what_was_measured_follows_from_its_raw_values(tmp_path: Path, profile: Record, compared: Record) -> None:
    results = results_of(tmp_path, profile.as_json(), compared.as_json())
    assert [(result.fits, result.left_out, result.deviations) for result in results] == [(True, (), ())] * 2
    # Percentiles, throughput, CPU time, FLOP/s, memory and its control, size, noise.
    assert results[0].figures == 4 + 1 + 1 + 1 + 2 + 1 + 1
    assert results[1].figures == 3 + 3 + 1 + 1  # Ratios, those of the repeat, the score, noise.
    assert exit_of(results) is Exit.OK
    assert in_words(results).endswith("19 figures made again: all of them follow from their raw values")


def test_an_edited_figure_is_told_by_digest_and_by_name(tmp_path: Path, profile: Record) -> None:
    def faster(value: dict[str, Any]) -> None:
        value["measurements"]["latency"]["statistics"]["p50"]["value"] *= 0.9

    [result] = results_of(tmp_path, edited(profile, faster, resealed=False))
    assert result.where.endswith("records.jsonl:1")
    assert "was edited after it was written" in result.problems[0]
    [deviation] = result.deviations
    assert (deviation.quantity, deviation.statistic) == ("latency", "p50")
    assert deviation.recomputed == pytest.approx(float(str(deviation.recorded)) / 0.9)
    assert exit_of([result]) is Exit.FAIL
    assert profile.record_id in in_words([result])


@pytest.mark.parametrize(
    ("quantity", "statistic", "part"),
    [
        ("latency", "p95", "high"),
        ("latency", "p50", "low"),
        ("latency", "p90", "n"),
        ("throughput", "median", "value"),
        ("attained_flops", "median", "low"),
        ("peak_memory", "max", "value"),
        ("peak_memory", "imports_only", "value"),
        ("artifact_size", "value", "high"),
    ],
)
def test_a_new_digest_does_not_help(tmp_path: Path, profile: Record, quantity: str, statistic: str, part: str) -> None:
    def change(value: dict[str, Any]) -> None:
        figure = value["measurements"][quantity]["statistics"][statistic]
        figure[part] += 1 if part == "n" else 0.01 * figure[part]

    [result] = results_of(tmp_path, edited(profile, change, resealed=True))
    assert not result.problems
    assert [deviation.quantity for deviation in result.deviations] == [quantity]
    assert result.deviations[0].statistic.startswith(statistic)


def test_an_edited_raw_value_moves_the_figures(tmp_path: Path, profile: Record) -> None:
    def change(value: dict[str, Any]) -> None:
        value["measurements"]["throughput"]["runs"][0][0] = 1000.0

    [result] = results_of(tmp_path, edited(profile, change, resealed=True))
    assert {deviation.quantity for deviation in result.deviations} == {"throughput"}


@pytest.mark.parametrize("quantity", ["throughput", "cpu_time"])
def test_raw_values_follow_from_their_windows(tmp_path: Path, profile: Record, quantity: str) -> None:
    """Values and figures that were changed together fit each other, and not the windows."""

    def change(value: dict[str, Any]) -> None:
        old = value["measurements"][quantity]
        runs = [[2 * number for number in run] for run in old["runs"]]
        new = measured(quantity, runs, alpha=0.05 / 3).model_dump(mode="json")
        value["measurements"][quantity] = new | {"details": old["details"]}

    [result] = results_of(tmp_path, edited(profile, change, resealed=True))
    assert {(one.quantity, one.statistic) for one in result.deviations} == {
        (quantity, f"value of process {n}") for n in range(1, 7)
    }


def test_the_verdict_on_noise_follows_from_its_counters(tmp_path: Path, profile: Record) -> None:
    def loud(value: dict[str, Any]) -> None:
        value["sampling"] |= evidence(6, others_s=0.5)

    [result] = results_of(tmp_path, edited(profile, loud, resealed=True))
    [deviation] = result.deviations
    assert (deviation.quantity, deviation.recorded) == ("noise", "clean")
    assert "invalid (run 1: other processes used" in str(deviation.recomputed)

    def spoiled(value: dict[str, Any]) -> None:
        del value["sampling"]["noise"]["runs"][0]["window"]

    [result] = results_of(tmp_path / "spoiled", edited(profile, spoiled, resealed=True))
    assert "cannot be made" in str(result.deviations[0].recomputed)

    def forgotten(value: dict[str, Any]) -> None:
        del value["sampling"]["noise"]

    [result] = results_of(tmp_path / "forgotten", edited(profile, forgotten, resealed=True))
    assert result.left_out == ("noise verdict: the counters that it was made of are not in the record",)


def test_a_provider_that_was_not_asked_for_is_found_again(tmp_path: Path, profile: Record) -> None:
    def asked_for_another(value: dict[str, Any]) -> None:
        value["sampling"]["noise"]["asked_provider"] = "CUDAExecutionProvider"

    [result] = results_of(tmp_path, edited(profile, asked_for_another, resealed=True))
    assert "asked for CUDAExecutionProvider, and the session says" in str(result.deviations[0].recomputed)


def test_a_percentile_put_where_the_sample_is_too_small(tmp_path: Path, profile: Record) -> None:
    def change(value: dict[str, Any]) -> None:
        value["measurements"]["latency"]["runs"] = [run[:20] for run in value["measurements"]["latency"]["runs"]]

    [result] = results_of(tmp_path, edited(profile, change, resealed=True))
    assert "p99" in {deviation.statistic for deviation in result.deviations} or any(
        deviation.recomputed is None for deviation in result.deviations
    )


@pytest.mark.parametrize("name", ["ratio", "control_ratio", "drift_ratio", "repeat_ratio"])
def test_an_edited_ratio_is_told(tmp_path: Path, compared: Record, name: str) -> None:
    def change(value: dict[str, Any]) -> None:
        value["measurements"]["latency_ratio"]["statistics"][name]["value"] *= 0.8

    [result] = results_of(tmp_path, edited(compared, change, resealed=True))
    assert [(d.quantity, d.statistic) for d in result.deviations] == [("latency_ratio", name)]


def test_an_edited_verdict_is_told(tmp_path: Path, compared: Record) -> None:
    def change(value: dict[str, Any]) -> None:
        value["measurements"]["latency_ratio"]["details"]["verdict"] = "faster"
        value["measurements"]["score_difference"]["details"]["verdict"] = "better"

    [result] = results_of(tmp_path, edited(compared, change, resealed=True))
    assert [(d.quantity, d.statistic) for d in result.deviations] == [
        ("latency_ratio", "verdict"),
        ("score_difference", "verdict"),
    ]
    assert "its pairs say 'slower'" in str(result.deviations[0].recomputed)


def test_raw_values_that_do_not_fit_together_are_told_and_do_not_crash(tmp_path: Path, compared: Record) -> None:
    def change(value: dict[str, Any]) -> None:
        value["measurements"]["latency"]["details"]["order"] = ["a"] * 40
        value["measurements"]["score_difference"]["details"].pop("task")

    [result] = results_of(tmp_path, edited(compared, change, resealed=True))
    assert len(result.deviations) == 2
    assert "cannot be made" in str(result.deviations[0].recomputed)


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_an_own_task_needs_no_task_file(tmp_path: Path, kind: str) -> None:
    (tmp_path / "mine.csv").write_text("text,label\na,0\nb,1\nc,2\n")
    task = task_from(str(tmp_path / "mine.csv"), columns=Columns(text="text", kind=kind))
    answers = np.array([[1, 0, 2, 1] * 20, [1, 0, 1, 0] * 20, [1, 0, 0, 1] * 20])
    compared = record(compare_answers(task, answers).measurements(), kind="compare")
    (tmp_path / "mine.csv").unlink()
    [result] = results_of(tmp_path, compared.as_json())
    assert result.fits, result.deviations
    assert result.figures == len(task.metrics)

    def change(value: dict[str, Any]) -> None:
        value["measurements"]["score_difference"]["statistics"][task.metrics[0]]["value"] += 0.01

    assert not results_of(tmp_path / "edited", edited(compared, change, resealed=True))[0].fits


def test_a_task_of_a_record_is_never_a_path(tmp_path: Path, compared: Record) -> None:
    (tmp_path / "mine.toml").write_text('text = "text"\n')

    def change(value: dict[str, Any]) -> None:
        value["measurements"]["score_difference"]["details"]["task"] = str(tmp_path / "mine.toml")
        value["measurements"]["score_difference"]["details"].pop("metrics")

    [result] = results_of(tmp_path, edited(compared, change, resealed=True))
    assert "cannot be made: 'metrics'" in str(result.deviations[0].recomputed)


def test_lines_that_are_no_records_are_told_by_their_place(tmp_path: Path, profile: Record) -> None:
    path = tmp_path / "records.jsonl"
    append_lines(path, [profile.as_json(), {"schema": "another/1"}])
    with path.open("a") as file:
        file.write('{"half": \n')
    results = list(recompute_file(path))
    assert [result.fits for result in results] == [True, False, False]
    assert results[2].where.endswith(":3")
    assert "not a benchkit record" in results[2].problems[0]


def test_figures_without_raw_values_are_said(tmp_path: Path, profile: Record) -> None:
    def change(value: dict[str, Any]) -> None:
        value["measurements"]["latency"]["runs"] = []

    [result] = results_of(tmp_path, edited(profile, change, resealed=True))
    assert "latency p50: its raw values are not in the record" in result.left_out


def test_files_beside_are_held_against_their_digests(tmp_path: Path, profile: Record) -> None:
    (tmp_path / "predictions.json").write_text("{}")
    value = sealed(profile.as_json() | {"files": {"predictions.json": "0" * 64, "absent.json": "1" * 64}})
    [result] = results_of(tmp_path, value)
    assert len(result.problems) == 1
    assert "'predictions.json' beside it is another file now" in result.problems[0]


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(BenchkitError, match="no record file"):
        list(recompute_file(tmp_path / "none.jsonl"))


def test_a_noisy_machine_excuses_no_decision(compared: Record) -> None:
    value = compared.as_json()
    value["noise"] = {"verdict": "noisy", "reasons": ["a hog"]}
    value["measurements"]["latency_ratio"]["details"]["verdict"] = "inconclusive"
    value["sampling"] |= evidence(60, others_s=0.2)
    assert recompute(Record.model_validate(value))[0] == ()
    value["measurements"]["latency_ratio"]["details"]["verdict"] = "equal"
    assert len(recompute(Record.model_validate(value))[0]) == 1
    value["noise"] = {"verdict": "clean", "reasons": []}
    value["sampling"] |= evidence(60)
    value["measurements"]["latency_ratio"]["details"]["verdict"] = "inconclusive"
    assert len(recompute(Record.model_validate(value))[0]) == 1


def test_the_command(tmp_path: Path, profile: Record, capsys: pytest.CaptureFixture[str]) -> None:
    from benchkit.cli.report import command

    append_lines(tmp_path / "good.jsonl", [profile.as_json()])
    assert command([tmp_path / "good.jsonl"], None, "t", recompute=True, quiet=True) is Exit.OK
    value = profile.as_json()
    value["elapsed_s"] = 2.0
    append_lines(tmp_path / "bad.jsonl", [value])
    assert command([tmp_path / "bad.jsonl"], None, "t", recompute=True, quiet=True) is Exit.FAIL
    assert "bad.jsonl:1" in capsys.readouterr().out
    with pytest.raises(BenchkitError, match="no folder"):
        command([tmp_path / "good.jsonl"], None, "t", recompute=False, quiet=True)

"""Comparisons of real artifacts; processes are scripted where time or noise would have to be waited for."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchkit.bench.matrix import Matrix
from benchkit.bench.noise_verdict import different_providers
from benchkit.bench.timing import Schedule
from benchkit.core.artifacts import load_artifact
from benchkit.core.errors import BenchkitError, EnvironmentLacks, MeasurementFailed
from benchkit.core.records import Noise, Record
from benchkit.judge import processes
from benchkit.judge.arms import figure_of, long_enough, triples_of
from benchkit.judge.in_words import comparison_in_words
from benchkit.judge.pairs import compare_artifacts
from benchkit.judge.recompute import recompute
from benchkit.tasks.table import task_named

MATRIX = Matrix(sequence_length=(8,))


def outcome(latency_s: float, *, foreign_s: float = 0.0, calls: int = 60) -> dict[str, Any]:
    values_ns = [round(latency_s * 1e9) + n for n in range(calls)]
    return {
        "proof": {"provider": "CPUExecutionProvider", "version": "1", "affinity": [0]},
        "fed": {"calls": 1},
        "warmup_ns": [round(latency_s * 1e9)] * 3,
        "overhead_ns": 100.0,
        "latency_ns": values_ns,
        "begin_us": list(range(calls)),
        "steadiness": {"start": 2, "verdict": "steady", "change": 0.0, "detail": ""},
        "window": {"calls": 50, "wall_s": 50 * latency_s, "cpu_s": 50 * latency_s},
        "output": {"finite": True, "constant": False},
        "snapshots": [{"wall_s": end_s, "own_cpu_s": end_s, "run_delay_s": 0.0} for end_s in (0.0, 1.0)],
        "foreign_s": foreign_s,
    }


class Scripted:
    """Stands in for fresh processes: one latency for each model, disturbed when asked."""

    def __init__(self, latency_s: dict[str, float], disturbed: set[int] = frozenset()) -> None:  # type: ignore[assignment]
        self.latency_s, self.disturbed, self.started = latency_s, disturbed, 0
        self._noise = np.random.default_rng(0)

    def __call__(self, job: Any, *, timeout_s: float) -> dict[str, Any]:
        number, self.started = self.started, self.started + 1
        latency_s = self.latency_s[Path(job.model).parent.name] * float(np.exp(self._noise.normal(0, 0.003)))
        return outcome(latency_s, foreign_s=0.5 if number in self.disturbed else 0.0)


def noise_of(outcomes: Any, **_: Any) -> Noise:
    """As `bench.noise_verdict` counts: one run in five may be disturbed."""
    disturbed = [one for one in outcomes if one["foreign_s"]]
    reasons = tuple(f"other processes used {one['foreign_s']:.0%} of a core" for one in disturbed)
    return Noise(verdict="noisy" if len(disturbed) > 0.2 * len(outcomes) else "clean", reasons=reasons)


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch):
    """Put scripted processes in the place of fresh ones."""

    def use(source: Scripted) -> Scripted:
        monkeypatch.setattr(processes, "run_in_child", source)
        monkeypatch.setattr(processes, "noise_of", noise_of)
        monkeypatch.setattr(processes, "disturbed_by_others", lambda outcomes: list(noise_of(outcomes).reasons))
        return source

    return use


@pytest.fixture
def two(pico_onnx: Path, tmp_path: Path):
    """The pico artifact, and a copy of it under another name."""
    import shutil

    other = tmp_path / "other"
    shutil.copytree(pico_onnx, other)
    return load_artifact(pico_onnx), load_artifact(other)


def test_arms_take_turns_and_the_record_recomputes(two, scripted) -> None:
    a, b = two
    source = scripted(Scripted({"pico-sst2-fp32": 0.010, "other": 0.013}))
    found = compare_artifacts(a, b, MATRIX, confirm=True)
    assert found.verdict == "slower"
    assert source.started == 2 * 6 * 3
    raw = found.record.measurements["latency"]
    assert raw.details["order"][:6] == ["a", "b", "control", "control", "b", "a"]
    assert len(raw.runs) == 36
    assert len(raw.runs[0]) == 58  # Raw values of each process, warm-up apart.
    assert found.record.statistic("latency_ratio", "ratio").value == pytest.approx(1.3, abs=0.02)
    deviations, left_out, figures = recompute(Record.model_validate(found.record.as_json()))
    assert (deviations, left_out) == ((), ())
    assert figures == 6 + 1  # Ratios and those of the repeat; the verdict on noise.
    words = comparison_in_words(found, "latency", "p50")
    assert words.startswith("slower: worse by more than the margin of 5%, and an independent repeat says so too")
    assert "control, A' / A: " in words


@pytest.mark.parametrize(("quantity", "ratio"), [("throughput", 1 / 1.3), ("cpu_time", 1.3)])
def test_other_quantities_of_the_timed_pass(
    two, scripted, monkeypatch: pytest.MonkeyPatch, quantity: str, ratio: float
) -> None:
    a, b = two
    scripted(Scripted({"pico-sst2-fp32": 0.010, "other": 0.013}))
    monkeypatch.setattr("benchkit.judge.arms.measurements.saturated", _saturated)
    found = compare_artifacts(a, b, MATRIX, quantity=quantity)
    assert found.verdict == "slower"
    assert found.comparison.ratio.estimate == pytest.approx(ratio, abs=0.02)
    assert found.record.measurements[quantity].details["statistic"] == "value"


def _saturated(outcomes: Any, batch_size: int, alpha: float) -> Any:
    from benchkit.stats.summaries import measured

    windows = [one["window"] for one in outcomes]
    return {
        "throughput": measured("throughput", [[w["calls"] / w["wall_s"]] for w in windows]),
        "cpu_time": measured("cpu_time", [[w["cpu_s"] / w["calls"]] for w in windows]),
    }


def test_a_disturbed_triple_is_measured_again(two, scripted) -> None:
    a, b = two
    source = scripted(Scripted({"pico-sst2-fp32": 0.010, "other": 0.010}, disturbed={4, 20}))
    found = compare_artifacts(a, b, MATRIX)
    assert found.verdict == "equal"
    assert found.record.noise.verdict == "clean"
    assert source.started == (6 + 2) * 3
    left_out = found.record.measurements["latency_ratio"].details["disturbed_triples_left_out"]
    assert len(left_out) == 2
    assert "other processes used" in left_out[0]


def test_a_machine_that_is_always_disturbed_decides_nothing(two, scripted) -> None:
    a, b = two
    source = scripted(Scripted({"pico-sst2-fp32": 0.010, "other": 0.030}, disturbed=set(range(1000))))
    found = compare_artifacts(a, b, MATRIX)
    assert found.verdict == "inconclusive"
    assert "the machine was not quiet" in found.comparison.reason
    assert source.started == (20 + 6) * 3


def test_a_tail_needs_its_calls(two, scripted) -> None:
    a, b = two
    scripted(Scripted({"pico-sst2-fp32": 0.010, "other": 0.010}))
    with pytest.raises(MeasurementFailed, match="p99 of one process needs 299 calls, and 58 were made"):
        compare_artifacts(a, b, MATRIX, statistic="p99")
    assert long_enough(Schedule(), "p95").min_values == 59
    assert long_enough(Schedule(min_values=400), "p99").min_values == 400
    assert long_enough(Schedule(), "value") == Schedule()


def test_triples_are_put_in_order_by_their_arms() -> None:
    runs = [[1.0], [2.0], [3.0], [30.0], [20.0], [10.0]]
    found = triples_of(runs, ["a", "b", "control", "control", "b", "a"], "value")
    assert [tuple(triple) for triple in found] == [(1.0, 2.0, 3.0), (10.0, 20.0, 30.0)]
    assert figure_of([3.0, 1.0, 2.0] * 2, "p50") == 2.0


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"quantity": "latncy"}, "unknown quantity of a comparison 'latncy'"),
        ({"quantity": "throughput", "statistic": "p95"}, "no 'p95' of throughput"),
        ({"statistic": "p42"}, "no 'p42' of latency"),
    ],
)
def test_what_cannot_be_compared_is_said_before_anything_runs(two, settings: dict[str, Any], problem: str) -> None:
    a, b = two
    with pytest.raises(BenchkitError, match=problem):
        compare_artifacts(a, b, MATRIX, **settings)


def test_several_cells_are_refused(two) -> None:
    a, b = two
    with pytest.raises(BenchkitError, match="in one cell"):
        compare_artifacts(a, b, Matrix(sequence_length=(8, 16)))


def test_energy_that_is_not_measured_is_exit_4(two, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = two
    monkeypatch.setenv("BENCHKIT_POWERCAP_ROOT", str(tmp_path / "none"))
    with pytest.raises(EnvironmentLacks, match="energy_package is not measured here") as caught:
        compare_artifacts(a, b, MATRIX, quantity="energy_package")
    assert caught.value.exit == 4
    assert caught.value.remedy


@pytest.mark.slow
def test_real_processes_compare_memory_and_the_score(two, tiny_sst2: Path) -> None:
    a, b = two
    found = compare_artifacts(a, b, MATRIX, quantity="peak_memory", task=task_named("sst2"), data=tiny_sst2)
    assert found.verdict == "equal"
    assert found.score is not None
    assert found.score.headline.value == 0.0
    assert recompute(Record.model_validate(found.record.as_json()))[0] == ()
    assert "McNemar" in comparison_in_words(found, "peak_memory")


def test_an_arm_that_runs_otherwise_than_its_label_spends_no_pairs(pico_onnx: Path, tmp_path: Path, scripted) -> None:
    import json
    import shutil

    mislabelled = tmp_path / "mislabelled"
    shutil.copytree(pico_onnx, mislabelled)
    manifest = json.loads((mislabelled / "artifact.json").read_text())
    (mislabelled / "artifact.json").write_text(json.dumps(manifest | {"precision": "dynamic-int8"}))
    with pytest.raises(MeasurementFailed, match=r"B, '.*', is void: .*no matrix product ran in int8"):
        compare_artifacts(load_artifact(pico_onnx), load_artifact(mislabelled), MATRIX)


def test_what_a_worker_did_itself_is_never_a_reason_to_leave_it_out(two, monkeypatch: pytest.MonkeyPatch) -> None:
    """An arm whose page faults or answers put its slow processes aside would be favoured."""
    source = Scripted({"pico-sst2-fp32": 0.01, "other": 0.01}, disturbed={1})
    monkeypatch.setattr(processes, "run_in_child", source)
    monkeypatch.setattr(processes, "noise_of", noise_of)
    monkeypatch.setattr(processes, "disturbed_by_others", lambda _: [])
    compare_artifacts(two[0], two[1], MATRIX)
    assert source.started % 18 == 0


def test_arms_on_two_providers_decide_nothing() -> None:
    proofs = [{"proof": {"provider": name}} for name in ("CUDAExecutionProvider", "CPUExecutionProvider")]
    assert "different providers" in different_providers(proofs)[0]
    assert different_providers(proofs[:1] * 2) == []

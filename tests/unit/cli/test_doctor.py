import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from benchkit.bench import targets
from benchkit.cli import doctor
from benchkit.cli.app import app
from benchkit.core.errors import BenchkitError, EnvironmentLacks, Exit
from benchkit.core.records import Noise
from benchkit.judge import calibration, examination
from benchkit.judge.compare import Triple, compare_triples

QUIET = compare_triples([Triple(1.0, 1.0 + 0.001 * (n % 3), 1.0 + 0.001 * (n % 2)) for n in range(12)])


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Examination and calibration stand still; what they were asked for is kept."""
    seen: dict[str, Any] = {"noise": Noise(verdict="clean")}

    def examine(**named: Any) -> examination.Examination:
        seen["examine"] = named
        return examination.Examination(sections={"machine": {"processor": "fast " * 40}}, details={"cores": [0]})

    def calibrate(artifact: Any, matrix: Any, **named: Any) -> Any:
        seen.update(artifact=artifact, matrix=matrix, calibrate=named)
        found = calibration.calibration(QUIET, seen["noise"], quantity=named["quantity"], margin=named["margin"])
        return found, SimpleNamespace(as_json=dict)

    monkeypatch.setattr(examination, "examine", examine)
    monkeypatch.setattr(calibration, "calibrate", calibrate)
    monkeypatch.setattr(targets, "resolve", lambda target, **_: target)
    return seen


def run(*arguments: str) -> tuple[int, str]:
    """Run the verb; its code is what the function returns, which the boundary turns into the process's."""
    result = CliRunner().invoke(app, ["doctor", "--quiet", *arguments], standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return int(result.return_value), result.stdout


def test_peaks_are_measured_at_one_thread_unless_said_otherwise(asked: dict[str, Any]) -> None:
    assert run()[0] == Exit.OK
    assert tuple(asked["examine"]["peak_threads"]) == (1,)
    run("--threads", "1,2")
    assert tuple(asked["examine"]["peak_threads"]) == (1, 2)
    run("--no-peaks", "--seconds", "0.5")
    assert tuple(asked["examine"]["peak_threads"]) == ()
    assert asked["examine"]["watch_s"] == 0.5
    assert "calibrate" not in asked


def test_a_calibration_keeps_to_a_budget(asked: dict[str, Any]) -> None:
    run("--calibrate", "--target", "model.onnx", "--max-seconds", "30")
    assert asked["calibrate"]["max_seconds"] == 30


def test_a_calibration_ends_with_its_finding(asked: dict[str, Any]) -> None:
    code, text = run("--calibrate", "--target", "model.onnx", "--threads", "2,1", "--margin", "0.03")
    assert code == Exit.OK
    assert asked["artifact"] == "model.onnx"
    assert asked["matrix"].threads == (2,)
    assert asked["calibrate"]["margin"] == 0.03
    assert "cannot be seen here with 20 pairs" in text
    for pairs in (6, 12, 20):
        assert f"with {pairs} pairs" in text
    assert "control, A' / A" in text


def test_a_noisy_machine_is_exit_code_3(asked: dict[str, Any]) -> None:
    asked["noise"] = Noise(verdict="noisy", reasons=("run 1: other processes used 90% of a core",))
    code, text = run("--calibrate", "--target", "model.onnx")
    assert code == Exit.INCONCLUSIVE
    assert "nothing can be decided here now" in text
    assert "90% of a core" in " ".join(text.split())


def test_json_is_one_object_with_everything(asked: dict[str, Any]) -> None:
    code, text = run("--calibrate", "--target", "model.onnx", "--format", "json")
    answer = json.loads(text)
    assert code == Exit.OK
    assert answer["details"] == {"cores": [0]}
    assert [row["pairs"] for row in answer["calibration"]["detectable"]] == [6, 12, 20]
    assert answer["calibration"]["control_ratio"]["estimate"] > 0


def test_without_torch_a_model_of_ones_own_is_the_remedy(
    asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacks(target: str, **_: Any) -> None:
        raise EnvironmentLacks("step 'random-checkpoint' needs the package 'torch'", remedy="pip install it")

    monkeypatch.setattr(targets, "resolve", lacks)
    with pytest.raises(EnvironmentLacks) as caught:
        run("--calibrate")
    assert "--target model.onnx" in caught.value.remedy
    assert "pip install it" in caught.value.remedy


@pytest.mark.parametrize("threads", ["0", "x", ""])
def test_nonsense_thread_counts_are_usage_errors(asked: dict[str, Any], threads: str) -> None:
    with pytest.raises(BenchkitError, match="--threads"):
        run("--threads", threads)


def test_long_facts_are_wrapped_under_their_own_column(asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    _, text = run()
    lines = text.splitlines()
    assert lines[0] == "machine"
    assert all(len(line) <= 80 for line in lines)
    assert lines[1].startswith("  processor              fast")
    assert lines[2].startswith(" " * 25 + "fast")


def test_every_label_of_the_instruments_fits_its_column() -> None:
    from benchkit.judge.instruments import _PROBES

    assert max(map(len, _PROBES)) <= doctor._LABEL


def test_the_record_of_a_calibration_can_be_kept(asked: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "records.jsonl"
    run("--calibrate", "--target", "model.onnx", "--output", str(out))
    assert out.is_file()

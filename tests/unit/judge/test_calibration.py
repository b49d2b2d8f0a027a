import dataclasses
import json
import math
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchkit.bench.matrix import Matrix
from benchkit.core.artifacts import load_artifact
from benchkit.core.records import Noise
from benchkit.judge import calibration as module
from benchkit.judge.calibration import calibrate, calibration
from benchkit.judge.compare import Comparison, Triple, compare_triples

CLEAN = Noise(verdict="clean")


def same_twice(*, spread: float, n: int = 20, shift: float = 0.0, control: float = 0.0, seed: int = 0) -> Comparison:
    """An artifact against itself, with so much spread between processes."""
    random = np.random.default_rng(seed)
    logs = random.normal(0.0, spread / math.sqrt(2), (n, 3)) + np.array([0.0, shift, control])
    return compare_triples([Triple(*(0.01 * np.exp(row))) for row in logs])


def test_what_is_seen_grows_with_the_pairs_and_shrinks_with_the_spread() -> None:
    quiet = calibration(same_twice(spread=0.01), CLEAN, quantity="latency", margin=0.05)
    loud = calibration(same_twice(spread=0.04), CLEAN, quantity="latency", margin=0.05)
    assert [row.pairs for row in quiet.detectable] == [6, 12, 20]
    changes = [row.change for row in quiet.detectable]
    assert changes == sorted(changes, reverse=True)
    assert all(few.change < many.change for few, many in zip(quiet.detectable, loud.detectable, strict=True))
    assert all(row.change < row.slower for row in quiet.detectable)
    assert all(row.change < row.change_at_most for row in quiet.detectable)


def test_it_is_the_formula_of_the_verdicts() -> None:
    """verdicts.md, section 5, at 20 pairs and alpha / 3: z(.9833) = 2.128, z(.8) = 0.842."""
    found = calibration(same_twice(spread=0.02), CLEAN, quantity="latency", margin=0.05)
    reach = (2.128 + 0.8416) * found.spread / math.sqrt(0.955 * 20)
    assert found.detectable[-1].change == pytest.approx(math.expm1(reach), rel=1e-3)
    assert found.detectable[-1].slower == pytest.approx(math.expm1(math.log(1.05) + reach), rel=1e-3)


def test_the_upper_bound_of_the_spread_covers_the_truth() -> None:
    """The true change is below `change_at_most` in 95 % of calibrations by six pairs; 400 seeds, three sigmas."""
    truth = math.expm1((2.128 + 0.8416) * 0.02 / math.sqrt(0.955 * 6))
    covered = [
        calibration(same_twice(spread=0.02, n=6, seed=seed), CLEAN, quantity="latency", margin=0.05)
        for seed in range(400)
    ]
    share = np.mean([found.detectable[0].change_at_most >= truth for found in covered])
    assert 0.95 - 3 * math.sqrt(0.95 * 0.05 / 400) <= share <= 0.99


def test_the_finding_is_a_sentence() -> None:
    found = calibration(same_twice(spread=0.01), CLEAN, quantity="latency", margin=0.05)
    assert re.fullmatch(r"a change below \d+\.\d% cannot be seen here with 20 pairs", found.sentence)
    assert found.obstacle is None
    assert found.as_json()["finding"] == found.sentence


@pytest.mark.parametrize(
    ("comparison", "noise", "named"),
    [
        (same_twice(spread=0.01), Noise(verdict="noisy", reasons=("run 3: a hog", "run 9: a hog")), "not quiet: a hog"),
        (same_twice(spread=0.3), CLEAN, "more than half the margin"),
        (same_twice(spread=0.01, control=0.08), CLEAN, "more than half the margin"),
        (same_twice(spread=0.01, shift=0.2), CLEAN, "the same artifact twice was called slower"),
    ],
)
def test_a_machine_on_which_nothing_can_be_decided(comparison: Comparison, noise: Noise, named: str) -> None:
    obstacle = calibration(comparison, noise, quantity="latency", margin=0.05).obstacle
    assert obstacle is not None
    assert obstacle.endswith(named) or named in obstacle


def test_disturbances_of_one_kind_are_told_once() -> None:
    reasons = [f"run {n}: other processes used {10 + n}% of a core" for n in range(9)]
    noise = Noise(verdict="invalid", reasons=(*reasons, "run 9: 3 page faults went to disk"))
    found = calibration(same_twice(spread=0.01), noise, quantity="latency", margin=0.05)
    assert found.obstacle is not None
    assert found.obstacle.count("of a core") == 1
    assert "3 page faults" in found.obstacle


def test_an_artifact_is_compared_with_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.onnx").write_bytes(b"not a graph")
    artifact = load_artifact(tmp_path / "model.onnx")
    asked = {}

    def compared(a: object, b: object, matrix: Matrix, **named: object) -> SimpleNamespace:
        asked.update(named, a=a, b=b, matrix=matrix)
        return SimpleNamespace(comparison=same_twice(spread=0.01), record=SimpleNamespace(noise=CLEAN))

    monkeypatch.setattr(module, "compare_artifacts", compared)
    matrix = Matrix()
    found, _ = calibrate(artifact, matrix, quantity="throughput", margin=0.02)
    assert asked["a"] is asked["b"] is artifact
    assert (asked["quantity"], asked["margin"], asked["matrix"]) == ("throughput", 0.02, matrix)
    assert found.quantity == "throughput"


@pytest.mark.parametrize("pairs", [1, 3])
def test_a_calibration_that_ran_out_of_time_says_so_in_plain_numbers(pairs: int) -> None:
    early = dataclasses.replace(same_twice(spread=0.01, n=pairs), reason="the time budget of 9 s was over")
    found = calibration(early, CLEAN, quantity="latency", margin=0.05)
    assert found.obstacle == "the time budget of 9 s was over"
    assert f"takes 6 pairs to say, and these are {pairs}" in found.sentence
    assert "Infinity" not in json.dumps(found.as_json())

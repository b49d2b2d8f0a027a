"""How often `compare` is right on this machine: A against itself, and with work added to B."""

import collections
import json
import os
import statistics
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.benchmark

PLANTED = Path(__file__).parents[1] / "planted" / "runtime"
Tell = Callable[[str], None]


def verdicts(a: str, b: str, *, count: int, runtime: str, length: int) -> list[object]:
    from benchkit.bench.matrix import Matrix
    from benchkit.bench.targets import resolve
    from benchkit.bench.timing import Schedule
    from benchkit.judge.pairs import compare_artifacts

    schedule = Schedule(warmup_s=0.1, max_warmup_s=0.5, min_duration_s=0.3, throughput_s=0.05)
    matrix = Matrix(runtime=(runtime,), sequence_length=(length,))
    artifacts = [resolve(target, runtime=runtime) for target in (a, b)]
    return [compare_artifacts(*artifacts, matrix, schedule=schedule).comparison for _ in range(count)]


def told(comparisons: list[object]) -> str:
    words = collections.Counter(str(one.verdict) for one in comparisons)
    ratios = sorted(one.ratio.estimate for one in comparisons)
    reach = statistics.median(one.detectable for one in comparisons)
    pairs = sum(one.pairs for one in comparisons)
    return f"{dict(words)}, ratios {ratios[0]:.3f} to {ratios[-1]:.3f}, detectable {reach:.1%}, {pairs} pairs in all"


def test_a_model_against_itself(tell: Tell) -> None:
    """At most 5 % may be called faster, slower or not slower: one in twenty."""
    target = "arch:tinybert-4l-312"
    seen = verdicts(target, target, count=20, runtime="onnxruntime", length=32)
    decided = sum(str(one.verdict) in ("faster", "slower") for one in seen)
    tell(f"A against A, 20 comparisons of a real model: {told(seen)}; {decided} decided, bar 1")


@pytest.mark.parametrize("extra", [0.10])
def test_added_work_is_found(extra: float, tmp_path: Path, tell: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PLANTED))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(PLANTED), os.environ.get("PYTHONPATH", "")]))
    script = {"unit_s": 0.002, "jitter": 0.05, "slow_share": 0.02, "slow_factor": 3.0}
    for name, more in (("plain", {}), ("more", {"extra": extra})):
        (tmp_path / f"{name}.onnx").write_text(json.dumps(script | more))
    targets = [str(tmp_path / f"{name}.onnx") for name in ("plain", "more")]
    seen = verdicts(*targets, count=10, runtime="planted", length=32)
    found = sum(str(one.verdict) == "slower" for one in seen)
    tell(f"+{extra:.0%} work, 10 comparisons: {told(seen)}; {found} of 10 found, bar 9")

"""Known delays in real processes: what is claimed of them covers the truth, or is not claimed.

The machine that runs the tests may be busy. Noise only adds time: upper bounds must reach the truth always, lower ones
must not lie above it where the machine was clean.
"""

import dataclasses
import time

import pytest

from benchkit.bench.matrix import Matrix
from benchkit.bench.targets import resolve
from benchkit.bench.timing import Schedule
from benchkit.judge.compare import Verdict
from benchkit.judge.pairs import compare_artifacts

UNIT_S = 0.0005
PAIRS = Schedule(warmup_s=0.02, max_warmup_s=0.05, min_values=60, min_duration_s=0.05, throughput_s=0.02)


def covers(record, statistic: str, truth_s: float) -> None:
    figure = record.statistic("latency", statistic)
    assert figure.high >= 0.97 * truth_s
    if record.noise.verdict == "clean":
        assert figure.low <= 1.1 * truth_s


def test_a_null_model_is_overhead_limited(script, measure) -> None:
    [record] = measure(script(unit_s=0), runs=2)
    for name in ("p50", "p90", "p95", "p99"):
        figure = record.statistic("latency", name)
        assert figure.value is None
        assert "overhead-limited" in figure.reason
    assert 0 < record.statistic("latency", "mean_of_blocks").value < 1e-4


def test_known_delays_lie_within_their_bounds(script, measure, quick) -> None:
    """98 % of the calls take one unit, 2 % three; give or take a tenth."""
    target = script(unit_s=UNIT_S, jitter=0.1, slow_share=0.02, slow_factor=3, seed=1)
    [record] = measure(target, runs=5, schedule=dataclasses.replace(quick, min_values=300))
    covers(record, "p50", UNIT_S)
    covers(record, "p99", 3 * UNIT_S)


def test_too_few_calls_have_no_p99(script, measure, quick) -> None:
    target = script(unit_s=UNIT_S, jitter=0.1, slow_share=0.02, slow_factor=3)
    [record] = measure(target, schedule=dataclasses.replace(quick, min_values=250, max_values=250))
    figure = record.statistic("latency", "p99")
    assert 200 < figure.n < 299
    assert figure.value is None
    assert "p99 needs 299 independent values" in figure.reason


@pytest.mark.slow
def test_a_stall_that_the_closed_loop_hides_is_seen_by_the_open_loop_and_said(script, measure, quick) -> None:
    """One call in 250 takes 80 units: every call that arrives meanwhile waits, and a closed loop makes none of them."""
    target = script(unit_s=0.001, stall={"every": 250, "seconds": 0.08})
    schedule = dataclasses.replace(quick, min_values=500, max_values=500)
    closed, opened = measure(target, scenario=("single-stream", "server"), load=0.5, runs=5, schedule=schedule)
    hidden, seen = closed.statistic("latency", "p99"), opened.statistic("response_time", "p99")
    assert seen.value > 0.06
    assert hidden.value < 0.03
    assert any("which a closed loop does not show" in warning for warning in opened.warnings)
    assert not any("closed loop" in warning for warning in closed.warnings)


def test_more_than_the_capacity_is_called_overloaded(script, measure) -> None:
    [record] = measure(script(unit_s=0.002), scenario=("server",), rate_per_s=1500)
    assert any(warning.startswith("overloaded: ") for warning in record.warnings)
    assert any("Little's law is off" in warning for warning in record.warnings)
    assert not any("closed loop" in warning for warning in record.warnings)


def compared(a, b, **values):
    matrix = Matrix(runtime=("planted",), sequence_length=(8,))
    first, second = (resolve(str(target), runtime="planted") for target in (a, b))
    return compare_artifacts(first, second, matrix, schedule=PAIRS, max_seconds=20, **values)


@pytest.mark.slow
def test_the_same_artifact_twice_is_not_told_apart(script) -> None:
    same = script(unit_s=UNIT_S, jitter=0.1)
    found = compared(same, same)
    assert found.comparison.verdict in (Verdict.EQUAL, Verdict.INCONCLUSIVE)
    assert found.comparison.ratio.low <= 1.01
    assert found.comparison.ratio.high >= 0.99


@pytest.mark.slow
def test_ten_percent_more_work_never_passes(script) -> None:
    found = compared(script("a", unit_s=UNIT_S, jitter=0.1), script("b", unit_s=UNIT_S, jitter=0.1, extra=0.1))
    assert found.comparison.verdict in (Verdict.SLOWER, Verdict.INCONCLUSIVE)
    assert found.comparison.ratio.high >= 1.09
    if found.record.noise.verdict == "clean":
        assert found.comparison.ratio.low <= 1.11


@pytest.mark.slow
def test_a_drift_of_a_third_is_named_and_leaves_the_ratio(script) -> None:
    """Everything slows down on a clock that all processes share; a sequential A, then B, would call B slower."""
    drifting = script(unit_s=UNIT_S, jitter=0.05, drift={"begin_ns": time.perf_counter_ns(), "per_s": 0.04})
    found = compared(drifting, drifting)
    assert found.comparison.verdict in (Verdict.EQUAL, Verdict.INCONCLUSIVE)
    assert found.comparison.ratio.low <= 1.02
    assert found.comparison.ratio.high >= 0.98
    assert "drift: A's own figure rose" in (found.comparison.drift.detail or "")
    assert any(warning.startswith("drift: ") for warning in found.record.warnings)

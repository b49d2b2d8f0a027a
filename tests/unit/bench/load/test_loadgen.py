"""MLCommons' LoadGen and our own generator on the same sleepy call: they must agree within the bounds of both."""

import importlib.util
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from benchkit.bench.load.arrivals import poisson_arrivals_ns
from benchkit.bench.load.driving import Load, drive
from benchkit.bench.load.loadgen import LoadgenOutcome, LoadgenScenario, run_loadgen
from benchkit.bench.load.open_loop import Limits, Served, serve
from benchkit.core.errors import EnvironmentLacks
from benchkit.core.records import Statistic
from benchkit.stats.summaries import latency_statistics

needs_loadgen = pytest.mark.skipif(
    importlib.util.find_spec("mlperf_loadgen") is None,
    reason="mlcommons-loadgen is not installed: pip install 'benchkit[loadgen]'",
)
MEAN_S = 0.002
# A call of one length has bounds narrower than the microseconds that either generator adds to it.
SLEEPS_S = np.random.default_rng(0).uniform(0.5 * MEAN_S, 1.5 * MEAN_S, 256).tolist()


def by_loadgen(scenario: LoadgenScenario, rate_per_s: float | None, count: int) -> LoadgenOutcome:
    return run_loadgen(
        time.sleep, SLEEPS_S, scenario=scenario, rate_per_s=rate_per_s, count=count, max_duration_s=5.0, seed=1
    )


def by_us(arrivals_ns: np.ndarray) -> Served:
    limits = Limits(max_duration_s=5.0)
    return serve(time.sleep, SLEEPS_S, arrivals_ns, limits, clock_ns=time.perf_counter_ns, sleep=time.sleep)


def p50(values_ns: np.ndarray) -> Statistic:
    return latency_statistics([(values_ns * 1e-9).tolist()])["p50"]


def overlap(ours: Statistic, theirs: Statistic) -> bool:
    assert ours.low is not None
    assert ours.high is not None
    assert theirs.low is not None
    assert theirs.high is not None
    return ours.low <= theirs.high and theirs.low <= ours.high


@needs_loadgen
def test_single_stream_agrees() -> None:
    theirs = by_loadgen("SingleStream", None, 400)
    ours = by_us(np.zeros(400, dtype=np.int64))  # All are there at 0: one call in flight, back to back.
    assert len(theirs.served.end_ns) == 400
    assert overlap(p50(ours.service_ns), p50(theirs.served.response_ns))


@needs_loadgen
def test_server_at_half_load_agrees() -> None:
    rate_per_s = 0.5 / float(np.mean(p50_free_service_s()))
    theirs = by_loadgen("Server", rate_per_s, 500).served
    ours = by_us(poisson_arrivals_ns(rate_per_s, count=500, seed=1))
    assert len(theirs.end_ns) == len(ours.end_ns) == 500
    assert overlap(p50(ours.response_ns), p50(theirs.response_ns))


def p50_free_service_s() -> list[float]:
    """What the sleeps really take: the machine adds to each."""
    took_s = []
    for sleep_s in SLEEPS_S[:50]:
        begin_ns = time.perf_counter_ns()
        time.sleep(sleep_s)
        took_s.append((time.perf_counter_ns() - begin_ns) * 1e-9)
    return took_s


@needs_loadgen
@pytest.mark.parametrize(("scenario", "rate_per_s"), [("SingleStream", None), ("Server", 400.0), ("Offline", 500.0)])
def test_what_we_read_of_each_query_is_what_loadgen_says_in_its_summary(
    scenario: LoadgenScenario, rate_per_s: float | None
) -> None:
    outcome = by_loadgen(scenario, rate_per_s, 100)
    ordered = np.sort(outcome.served.response_ns)
    assert len(ordered) == outcome.results.get("result_query_count", 100) or scenario == "Offline"
    for name, q in (("50.00", 0.50), ("90.00", 0.90), ("99.00", 0.99)):
        # LoadGen takes the value at index floor(n q), counted from 0.
        assert ordered[int(len(ordered) * q)] == outcome.results[f"result_{name}_percentile_latency_ns"]
    assert outcome.errors == ()
    assert np.all(outcome.served.lateness_ns > -1000)


@needs_loadgen
def test_the_engine_gives_the_same_outcome_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outcomes = [
        drive(
            time.sleep,
            [0.0005],
            Load(rate_per_s=400.0, queries=100, engine=engine),
            scenario="server",
            capacity_per_s=1500.0,
            seed=0,
            clock_ns=time.perf_counter_ns,
            sleep=time.sleep,
        )
        for engine in ("benchkit", "loadgen")
    ]
    assert set(outcomes[1]) - set(outcomes[0]) == {"loadgen"}
    assert len(outcomes[1]["response_ns"]) == 100
    assert list(tmp_path.iterdir()) == []


@needs_loadgen
@pytest.mark.parametrize("scenario", ["SingleStream", "Server"])
def test_an_error_of_the_call_comes_through(scenario: LoadgenScenario) -> None:
    def call(prepared: object) -> None:
        raise ValueError("the model fell over")

    with pytest.raises(ValueError, match="fell over"):
        run_loadgen(call, ["a"], scenario=scenario, rate_per_s=500.0, count=20, max_duration_s=5.0, seed=0)


@needs_loadgen
def test_a_run_that_takes_too_long_is_cut_and_said() -> None:
    served = run_loadgen(
        time.sleep, [0.05], scenario="Server", rate_per_s=200.0, count=1000, max_duration_s=0.4, seed=0
    ).served
    assert served.cut == "time"
    assert len(served.waiting_ns) > len(served.end_ns) > 0


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlperf_loadgen", None)
    with pytest.raises(EnvironmentLacks) as caught:
        by_loadgen("Server", 10.0, 1)
    assert caught.value.remedy == "pip install 'benchkit[loadgen]'"

import dataclasses

import pytest

from benchkit.bench.load.driving import Load
from benchkit.bench.record import failed_record, profile_record
from benchkit.core.records import NotMeasured
from benchkit.core.store import is_sealed
from benchkit.judge.recompute import recompute
from benchkit.judge.rederived import noise_again

NO_ENERGY = NotMeasured(reason="no_powercap", detail="none here", remedy="bare metal")


QUIET = {"wall_s": 0.0, "own_cpu_s": 0.0, "busy_s": 0.0, "steal_s": 0.0, "run_delay_s": 0.0, "major_faults": 0}
STAMP = {"started_at_utc": "2026-01-01T00:00:00Z", "elapsed_s": 1.5}


def record_of(spot, outcomes, **changes):
    settings = {"no_energy": {"energy_package": NO_ENERGY}, "seed": 0, "sampling": {}} | changes
    return profile_record(spot, outcomes, **settings)


def test_figures_are_in_base_units(spot, outcomes) -> None:
    record = record_of(spot, outcomes)
    assert record.statistic("latency", "p50").value == pytest.approx(0.01)
    assert record.statistic("throughput", "median").value == pytest.approx(50 * 2 / 0.5)
    assert record.statistic("cpu_time", "median").value == pytest.approx(0.5 / 100)
    assert record.statistic("peak_memory", "max").value == 300 << 20
    assert record.statistic("peak_memory", "imports_only").value == 60 << 20
    assert record.statistic("artifact_size", "value").value == 100
    assert record.measurements["energy_package"] == NO_ENERGY
    assert record.noise.verdict == "clean"
    assert is_sealed(record.as_json())


def test_raw_values_are_kept(spot, outcomes) -> None:
    assert [len(run) for run in record_of(spot, outcomes).measurements["latency"].runs] == [20] * 5


def test_offline_gives_no_latency(spot, outcomes) -> None:
    record = record_of(spot._replace(scenario="offline"), outcomes)
    assert "latency" not in record.measurements
    assert "throughput" in record.measurements


def test_more_cores_than_asked_void_the_row(spot, outcomes, make_timed) -> None:
    outcomes["time"][2] = make_timed(window={"calls": 50, "wall_s": 0.5, "cpu_s": 0.99})
    noise = record_of(spot, outcomes).noise
    assert noise.verdict == "invalid"
    assert "asked for 1 thread(s), and 1.98 cores were busy" in noise.reasons[0]


@pytest.mark.parametrize(
    ("output", "reason"),
    [({"finite": False, "constant": False}, "NaN"), ({"finite": True, "constant": True}, "same answer")],
)
def test_a_model_that_answers_nonsense_is_void_however_fast(spot, outcomes, make_timed, output, reason) -> None:
    whole = {"sha256": "0" * 64, "values": []}
    outcomes["time"] = [make_timed(output=output | whole) for _ in range(5)]
    noise = record_of(spot, outcomes).noise
    assert noise.verdict == "invalid"
    assert reason in noise.reasons[0]


def test_one_disturbed_run_of_five_is_borne_and_two_are_not(spot, outcomes, make_timed) -> None:
    before, after = outcomes["time"][0]["snapshots"]
    hogged = [before, after | {"busy_s": 1.12}]
    outcomes["time"][0] = make_timed(snapshots=hogged)
    first = record_of(spot, outcomes).noise
    assert (first.verdict, len(first.reasons)) == ("clean", 1)
    outcomes["time"][1] = make_timed(snapshots=hogged)
    assert record_of(spot, outcomes).noise.verdict == "noisy"
    outcomes["time"] = [make_timed(snapshots=[before, after | {"busy_s": 2.0}]) for _ in range(5)]
    assert record_of(spot, outcomes).noise.verdict == "invalid"


def test_one_spoiled_run_makes_the_cell_noisy(spot, outcomes, make_timed) -> None:
    """Tails are pooled over all runs: one run beside a hog would set p95 and p99."""
    before, after = outcomes["time"][0]["snapshots"]
    outcomes["time"][0] = make_timed(snapshots=[before, after | {"busy_s": 2.0}])
    assert record_of(spot, outcomes).noise.verdict == "noisy"


def test_the_counters_stand_in_the_record_and_give_its_verdict_again(spot, outcomes, make_timed) -> None:
    before, after = outcomes["time"][0]["snapshots"]
    outcomes["time"][0] = make_timed(snapshots=[before, after | {"busy_s": 1.5}], canary_ns=[1, 2])
    record = record_of(spot, outcomes)
    kept = record.sampling["noise"]["runs"]
    assert len(kept) == 5
    assert kept[0]["snapshots"][1]["busy_s"] == 1.5
    assert noise_again(record) == record.noise
    assert record.noise.verdict == "noisy"
    assert not recompute(record)[0]


def test_a_failed_memory_pass_leaves_the_latency(spot, outcomes) -> None:
    outcomes["memory"] = []
    record = record_of(
        spot, outcomes, failed={"memory": NotMeasured(reason="worker_failed", detail="killed by SIGKILL")}
    )
    assert record.statistic("latency", "p50").value == pytest.approx(0.01)
    assert record.measurements["peak_memory"].detail == "killed by SIGKILL"


def test_no_high_water_mark_is_not_zero(spot, outcomes, make_memory) -> None:
    outcomes["memory"] = [make_memory(None)]
    assert record_of(spot, outcomes).measurements["peak_memory"].reason == "no_high_water_mark"


def test_a_failed_cell_is_void_and_says_why(spot) -> None:
    nothing = NotMeasured(reason="worker_failed", detail="killed by SIGKILL")
    record = failed_record(spot, nothing, started_at_utc="2026-01-01T00:00:00Z", seed=0)
    assert record.noise.verdict == "invalid"
    assert record.measurements["latency"].detail == "killed by SIGKILL"
    assert is_sealed(record.as_json())


def energy_outcome(joules, *, foreign_s=0.0):
    after = QUIET | {"wall_s": 2.0, "own_cpu_s": 2.0, "busy_s": 2.0 + foreign_s}
    reading = {"joules": joules, "wall_s": 2.0, "source": "powercap", "scope": "CPU package, whole machine"}
    window = {"calls": 100, "wall_s": 2.0, "cpu_s": 2.0}
    return {"readings": {"energy_package": reading}, "window": window, "snapshots": [QUIET, after], **STAMP}


def idle_outcome(joules):
    reading = {"joules": joules, "wall_s": 10.0, "source": "powercap", "scope": "CPU package, whole machine"}
    return {"readings": {"energy_package": reading}, "snapshots": [QUIET, QUIET], **STAMP}


def test_energy_is_for_one_example_gross_and_net(spot, outcomes) -> None:
    outcomes["energy"] = [energy_outcome(40.0) for _ in range(5)]
    outcomes["idle"] = [idle_outcome(50.0), idle_outcome(52.0)]
    record = record_of(spot, outcomes, no_energy={})
    assert record.statistic("energy_package", "median").value == pytest.approx(0.2)
    assert record.statistic("energy_package", "net_median").value == pytest.approx((40 - 5.1 * 2) / 200)
    assert record.measurements["energy_package"].details["source"] == "powercap"


def test_two_idle_readings_that_differ_give_no_net(spot, outcomes) -> None:
    outcomes["energy"] = [energy_outcome(40.0) for _ in range(5)]
    outcomes["idle"] = [idle_outcome(50.0), idle_outcome(80.0)]
    net = record_of(spot, outcomes, no_energy={}).statistic("energy_package", "net_median")
    assert net.value is None
    assert "differ" in net.reason


def test_foreign_work_contaminates_a_window(spot, outcomes) -> None:
    outcomes["energy"] = [energy_outcome(40.0, foreign_s=0.5), *[energy_outcome(40.0) for _ in range(4)]]
    record = record_of(spot, outcomes, no_energy={})
    assert record.measurements["energy_package"].details["contaminated"] == [True, False, False, False, False]
    assert any("contaminated" in warning for warning in record.warnings)


def test_void_windows_give_no_joules(spot, outcomes) -> None:
    void = {"void": {"reason": "window_void", "detail": "the counter vanished", "remedy": "again"}}
    outcomes["energy"] = [energy_outcome(40.0) | {"readings": {"energy_package": void}}]
    assert record_of(spot, outcomes, no_energy={}).measurements["energy_package"].detail == "the counter vanished"


def test_values_before_the_steady_part_are_kept_apart(spot, outcomes, make_timed) -> None:
    late = {"start": 4, "verdict": "slowing", "change": 0.1, "detail": "the level rose by 10 %"}
    outcomes["time"][1] = make_timed(steadiness=late)
    record = record_of(spot, outcomes)
    latency = record.measurements["latency"]
    assert [len(run) for run in latency.runs] == [20, 16, 20, 20, 20]
    assert len(latency.details["warmup_s"][1]) == 2 + 4
    assert len(latency.details["begin_us"][1]) == 16
    assert "run 2 was slowing: the level rose by 10 %" in record.warnings


def test_percentiles_below_fifty_times_the_overhead_are_refused(spot, outcomes, make_timed) -> None:
    outcomes["time"] = [make_timed(latency_ns=[3000] * 20, overhead_ns=100.0) for _ in range(5)]
    statistic = record_of(spot, outcomes).statistic("latency", "p50")
    assert statistic.value is None
    assert "overhead" in statistic.reason


def test_timed_calls_that_answer_otherwise_void_the_row(spot, outcomes, make_timed) -> None:
    good = outcomes["time"][0]["output"]
    outcomes["time"][3] = make_timed(output=good | {"timed_difference": 0.4, "timed_finite": True})
    noise = record_of(spot, outcomes).noise
    assert noise.verdict == "invalid"
    assert "otherwise" in noise.reasons[0]


def test_a_pool_that_was_never_made_voids_the_row(spot, outcomes, make_timed) -> None:
    proof = outcomes["time"][0]["proof"] | {"os_threads": 2, "os_threads_before": 2}  # A pool of numpy's, not of ours.
    outcomes["time"] = [make_timed(proof=proof) for _ in range(5)]
    asked = spot._replace(options=dataclasses.replace(spot.options, threads=2))
    assert "the session made 0 of its own, and 1.00 cores were busy" in record_of(asked, outcomes).noise.reasons[0]


def test_cores_other_than_asked_void_the_row(spot, outcomes) -> None:
    assert "asked for cores [1]" in record_of(spot._replace(affinity=(1,)), outcomes).noise.reasons[0]


def cold(page_cache, seconds, share=0.0):
    phases = {"interpreter": 0.1, "imports": 0.2, "tokenizer": 0.0, "session": seconds, "first inference": 0.1}
    total = sum(phases.values()) + 0.3
    took = {"answered_s": total + 0.001, "child_wall_s": total + 0.05}
    reason = "still_resident" if share else ""
    shares = {"dropped": {"resident_share": share, "reason": reason, "detail": "100% stayed in memory"}}
    return {"phases_s": phases | {"steady": 0.3}, "total_s": total, "page_cache": page_cache, **took, **shares, **STAMP}


def test_a_cold_start_ends_with_the_first_answer(spot, outcomes) -> None:
    outcomes["cold-start"] = [cold("cold", 0.6), cold("warm", 0.2)] * 5
    record = record_of(spot, outcomes)
    assert record.statistic("cold_start", "median").value == pytest.approx(1.0)
    assert record.statistic("cold_start", "warm_median").value == pytest.approx(0.6)
    assert max(record.measurements["cold_start"].details["unaccounted_share"]) < 0.02


def test_a_start_that_its_phases_do_not_explain_is_told(spot, outcomes) -> None:
    outcomes["cold-start"] = [cold("cold", 0.6), cold("warm", 0.2)] * 5
    assert not [text for text in record_of(spot, outcomes).warnings if "unexplained" in text]
    outcomes["cold-start"][3] = outcomes["cold-start"][3] | {"answered_s": 2 * outcomes["cold-start"][3]["answered_s"]}
    told = [text for text in record_of(spot, outcomes).warnings if "unexplained" in text]
    assert len(told) == 1
    assert told[0].startswith("the phases of 1 of 10 cold starts leave up to 5")


def test_a_page_cache_that_kept_the_files_gives_no_cold_start(spot, outcomes) -> None:
    outcomes["cold-start"] = [cold("cold", 0.6, share=1.0), cold("warm", 0.2)] * 5
    assert record_of(spot, outcomes).measurements["cold_start"].reason == "still_resident"


def test_response_times_count_from_the_arrival(spot, outcomes, make_timed) -> None:
    served = {
        "rate_per_s": 10.0,
        "capacity_per_s": 20.0,
        "arrival_ns": [0, 100_000_000] * 150,
        "begin_ns": [0, 100_000_000] * 150,
        "end_ns": [50_000_000, 150_000_000] * 150,
        "response_ns": [50_000_000] * 300,
        "lateness_ns": {},
        "warnings": ["overloaded: the queue grew"],
    }
    outcomes["time"] = [make_timed(served=served) for _ in range(5)]
    server = spot._replace(scenario="server", load=Load(share_of_capacity=0.5))
    record = record_of(server, outcomes)
    assert record.statistic("response_time", "p99").value == pytest.approx(0.05)
    assert "latency" not in record.measurements
    assert (record.cell.scenario, record.cell.load) == ("server", 0.5)
    assert "overloaded: the queue grew" in record.warnings


@pytest.mark.parametrize(("rate", "expected"), [(8.0, 16.0), (None, None)])
def test_the_largest_rate_is_in_examples(spot, outcomes, make_timed, rate, expected) -> None:
    search = {"rate_per_s": rate, "trials": [], "reason": "even 1 a second misses it"}
    served = {"rate_per_s": rate, "capacity_per_s": 20.0, "search": search, "warnings": []}
    outcomes["time"] = [make_timed(served=served) for _ in range(5)]
    record = record_of(spot._replace(scenario="server", load=Load(p99_at_most_s=0.1)), outcomes)
    assert "response_time" not in record.measurements  # Only what kept the limit was kept: it would be no finding.
    if expected is None:
        assert record.measurements["sustained_rate"].detail == "even 1 a second misses it"
    else:
        assert record.statistic("sustained_rate", "median").value == expected


def test_searches_that_were_cut_by_the_time_say_nothing_of_the_rate(spot, outcomes, make_timed) -> None:
    def timed(rate, *, out_of_time):
        search = {"rate_per_s": rate, "trials": [], "reason": "2 s hold no trial", "out_of_time": out_of_time}
        return make_timed(served={"rate_per_s": rate, "capacity_per_s": 20.0, "search": search, "warnings": []})

    server = spot._replace(scenario="server", load=Load(p99_at_most_s=0.1))
    outcomes["time"] = [timed(8.0, out_of_time=False), timed(None, out_of_time=True)]
    found = record_of(server, outcomes).measurements["sustained_rate"]
    assert (found.runs, len(found.details["searches"])) == (((16.0,),), 2)
    outcomes["time"] = [timed(None, out_of_time=True)] * 2
    assert record_of(server, outcomes).measurements["sustained_rate"].reason == "out_of_time"
    outcomes["time"] = [timed(8.0, out_of_time=False), timed(None, out_of_time=False)]
    assert record_of(server, outcomes).measurements["sustained_rate"].reason == "bound_not_met"


def test_real_tokens_and_padding(spot, outcomes) -> None:
    record = record_of(spot, outcomes)
    assert record.statistic("padding_waste", "value").value == pytest.approx(1 - 50 / 64)
    assert record.statistic("token_throughput", "median").value == pytest.approx(25 * 50 / 0.5)


def test_a_violation_of_the_profiled_run_voids_the_row(spot, outcomes) -> None:
    share = {"nodes": 1.0, "time": 1.0}
    coverage = {
        "nodes": 10,
        "time_s": 0.1,
        "by_provider": {"OtherExecutionProvider": share},
        "compute_by_provider": {"OtherExecutionProvider": share},
        "time_by_op_type": {"MatMul": 1.0},
        "matmul_by_precision": {"fp32": share},
    }
    outcomes["coverage"] = [{"coverage": coverage, "top_operators": [], **STAMP}]
    noise = record_of(spot, outcomes).noise
    assert noise.verdict == "invalid"
    assert "asked for CPUExecutionProvider" in noise.reasons[0]


def test_the_canary_explains_calls_that_did_not_settle_and_accuses_nobody_by_itself(spot, outcomes, make_timed) -> None:
    falling = [500_000] * 15 + [900_000] * 15
    outcomes["time"] = [make_timed(canary_ns=falling) for _ in range(5)]
    assert record_of(spot, outcomes).noise.verdict == "clean"
    slowing = {"start": 0, "verdict": "slowing", "change": 0.3, "detail": "slower"}
    outcomes["time"] = [make_timed(canary_ns=falling, steadiness=slowing) for _ in range(5)]
    noise = record_of(spot, outcomes).noise
    assert noise.verdict == "noisy"
    assert "longer at the end" in noise.reasons[0]
    to_and_fro = slowing | {"verdict": "bimodal"}
    outcomes["time"] = [make_timed(canary_ns=falling, steadiness=to_and_fro) for _ in range(5)]
    assert record_of(spot, outcomes).noise.verdict == "clean"  # The bounds hold it, and tails ask for steady runs.

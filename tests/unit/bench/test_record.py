import pytest

from benchkit.bench.record import failed_record, profile_record
from benchkit.core.records import NotMeasured
from benchkit.core.store import is_sealed

NO_ENERGY = NotMeasured(reason="no_powercap", detail="none here", remedy="bare metal")


def record_of(spot, outcomes):
    return profile_record(spot, outcomes, energy=NO_ENERGY, seed=0)


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
    outcomes["time"] = [make_timed(output=output) for _ in range(5)]
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


def test_a_failed_memory_pass_leaves_the_latency(spot, outcomes) -> None:
    outcomes["memory"] = []
    record = profile_record(spot, outcomes, energy=NO_ENERGY, seed=0, failed={"memory": "killed by SIGKILL"})
    assert record.statistic("latency", "p50").value == pytest.approx(0.01)
    assert record.measurements["peak_memory"].detail == "killed by SIGKILL"


def test_no_high_water_mark_is_not_zero(spot, outcomes, make_memory) -> None:
    outcomes["memory"] = [make_memory(None)]
    assert record_of(spot, outcomes).measurements["peak_memory"].reason == "no_high_water_mark"


def test_a_failed_cell_is_void_and_says_why(spot) -> None:
    record = failed_record(spot, "killed by SIGKILL", started_at_utc="2026-01-01T00:00:00Z", seed=0)
    assert record.noise.verdict == "invalid"
    assert record.measurements["latency"].detail == "killed by SIGKILL"
    assert is_sealed(record.as_json())


def test_energy_is_for_one_example(spot, outcomes) -> None:
    stamp = {"started_at_utc": "2026-01-01T00:00:00Z", "elapsed_s": 2.0}
    window = {"calls": 100, "wall_s": 2.0, "cpu_s": 2.0}
    outcomes["energy"] = [{"energy_j": 40.0, "window": window, **stamp}]
    record = profile_record(spot, outcomes, energy=None, seed=0)
    assert record.statistic("energy_package", "median").value == pytest.approx(0.2)

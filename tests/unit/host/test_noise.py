import sys
from pathlib import Path

import pytest

from benchkit.host.noise import Snapshot, disturbances, take_snapshot

START = Snapshot(wall_s=0.0, own_cpu_s=0.0, busy_s=0.0, steal_s=0.0, run_delay_s=0.0, major_faults=0)


def after(**changes: float) -> Snapshot:
    values = {"wall_s": 10.0, "own_cpu_s": 10.0, "busy_s": 10.0, "steal_s": 0.0, "run_delay_s": 0.0, "major_faults": 0}
    return Snapshot(**(values | changes))


def test_a_worker_that_was_alone_is_clean() -> None:
    assert disturbances(START, after()) == ("clean", ())


@pytest.mark.parametrize(
    ("changes", "verdict", "named"),
    [
        ({"busy_s": 11.0}, "noisy", "other processes used 10% of a core"),
        ({"busy_s": 20.0}, "invalid", "other processes used 100% of a core"),
        ({"steal_s": 1.0}, "noisy", "the hypervisor took 10% of a core"),
        ({"run_delay_s": 0.5}, "noisy", "waited for a core 5.0% of the time"),
        ({"major_faults": 3}, "noisy", "3 page faults went to disk"),
    ],
)
def test_what_gave_it_away_is_named(changes: dict[str, float], verdict: str, named: str) -> None:
    word, reasons = disturbances(START, after(**changes))
    assert word == verdict
    assert named in reasons[0]


def test_ticks_of_the_kernels_clock_are_no_load() -> None:
    """0.1 s of wall time: one tick of 10 ms on each core means nothing."""
    short = after(wall_s=0.1, own_cpu_s=0.1, busy_s=0.12)
    assert disturbances(START, short)[0] == "clean"


def test_counters_that_are_not_there_judge_nothing() -> None:
    bare = Snapshot(wall_s=0.0, own_cpu_s=0.0)
    assert disturbances(bare, Snapshot(wall_s=1.0, own_cpu_s=1.0)) == ("clean", ())


def test_a_system_without_proc(tmp_path: Path) -> None:
    snapshot = take_snapshot(tmp_path / "none")
    assert (snapshot.busy_s, snapshot.steal_s, snapshot.run_delay_s, snapshot.pressure_s) == (None, None, None, None)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_kernels_files_are_read_in_seconds(tmp_path: Path) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "pressure").mkdir()
    (tmp_path / "stat").write_text("cpu  100 20 30 4000 5 6 7 80 0 0\ncpu0 1 2 3\n")
    (tmp_path / "self" / "schedstat").write_text("123 2500000000 9\n")
    (tmp_path / "pressure" / "cpu").write_text("some avg10=0.00 avg60=0.00 avg300=0.00 total=1500000\n")
    snapshot = take_snapshot(tmp_path)
    assert snapshot.busy_s == pytest.approx(1.63)
    assert snapshot.steal_s == pytest.approx(0.8)
    assert snapshot.run_delay_s == 2.5
    assert snapshot.pressure_s == {"cpu": 1.5}

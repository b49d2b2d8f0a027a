import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchkit.host.noise import Snapshot, disturbances, take_snapshot

START = Snapshot(
    wall_s=0.0,
    own_cpu_s=0.0,
    busy_s=0.0,
    steal_s=0.0,
    run_delay_s=0.0,
    involuntary_switches=0,
    major_faults=0,
    pressure_s={"cpu": 0.0, "memory": 0.0, "io": 0.0},
    machine_cores=2,
    quota_cores=1.5,
    throttled_periods=0,
    throttled_s=0.0,
    clock={"fastest_hz": 3e9, "throttle_events": 4, "hottest_celsius": 60.0},
)


def after(**changes: Any) -> Snapshot:
    return dataclasses.replace(START, **({"wall_s": 10.0, "own_cpu_s": 10.0, "busy_s": 10.0} | changes))


def test_a_worker_that_was_alone_is_clean() -> None:
    assert disturbances(START, after()) == ("clean", ())


@pytest.mark.parametrize(
    ("changes", "verdict", "named"),
    [
        ({"busy_s": 11.0}, "noisy", "other processes used 10% of a core"),
        ({"busy_s": 20.0}, "invalid", "other processes used 100% of a core"),
        ({"steal_s": 1.0}, "noisy", "the hypervisor took 10% of a core"),
        ({"steal_s": 4.0}, "invalid", "the hypervisor took 40% of a core"),
        ({"run_delay_s": 0.5}, "noisy", "waited for a core 4.8% of the time"),
        ({"run_delay_s": 10.0}, "invalid", "waited for a core 50.0% of the time"),
        ({"involuntary_switches": 1500}, "noisy", "preempted 150 times per second"),
        ({"major_faults": 3}, "noisy", "3 page faults went to disk"),
        ({"pressure_s": {"cpu": 3.0}}, "noisy", "waited for a core 30% of the time"),
        ({"pressure_s": {"memory": 0.2}}, "noisy", "waited for memory 2% of the time"),
        ({"pressure_s": {"io": 4.0}}, "noisy", "waited for a disk 40% of the time"),
        ({"throttled_periods": 9, "throttled_s": 0.5}, "noisy", "quota of 1.5 cores ran out 9 times"),
        ({"throttled_periods": 90, "throttled_s": 6.0}, "invalid", "stopped it 6 s"),
        ({"clock": {"fastest_hz": 2e9, "throttle_events": 4}}, "noisy", "the clock fell by 33%"),
        ({"clock": {"fastest_hz": 3e9, "throttle_events": 6, "hottest_celsius": 97.0}}, "noisy", "throttled 2 times"),
    ],
)
def test_what_gave_it_away_is_named(changes: dict[str, Any], verdict: str, named: str) -> None:
    word, reasons = disturbances(START, after(**changes))
    assert word == verdict
    [reason] = reasons
    assert named in reason


@pytest.mark.parametrize(
    "changes",
    [
        {"pressure_s": {"cpu": 0.9, "memory": 0.05, "io": 0.9}},
        {"involuntary_switches": 300},
        {"clock": {"fastest_hz": 2.8e9, "throttle_events": 4, "hottest_celsius": 80.0}},
        {"steal_s": 0.05},
    ],
)
def test_what_a_quiet_machine_shows_too_is_clean(changes: dict[str, Any]) -> None:
    assert disturbances(START, after(**changes)) == ("clean", ())


def test_on_many_cores_one_busy_neighbour_leaves_room() -> None:
    """A core of 64 is noise that may be shown, seven of them are not."""
    wide = dataclasses.replace(START, machine_cores=64)
    assert disturbances(wide, dataclasses.replace(after(busy_s=20.0), machine_cores=64))[0] == "noisy"
    assert disturbances(wide, dataclasses.replace(after(busy_s=90.0), machine_cores=64))[0] == "invalid"
    assert disturbances(wide, dataclasses.replace(after(busy_s=15.0), machine_cores=64))[0] == "clean"


def test_ticks_of_the_kernels_clock_are_no_load() -> None:
    """0.1 s of wall time: one tick of 10 ms on each core means nothing, nor one that was stolen."""
    short = after(wall_s=0.1, own_cpu_s=0.1, busy_s=0.12, steal_s=0.01)
    assert disturbances(START, short)[0] == "clean"


def test_a_process_that_slept_was_not_kept_waiting() -> None:
    """Waking up costs a few 50 us: a large share of the almost nothing that it ran."""
    asleep = after(own_cpu_s=0.001, busy_s=0.001, run_delay_s=0.001, involuntary_switches=1)
    assert disturbances(START, asleep) == ("clean", ())


def test_counters_that_are_not_there_judge_nothing() -> None:
    bare = Snapshot(wall_s=0.0, own_cpu_s=0.0)
    assert disturbances(bare, Snapshot(wall_s=1.0, own_cpu_s=1.0)) == ("clean", ())


def test_a_snapshot_crosses_the_pipe() -> None:
    snapshot = take_snapshot()
    assert Snapshot(**json.loads(json.dumps(dataclasses.asdict(snapshot)))) == snapshot


def test_a_system_without_proc(tmp_path: Path) -> None:
    nothing = tmp_path / "none"
    snapshot = take_snapshot(nothing, cgroup_root=nothing, sys_root=nothing)
    assert (snapshot.busy_s, snapshot.steal_s, snapshot.run_delay_s, snapshot.pressure_s) == (None, None, None, None)
    assert (snapshot.throttled_s, snapshot.quota_cores, snapshot.machine_cores) == (None, None, None)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_kernels_files_are_read_in_seconds(tmp_path: Path) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "pressure").mkdir()
    (tmp_path / "stat").write_text("cpu  100 20 30 4000 5 6 7 80 0 0\ncpu0 1 2 3\ncpu1 1 2 3\nintr 5\n")
    (tmp_path / "self" / "schedstat").write_text("123 2500000000 9\n")
    (tmp_path / "pressure" / "cpu").write_text("some avg10=0.00 avg60=0.00 avg300=0.00 total=1500000\n")
    snapshot = take_snapshot(tmp_path)
    assert snapshot.busy_s == pytest.approx(1.63)
    assert snapshot.steal_s == pytest.approx(0.8)
    assert snapshot.machine_cores == 2
    assert snapshot.run_delay_s == 2.5
    assert snapshot.pressure_s == {"cpu": 1.5}


def test_every_thread_of_the_worker_may_be_kept_waiting(tmp_path: Path) -> None:
    for thread, delay_ns in (("7", 1_000_000_000), ("8", 500_000_000)):
        (tmp_path / "self" / "task" / thread).mkdir(parents=True)
        (tmp_path / "self" / "task" / thread / "schedstat").write_text(f"5 {delay_ns} 1\n")
    assert take_snapshot(tmp_path).run_delay_s == pytest.approx(1.5)


@pytest.mark.skipif(not Path("/proc/self/schedstat").is_file(), reason="this kernel keeps no run delay")
def test_a_hog_on_the_same_core_is_found() -> None:
    """A real one: another process spins on the only core that this one may use."""
    mine = os.sched_getaffinity(0)
    core = min(mine)
    spin = f"import os\nos.sched_setaffinity(0, [{core}])\nprint(flush=True)\nwhile True: pass"
    hog = subprocess.Popen([sys.executable, "-c", spin], stdout=subprocess.PIPE)
    try:
        assert hog.stdout is not None
        hog.stdout.readline()
        os.sched_setaffinity(0, [core])
        before = take_snapshot()
        until_s = time.perf_counter() + 0.6
        while time.perf_counter() < until_s:
            pass
        word, reasons = disturbances(before, take_snapshot())
    finally:
        os.sched_setaffinity(0, mine)
        hog.kill()
        hog.wait()
        hog.stdout.close()
    assert word in ("noisy", "invalid")
    assert any("the worker waited for a core" in reason for reason in reasons), reasons

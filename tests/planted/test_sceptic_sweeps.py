"""Sweeps that are killed, cells that die, records that are edited: nothing is lost, mixed or believed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchkit.bench.noise_verdict import is_spoiled
from benchkit.core.store import append_lines, read_records

UNIT_S = 0.0005
# As typed, but for the machine's own peaks, which are another test's.
BENCHKIT = """
import sys
from benchkit.bench import profile
from benchkit.cli.boundary import main
profile.measured_peaks = lambda *_, **__: None
sys.exit(main())
"""


def opened(log: Path) -> int:
    return len(log.read_text().splitlines()) if log.exists() else 0


def usable(lines: list[str]) -> int:
    """Count the finished jobs that a later sweep takes over; spoiled ones are measured again."""
    outcomes = [json.loads(line)["outcome"] for line in lines]
    return sum(not ("overhead_ns" in outcome and is_spoiled(outcome)) for outcome in outcomes)


def until(condition, seconds: float = 60.0) -> None:
    end_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end_s, "it did not come to pass"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that has ended and was never waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_kill_9_in_mid_sweep_leaves_no_orphan_and_loses_nothing(script, tmp_path: Path) -> None:
    log, journal = tmp_path / "log", tmp_path / "records.jsonl.journal"
    target = script(unit_s=UNIT_S, log=str(log))
    command = [sys.executable, "-c", BENCHKIT, "profile", str(target), "--runtime", "planted", "--scenario", "offline"]
    command += ["--sequence-length", "8,16", "--runs", "2", "--output", str(tmp_path / "records.jsonl"), "--quiet"]
    sweep = subprocess.Popen(command, start_new_session=True)
    until(lambda: opened(log) >= 3)
    os.kill(sweep.pid, signal.SIGKILL)
    sweep.wait()
    worker = json.loads(log.read_text().splitlines()[-1])["pid"]
    until(lambda: not is_alive(worker), seconds=5)
    assert not (tmp_path / "records.jsonl").read_text()
    # One profiled run, two timed ones and two of memory for each of two cells; none is measured twice.
    missing, before = 1 + 2 * 4 - usable(journal.read_text().splitlines()), opened(log)
    assert missing < 1 + 2 * 4
    code = subprocess.run(command, check=False).returncode
    assert code in (0, 4)  # 4 where neighbours of the test spoiled both cells.
    assert opened(log) - before == missing
    assert [record.cell.sequence_length for record in read_records(tmp_path / "records.jsonl")] == [8, 16]
    assert journal.exists() == (code != 0)


def test_a_hung_worker_ends_with_its_parent(script, tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux ends a child with its parent")
    log = tmp_path / "log"
    target = script(unit_s=UNIT_S, log=str(log), ends={"8": "hang"})
    command = [sys.executable, "-c", BENCHKIT, "profile", str(target), "--runtime", "planted", "--sequence-length", "8"]
    sweep = subprocess.Popen([*command, "--quiet"])
    until(lambda: opened(log) == 1)
    worker = json.loads(log.read_text())["pid"]
    assert is_alive(worker)
    os.kill(sweep.pid, signal.SIGKILL)
    sweep.wait()
    try:
        until(lambda: not is_alive(worker), seconds=5)
    finally:
        if is_alive(worker):  # Where the test fails it leaves nothing behind either.
            os.kill(worker, signal.SIGKILL)


def test_what_was_measured_otherwise_is_not_taken_over(script, measure, tmp_path: Path, monkeypatch) -> None:
    """A journal gives back the very same job only: a corrupt line, other cores, another plug-in are run again."""
    log, journal = tmp_path / "log", tmp_path / "journal"
    target = script(unit_s=UNIT_S, log=str(log))

    def runs_again(**values) -> int:
        before = opened(log)
        measure(target, journal=journal, **values)
        return opened(log) - before

    assert runs_again() == 3  # Profiled, timed, memory.
    lines = journal.read_text().splitlines()
    spoiled = 3 - usable(lines)
    assert runs_again() == spoiled
    journal.write_text("\n".join([lines[0], lines[1], lines[2][: len(lines[2]) // 2]]) + "\n")
    assert runs_again() == 3 - usable(lines[:2])
    core = min(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    if core is not None:
        assert runs_again(affinity=(core,)) == 3
    wheel = tmp_path / "wheel"
    newer = wheel / "planted_runtime-2.dist-info"
    newer.mkdir(parents=True)
    (newer / "METADATA").write_text("Metadata-Version: 2.1\nName: planted-runtime\nVersion: 2\n")
    (newer / "entry_points.txt").write_text("[benchkit.runtimes]\nplanted = planted_runtime:PlantedRuntime\n")
    monkeypatch.syspath_prepend(str(wheel))
    assert runs_again() == 3


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the memory limit is Linux's")
def test_cells_that_die_are_failed_by_their_reasons_and_the_rest_goes_on(script, command) -> None:
    ends = {"16": "crash", "32": "hang", "48": "memory", "64": "killed"}
    target = script(unit_s=UNIT_S, ends=ends)
    arguments = ("--runtime", "planted", "--scenario", "offline", "--runs", "1", "--cell-timeout", "3", "-q")
    ended = command("profile", target, *arguments, "--sequence-length", "8,16,32,48,64", "--output", "records.jsonl")
    assert ended.code == 4, ended.err
    whole, *dead = read_records(Path("records.jsonl"))
    assert whole.statistic("throughput", "median").value > 0
    said = {16: "SIGABRT", 32: "no result from the worker after 3 s", 48: "MemoryError", 64: "out of memory"}
    for record in dead:
        assert record.noise.verdict == "invalid"
        assert said[record.cell.sequence_length] in record.noise.reasons[0]
        assert record.measurements["throughput"].reason == "worker_failed"
    assert len(dead) == 4


def test_a_record_edited_by_hand_is_refused_and_the_figure_named(script, measure, command) -> None:
    records = measure(script("a", unit_s=UNIT_S), script("b", unit_s=UNIT_S))
    append_lines(Path("records.jsonl"), [record.as_json() for record in records])
    first, second = map(json.loads, Path("records.jsonl").read_text().splitlines())
    second["measurements"]["latency"]["statistics"]["p50"]["value"] /= 2
    Path("records.jsonl").write_text(json.dumps(first) + "\n" + json.dumps(second) + "\n")
    Path("budgets.toml").write_text('[[budget]]\nname = "b"\nquantity = "latency"\nstatistic = "p50"\nat_most_s = 1\n')
    for arguments in (
        ("report", "records.jsonl", "-o", "page"),
        ("check", "--budgets", "budgets.toml", "--records", "records.jsonl"),
    ):
        ended = command(*arguments)
        assert ended.code == 2, arguments
        assert "records.jsonl:2" in ended.err
        assert "was changed after it was written" in ended.err
    assert not Path("page").exists()
    ended = command("report", "records.jsonl", "--recompute")
    assert ended.code == 1
    assert "records.jsonl:2" in ended.out
    assert "latency p50 is recorded as" in ended.out
    assert "records.jsonl:1" not in ended.out

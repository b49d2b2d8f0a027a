"""What ran otherwise than asked, answers nonsense or was disturbed is void or noisy by name, and decides nothing."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchkit.core.store import append_lines, read_records

UNIT_S = 0.0005
MIB = 1 << 20
needs_affinity = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process")


def is_void(record, because: str) -> None:
    assert record.noise.verdict == "invalid"
    assert any(because in reason for reason in record.noise.reasons), record.noise.reasons


def test_nonsense_is_void_however_fast(script, measure) -> None:
    constant, nan, turning = measure(
        script("constant", unit_s=UNIT_S / 2, answers="constant"),
        script("nan", unit_s=UNIT_S, answers="nan"),
        script("turning", unit_s=UNIT_S, answers="turns"),
    )
    is_void(constant, "the same answer to different inputs")
    is_void(nan, "NaN or infinity")
    is_void(turning, "timed calls answer otherwise")


def test_answers_that_turn_under_load_are_void_without_a_closed_loop_too(script, measure) -> None:
    turning = script(unit_s=UNIT_S / 5, answers="turns")
    for record in measure(turning, scenario=("offline", "server"), load=0.5):
        is_void(record, "timed calls answer otherwise")


def test_one_thread_asked_for_and_two_used(script, measure) -> None:
    """Where the machine has no second core free, the threads that waited for one tell."""
    [record] = measure(script(unit_s=UNIT_S, busy_threads=2))
    is_void(record, "asked for 1 thread(s), and ")


def test_a_session_that_says_another_provider(script, measure) -> None:
    [other] = measure(script(unit_s=UNIT_S, provider="SlowExecutionProvider"), provider="FastExecutionProvider")
    is_void(other, "asked for FastExecutionProvider, and the session says that it runs on SlowExecutionProvider")
    assert other.cell.provider == "SlowExecutionProvider"


@needs_affinity
def test_cores_asked_for_are_proved_after_the_run(script, measure) -> None:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        pytest.skip("binding to another core needs two")
    kept, rebound = measure(
        script("kept", unit_s=UNIT_S), script("rebound", unit_s=UNIT_S, rebinds=cores[:1]), affinity=(cores[1],)
    )
    assert (kept.cell.affinity, kept.proof["affinity"]) == ((cores[1],), [cores[1]])
    assert not any("asked for cores" in reason for reason in kept.noise.reasons)
    is_void(rebound, f"asked for cores [{cores[1]}], and the worker was bound to [{cores[0]}]")


def test_int8_on_the_label_and_fp32_in_the_graph(pico_onnx: Path, measure, tmp_path: Path) -> None:
    """An artifact.json may say what it likes: the operators that ran decide."""
    folder = tmp_path / "labelled"
    shutil.copytree(pico_onnx, folder)
    manifest = json.loads((folder / "artifact.json").read_text())
    (folder / "artifact.json").write_text(json.dumps(manifest | {"precision": "dynamic-int8"}))
    [record] = measure(folder, runtime=("onnxruntime",))
    is_void(record, "the artifact is dynamic-int8, and no matrix product ran in int8")
    assert set(record.proof["coverage"]["matmul_by_precision"]) == {"fp32"}
    assert set(record.proof["coverage"]["by_provider"]) == {"CPUExecutionProvider"}


def test_fast_nonsense_is_not_on_the_front(pico_onnx: Path, tiny_sst2: Path, tmp_path: Path, measure, command) -> None:
    """Twice as fast with constant logits, and the same score by chance: on no front, in a report of both."""
    from benchkit.report.entries import entries_of
    from benchkit.report.front import groups_of

    folders = []
    for name, keys in (("sound", {"unit_s": UNIT_S}), ("fast", {"unit_s": UNIT_S / 2, "answers": "constant"})):
        folder = tmp_path / name
        shutil.copytree(pico_onnx, folder, ignore=shutil.ignore_patterns("artifact.json", "model.onnx*"))
        (folder / "model.onnx").write_text(json.dumps(keys))
        folders.append(folder)
    options = ("--task", "sst2", "--data", tiny_sst2, "--runtime", "planted", "-q", "--output", "scores.jsonl")
    for folder in folders:
        assert command("score", folder, *options).code == 0
    profiles = measure(*folders)
    is_void(profiles[1], "the same answer to different inputs")
    records = [*profiles, *read_records(Path("scores.jsonl"))]
    stars = {point.entry.artifact.name for group in groups_of(entries_of(records)) for point in group.points}
    assert "fast" not in stars
    append_lines(Path("records.jsonl"), [record.as_json() for record in records])
    assert command("report", "records.jsonl", "-o", "page", "-q").code == 0
    assert "the same answer to different inputs" in Path("page/report.md").read_text()


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="no high-water mark that can be reset")
def test_memory_of_a_moment_counts_and_that_of_others_does_not(script, measure) -> None:
    """300 MB in the parent are absent; those held for 3 ms in one call are there; each phase has its own peak."""
    ballast = bytearray(300 * MIB)
    still, moment, opening = measure(
        script("still", unit_s=UNIT_S),
        script("moment", unit_s=UNIT_S, allocates={"bytes": 300 * MIB, "at_call": 2}),
        script("opening", unit_s=UNIT_S, open_bytes=300 * MIB),
    )
    assert len(ballast) == 300 * MIB
    base = still.statistic("peak_memory", "max").value
    assert base < 200 * MIB
    assert moment.statistic("peak_memory", "max").value - base == pytest.approx(300 * MIB, rel=0.01)
    peaks = {
        phase["name"]: phase["footprint"]["peak_bytes"]
        for phase in opening.measurements["peak_memory"].details["phases"][0]
    }
    assert peaks["session"] - base == pytest.approx(300 * MIB, rel=0.01)
    assert peaks["calls"] < base + 10 * MIB


@contextlib.contextmanager
def hog(core: int):
    """Keep one core busy."""
    spin = f"import os\nos.sched_setaffinity(0, [{core}])\nprint(flush=True)\nwhile True: pass"
    process = subprocess.Popen([sys.executable, "-c", spin], stdout=subprocess.PIPE)
    try:
        process.stdout.readline()
        yield
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@needs_affinity
@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="this kernel tells nobody who waited")
def test_a_hog_on_the_workers_core_is_named_and_decides_nothing(script, command) -> None:
    core = min(os.sched_getaffinity(0))
    target = script(unit_s=UNIT_S)
    arguments = ("--runtime", "planted", "--sequence-length", "8", "--runs", "2", "--affinity", core, "-q")
    with hog(core):
        ended = command("profile", target, *arguments, "--output", "records.jsonl")
    [record] = read_records(Path("records.jsonl"))
    assert record.noise.verdict in ("noisy", "invalid")
    assert ended.code == (4 if record.noise.verdict == "invalid" else 0), ended.err
    assert any("the worker waited for a core" in reason for reason in record.noise.reasons)
    # A limit that the figure misses by far: a quiet machine would say 1.
    limit = '[[budget]]\nname = "b"\nquantity = "latency"\nstatistic = "p50"\nat_most_s = 1e-6\n'
    Path("budgets.toml").write_text(limit)
    ended = command("check", "--budgets", "budgets.toml", "--records", "records.jsonl")
    assert ended.code == 3, ended.out
    assert "the worker waited for a core" in ended.out or "other processes used" in ended.out

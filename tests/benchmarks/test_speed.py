"""`make bench`: real time on an otherwise idle machine. Prints what it saw; asserts only what the design promises."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.benchmark

BARE_LOOP = """
import sys, time
import numpy, onnxruntime
from benchkit.bench.inputs import random_feeds
settings = onnxruntime.SessionOptions()
settings.intra_op_num_threads = settings.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], settings, providers=["CPUExecutionProvider"])
names = [item.name for item in session.get_inputs()]
feeds = [{name: feed[name] for name in names} for feed in random_feeds(batch_size=1, sequence_length=32,
         vocabulary_size=int(sys.argv[2]), seed=0)]
deadline, values = time.perf_counter() + 1.2, []
while time.perf_counter() < deadline:
    for feed in feeds:
        begin = time.perf_counter_ns()
        session.run(["logits"], feed)
        values.append(time.perf_counter_ns() - begin)
values = sorted(values[len(values) // 5:])
print(values[len(values) // 2] * 1e-9)
"""


def wall_s(*command: str) -> float:
    begin_s = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - begin_s


def test_help_is_there_at_once() -> None:
    seen = [wall_s(sys.executable, "-m", "benchkit", "--help") for _ in range(7)]
    print(f"\nbenchkit --help: median {statistics.median(seen):.3f} s of 7, bar 0.3 s")
    assert statistics.median(seen) < 0.3


def test_one_cell_of_a_foreign_file_within_20_s(tmp_path: Path) -> None:
    from benchkit.bench.targets import resolve

    folder = resolve("arch:minilm-l6-h384", runtime="onnxruntime").path
    bare = tmp_path / "theirs.onnx"
    bare.write_bytes((folder / "model.onnx").read_bytes())
    seen = wall_s(sys.executable, "-m", "benchkit", "profile", str(bare), "--quiet")
    print(f"\nbenchkit profile of one .onnx file at one cell: {seen:.1f} s, bar 20 s")
    assert seen < 20


def test_the_loop_measures_what_a_bare_loop_measures() -> None:
    """p50 of the worker over p50 of a bare session.run loop, interleaved, both in fresh processes."""
    from benchkit.bench.launch import run_in_child
    from benchkit.bench.plan import Matrix
    from benchkit.bench.profile import artifacts_for, plan
    from benchkit.bench.timing import Schedule

    target = "arch:minilm-l6-h384"
    matrix = Matrix(sequence_length=(32,), runs=1)
    artifacts = artifacts_for([target], matrix)
    [artifact] = artifacts["onnxruntime"]
    _, jobs, _ = plan(artifacts, matrix, Schedule(min_duration_s=1.0))
    command = [sys.executable, "-c", BARE_LOOP, str(artifact.model_file), str(artifact.config()["vocab_size"])]
    ratios = []
    for pair in range(8):
        bare_s = ours_s = 0.0
        for arm in ("bare", "ours") if pair % 2 else ("ours", "bare"):
            if arm == "bare":
                bare_s = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            else:
                latency_ns = run_in_child(jobs[0].job, timeout_s=60)["latency_ns"]
                ours_s = statistics.median(latency_ns) * 1e-9
        ratios.append(ours_s / bare_s)
    print(f"\np50, worker / bare loop: median {statistics.median(ratios):.4f} of {sorted(round(r, 4) for r in ratios)}")


def test_the_parent_sleeps() -> None:
    """CPU time of the parent over its wall time while workers measure."""
    from benchkit.bench.plan import Matrix
    from benchkit.bench.profile import artifacts_for, profile

    matrix = Matrix(sequence_length=(32,), runs=3)
    artifacts = artifacts_for(["arch:minilm-l6-h384"], matrix)
    cpu_s, begin_s = time.process_time(), time.perf_counter()
    profile(artifacts, matrix)
    share = (time.process_time() - cpu_s) / (time.perf_counter() - begin_s)
    print(f"\nthe parent used {share:.2%} of a core, bar 1 %")
    assert share < 0.01

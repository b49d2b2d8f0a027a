"""`make bench`: real time on an otherwise idle machine. Says what was seen and which bars were met."""

import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.benchmark

TARGET = "arch:minilm-l6-h384"
Tell = Callable[[str], None]


def met(holds: bool) -> str:
    return "met" if holds else "MISSED"


def wall_s(*command: str) -> float:
    begin_s = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - begin_s


def test_help_is_there_at_once(tell: Tell) -> None:
    seen = [wall_s(sys.executable, "-m", "benchkit", "--help") for _ in range(7)]
    tell(
        f"benchkit --help: median {statistics.median(seen):.3f} s of 7, bar 0.3 s: {met(statistics.median(seen) < 0.3)}"
    )


def test_one_cell_of_a_foreign_file_within_20_s(tmp_path: Path, tell: Tell) -> None:
    from benchkit.bench.targets import resolve

    folder = resolve(TARGET, runtime="onnxruntime").path
    bare = tmp_path / "theirs.onnx"
    bare.write_bytes((folder / "model.onnx").read_bytes())
    command = [sys.executable, "-m", "benchkit", "profile", str(bare), "--quiet", "--format", "json"]
    begin_s = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seen_s = time.perf_counter() - begin_s
    sampling = json.loads(done.stdout)[0]["sampling"]
    widths = f"p50 within {sampling['p50_reached']:.1%}, p95 within {sampling['p95_reached']:.1%}"
    told = f"stopped by {sampling['stopped_by']} after {sampling['runs']} runs: {widths}"
    tell(f"benchkit profile of one .onnx file at one cell: {seen_s:.1f} s, bar 20 s: {met(seen_s < 20)}; {told}")


def test_the_loop_measures_what_a_bare_loop_measures(tell: Tell) -> None:
    """p50 of our loop over p50 of a bare session.run loop: one session, the same inputs, blocks in turn."""
    import numpy as np
    import onnxruntime

    from benchkit.bench.inputs import make_batches
    from benchkit.bench.targets import resolve
    from benchkit.bench.timing import Schedule, time_calls
    from benchkit.bench.workload import Workload
    from benchkit.runtimes.onnxruntime import OnnxRuntimeSession
    from benchkit.runtimes.protocol import SessionOptions
    from benchkit.stats.signed_rank import centre

    artifact = resolve("arch:tinybert-4l-312", runtime="onnxruntime")
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    bare = onnxruntime.InferenceSession(str(artifact.model_file), settings, providers=["CPUExecutionProvider"])
    ours = OnnxRuntimeSession(bare, "CPUExecutionProvider", SessionOptions())
    vocabulary = int(artifact.config()["vocab_size"])
    feeds = make_batches(Workload(batch_size=1, sequence_length=16, vocabulary_size=vocabulary))
    inputs = [ours.prepare(batch.feed) for batch in feeds]
    block = Schedule(min_values=10, max_values=10, min_duration_s=0.0)

    def bare_block() -> list[int]:
        values = []
        for n in range(10):
            begin = time.perf_counter_ns()
            bare.run(["logits"], inputs[n % len(inputs)])
            values.append(time.perf_counter_ns() - begin)
        return values

    def our_block() -> list[int]:
        return time_calls(ours.call, inputs, block, time.perf_counter_ns).latency_ns

    for run in (bare_block, our_block):
        run()
    logs, p50_s = paired(bare_block, our_block, pairs=300)
    found = centre(np.array(logs))
    ratio, low, high = (math.exp(value) for value in (found.estimate, found.low, found.high))
    told = f"{ratio:.4f} ({low:.4f}-{high:.4f}, 300 pairs of blocks of 10 calls)"
    tell(f"p50 {p50_s * 1e3:.2f} ms; our loop / bare loop: {told}, bar 1 %: {met(abs(ratio - 1) < 0.01)}")


def paired(a: Callable[[], list[int]], b: Callable[[], list[int]], *, pairs: int) -> tuple[list[float], float]:
    """Take the median of each block, A and B first by turns; return log(B / A) of each pair, and A in seconds."""
    logs, seen = [], []
    for pair in range(pairs):
        blocks = {name: statistics.median(run()) for name, run in ((("a", a), ("b", b))[:: 1 if pair % 2 else -1])}
        logs.append(math.log(blocks["b"] / blocks["a"]))
        seen.append(blocks["a"])
    return logs, statistics.median(seen) * 1e-9


def test_a_null_model_costs_little(tell: Tell) -> None:
    from benchkit.bench.timing import overhead_ns

    seen_ns = [overhead_ns(time.perf_counter_ns) for _ in range(7)]
    median_ns = statistics.median(seen_ns)
    tell(f"a null model takes {median_ns:.0f} ns a call, bar 5,000 ns: {met(median_ns < 5000)}")


def test_the_parent_sleeps(tell: Tell) -> None:
    """CPU time of the parent over its wall time while workers measure."""
    from benchkit.bench.matrix import Matrix
    from benchkit.bench.profile import artifacts_for, plan, profile

    matrix = Matrix(sequence_length=(32,), runs=3)
    planned = plan(artifacts_for([TARGET], matrix), matrix)
    cpu_s, begin_s = time.process_time(), time.perf_counter()
    profile(planned)
    share = (time.process_time() - cpu_s) / (time.perf_counter() - begin_s)
    tell(f"the parent used {share:.2%} of a core, bar 1 %: {met(share < 0.01)}")


def test_a_plan_of_200_cells(tell: Tell) -> None:
    from benchkit.bench.matrix import Matrix
    from benchkit.bench.profile import artifacts_for, plan

    lengths = (16, 24, 32, 48, 64, 80, 96, 128, 192, 256)
    matrix = Matrix(batch_size=(1, 2, 4, 8, 16), sequence_length=lengths, scenario=("single-stream", "offline"))
    artifacts = artifacts_for([TARGET, "arch:tinybert-4l-312"], matrix)
    begin_s = time.perf_counter()
    planned = plan(artifacts, matrix)
    took_s = time.perf_counter() - begin_s
    told = f"{len(planned.cells)} cells, {len(planned.jobs)} processes planned in {took_s:.3f} s"
    tell(f"{told}, bar 1 s: {met(took_s < 1)}")
    assert len(planned.cells) == 200


READ = """
import sys, time
from pathlib import Path
from benchkit.core.store import read_records
from benchkit.meters.memory import peak_memory
begin = time.perf_counter()
count = sum(1 for _ in read_records(Path(sys.argv[1])))
print(count, time.perf_counter() - begin, peak_memory().peak_bytes)
"""


def test_a_hundred_thousand_records_are_read(tmp_path: Path, tell: Tell) -> None:
    """Records of 5 runs of 20 values each, without the long parts of a proof."""
    from benchkit.bench.matrix import Matrix
    from benchkit.bench.profile import artifacts_for, plan, profile
    from benchkit.bench.timing import Schedule
    from benchkit.core.store import canonical_json, sealed

    matrix = Matrix(sequence_length=(16,), runs=1)
    quick = Schedule(warmup_s=0.0, min_values=3, min_duration_s=0.0, throughput_s=0.01)
    [record] = profile(plan(artifacts_for(["arch:tinybert-4l-312"], matrix), matrix, quick))
    value = record.as_json()
    value["proof"] = {}
    value["measurements"]["latency"]["runs"] = [[0.010312345] * 20] * 5
    for measurement in value["measurements"].values():
        measurement["details"] = {}
    path = tmp_path / "records.jsonl"
    with path.open("w") as file:
        for seed in range(100_000):
            file.write(canonical_json(sealed(value | {"seed": seed})) + "\n")
    done = subprocess.run([sys.executable, "-c", READ, str(path)], check=True, capture_output=True, text=True)
    count, took_s, peak_bytes = map(float, done.stdout.split())
    size = path.stat().st_size / 1e5
    time_told = f"{took_s:.2f} s, bar 5 s: {met(took_s < 5)}"
    tell(f"{count:,.0f} records of {size:.0f} B read in {time_told}; peak {peak_bytes / 2**20:.0f} MiB, bar 1 GB")

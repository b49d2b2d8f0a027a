"""Real workers on a pico model; what they measure is not asserted, only that it is there and whose it is."""

import json
from pathlib import Path

import pytest

from benchkit.bench import profile as profiling
from benchkit.bench.launch import run_in_child
from benchkit.bench.matrix import Matrix
from benchkit.bench.profile import artifacts_for, plan, profile
from benchkit.bench.timing import Schedule
from benchkit.core.errors import BenchkitError, EnvironmentLacks, MeasurementFailed

QUICK = Schedule(warmup_s=0.0, min_values=3, min_duration_s=0.0, throughput_s=0.01)
SMALL = Matrix(sequence_length=(8,), runs=2)


def planned(targets, matrix, schedule=QUICK):
    return plan(artifacts_for(targets, matrix), matrix, schedule)


def test_a_cell_is_measured_in_fresh_processes(pico_onnx: Path) -> None:
    [record] = profile(planned([str(pico_onnx)], SMALL))
    assert [len(run) for run in record.measurements["latency"].runs] == [3, 3]
    assert record.cell.provider == "CPUExecutionProvider"
    assert record.statistic("peak_memory", "max").value > record.statistic("peak_memory", "imports_only").value > 10e6
    assert record.statistic("latency", "p99").value is None
    assert record.elapsed_s > 0


def test_what_the_parent_allocated_is_not_the_childs(pico_onnx: Path) -> None:
    ballast = bytearray(400 << 20)
    [record] = profile(planned([str(pico_onnx)], SMALL))
    assert record.statistic("peak_memory", "max").value < 300 << 20
    assert len(ballast) == 400 << 20


def test_a_killed_sweep_resumes_with_what_is_missing(pico_onnx: Path, tmp_path: Path, monkeypatch) -> None:
    journal = tmp_path / "journal.jsonl"
    real, started = profiling.run_in_child, []

    def killed_at_the_third(job, *, timeout_s):
        started.append(job.kind)
        if len(started) == 3:
            raise KeyboardInterrupt
        return real(job, timeout_s=timeout_s)

    monkeypatch.setattr(profiling, "run_in_child", killed_at_the_third)
    monkeypatch.setattr("benchkit.bench.journal.is_spoiled", lambda _: False)  # A busy machine would spoil some.
    with pytest.raises(KeyboardInterrupt):
        profile(planned([str(pico_onnx)], SMALL), journal=journal)
    journal.write_text(journal.read_text() + '{"key": "half')  # As kill -9 in mid-write would leave it.
    first = profile(planned([str(pico_onnx)], SMALL), journal=journal)
    assert len(started) == 3 + 3
    again = profile(planned([str(pico_onnx)], SMALL), journal=journal)
    assert len(started) == 3 + 3
    assert [record.record_id for record in again] == [record.record_id for record in first]


def test_one_cells_crash_voids_that_cell_only(pico_onnx: Path, monkeypatch) -> None:
    matrix = Matrix(sequence_length=(8, 16), runs=2)
    real = profiling.run_in_child

    def crashing(job, *, timeout_s):
        if job.workload.sequence_length == 16:
            raise MeasurementFailed("the worker was killed by SIGKILL", remedy="smaller")
        return real(job, timeout_s=timeout_s)

    monkeypatch.setattr(profiling, "run_in_child", crashing)
    records = profile(planned([str(pico_onnx)], matrix))
    assert [record.cell.sequence_length for record in records] == [8, 16]
    assert records[0].statistic("latency", "p50").value > 0
    assert records[1].noise.verdict == "invalid"
    assert "SIGKILL" in records[1].noise.reasons[0]


def test_a_hanging_worker_is_ended(pico_onnx: Path) -> None:
    slow = Schedule(warmup_s=60.0, max_duration_s=60.0)
    jobs = [job for job in planned([str(pico_onnx)], SMALL, slow).jobs if job.job.kind == "time"]
    with pytest.raises(MeasurementFailed, match="no result from the worker after 2 s") as caught:
        run_in_child(jobs[0].job, timeout_s=2)
    assert "--cell-timeout" in caught.value.remedy


def test_a_corrupt_model_is_said_at_once(pico_onnx: Path, tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes((pico_onnx / "model.onnx").read_bytes()[:1000])
    with pytest.raises(BenchkitError, match=r"cannot load '.*broken.onnx'") as caught:
        profile(planned([str(path)], SMALL))
    assert caught.value.exit == 2


def test_cuda_where_there_is_none_is_an_error(pico_onnx: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    matrix = Matrix(sequence_length=(8,), runs=1, device=("cuda",))
    with pytest.raises(EnvironmentLacks, match="asked for CUDAExecutionProvider") as caught:
        profile(planned([str(pico_onnx)], matrix))
    assert caught.value.exit == 4


def test_a_bare_file_is_measured_and_its_assumption_said(pico_onnx: Path, tmp_path: Path) -> None:
    """No config.json: ids below 100 are drawn, and this vocabulary has fewer words: the worker's error is told."""
    path = tmp_path / "bare.onnx"
    path.write_bytes((pico_onnx / "model.onnx").read_bytes())
    [record] = profile(planned([str(path)], SMALL))
    assert record.noise.verdict == "invalid"
    assert "indices element out of data bounds" in record.noise.reasons[0]


def test_a_job_survives_the_pipe(pico_onnx: Path) -> None:
    from benchkit.bench.job import Job

    jobs = planned([str(pico_onnx)], SMALL).jobs
    assert Job.from_json(json.loads(json.dumps(jobs[0].job.as_json()))) == jobs[0].job

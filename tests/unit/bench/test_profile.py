"""Real workers on a pico model; what they measure is not asserted, only that it is there and whose it is."""

import json
from pathlib import Path

import pytest

from benchkit.bench import sweep
from benchkit.bench.launch import run_in_child
from benchkit.bench.matrix import Matrix
from benchkit.bench.profile import artifacts_for, plan, profile
from benchkit.bench.timing import Schedule
from benchkit.cli.results import exit_of_records
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
    real, started = sweep.run_in_child, []

    def killed_at_the_third(job, *, timeout_s):
        started.append(job.kind)
        if len(started) == 3:
            raise KeyboardInterrupt
        return real(job, timeout_s=timeout_s)

    monkeypatch.setattr(sweep, "run_in_child", killed_at_the_third)
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
    real = sweep.run_in_child

    def crashing(job, *, timeout_s):
        if job.workload.sequence_length == 16:
            raise MeasurementFailed("the worker was killed by SIGKILL", remedy="smaller")
        return real(job, timeout_s=timeout_s)

    monkeypatch.setattr(sweep, "run_in_child", crashing)
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


def test_a_target_that_cannot_be_opened_voids_its_own_cells_only(pico_onnx: Path, tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes((pico_onnx / "model.onnx").read_bytes()[:1000])
    broken, whole = profile(planned([str(path), str(pico_onnx)], SMALL))
    assert whole.statistic("latency", "p50").value > 0
    assert (broken.artifact.name, broken.noise.verdict) == ("broken", "invalid")
    assert "cannot load" in broken.noise.reasons[0]
    assert broken.measurements["latency"].reason == "worker_failed"
    assert exit_of_records([broken, whole]) == 4


def test_what_cannot_be_quantized_is_void_beside_what_can_be_measured(pico_onnx: Path, monkeypatch, tmp_path) -> None:
    def fails(*_, **__):
        raise BenchkitError("no operator to quantize", remedy="give another")

    monkeypatch.setenv("BENCHKIT_CACHE", str(tmp_path))
    monkeypatch.setattr("benchkit.core.registry.Registry.get", lambda *_: fails)
    matrix = SMALL.model_copy(update={"precision": ("fp32", "dynamic-int8")})
    artifacts = artifacts_for([str(pico_onnx)], matrix)
    monkeypatch.undo()
    sweep_plan = plan(artifacts, matrix, QUICK)
    assert list(sweep_plan.refused) == [1]
    assert {index for job in sweep_plan.jobs for index in job.spots} == {0}
    whole, void = profile(sweep_plan)
    assert whole.noise.verdict != "invalid" or "no operator" not in whole.noise.reasons[0]
    assert void.artifact.precision == "dynamic-int8"
    assert "no operator to quantize; give another" in void.noise.reasons[0]


def test_an_artifact_without_tokenizer_is_void_where_lengths_are_drawn(
    pico_onnx: Path, tiny_sst2: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "bare.onnx"
    bare.write_bytes((pico_onnx / "model.onnx").read_bytes())
    matrix = SMALL.model_copy(update={"lengths_from": "sst2"})
    sweep_plan = plan(artifacts_for([str(bare), str(pico_onnx)], matrix), matrix, QUICK, data=tiny_sst2)
    assert "bare model file has no tokenizer" in str(sweep_plan.refused[0])
    with pytest.raises(BenchkitError, match="bare model file has no tokenizer"):
        profile(plan(artifacts_for([str(bare)], matrix), matrix, QUICK, data=tiny_sst2))
    with pytest.raises(BenchkitError, match="nowhere"):
        plan(artifacts_for([str(bare), str(pico_onnx)], matrix), matrix, QUICK, data=tmp_path / "nowhere")


def test_a_precision_that_nobody_makes_is_a_mistake_of_the_request(pico_onnx: Path) -> None:
    with pytest.raises(BenchkitError, match="unknown precision 'dynamic-int9'") as caught:
        artifacts_for([str(pico_onnx)], SMALL.model_copy(update={"precision": ("fp32", "dynamic-int9")}))
    assert caught.value.exit == 2


def test_a_sweep_whose_every_cell_is_void_measured_nothing(pico_onnx: Path, monkeypatch, capsys) -> None:
    def crashes(*_, **__):
        raise MeasurementFailed("the worker was killed by SIGKILL", remedy="smaller")

    monkeypatch.setattr(sweep, "run_in_child", crashes)
    records = profile(planned([str(pico_onnx)], SMALL))
    assert exit_of_records(records) == 4
    assert "nothing was measured: every cell is void (the worker was killed by SIGKILL" in capsys.readouterr().err
    disturbed = [record.model_copy(update={"measurements": {}}) for record in records]
    assert exit_of_records(disturbed) == 4


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

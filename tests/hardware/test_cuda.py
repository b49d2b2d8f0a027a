"""Runs by itself wherever a CUDA device answers to onnxruntime or torch; each test says why it is skipped elsewhere."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchkit.bench.inputs import make_batches
from benchkit.bench.plan import Matrix
from benchkit.bench.profile import artifacts_for, profile
from benchkit.bench.traces.trace import coverage, read_trace, violations
from benchkit.bench.workload import Workload
from benchkit.core.registry import RUNTIMES
from benchkit.host.gpus import gpu_names, process_memory_bytes
from benchkit.runtimes.protocol import SessionOptions

pytestmark = pytest.mark.hardware

CALLS = 20


@pytest.fixture
def onnxruntime_cuda() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has no CUDAExecutionProvider; pip install 'benchkit[gpu]'")
    if not gpu_names():
        pytest.skip("NVML names no GPU; install nvidia-ml-py on a machine with an NVIDIA driver")


@pytest.fixture
def torch_cuda() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip(f"torch {torch.__version__} finds no CUDA device")


@pytest.fixture(params=["onnxruntime", "torch"])
def model(request: pytest.FixtureRequest) -> tuple[str, Path]:
    """A runtime and the pico model in the form that it takes."""
    request.getfixturevalue(f"{request.param}_cuda")
    if request.param == "torch":
        return "torch", request.getfixturevalue("pico_checkpoint") / "model.safetensors"
    return "onnxruntime", request.getfixturevalue("pico_onnx") / "model.onnx"


@pytest.fixture
def opened(model: tuple[str, Path]) -> Callable[..., Any]:
    def open_session(**options: Any) -> Any:
        return RUNTIMES.get(model[0])().open(model[1], SessionOptions(**options))

    return open_session


@pytest.fixture
def feeds() -> list[Any]:
    return [one.feed for one in make_batches(Workload(batch_size=4, sequence_length=16, vocabulary_size=19))]


@pytest.mark.parametrize("transfers", [True, False])
def test_logits_are_those_of_the_cpu(opened: Callable[..., Any], feeds: list[Any], transfers: bool) -> None:
    cpu, cuda = opened(), opened(device="cuda", transfers=transfers)
    for feed in feeds[:3]:
        wanted = cpu.call(cpu.prepare(feed))
        got = np.asarray(cuda.call(cuda.prepare(feed)), dtype=np.float32)
        # Both in fp32, TF32 is off: what is left is the order of sums.
        np.testing.assert_allclose(got, wanted, atol=1e-4)


@pytest.mark.parametrize("transfers", [True, False])
def test_answers_belong_to_their_batches(opened: Callable[..., Any], feeds: list[Any], transfers: bool) -> None:
    session = opened(device="cuda", transfers=transfers)
    inputs = [session.prepare(feed) for feed in feeds[:2]]
    answers = [session.call(prepared) for prepared in inputs]
    alone = [np.asarray(session.call(prepared), dtype=np.float32) for prepared in inputs]
    np.testing.assert_allclose(np.asarray(answers[0], dtype=np.float32), alone[0], atol=1e-5)
    assert not np.allclose(alone[0], alone[1], atol=1e-3)


def test_the_work_is_done_when_the_call_ends(opened: Callable[..., Any], feeds: list[Any]) -> None:
    """A call that only queued its kernels would leave the waiting to whoever looks at the answer."""
    session = opened(device="cuda", transfers=False)
    prepared = session.prepare(feeds[0])
    for _ in range(CALLS):
        session.call(prepared)
    begin = time.perf_counter()
    answers = [session.call(prepared) for _ in range(CALLS)]
    called_s = time.perf_counter() - begin
    begin = time.perf_counter()
    np.asarray(answers[-1])
    waited_s = time.perf_counter() - begin
    assert waited_s < called_s, "the copy of one small answer waited for all the calls before it"


def test_the_proof_names_the_device(opened: Callable[..., Any], model: tuple[str, Path]) -> None:
    for transfers, word in ((True, "inside"), (False, "outside")):
        proof = opened(device="cuda", transfers=transfers).proof()
        assert proof.provider == {"onnxruntime": "CUDAExecutionProvider", "torch": "torch-eager"}[model[0]]
        assert proof.settings["transfers"] == word
    if model[0] == "onnxruntime":
        assert proof.settings["use_tf32"] == "0"


def test_the_computation_runs_on_the_device(opened: Callable[..., Any], feeds: list[Any], tmp_path: Path) -> None:
    session = opened(device="cuda", trace=str(tmp_path / "trace"))
    for feed in feeds[:3]:
        session.call(session.prepare(feed))
    provider = session.proof().provider
    found = coverage(read_trace(session.close()))
    assert found.compute_by_provider[provider].nodes > 0.9
    assert found.matmul_by_precision["fp32"].nodes > 0.9
    assert violations(found, provider=provider, precision="fp32") == []


def test_nvml_sees_the_memory_of_this_process(opened: Callable[..., Any], feeds: list[Any]) -> None:
    session = opened(device="cuda")
    session.call(session.prepare(feeds[0]))
    held = process_memory_bytes(0, os.getpid())
    if held is None:
        pytest.skip("NVML does not see this process: a namespace of its own hides it")
    assert held > 50 << 20, "a CUDA context alone holds more"


def test_a_cell_runs_on_the_gpu(onnxruntime_cuda: None, pico_onnx: Path) -> None:
    matrix = Matrix(device=("cuda",), sequence_length=(16,), runs=2)
    [record] = profile(artifacts_for([str(pico_onnx)], matrix), matrix)
    assert record.cell.provider == "CUDAExecutionProvider"
    assert record.host.gpus
    assert record.statistic("latency", "p50").value > 0

"""Runs by itself wherever onnxruntime has CUDA and a GPU answers."""

from pathlib import Path

import pytest

from benchkit.bench.plan import Matrix
from benchkit.bench.profile import artifacts_for, profile
from benchkit.host.gpus import gpu_names

pytestmark = pytest.mark.hardware


@pytest.fixture(autouse=True)
def _needs_cuda() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has no CUDAExecutionProvider; pip install 'benchkit[gpu]'")
    if not gpu_names():
        pytest.skip("NVML names no GPU; install nvidia-ml-py on a machine with an NVIDIA driver")


def test_a_cell_runs_on_the_gpu(pico_onnx: Path) -> None:
    matrix = Matrix(device=("cuda",), sequence_length=(16,), runs=2)
    [record] = profile(artifacts_for([str(pico_onnx)], matrix), matrix)
    assert record.cell.provider == "CUDAExecutionProvider"
    assert record.host.gpus
    assert record.statistic("latency", "p50").value > 0

"""Which GPU a CUDA number means, and what NVML's bits say; what NVML itself answers is in meters/test_nvml.py."""

import subprocess
import sys

import pytest

from benchkit.host.gpus import GpuState, NoGpu, physical_position, reason_words

UUIDS = ["GPU-aa11-0", "GPU-ab22-1", "GPU-cc33-2"]
ALIKE = ["H100"] * 3
MIXED = ["H100", "T4", "H100"]


def position(index: int, visible: str | None = None, order: str | None = None, names: list[str] = ALIKE) -> int | NoGpu:
    return physical_position(index, uuids=UUIDS, names=names, visible=visible, order=order)


@pytest.mark.parametrize(
    ("index", "visible", "expected"),
    [
        (0, None, 0),
        (2, None, 2),
        (0, "2", 2),
        (1, "2, 0", 0),
        (0, "GPU-cc", 2),
        (1, "GPU-cc33-2,GPU-ab", 1),
        (1, "1,GPU-aa", 0),
    ],
)
def test_a_cuda_number_is_looked_up_where_cuda_looks(index: int, visible: str | None, expected: int) -> None:
    assert position(index, visible) == expected


@pytest.mark.parametrize(
    ("index", "visible"),
    [(3, None), (0, ""), (0, "-1"), (1, "0,-1,1"), (0, "7"), (1, "0,nonsense,1"), (0, "GPU-a"), (0, "GPU-zz")],
)
def test_what_cuda_does_not_see_is_no_gpu(index: int, visible: str | None) -> None:
    """CUDA ends the list at the first entry that it does not know, and a beginning of two UUIDs is none."""
    found = position(index, visible)
    assert isinstance(found, NoGpu)
    assert found.reason == "no_such_gpu"
    assert str(index) in found.detail


def test_the_order_of_gpus_that_differ_has_to_be_said() -> None:
    found = position(0, names=MIXED)
    assert isinstance(found, NoGpu)
    assert found.reason == "gpu_order_unknown"
    assert "CUDA_DEVICE_ORDER=PCI_BUS_ID" in found.remedy
    assert position(1, order="PCI_BUS_ID", names=MIXED) == 1
    assert position(0, "GPU-ab", names=MIXED) == 1
    assert position(1, "2,GPU-ab", names=MIXED) == 1


def test_an_instance_of_a_gpu_is_told_from_a_gpu() -> None:
    found = position(0, "MIG-aa11-0")
    assert isinstance(found, NoGpu)
    assert found.reason == "mig"


def test_clock_event_reasons_in_words() -> None:
    assert reason_words(0) == ()
    assert reason_words(0x1 | 0x20 | 0x8000) == ("idle", "software thermal slowdown", "reason 0x8000")


def test_an_idle_gpu_is_not_throttled() -> None:
    assert GpuState(clock_event_reasons=("idle", "application clocks")).throttled_by == ()
    assert GpuState(clock_event_reasons=("idle", "hardware slowdown")).throttled_by == ("hardware slowdown",)
    assert GpuState().throttled_by == ()


def test_a_worker_asks_without_pydantic() -> None:
    """What the worker imports counts into what it measures."""
    script = "import sys, benchkit.meters.nvml, benchkit.meters.powercap; sys.exit('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0

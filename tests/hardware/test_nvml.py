"""Runs by itself wherever NVML answers for a GPU."""

import os
import time

import pytest

from benchkit.host.gpus import NoGpu, device_memory_used_bytes, gpu_state, opened_gpu, process_memory_bytes
from benchkit.meters.energy import WindowVoid
from benchkit.meters.nvml import NvmlEnergy

pytestmark = pytest.mark.hardware


@pytest.fixture(autouse=True)
def _needs_a_gpu() -> None:
    with opened_gpu() as gpu:
        if isinstance(gpu, NoGpu):
            pytest.skip(f"{gpu.detail}; {gpu.remedy}")


@pytest.fixture
def meter() -> NvmlEnergy:
    meter = NvmlEnergy()
    missing = meter.probe()
    if missing is not None:
        pytest.skip(f"{missing.detail}; {missing.remedy}")
    return meter


def test_a_window_has_the_power_of_a_board(meter: NvmlEnergy) -> None:
    mark = meter.start()
    time.sleep(meter.window_s)
    reading = meter.stop(mark)
    assert reading.wall_s >= meter.window_s
    assert 1 < reading.power_w < 2500


def test_a_short_window_is_refused(meter: NvmlEnergy) -> None:
    mark = meter.start()
    with pytest.raises(WindowVoid, match="too short"):
        meter.stop(mark)


def test_a_snapshot_is_plausible() -> None:
    state = gpu_state()
    assert state is not None
    assert state.sm_clock_hz is None or 1e7 < state.sm_clock_hz < 1e10
    assert state.temperature_celsius is None or 0 < state.temperature_celsius < 120
    assert state.utilization_ratio is None or 0 <= state.utilization_ratio <= 1


def test_memory_is_known_or_none() -> None:
    used_bytes = device_memory_used_bytes()
    assert used_bytes is None or used_bytes > 0
    # This process has no CUDA context, so no driver may say that it uses memory.
    assert process_memory_bytes(0, os.getpid()) is None

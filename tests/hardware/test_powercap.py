"""Runs by itself wherever the kernel shows readable package counters."""

import time

import pytest

from benchkit.meters.powercap import Powercap

pytestmark = pytest.mark.hardware


@pytest.fixture
def meter() -> Powercap:
    meter = Powercap()
    missing = meter.probe()
    if missing is not None:
        pytest.skip(f"{missing.detail}; {missing.remedy}")
    return meter


def test_work_costs_energy(meter: Powercap) -> None:
    mark = meter.start()
    until_s = time.monotonic() + meter.window_s
    while time.monotonic() < until_s:
        sum(number * number for number in range(100_000))
    reading = meter.stop(mark)
    assert 0.5 < reading.power_w < 4000
    assert reading.joules <= sum(reading.by_zone_j.values()) * (1 + 1e-9)
    assert not any("shorter" in warning for warning in reading.warnings)

"""Runs by itself wherever the kernel shows readable package counters."""

import pytest

from benchkit.meters.powercap import Powercap

pytestmark = pytest.mark.hardware


def test_work_costs_energy() -> None:
    meter = Powercap()
    missing = meter.probe()
    if missing is not None:
        pytest.skip(f"{missing.detail}; {missing.remedy}")
    mark = meter.start()
    sum(number * number for number in range(20_000_000))
    assert 0.1 < meter.stop(mark) < 10_000

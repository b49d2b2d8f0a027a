"""The energy pass: one window of counted calls, long enough for the counter's steps; and the idle machine."""

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

from benchkit.bench.job import Job
from benchkit.bench.passes.opening import bind_to, opened, what_ran, what_was_fed
from benchkit.bench.timing import middle_ns, saturate, warm_up
from benchkit.host.noise import take_snapshot
from benchkit.meters.energy import EnergyMeter, WindowVoid
from benchkit.stats.stationarity import is_warm


def energy_meters(devices: Sequence[str]) -> list[EnergyMeter]:
    """Return the meters that belong to some devices: CPU packages always, the GPU where it is used."""
    from benchkit.meters.powercap import Powercap

    found: list[EnergyMeter] = [Powercap()]
    if "cuda" in devices:
        from benchkit.meters.nvml import NvmlEnergy

        found.append(NvmlEnergy())
    return found


def _ready(device: str) -> list[EnergyMeter]:
    return [meter for meter in energy_meters([device]) if meter.probe() is None]


def run(job: Job) -> dict[str, Any]:
    """Count the calls and the joules of one window; see `benchkit.meters.energy`."""
    bind_to(job.affinity)
    meters = _ready(job.options.device)
    found = opened(job)
    warmup_ns = warm_up(found.session.call, found.inputs, found.schedule(job), time.perf_counter_ns, is_warm=is_warm)
    before = take_snapshot()
    marks = [meter.start() for meter in meters]
    window = saturate(
        found.session.call,
        found.inputs,
        max((meter.window_s for meter in meters), default=0.0),
        call_s=middle_ns(warmup_ns) * 1e-9,
        clock_ns=time.perf_counter_ns,
        cpu_clock_ns=time.process_time_ns,
    )
    readings = _readings(meters, marks)
    return {
        "readings": readings,
        "window": dataclasses.asdict(window),
        "snapshots": [dataclasses.asdict(before), dataclasses.asdict(take_snapshot())],
        "fed": what_was_fed(found),
        "proof": what_ran(found),
    }


def idle(job: Job) -> dict[str, Any]:
    """Read the meters around a sleep: what the machine draws when nothing of ours runs."""
    meters = _ready(job.options.device)
    before = take_snapshot()
    marks = [meter.start() for meter in meters]
    time.sleep(job.schedule.idle_s)
    readings = _readings(meters, marks)
    return {
        "readings": readings,
        "snapshots": [dataclasses.asdict(before), dataclasses.asdict(take_snapshot())],
    }


def _readings(meters: list[EnergyMeter], marks: list[Any]) -> dict[str, Any]:
    """Close every window; one that is void says why in place of its reading."""
    found: dict[str, Any] = {}
    for meter, mark in zip(meters, marks, strict=True):
        try:
            found[meter.quantity] = dataclasses.asdict(meter.stop(mark))
        except WindowVoid as void:
            found[meter.quantity] = {"void": dataclasses.asdict(void.as_missing())}
    return found

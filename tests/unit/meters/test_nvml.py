"""GPU questions through a stand-in for libnvidia-ml.so.1, compiled here, under the real nvidia-ml-py.

Each test is a script in a process of its own, since the library is found by the loader and NVML is global. Time is
scripted: the meter's clock and the stand-in's are the same file.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).parent / "standin" / "nvml.c"
Ask = Callable[..., Any]

PRELUDE = """
import json, os, sys
from benchkit.host import gpus
from benchkit.meters import nvml
from benchkit.meters.energy import WindowVoid

now_s = 0.0

def clock():
    sleep(2e-6)
    return now_s

def sleep(duration_s):
    global now_s
    now_s += duration_s
    with open(os.environ["STANDIN_CLOCK"], "w") as file:
        file.write(f"{now_s * 1e9:.0f}")

def measured(duration_s, in_between=lambda: None):
    meter = nvml.NvmlEnergy(clock=clock, sleep=sleep)
    try:
        mark = meter.start()
        sleep(duration_s)
        in_between()
        reading = meter.stop(mark)
    except WindowVoid as void:
        return {"void": str(void), "remedy": void.remedy}
    return {"joules": reading.joules, "wall_s": reading.wall_s, "source": reading.source, "warnings": reading.warnings}

def say(answer):
    json.dump(answer, sys.stdout)

sleep(0.033)
"""


def compiled(folder: Path, *flags: str) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler (cc or gcc), so the stand-in for NVML cannot be built")
    if importlib.util.find_spec("pynvml") is None:
        pytest.skip("the package nvidia-ml-py is not installed; pip install 'benchkit[gpu]'")
    if sys.platform != "linux":
        pytest.skip(f"nvidia-ml-py looks for another library on {sys.platform}")
    command = [compiler, "-shared", "-fPIC", *flags, "-o", str(folder / "libnvidia-ml.so.1"), str(SOURCE)]
    subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("driver"))


@pytest.fixture(scope="module")
def old_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("old_driver"), "-DOLD_DRIVER")


def asked(library: Path, clock: Path, script: str, settings: dict[str, object]) -> Any:
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("CUDA_", "STANDIN_"))}
    scripted = {name: str(value) for name, value in settings.items()}
    environment = {**kept, "LD_LIBRARY_PATH": str(library), "STANDIN_CLOCK": str(clock), **scripted}
    command = [sys.executable, "-c", PRELUDE + script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def ask(library: Path, tmp_path: Path) -> Ask:
    return lambda script, **settings: asked(library, tmp_path / "clock", script, settings)


@pytest.fixture
def ask_old(old_library: Path, tmp_path: Path) -> Ask:
    return lambda script, **settings: asked(old_library, tmp_path / "clock", script, settings)


def test_the_real_binding_drives_the_stand_in(ask: Ask) -> None:
    script = "import pynvml; say([gpus.gpu_names(), pynvml.__name__, nvml.NvmlEnergy().probe()])"
    assert ask(script, STANDIN_GPUS=2, STANDIN_NAMES="Fast,Slow", CUDA_DEVICE_ORDER="PCI_BUS_ID") == [
        ["Fast", "Slow"],
        "pynvml",
        None,
    ]


@pytest.mark.parametrize("duration_s", [10.0, 10.07, 12.345])
def test_joules_between_two_steps_are_exact(ask: Ask, duration_s: float) -> None:
    """250 W: the joules fit the reading's own time, although the counter knows steps of 100 ms (25 J) only."""
    reading = ask(f"say(measured({duration_s}))")
    assert reading["source"] == "nvml"
    assert reading["warnings"] == []
    assert duration_s <= reading["wall_s"] <= duration_s + 0.11
    assert reading["joules"] == pytest.approx(250 * reading["wall_s"], rel=1e-3)


@pytest.mark.parametrize("duration_s", [0.02, 2.0, 9.9])
def test_a_short_window_is_refused(ask: Ask, duration_s: float) -> None:
    answer = ask(f"say(measured({duration_s}))")
    assert "too short" in answer["void"]
    assert "10 s" in answer["remedy"]


def test_a_counter_that_stands_still_voids_the_window(ask: Ask) -> None:
    assert "stood still" in ask("say(measured(12))", STANDIN_STEP_MS=0)["void"]


def test_a_counter_that_went_back_voids_the_window(ask: Ask) -> None:
    assert "went back" in ask("say(measured(12))", STANDIN_RESET_AT_S=5)["void"]


def test_a_gpu_lost_inside_the_window_voids_it(ask: Ask) -> None:
    assert "GPU is lost" in ask("say(measured(12))", STANDIN_LOST_AT_S=5)["void"]


def test_a_counter_gone_inside_the_window_voids_it(ask: Ask) -> None:
    script = "say(measured(12, lambda: os.environ.update(STANDIN_UNSUPPORTED='energy')))"
    assert "could not be read" in ask(script)["void"]


PROBE = """
missing = nvml.NvmlEnergy().probe()
say([missing.reason, missing.detail, missing.remedy])
"""


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"STANDIN_MIG": 1}, "mig"),
        ({"CUDA_VISIBLE_DEVICES": "MIG-40000000-0000-0000-0000-000000000000"}, "mig"),
        ({"STANDIN_UNSUPPORTED": "energy,power"}, "no_gpu_energy"),
        ({"STANDIN_NO_DRIVER": 1}, "no_nvidia_driver"),
        ({"STANDIN_GPUS": 0}, "no_such_gpu"),
        ({"STANDIN_GPUS": 2, "STANDIN_NAMES": "Fast,Slow"}, "gpu_order_unknown"),
        ({"CUDA_VISIBLE_DEVICES": ""}, "no_such_gpu"),
    ],
)
def test_what_cannot_be_measured_has_a_reason_and_a_remedy(ask: Ask, settings: dict[str, str], reason: str) -> None:
    said, detail, remedy = ask(PROBE, **settings)
    assert said == reason
    assert detail
    assert remedy


def test_a_lost_gpu_has_a_reason(ask: Ask) -> None:
    # The stand-in still lists a lost GPU, as a driver does when one falls off the bus.
    assert ask(PROBE, STANDIN_LOST_AT_S=0)[0] == "gpu_unreadable"


POLLED = """
looks = []

class Lookout:  # The thread's looks, each where the script wants it.
    def __init__(self, look, period_s):
        self.look = look
        looks.append(look)
    def close(self):
        pass

nvml.Lookout = Lookout

def in_between():
    for power_mw in {powers_mw}:
        os.environ["STANDIN_POWER_MW"] = str(power_mw)
        sleep({gap_s})
        looks[0]()

say(measured(0, in_between))
"""


def test_polled_power_is_a_labelled_trapezoid(ask: Ask) -> None:
    """100 W at the start, then 100 to 300 W in the first half second, 300 W for the rest."""
    script = POLLED.format(powers_mw=[300_000] * 24, gap_s=0.5)
    reading = ask(script, STANDIN_UNSUPPORTED="energy", STANDIN_POWER_MW=100_000)
    assert reading["source"] == "nvml polled power"
    assert "arXiv 2312.02741" in reading["warnings"][0]
    assert reading["joules"] == pytest.approx(0.5 * 200 + 11.5 * 300, rel=1e-3)


def test_polls_too_far_apart_void_the_window(ask: Ask) -> None:
    script = POLLED.format(powers_mw=[300_000] * 6, gap_s=2)
    assert "passed between two looks" in ask(script, STANDIN_UNSUPPORTED="energy")["void"]


def test_the_thread_polls_by_itself(ask: Ask) -> None:
    """In real time: three polls of constant power, whenever they come, integrate to power times time."""
    script = """
import threading, time
polled = threading.Event()
powers = []

class Counted(gpus.Gpu):
    def power_w(self):
        powers.append(super().power_w())
        if len(powers) > 4:
            polled.set()
        return powers[-1]

nvml.Gpu = gpus.Gpu = Counted
meter = nvml.NvmlEnergy()
meter.window_s = 0.0
mark = meter.start()
assert polled.wait(30)
reading = meter.stop(mark)
say([reading.joules / reading.wall_s, reading.source])
"""
    power_w, source = ask(script, STANDIN_UNSUPPORTED="energy")
    assert power_w == pytest.approx(250)
    assert source == "nvml polled power"


STATE = """
import dataclasses
state = gpus.gpu_state()
say({**dataclasses.asdict(state), "throttled_by": state.throttled_by})
"""


def test_a_snapshot_of_a_gpu(ask: Ask) -> None:
    assert ask(STATE, STANDIN_REASONS=0x1 | 0x4 | 0x40) == {
        "sm_clock_hz": 1.41e9,
        "memory_clock_hz": 1.593e9,
        "temperature_celsius": 62.0,
        "power_w": 250.0,
        "utilization_ratio": 0.87,
        "clock_event_reasons": ["idle", "software power cap", "hardware thermal slowdown"],
        "throttled_by": ["software power cap", "hardware thermal slowdown"],
    }


def test_an_old_driver_is_asked_by_its_old_names(ask_old: Ask) -> None:
    state = ask_old(STATE, STANDIN_REASONS=0x80)
    assert state["temperature_celsius"] == 61.0
    assert state["throttled_by"] == ["hardware power brake"]
    script = "say(gpus.process_memory_bytes(0, os.getpid()))"
    wrapped = f"os.environ['STANDIN_PIDS'] = f'{{os.getpid()}}:1048576'\n{script}"
    assert ask_old(wrapped) == 1 << 20


def test_what_a_gpu_does_not_support_is_none(ask: Ask) -> None:
    state = ask(STATE, STANDIN_UNSUPPORTED="clock,temperature,power,utilization,reasons")
    assert {name: value for name, value in state.items() if value is not None} == {"throttled_by": []}
    script = "say([gpus.device_memory_used_bytes(0), gpus.is_mig(0)])"
    assert ask(script, STANDIN_UNSUPPORTED="memory,mig") == [None, False]


def test_memory_of_the_device_and_mig(ask: Ask) -> None:
    script = "say([gpus.device_memory_used_bytes(0), gpus.is_mig(0)])"
    assert ask(script, STANDIN_MIG=1) == [3 << 30, True]


PROCESS = """
os.environ["STANDIN_PIDS"] = {pids!r}.replace("self", str(os.getpid()))
say(gpus.process_memory_bytes(0, os.getpid()))
"""


@pytest.mark.parametrize(
    ("pids", "used_bytes"),
    [
        ("self:734003200", 734003200),
        ("1:5,self:734003200", 734003200),
        ("self:na", None),
        ("", None),
        ("1:5", None),
        ("self:734003200,4194303999:5", None),  # No such process here: the list counts in another PID namespace.
    ],
)
def test_memory_of_a_process_is_known_or_none_never_zero(ask: Ask, pids: str, used_bytes: int | None) -> None:
    assert ask(PROCESS.format(pids=pids)) == used_bytes


def test_cuda_numbers_follow_the_buses_and_the_environment(ask: Ask) -> None:
    """The stand-in's GPU 0 sits on the last bus: CUDA's device 0 is NVML's last, told by its power."""
    script = "say([gpus.gpu_state(0).power_w, getattr(gpus.gpu_state(1), 'power_w', None)])"
    assert ask(script, STANDIN_GPUS=2) == [500.0, 250.0]
    assert ask(script, STANDIN_GPUS=2, CUDA_VISIBLE_DEVICES="1") == [250.0, None]
    assert ask(script, STANDIN_GPUS=3, CUDA_VISIBLE_DEVICES="GPU-0,GPU-20000000") == [250.0, 750.0]

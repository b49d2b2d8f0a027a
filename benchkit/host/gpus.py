"""The one file that touches NVML (package nvidia-ml-py, module pynvml): GPUs as the driver sees them.

Made of plain values, since a worker asks it too. Joules of windows are left to `benchkit.meters.nvml`.
"""

import contextlib
import dataclasses
import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from benchkit.core.errors import MeasurementFailed

if TYPE_CHECKING:
    from benchkit.core.records import NotMeasured

# Source: nvml.h, nvmlClocksEventReasons. Those that slow the clock against the user's will are marked.
_REASONS = {
    0x1: ("idle", False),
    0x2: ("application clocks", False),
    0x4: ("software power cap", True),
    0x8: ("hardware slowdown", True),
    0x10: ("sync boost", False),
    0x20: ("software thermal slowdown", True),
    0x40: ("hardware thermal slowdown", True),
    0x80: ("hardware power brake", True),
    0x100: ("display clocks", False),
    0x200: ("board limit", True),
    0x400: ("reliability", True),
}
_SLOWING = {word for word, slows in _REASONS.values() if slows}


class GpuUnreadable(MeasurementFailed):
    """NVML answered with an error that is not "not supported": the GPU is lost, or the driver is broken."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NoGpu:
    """Why there is no GPU to ask: the fields of a `NotMeasured`, without what pydantic costs a worker."""

    reason: str
    detail: str
    remedy: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GpuState:
    """A GPU at one moment. A field is None where the driver does not support the question.

    Attributes:
        sm_clock_hz: Clock of the streaming multiprocessors.
        memory_clock_hz: Clock of the memory.
        temperature_celsius: Of the GPU's die.
        power_w: Of the board; on Ampere and later the mean of the last second.
        utilization_ratio: Share of the last sampling period in which a kernel ran, 0 to 1.
        clock_event_reasons: Why the clock is what it is, in words; () when nothing holds it.
    """

    sm_clock_hz: float | None = None
    memory_clock_hz: float | None = None
    temperature_celsius: float | None = None
    power_w: float | None = None
    utilization_ratio: float | None = None
    clock_event_reasons: tuple[str, ...] | None = None

    @property
    def throttled_by(self) -> tuple[str, ...]:
        """Those reasons that slow the GPU: power, heat, hardware; not idleness or a chosen clock."""
        return tuple(word for word in self.clock_event_reasons or () if word in _SLOWING)


class Gpu:
    """One GPU of an initialised NVML; gone when its `opened_gpu` ends."""

    def __init__(self, library: ModuleType, handle: object) -> None:
        self._library = library
        self._handle = handle

    def energy_j(self) -> float | None:
        """Joules of the board since the driver was loaded; None before Volta and where it is not supported."""
        energy_mj = self._ask("nvmlDeviceGetTotalEnergyConsumption")
        return None if energy_mj is None else energy_mj * 1e-3

    def power_w(self) -> float | None:
        """Power of the board in watts."""
        power_mw = self._ask("nvmlDeviceGetPowerUsage")
        return None if power_mw is None else power_mw * 1e-3

    def is_mig(self) -> bool:
        """Tell whether the GPU is cut into instances; a GPU that cannot be is not."""
        modes = self._ask("nvmlDeviceGetMigMode")
        return modes is not None and modes[0] == 1

    def memory_used_bytes(self) -> int | None:
        """Memory in use on the whole device, by whomever."""
        memory = self._ask("nvmlDeviceGetMemoryInfo")
        return None if memory is None else int(memory.used)

    def process_memory_bytes(self, pid: int, proc: Path = Path("/proc")) -> int | None:
        """Memory of one process, its CUDA context included; None where that cannot be told, never 0."""
        # A process with compute and graphics stands in both lists, each time with all of its memory.
        processes = [*self._processes("Compute"), *self._processes("Graphics")]
        if sys.platform == "linux" and any(not (proc / str(process.pid)).exists() for process in processes):
            return None  # The list counts in another PID namespace: the same number is another process.
        used = [process.usedGpuMemory for process in processes if process.pid == pid]
        return None if not used or None in used else max(used)

    def state(self) -> GpuState:
        """Take a snapshot."""
        library = self._library
        utilization = self._ask("nvmlDeviceGetUtilizationRates")
        reasons = self._ask("nvmlDeviceGetCurrentClocksEventReasons")
        if reasons is None:  # The name that older drivers have.
            reasons = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons")
        return GpuState(
            sm_clock_hz=self._clock_hz(library.NVML_CLOCK_SM),
            memory_clock_hz=self._clock_hz(library.NVML_CLOCK_MEM),
            temperature_celsius=self._temperature_celsius(),
            power_w=self.power_w(),
            utilization_ratio=None if utilization is None else utilization.gpu / 100,
            clock_event_reasons=None if reasons is None else reason_words(reasons),
        )

    def _clock_hz(self, kind: int) -> float | None:
        clock_mhz = self._ask("nvmlDeviceGetClockInfo", kind)
        return None if clock_mhz is None else clock_mhz * 1e6

    def _temperature_celsius(self) -> float | None:
        sensor = self._library.NVML_TEMPERATURE_GPU
        value = self._ask("nvmlDeviceGetTemperatureV", sensor)
        if value is None:  # Older drivers have this one only; CUDA 14 will have the new one only.
            value = self._ask("nvmlDeviceGetTemperature", sensor)
        return None if value is None else float(value)

    def _processes(self, kind: str) -> list[Any]:
        for version in ("_v3", "_v2"):  # Older drivers have the second only.
            found = self._ask(f"nvmlDeviceGet{kind}RunningProcesses{version}")
            if found is not None:
                return list(found)
        return []

    def _ask(self, name: str, *arguments: object) -> Any:
        """Return NVML's answer, None where GPU, driver or binding does not know the question.

        Raises:
            GpuUnreadable: NVML failed.
        """
        library = self._library
        function = getattr(library, name, None)
        if function is None:
            return None
        try:
            return function(self._handle, *arguments)
        except library.NVMLError as error:
            unsupported = {
                library.NVML_ERROR_NOT_SUPPORTED,
                library.NVML_ERROR_FUNCTION_NOT_FOUND,
                library.NVML_ERROR_NO_PERMISSION,
                library.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
            }
            if error.value in unsupported:
                return None
            raise GpuUnreadable(
                f"NVML's {name} failed: {error}", remedy="look at the driver with nvidia-smi"
            ) from error


@contextlib.contextmanager
def opened_gpu(index: int = 0) -> Iterator[Gpu | NoGpu]:
    """Give the GPU that CUDA calls `index` in this environment, or the reason why there is none.

    CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER are followed as CUDA follows them (`physical_position`).
    """
    with _library() as library:
        if isinstance(library, NoGpu):
            yield library
            return
        found = _by_bus(library)
        position = physical_position(
            index,
            uuids=[uuid for uuid, _, _ in found],
            names=[name for _, name, _ in found],
            visible=os.environ.get("CUDA_VISIBLE_DEVICES"),
            order=os.environ.get("CUDA_DEVICE_ORDER"),
        )
        yield position if isinstance(position, NoGpu) else Gpu(library, found[position][2])


def physical_position(
    index: int, *, uuids: Sequence[str], names: Sequence[str], visible: str | None, order: str | None
) -> int | NoGpu:
    """Return which GPU, in the order of PCI buses, CUDA's device `index` is.

    Args:
        index: Device number as runtimes take it.
        uuids: UUIDs of all GPUs in the order of their PCI buses.
        names: Their names, in that order.
        visible: CUDA_VISIBLE_DEVICES: numbers or beginnings of UUIDs; CUDA ends the list at the first that it does
            not know. None when it is not set.
        order: CUDA_DEVICE_ORDER. Unless it is PCI_BUS_ID, CUDA puts the fastest GPU first, which NVML cannot tell;
            of GPUs that are all alike, CUDA keeps the order of the buses.

    Source: CUDA C++ Programming Guide, CUDA environment variables.
    """
    if visible is not None and "MIG-" in visible:
        return NoGpu(
            reason="mig",
            detail=f"CUDA_VISIBLE_DEVICES names an instance of a GPU that is cut up: {visible}",
            remedy="measure on a whole GPU, with MIG switched off",
        )
    wanted = [str(n) for n in range(len(uuids))] if visible is None else [w.strip() for w in visible.split(",")]
    positions: list[int] = []
    by_number = False
    for word in wanted:
        found = (
            [int(word)] if word.isdecimal() else [n for n, uuid in enumerate(uuids) if word and uuid.startswith(word)]
        )
        if len(found) != 1 or found[0] >= len(uuids):
            break
        positions += found
        by_number = by_number or (word.isdecimal() and len(positions) == index + 1)
    if index >= len(positions):
        seen = f"{len(uuids)} on this machine" + ("" if visible is None else f", CUDA_VISIBLE_DEVICES={visible!r}")
        return NoGpu(
            reason="no_such_gpu",
            detail=f"there is no CUDA device {index}: {seen}",
            remedy="name a GPU that CUDA can see",
        )
    if by_number and order != "PCI_BUS_ID" and len(set(names)) > 1:
        return NoGpu(
            reason="gpu_order_unknown",
            detail=f"which of {', '.join(names)} is CUDA device {index} cannot be told: CUDA puts the fastest first",
            remedy="set CUDA_DEVICE_ORDER=PCI_BUS_ID, or name a UUID in CUDA_VISIBLE_DEVICES",
        )
    return positions[index]


def reason_words(bits: int) -> tuple[str, ...]:
    """Return NVML's clock event reasons in words; a bit that is not known here by its number."""
    single = (1 << shift for shift in range(bits.bit_length()) if bits >> shift & 1)
    return tuple(_REASONS[bit][0] if bit in _REASONS else f"reason {bit:#x}" for bit in single)


def gpu_state(index: int = 0) -> GpuState | None:
    """Return a snapshot of a GPU; None where there is none."""
    with opened_gpu(index) as gpu:
        return None if isinstance(gpu, NoGpu) else gpu.state()


def process_memory_bytes(index: int, pid: int) -> int | None:
    """Return the memory of one process on a GPU; None where there is no GPU or the PID namespace hides the process."""
    with opened_gpu(index) as gpu:
        return None if isinstance(gpu, NoGpu) else gpu.process_memory_bytes(pid)


def device_memory_used_bytes(index: int = 0) -> int | None:
    """Return the memory in use on a whole GPU; None where there is none."""
    with opened_gpu(index) as gpu:
        return None if isinstance(gpu, NoGpu) else gpu.memory_used_bytes()


def is_mig(index: int = 0) -> bool:
    """Tell whether CUDA's device is an instance of a GPU that is cut up."""
    with opened_gpu(index) as gpu:
        return gpu.reason == "mig" if isinstance(gpu, NoGpu) else gpu.is_mig()


@contextlib.contextmanager
def nvml() -> Iterator["ModuleType | NotMeasured"]:
    """Give the initialised NVML module, or the reason why there is none; shut it down afterwards."""
    from benchkit.core.records import NotMeasured

    with _library() as library:
        yield NotMeasured(**dataclasses.asdict(library)) if isinstance(library, NoGpu) else library


def gpu_names() -> tuple[str, ...]:
    """Return the names of the NVIDIA GPUs, () when there is none or NVML is not here."""
    with _library() as library:
        if isinstance(library, NoGpu):
            return ()
        handles = [library.nvmlDeviceGetHandleByIndex(index) for index in range(library.nvmlDeviceGetCount())]
        return tuple(str(library.nvmlDeviceGetName(handle)) for handle in handles)


@contextlib.contextmanager
def _library() -> Iterator[ModuleType | NoGpu]:
    library = _initialised()
    try:
        yield library
    finally:
        if not isinstance(library, NoGpu):
            library.nvmlShutdown()


def _initialised() -> ModuleType | NoGpu:
    try:
        pynvml = importlib.import_module("pynvml")
    except ModuleNotFoundError:
        return NoGpu(
            reason="no_nvml_package",
            detail="the package nvidia-ml-py is not installed",
            remedy="pip install 'benchkit[gpu]'",
        )
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return NoGpu(
            reason="no_nvidia_driver",
            detail=f"NVML does not start: {error}",
            remedy="run on a machine with an NVIDIA driver",
        )
    return pynvml


def _by_bus(library: ModuleType) -> list[tuple[str, str, Any]]:
    """Return UUID, name and handle of the GPUs that may be opened, by PCI bus; NVML promises no order of its own."""
    found = []
    for index in range(library.nvmlDeviceGetCount()):
        try:
            handle = library.nvmlDeviceGetHandleByIndex(index)
            bus = str(library.nvmlDeviceGetPciInfo(handle).busId)
            facts = (str(library.nvmlDeviceGetUUID(handle)), str(library.nvmlDeviceGetName(handle)), handle)
        except library.NVMLError:
            continue  # A container's cgroup, or a lost GPU: CUDA does not see it either.
        found.append((bus, index, facts))
    return [facts for _, _, facts in sorted(found, key=lambda row: row[:2])]

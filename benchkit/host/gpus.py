"""The one file that touches NVML (package nvidia-ml-py, module pynvml)."""

import contextlib
import importlib
from collections.abc import Iterator
from types import ModuleType

from benchkit.core.records import NotMeasured


@contextlib.contextmanager
def nvml() -> Iterator[ModuleType | NotMeasured]:
    """Give the initialised NVML module, or the reason why there is none; shut it down afterwards."""
    try:
        pynvml = importlib.import_module("pynvml")
    except ModuleNotFoundError:
        yield NotMeasured(
            reason="no_nvml_package",
            detail="the package nvidia-ml-py is not installed",
            remedy="pip install 'benchkit[gpu]'",
        )
        return
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        yield NotMeasured(
            reason="no_nvidia_driver",
            detail=f"NVML does not start: {error}",
            remedy="run on a machine with an NVIDIA driver",
        )
        return
    try:
        yield pynvml
    finally:
        pynvml.nvmlShutdown()


def gpu_names() -> tuple[str, ...]:
    """Return the names of the NVIDIA GPUs, () when there is none or NVML is not here."""
    with nvml() as library:
        if isinstance(library, NotMeasured):
            return ()
        handles = [library.nvmlDeviceGetHandleByIndex(index) for index in range(library.nvmlDeviceGetCount())]
        return tuple(str(library.nvmlDeviceGetName(handle)) for handle in handles)

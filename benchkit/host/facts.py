"""Facts about the machine, and the fingerprint under which records may be compared."""

import functools
import platform
from importlib import metadata
from pathlib import Path

import psutil

from benchkit.core.records import Host
from benchkit.core.store import digest
from benchkit.host.clocks import own_cores
from benchkit.host.gpus import gpu_names

# The flags that decide how fast integer and bfloat16 kernels can be; the rest of cpuinfo is noise.
_TELLING_FLAGS = (
    "sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16",
    "avx512_fp16", "avx_vnni", "amx_tile", "amx_int8", "amx_bf16", "hypervisor", "asimd", "asimddp", "i8mm", "bf16",
    "sve", "sve2",
)  # fmt: skip
_PACKAGES = ("onnxruntime", "onnxruntime-gpu", "openvino", "torch", "transformers", "numpy", "tokenizers")
_PROC = Path("/proc")


@functools.cache
def host_facts() -> Host:
    """Return this machine's facts.

    The fingerprint covers what decides speed and does not change from run to run: processor, cores that
    this process may use, memory, GPUs. Versions are listed beside it, not in it.
    """
    cpu_model, flags = _processor()
    cores = usable_cores()
    memory_bytes = psutil.virtual_memory().total
    gpus = gpu_names()
    # Memory in whole GiB: the kernel's own share differs by a few MiB between boots.
    fingerprint = [cpu_model, flags, cores, round(memory_bytes / 2**30), platform.machine(), gpus]
    return Host(
        id=digest(fingerprint),
        cpu_model=cpu_model,
        cores=cores,
        memory_bytes=memory_bytes,
        flags=flags,
        os=_os_name(),
        kernel=platform.release(),
        machine=platform.machine(),
        gpus=gpus,
        versions=installed_versions(),
    )


def usable_cores() -> int:
    """Return how many logical cores this process may run on."""
    return len(own_cores())


def installed_versions() -> dict[str, str]:
    """Return versions of Python and of the packages that decide speed, without importing them."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _processor() -> tuple[str, tuple[str, ...]]:
    try:
        text = (_PROC / "cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or "unknown", ()
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    model = fields.get("model name") or fields.get("Model") or _arm_model(fields) or platform.processor() or "unknown"
    flags = set((fields.get("flags") or fields.get("Features") or "").split())
    return model, tuple(flag for flag in _TELLING_FLAGS if flag in flags)


def _arm_model(fields: dict[str, str]) -> str:
    """Name an ARM core by its numbers: ARM servers have no model name, and two kinds must not look like one."""
    keys = ("CPU implementer", "CPU part", "CPU variant", "CPU revision")
    return " ".join(f"{key.removeprefix('CPU ')} {fields[key]}" for key in keys if key in fields)


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError, AttributeError):
        return f"{platform.system()} {platform.release()}"

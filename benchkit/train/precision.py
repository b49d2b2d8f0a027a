"""Which precision the forward and backward passes run in on this machine; weights and optimizer stay fp32."""

import torch

from benchkit.core.errors import EnvironmentLacks
from benchkit.host.facts import host_facts

# By any of these flags a CPU multiplies bf16 itself: x86's, and ARM's. Without them torch computes the same numbers
# several times slower than fp32.
_NATIVE_BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})


def resolved_precision(asked: str, device: str) -> str:
    """Return "fp32", "bf16" or "fp16"; "auto" takes bf16 where the device computes it natively, else fp32.

    Args:
        asked: "fp32", "bf16", "fp16" or "auto".
        device: "cpu" or "cuda".

    Raises:
        EnvironmentLacks: The device does not compute what is asked for, or is not there.
    """
    check_device(device)
    if asked == "auto":
        return "bf16" if _computes_bf16(device) else "fp32"
    if asked == "bf16" and not _computes_bf16(device):
        raise EnvironmentLacks(
            f"asked to train in bf16, and {_called(device)} does not compute it natively",
            remedy="set precision = 'auto' or 'fp32': emulated bf16 is slower than fp32",
        )
    if asked == "fp16" and device != "cuda":
        raise EnvironmentLacks(
            f"asked to train in fp16 on {device}, and only CUDA devices train in it",
            remedy="set precision = 'auto' or 'bf16', or device = 'cuda'",
        )
    return asked


def check_device(device: str) -> None:
    """Raise EnvironmentLacks where a CUDA device is asked for and torch sees none."""
    if device == "cuda" and not torch.cuda.is_available():
        raise EnvironmentLacks(
            "asked to train on cuda, and torch sees no CUDA device",
            remedy="set device = 'cpu', or install a CUDA build of torch and check nvidia-smi",
        )


def _computes_bf16(device: str) -> bool:
    if device == "cuda":
        # Any device emulates it; only those since Ampere (compute capability 8.0) compute it.
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return not _NATIVE_BF16_FLAGS.isdisjoint(host_facts().flags)


def _called(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else host_facts().cpu_model

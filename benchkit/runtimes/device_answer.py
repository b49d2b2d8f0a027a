"""An answer that still lies on a device: what `call` returns where the copies are outside of it."""

from collections.abc import Callable
from typing import Any

from benchkit.runtimes.protocol import Array


class DeviceAnswer:
    """An answer on the device, copied to the host only by `numpy.asarray`, so outside of the timed call.

    It stands for an Array wherever one is made of it first. It is good until the same prepared batch is called again,
    which writes the next answer into the same memory.

    Args:
        copy: Copies the answer to the host and returns it.
    """

    __slots__ = ("_copy",)

    def __init__(self, copy: Callable[[], Array]) -> None:
        self._copy = copy

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """Copy the answer to the host, for `numpy.asarray`; it is a copy whatever `copy` says."""
        array = self._copy()
        return array if dtype is None else array.astype(dtype, copy=False)

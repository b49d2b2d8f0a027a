"""Energy of a GPU board by NVML's counter; by polled power, and labelled so, where there is no counter.

Which GPU, and every call of NVML, is left to `benchkit.host.gpus`.

Source: nvml.h, nvmlDeviceGetTotalEnergyConsumption (mJ since the driver was loaded, Volta and later).
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from benchkit.host.gpus import Gpu, GpuUnreadable, NoGpu, opened_gpu
from benchkit.meters.energy import Lookout, Missing, Reading, WindowVoid

POLLED = "nvml polled power"

_STEP_LIMIT_S = 1.0  # The counter steps about every 100 ms; ten times that is a counter that stands still.
_STEP_LOOK_S = 0.001
_POLL_S = 0.05
_LONGEST_POLL_GAP_S = 1.0
_POLLED_WARNING = (
    "GPU energy is the integral of polled power, not a counter: some GPUs sample their power "
    "a quarter of the time only (arXiv 2312.02741)"
)
_LOOK = "measure again; look at the driver with nvidia-smi"


class Mark:
    """An open window: the GPU, kept open, and what it showed at the beginning."""

    def __init__(self, gpu: Gpu, open_until_stop: contextlib.ExitStack) -> None:
        self.gpu = gpu
        self.open_until_stop = open_until_stop
        self.begin_s = 0.0
        self.begin_j: float | None = None  # None when power is polled.
        self.lookout: Lookout | None = None
        self.seen_s = self.seen_w = self.integral_j = self.longest_gap_s = 0.0


class NvmlEnergy:
    """The energy of one GPU board: `probe`, then `start` and `stop` around a window of 10 s or more.

    The counter moves in steps, so both edges wait for one: `start` returns just after a step, and `stop` lengthens
    the window to the next one (100 ms at most, idle, and inside the reading's `wall_s`). Shorter windows are refused.
    """

    quantity = "energy_gpu"
    scope = "GPU board, whatever runs on it"
    window_s = 10.0

    def __init__(
        self,
        index: int = 0,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        opened: Callable[[int], AbstractContextManager[Gpu | NoGpu]] = opened_gpu,
    ) -> None:
        """Look at CUDA's device `index`.

        Args:
            index: Device number as runtimes take it.
            clock: Seconds that never go back.
            sleep: Waits for so many seconds.
            opened: Opens the GPU.
        """
        self.source = "nvml"
        self._index = index
        self._clock = clock
        self._sleep = sleep
        self._opened = opened

    def probe(self) -> Missing | None:
        """Say why the GPU's energy cannot be read, or None when it can; settles `source`."""
        try:
            with self._opened(self._index) as gpu:
                return self._lack(gpu)
        except GpuUnreadable as error:
            return Missing(reason="gpu_unreadable", detail=str(error), remedy=error.remedy)

    def start(self) -> Mark:
        """Open a window at a step of the counter.

        Raises:
            WindowVoid: The GPU cannot be read, or its counter stands still.
        """
        with contextlib.ExitStack() as stack, _voiding():
            gpu = stack.enter_context(self._opened(self._index))
            lack = self._lack(gpu)
            if lack is not None:
                raise WindowVoid(f"GPU energy cannot be read: {lack.detail}", remedy=lack.remedy)
            assert not isinstance(gpu, NoGpu)
            mark = Mark(gpu, contextlib.ExitStack())
            if self.source == POLLED:
                mark.seen_w, mark.begin_s = self._power_w(gpu), self._clock()
                mark.seen_s = mark.begin_s
                mark.lookout = Lookout(lambda: self._poll(mark), _POLL_S)
            else:
                mark.begin_j = self._next_step_j(gpu)
                mark.begin_s = self._clock()
            mark.open_until_stop = stack.pop_all()
            return mark

    def stop(self, mark: Mark) -> Reading:
        """Close the window at the next step of the counter.

        Raises:
            WindowVoid: The window is too short, or the counter went back, stood still or could not be read.
        """
        with mark.open_until_stop, _voiding():
            lasted_s = self._clock() - mark.begin_s
            if mark.lookout is not None:
                mark.lookout.close()
            if lasted_s < self.window_s:
                raise WindowVoid(
                    f"a window of {lasted_s:.3g} s is too short for a GPU: its energy counter moves in steps of 0.1 s",
                    remedy=f"measure for at least {self.window_s:g} s",
                )
            return self._polled(mark) if mark.begin_j is None else self._counted(mark, mark.begin_j)

    def _counted(self, mark: Mark, begin_j: float) -> Reading:
        spent_j = self._next_step_j(mark.gpu) - begin_j
        wall_s = self._clock() - mark.begin_s
        if spent_j <= 0:
            raise WindowVoid("the energy counter of the GPU went back, since its driver was loaded again", remedy=_LOOK)
        return self._reading(spent_j, wall_s)

    def _polled(self, mark: Mark) -> Reading:
        self._poll(mark)
        if mark.longest_gap_s > _LONGEST_POLL_GAP_S:
            raise WindowVoid(
                f"{mark.longest_gap_s:.3g} s passed between two looks at the power of the GPU",
                remedy="measure again on a machine that is not overloaded",
            )
        return self._reading(mark.integral_j, mark.seen_s - mark.begin_s, _POLLED_WARNING)

    def _reading(self, joules: float, wall_s: float, *warnings: str) -> Reading:
        return Reading(
            joules=joules,
            wall_s=wall_s,
            source=self.source,
            scope=self.scope,
            by_zone_j={f"gpu {self._index}": joules},
            warnings=warnings,
        )

    def _lack(self, gpu: Gpu | NoGpu) -> Missing | None:
        if isinstance(gpu, NoGpu):
            return Missing(reason=gpu.reason, detail=gpu.detail, remedy=gpu.remedy)
        if gpu.is_mig():
            return Missing(
                reason="mig",
                detail="the GPU is cut into instances (MIG), and its counter is the whole board's",
                remedy="measure on a whole GPU, with MIG switched off",
            )
        self.source = "nvml" if gpu.energy_j() is not None else POLLED
        if self.source == POLLED and gpu.power_w() is None:
            return Missing(
                reason="no_gpu_energy",
                detail="the GPU has neither an energy counter nor a power sensor that NVML may read",
                remedy="measure on a GPU of the Volta generation or later, with the driver of its vendor",
            )
        return None

    def _next_step_j(self, gpu: Gpu) -> float:
        """Wait until the counter moves and return what it shows then."""
        before_j = self._energy_j(gpu)
        begin_s = self._clock()
        while self._clock() - begin_s < _STEP_LIMIT_S:
            self._sleep(_STEP_LOOK_S)
            now_j = self._energy_j(gpu)
            if now_j != before_j:
                return now_j
        raise WindowVoid(f"the energy counter of the GPU stood still for {_STEP_LIMIT_S:g} s", remedy=_LOOK)

    def _poll(self, mark: Mark) -> None:
        """Add the trapezoid since the last look."""
        with _voiding():
            now_w, now_s = self._power_w(mark.gpu), self._clock()
        gap_s = now_s - mark.seen_s
        mark.longest_gap_s = max(mark.longest_gap_s, gap_s)
        mark.integral_j += (mark.seen_w + now_w) / 2 * gap_s
        mark.seen_s, mark.seen_w = now_s, now_w

    def _energy_j(self, gpu: Gpu) -> float:
        return _known(gpu.energy_j(), "energy counter")

    def _power_w(self, gpu: Gpu) -> float:
        return _known(gpu.power_w(), "power")


def _known(value: float | None, what: str) -> float:
    if value is None:
        raise WindowVoid(f"the {what} of the GPU could not be read inside the window", remedy=_LOOK)
    return value


@contextlib.contextmanager
def _voiding() -> Iterator[None]:
    """Turn a failure of NVML into a void window."""
    try:
        yield
    except GpuUnreadable as error:
        raise WindowVoid(str(error), remedy=error.remedy) from error

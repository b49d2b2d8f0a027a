"""Keep every loss of a training: stop what diverges, and tell how far it is and how long it will take."""

import dataclasses
import math
import time
from collections.abc import Sequence
from typing import Any

from benchkit.core.errors import BenchkitError
from benchkit.core.progress import Progress

# Losses of single steps jump; so many of them together are worth reading.
_SMOOTHED_STEPS = 20


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """How training went.

    Attributes:
        losses: Loss of each step.
        elapsed_s: Seconds from the first step's beginning to the last one's end; evaluations are in it, what an
            interrupted run did before its last checkpoint too.
        resumed_at_step: Steps that an interrupted run had done already; None when there was none.
        stopping: What early stopping did; None without.
    """

    losses: tuple[float, ...]
    elapsed_s: float
    resumed_at_step: int | None = None
    stopping: dict[str, Any] | None = None

    def notes(self, batch_size: int) -> dict[str, Any]:
        """Return what a checkpoint says of its training."""
        few = max(1, min(_SMOOTHED_STEPS, len(self.losses) // 4))
        return {
            "steps": len(self.losses),
            "first_loss": _mean(self.losses[:few]),
            "last_loss": _mean(self.losses[-few:]),
            "train_loss": _mean(self.losses),
            "train_s": round(self.elapsed_s, 3),
            "train_examples_per_s": round(len(self.losses) * batch_size / self.elapsed_s, 1),
            "resumed_at_step": self.resumed_at_step,
            **({"early_stopping": self.stopping} if self.stopping is not None else {}),
        }


class Watch:
    """Takes the loss of each step."""

    def __init__(self, name: str, steps: int, peak_rate: float, progress: Progress) -> None:
        """Take the artifact's name, the steps to come, the peak of the learning rate, and who is told."""
        self._name, self._steps, self._peak_rate, self._progress = name, steps, peak_rate, progress
        self._losses: list[float] = []
        self._before_s = 0.0
        self._resumed_at_step: int | None = None
        self._ends_s: list[float] = []

    def begin(self) -> None:
        """Start the clock at the first step, later ones change nothing."""
        if not self._ends_s:
            self._ends_s.append(time.perf_counter())

    def take(self, loss: float, learning_rate: float) -> None:
        """Note a step; raise BenchkitError when its loss is no finite number."""
        self._losses.append(loss)
        self._ends_s.append(time.perf_counter())
        if not math.isfinite(loss):
            raise self.diverged(f"the loss is {loss}", learning_rate)
        done = len(self._losses)
        smoothed = _mean(self._losses[-_SMOOTHED_STEPS:])
        told = f"{self._name}: step {done:,} of {self._steps:,}, loss {smoothed:.3f}{self._left()}"
        self._progress(told, done / self._steps)

    def diverged(self, what: str, learning_rate: float) -> BenchkitError:
        """Return the error that names the step and the rate."""
        return BenchkitError(
            f"{self._name}: {what} at step {len(self._losses)} of {self._steps}, "
            f"learning rate {learning_rate:.3g} (peak {self._peak_rate:.3g})",
            remedy="lower learning_rate, or raise warmup_share",
        )

    def state(self) -> dict[str, Any]:
        """Return what a resumed training needs to go on."""
        return {"losses": self._losses, "elapsed_s": self._elapsed_s()}

    def resume(self, state: dict[str, Any]) -> None:
        """Go on where an interrupted training was."""
        self._losses, self._before_s = list(state["losses"]), float(state["elapsed_s"])
        self._resumed_at_step = len(self._losses)
        self._progress(f"{self._name}: resumed after step {self._resumed_at_step:,} of {self._steps:,}")

    def trained(self, stopping: dict[str, Any] | None) -> Trained:
        """Return how it went."""
        return Trained(
            losses=tuple(self._losses),
            elapsed_s=self._elapsed_s(),
            resumed_at_step=self._resumed_at_step,
            stopping=stopping,
        )

    def _elapsed_s(self) -> float:
        return self._before_s + (self._ends_s[-1] - self._ends_s[0] if self._ends_s else 0.0)

    def _left(self) -> str:
        # The first batch is the longest of all and pays for every first call, so it tells nothing of the others.
        timed = len(self._ends_s) - 2
        remaining = self._steps - len(self._losses)
        if timed < 3 or not remaining:
            return ""
        left_s = (self._ends_s[-1] - self._ends_s[1]) / timed * remaining
        minutes, seconds = divmod(round(left_s), 60)
        return f", {minutes} min {seconds:02} s left" if minutes else f", {seconds} s left"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)

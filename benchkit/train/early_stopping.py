"""Keep the weights that answered best on a part that is not learned from, and end when they no longer improve."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import torch


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What the model was worth after some step.

    Attributes:
        headline: The metric that counts, higher is better; NaN where it is not defined.
        loss: Mean loss on the same examples; decides among evaluations whose headline is not defined.
        metrics: Every metric by name, None where not defined.
    """

    headline: float
    loss: float
    metrics: dict[str, float | None]

    def better_than(self, other: "Evaluation | None") -> bool:
        """Compare headlines; where neither has one, losses. A headline is better than none."""
        if other is None:
            return True
        if math.isnan(self.headline):
            return math.isnan(other.headline) and self.loss < other.loss
        return math.isnan(other.headline) or self.headline > other.headline


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EarlyStopping:
    """How a training is watched for its end.

    Attributes:
        evaluate: Scores the model, in evaluation mode, without touching any random state.
        every_steps: Steps between two evaluations, not necessarily whole; the last step is always evaluated.
        patience: Evaluations without improvement after which training ends.
    """

    evaluate: Callable[[Any], Evaluation]
    every_steps: float
    patience: int

    def is_due(self, step: int, steps: int) -> bool:
        """Tell whether the model is evaluated after this step of so many."""
        return step == steps or math.floor(step / self.every_steps) > math.floor((step - 1) / self.every_steps)


class Best:
    """The best weights so far, and every evaluation."""

    def __init__(self, stopping: EarlyStopping) -> None:
        """Take the settings."""
        self._stopping = stopping
        self._evaluations: list[tuple[int, Evaluation]] = []
        self._kept_step: int | None = None
        self.weights: dict[str, torch.Tensor] = {}

    @property
    def last(self) -> Evaluation:
        """The latest evaluation."""
        return self._evaluations[-1][1]

    def take(self, model: Any, step: int) -> bool:
        """Evaluate the model, keep its weights when they are the best, and tell whether to go on."""
        was_training = model.training
        model.eval()
        evaluation = self._stopping.evaluate(model)
        model.train(was_training)
        best = next((found for at, found in self._evaluations if at == self._kept_step), None)
        self._evaluations.append((step, evaluation))
        if evaluation.better_than(best):
            self._kept_step, self.weights = step, _learned(model)
        since = sum(1 for at, _ in self._evaluations if at > (self._kept_step or 0))
        return since < self._stopping.patience

    def restore(self, model: Any) -> None:
        """Put the best weights back."""
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name in self.weights:
                    parameter.copy_(self.weights[name])

    def state(self) -> dict[str, Any]:
        """Return what a resumed training needs, the weights aside."""
        evaluations = [[step, dataclasses.asdict(found)] for step, found in self._evaluations]
        return {"kept_step": self._kept_step, "evaluations": evaluations}

    def resume(self, state: dict[str, Any], weights: dict[str, torch.Tensor]) -> None:
        """Go on where an interrupted training was."""
        self._kept_step, self.weights = state["kept_step"], weights
        self._evaluations = [(step, Evaluation(**found)) for step, found in state["evaluations"]]

    def notes(self, steps: int) -> dict[str, Any]:
        """Return what a checkpoint says of it."""
        last = self._evaluations[-1][0] if self._evaluations else 0
        return {
            "kept_step": self._kept_step,
            "stopped_early": last < steps,
            "evaluations": [
                {"step": step, "loss": finite(found.loss), **found.metrics} for step, found in self._evaluations
            ],
        }


def finite(value: float) -> float | None:
    """Return None in place of what no JSON file can hold."""
    return value if math.isfinite(value) else None


def _learned(model: Any) -> dict[str, torch.Tensor]:
    """Copy what learns; the rest stays as it is."""
    return {
        name: parameter.detach().to("cpu", copy=True)
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }

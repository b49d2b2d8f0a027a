"""A linear probe: what a frozen encoder's features tell of a task, read out by a linear map that is fitted whole.

The features are computed once. The map is fitted by L-BFGS to convergence, for each of several strengths of an L2
penalty, and the one that answers best on carved validation is kept.
"""

import dataclasses
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from benchkit.core.errors import BenchkitError
from benchkit.core.progress import Progress
from benchkit.train.batches import Collate, batches_by_length
from benchkit.train.early_stopping import Evaluation, finite
from benchkit.train.loop import Feature
from benchkit.train.modes import final_linear
from benchkit.train.objectives import Objective, inputs_of

# Strongest first: each fit begins where the one before ended, and the first asks least.
_PENALTIES = (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
_MOST_ITERATIONS = 400
_BATCH_SIZE = 64

Evaluate = Callable[[npt.NDArray[np.float64]], Evaluation]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """How the probe was fitted.

    Attributes:
        penalty: The strength that was kept: half of it times the squared weights is added to the loss.
        fits: Penalty, iterations, loss on the features, and the evaluation on carved validation of each fit.
        trained_parameters: Those of the map.
        parameters: Those of the whole model.
    """

    penalty: float
    fits: tuple[dict[str, Any], ...]
    trained_parameters: int
    parameters: int

    @staticmethod
    def resolved() -> dict[str, Any]:
        """Return every hyperparameter; nobody can set them."""
        return {"optimizer": "l-bfgs", "l2_grid": list(_PENALTIES), "most_iterations": _MOST_ITERATIONS}

    def notes(self) -> dict[str, Any]:
        """Return what a checkpoint says of it."""
        return {
            "mode": "linear_probe",
            "trained_parameters": self.trained_parameters,
            "parameters": self.parameters,
            "l2": self.penalty,
            "evaluations": list(self.fits),
        }


def fit_probe(
    model: Any,
    features: Sequence[Feature],
    validation: Sequence[Feature],
    collate: Collate,
    *,
    objective: Objective,
    evaluate: Evaluate,
    precision: str = "fp32",
    name: str,
    progress: Progress,
) -> Probed:
    """Fit the last layer of `model` in place, on features that everything before it computes in evaluation mode.

    Args:
        model: A classifier; nothing but its last layer changes.
        features: Examples to fit on.
        validation: Labelled examples that choose the penalty.
        collate: Makes a batch of features.
        objective: What is made small; only the model's logits are asked for.
        evaluate: Scores validation logits of shape (n, outputs).
        precision: Of the encoder's pass, "fp32", "bf16" or "fp16"; the map itself is fitted in float64.
        name: Of what is made, for messages.
        progress: Told of each fit.

    Raises:
        BenchkitError: The head does not end in a linear layer, or the features are not finite.
    """
    linear = final_linear(model)
    progress(f"{name}: computing the features of {len(features):,} examples", 0.0)
    inputs = _pooled(model, linear, features, collate, precision)
    seen = _pooled(model, linear, validation, collate, precision)
    # One scale for all features, or the penalty would mean something else for each.
    mean, spread = inputs.mean(dim=0), inputs.std(dim=0, correction=0).clamp_min(1e-6)
    answers = _answers(features, collate)
    head = _Head((inputs - mean) / spread, linear.out_features)
    kept: tuple[Evaluation, float, torch.Tensor, torch.Tensor] | None = None
    fits = []
    for number, penalty in enumerate(_PENALTIES):
        iterations, loss = head.fit(objective, answers, penalty)
        weight, bias = head.unscaled(mean, spread)
        evaluation = evaluate((seen @ weight.T + bias).numpy())
        fits.append(
            {"l2": penalty, "iterations": iterations, "fit_loss": loss, "loss": finite(evaluation.loss)}
            | evaluation.metrics
        )
        if evaluation.better_than(kept[0] if kept else None):
            kept = evaluation, penalty, weight, bias
        progress(f"{name}: fitted with l2 {penalty:g}, loss {loss:.3f}", (number + 1) / len(_PENALTIES))
    assert kept is not None
    with torch.no_grad():
        linear.weight.copy_(kept[2])
        linear.bias.copy_(kept[3])
    return Probed(
        penalty=kept[1],
        fits=tuple(fits),
        trained_parameters=linear.weight.numel() + linear.bias.numel(),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
    )


def probe_warnings(model: Any, new: Sequence[str]) -> list[str]:
    """Say so when features come through weights that were drawn and that the probe does not fit."""
    last = final_linear(model)
    fitted = {
        name for name, parameter in model.named_parameters() if parameter is last.weight or parameter is last.bias
    }
    drawn = [name for name in new if name not in fitted]
    if not drawn:
        return []
    return [f"the probe reads features through weights that were drawn and never trained: {', '.join(drawn)}"]


class _Head(torch.nn.Module):
    """The map itself, in float64, called as a model is: so every objective on logits fits it."""

    def __init__(self, inputs: torch.Tensor, outputs: int) -> None:
        super().__init__()
        self._inputs = inputs
        self.weight = torch.nn.Parameter(torch.zeros(outputs, inputs.shape[1], dtype=torch.float64))
        self.bias = torch.nn.Parameter(torch.zeros(outputs, dtype=torch.float64))

    def forward(self) -> SimpleNamespace:
        return SimpleNamespace(logits=self._inputs @ self.weight.T + self.bias)

    def fit(self, objective: Objective, answers: dict[str, torch.Tensor], penalty: float) -> tuple[int, float]:
        """Make the objective and the penalty small from where the weights are; return iterations and the objective."""
        optimizer: Any = torch.optim.LBFGS(
            self.parameters(),
            max_iter=_MOST_ITERATIONS,
            tolerance_grad=1e-5,
            tolerance_change=1e-9,
            line_search_fn="strong_wolfe",
        )

        def loss() -> torch.Tensor:
            optimizer.zero_grad()
            total = objective(self, answers) + 0.5 * penalty * self.weight.square().sum()
            torch.autograd.backward(total)
            return total

        optimizer.step(loss)
        with torch.no_grad():
            found = float(objective(self, answers))
        return int(optimizer.state[self.weight]["n_iter"]), found

    def unscaled(self, mean: torch.Tensor, spread: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return weight and bias for features as they come."""
        weight = (self.weight / spread).detach()
        return weight, (self.bias - weight @ mean).detach()


def _pooled(
    model: Any, linear: torch.nn.Linear, features: Sequence[Feature], collate: Collate, precision: str
) -> torch.Tensor:
    """Return what the last layer is given for each example, float64 of shape (n, width)."""
    given: list[torch.Tensor] = []
    pooled = torch.empty((len(features), linear.in_features), dtype=torch.float64)
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    autocast = torch.autocast(model.device.type, dtype=dtype, enabled=precision != "fp32")
    hook = linear.register_forward_pre_hook(lambda _module, arguments: given.append(arguments[0]))
    try:
        model.eval()
        with torch.inference_mode(), autocast:
            for rows in batches_by_length(features, _BATCH_SIZE):
                given.clear()
                batch = inputs_of(collate([features[row] for row in rows]))
                model(**{name: tensor.to(model.device) for name, tensor in batch.items()})
                pooled[rows] = given[0].cpu().double()
    finally:
        hook.remove()
    if not bool(torch.isfinite(pooled).all()):
        raise BenchkitError("the encoder's features are not finite", remedy="give another encoder: this one is damaged")
    return pooled


def _answers(features: Sequence[Feature], collate: Collate) -> dict[str, torch.Tensor]:
    """Return labels and the teacher's answers of all examples."""
    # The collator knows their types; of the tokens a single one is enough to make a batch.
    short = [feature | {"input_ids": [0], "token_type_ids": [0]} for feature in features]
    batch = collate(short)
    return {name: batch[name] for name in ("labels", "teacher_logits") if name in batch}

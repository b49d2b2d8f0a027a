"""What training makes small: losses on gold labels, on a teacher's answers, and mixtures of them.

Teachers' answers are made by `teacher`, hidden states and attention are compared by `layer_matching`, and what learns
and how fast is left to `loop`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch.nn import functional

from benchkit.core.errors import BenchkitError
from benchkit.core.recipes import TrainRecipe
from benchkit.tasks.table import Task
from benchkit.train.layer_matching import LayerMatching, matching_for

# What a batch holds besides the model's inputs.
_ANSWERS = ("labels", "teacher_logits")


class Objective(Protocol):
    """A loss to be made small."""

    def parameters(self) -> list[torch.nn.Parameter]:
        """Return what is learned besides the model and not kept with it, in the same order each time."""

    def facts(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of it; plain JSON."""

    def __call__(self, model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Run the model forward on a batch and return the loss, a scalar in fp32 (in float64 where the logits are).

        Args:
            model: Called with the batch's inputs; gives an object with `logits` of shape (batch, outputs).
            batch: The model's inputs; and "labels" of shape (batch,), int64 classes or float32 scores; and
                "teacher_logits" of shape (batch, outputs), as far as the objective needs them.
        """


class GoldObjective:
    """Learning from the labels: cross-entropy, with or without weights, or for scores the mean squared error."""

    def __init__(self, task: Task, class_weights: tuple[float, ...] | None = None) -> None:
        """Take one weight a label, in the task's order; None weights all alike.

        Raises:
            BenchkitError: Class weights for a regression.
        """
        if class_weights is not None and task.is_regression:
            raise BenchkitError(
                f"class_weights weight classes, and task '{task.name}' is a regression",
                remedy="leave class_weights out of [train]",
            )
        if class_weights is not None and len(class_weights) != task.outputs:
            raise ValueError(f"{len(class_weights)} class weights for {task.outputs} labels of '{task.name}'")
        self._is_regression = task.is_regression
        self._weights = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)

    def parameters(self) -> list[torch.nn.Parameter]:
        """Return nothing: only the model learns."""
        return []

    def facts(self) -> dict[str, Any]:
        """Return the loss's name, and the weight of each class where there are some."""
        if self._is_regression:
            return {"loss": "mean squared error"}
        if self._weights is None:
            return {"loss": "cross-entropy"}
        return {"loss": "weighted cross-entropy", "class_weights": self._weights.tolist()}

    def __call__(self, model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the loss on the batch's labels; see `Objective`."""
        return self.of(model(**inputs_of(batch)).logits, batch["labels"])

    def of(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the loss of logits, shape (batch, outputs). Weighted, it is divided by the sum of the weights."""
        logits = _exact(logits)
        if self._is_regression:
            return functional.mse_loss(logits[:, 0], labels.to(logits.dtype))
        return functional.cross_entropy(
            logits, labels, weight=None if self._weights is None else self._weights.to(logits)
        )


class DistillObjective:
    """Learning from a teacher: its logits, mixed with the labels, and its inside where that is asked for.

    loss = gold_weight x gold + (1 - gold_weight) x soft + hidden_weight x hidden + attention_weight x attention

    where soft is T^2 times the cross-entropy of both sides' logits divided by T, and for scores their mean squared
    error, which no temperature changes. Class weights are the gold part's only: a teacher knows its own shares.
    """

    def __init__(self, recipe: TrainRecipe, gold: GoldObjective, task: Task, matching: LayerMatching | None) -> None:
        """Take the recipe, whose [distill] is given, the gold part, and what compares the layers, if anything does."""
        assert recipe.distill is not None
        self._distill = recipe.distill
        self._gold = gold
        self._is_regression = task.is_regression
        self._matching = matching

    def parameters(self) -> list[torch.nn.Parameter]:
        """Return the projections of hidden states, embeddings first."""
        return [] if self._matching is None else self._matching.projections

    def facts(self) -> dict[str, Any]:
        """Return the parts of the loss by name with their weights, and which layer learns from which."""
        distill = self._distill
        soft = "mean squared error to the teacher" if self._is_regression else "soft cross-entropy"
        weights = {
            self._gold.facts()["loss"]: distill.gold_weight,
            soft: 1 - distill.gold_weight,
            "hidden states": distill.hidden_weight,
            "attention scores": distill.attention_weight,
        }
        parts = {name: weight for name, weight in weights.items() if weight}
        layers = {} if self._matching is None else {"teacher_layers": list(self._matching.layers)}
        gold = self._gold.facts() if distill.gold_weight else {}
        return gold | {"loss": "distillation", "loss_weights": parts} | layers

    def __call__(self, model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the mixed loss; see `Objective`. Labels are looked at only where gold_weight is above 0."""
        inputs, gold, parts = inputs_of(batch), self._distill.gold_weight, []
        if self._matching is None:
            output = model(**inputs)
        else:
            with self._matching.watching(model):
                output = model(**inputs, **self._matching.asks)
            parts.append(self._matching(output, inputs))
        if gold < 1:
            parts.append((1 - gold) * self._soft(output.logits, batch["teacher_logits"]))
        if gold > 0:
            parts.append(gold * self._gold.of(output.logits, batch["labels"]))
        return torch.stack(parts).sum()

    def _soft(self, logits: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        if self._is_regression:
            return functional.mse_loss(_exact(logits), teacher.to(_exact(logits).dtype))
        return soft_cross_entropy(logits, teacher, self._distill.temperature)


def objective_for(
    recipe: TrainRecipe, task: Task, model: Any, *, teacher: Path | None, class_weights: tuple[float, ...] | None
) -> Objective:
    """Return the loss that a recipe asks for.

    Args:
        recipe: Hyperparameters.
        task: Row of the task table.
        model: The model that learns; read for its shapes and the folder it came from, not changed.
        teacher: Folder of the teacher; None without [distill].
        class_weights: One weight a label, in the task's order, or None.

    Raises:
        BenchkitError: A teacher without [distill] or the other way round, class weights for a regression, or a
            teacher whose inside cannot be compared with the student's; see `layer_matching`.
    """
    gold = GoldObjective(task, class_weights)
    distill = recipe.distill
    if (distill is None) != (teacher is None):
        raise BenchkitError(
            "[distill] is given and no teacher"
            if teacher is None
            else f"teacher '{teacher}' is given and no [distill]",
            remedy="a teacher and [distill] in the training's settings belong together: give both or neither",
        )
    if distill is None or teacher is None:
        return gold
    if not (distill.hidden_weight or distill.attention_weight):
        return DistillObjective(recipe, gold, task, None)
    if recipe.mode == "linear_probe":
        raise BenchkitError(
            "hidden_weight and attention_weight teach the encoder, and in mode 'linear_probe' it is frozen",
            remedy="set both to 0, or take another mode: full, bitfit, lora",
        )
    matching = matching_for(
        distill, model, teacher, task, max_length=recipe.max_length, seed=recipe.seed, device=recipe.device
    )
    return DistillObjective(recipe, gold, task, matching)


def soft_cross_entropy(logits: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return T^2 times the mean over examples of the cross-entropy between softened distributions.

    Its gradient tends to that of half the squared distance of the centred logits over their number as T grows, which
    is why T^2 belongs to it. Its least value is not 0 but T^2 times the entropy of the teacher's distribution.

    Args:
        logits: The student's, shape (batch, outputs).
        teacher: The teacher's, same shape.
        temperature: T, above 0.

    Source: Hinton et al. (arXiv 1503.02531), section 2; TinyBERT (arXiv 1909.10351), equation 10.
    """
    logits = _exact(logits)
    targets = functional.softmax(teacher.to(logits.dtype) / temperature, dim=-1)
    return functional.cross_entropy(logits / temperature, targets) * temperature**2


def inputs_of(batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return what a model is called with: the batch without answers."""
    return {name: tensor for name, tensor in batch.items() if name not in _ANSWERS}


def _exact(logits: torch.Tensor) -> torch.Tensor:
    """Return logits in fp32 at least: half precision is good enough for a forward pass, and not for a loss."""
    return logits if logits.dtype == torch.float64 else logits.float()

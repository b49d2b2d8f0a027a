"""Pooler and classifier for a merged encoder, which has none of its own.

`BertForSequenceClassification` computes classifier(tanh(pooler(h))) of the first token's state h, so every
head here is a pair of such layers. A head is fitted after merging, once for every scale that is tried.
"""

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from benchkit.core.recipes import HeadRecipe
from benchkit.merge.alignment import explained, ridge_solution

# Standard deviation of the widest pooled feature: tanh is linear to (4 x 0.02)³/3 = 2e-4 out to four of them.
_LINEAR_SPREAD = 0.02


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Two linear layers with tanh between, float64.

    Attributes:
        pooler_weight: Shape (hidden, hidden).
        pooler_bias: Shape (hidden,).
        classifier_weight: Shape (outputs, hidden).
        classifier_bias: Shape (outputs,).
        r2: How well it fits what it was fitted to; None when it was not fitted.
    """

    pooler_weight: Tensor
    pooler_bias: Tensor
    classifier_weight: Tensor
    classifier_bias: Tensor
    r2: float | None = None

    def logits(self, states: Tensor) -> Tensor:
        """Return logits of shape (n, outputs) of first-token states of shape (n, hidden)."""
        pooled = torch.tanh(states @ self.pooler_weight.T + self.pooler_bias)
        return pooled @ self.classifier_weight.T + self.classifier_bias

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors by their names in BertForSequenceClassification."""
        return {
            "bert.pooler.dense.weight": self.pooler_weight,
            "bert.pooler.dense.bias": self.pooler_bias,
            "classifier.weight": self.classifier_weight,
            "classifier.bias": self.classifier_bias,
        }


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HeadInputs:
    """What a head may be fitted on.

    Attributes:
        states: The merged encoder's first-token states of the fitting text, shape (n, hidden).
        donor_states: The donor's states of the same text, shape (n, donor's hidden).
        donor_head: The donor's own head, its outputs in the task's order.
        labels: The text's labels, int64 classes or float64 scores of shape (n,); None for unlabelled text.
        outputs: Width of the logits.
    """

    states: Tensor
    donor_states: Tensor
    donor_head: Head
    labels: Tensor | None
    outputs: int


def probe_kd(inputs: HeadInputs, recipe: HeadRecipe) -> Head:
    """Fit the donor's logits by ridge regression on text without labels."""
    return _ridge_head(inputs.states, inputs.donor_head.logits(inputs.donor_states), recipe)


def probe_gold(inputs: HeadInputs, recipe: HeadRecipe) -> Head:
    """Fit labels: logistic regression of classes, ridge regression of scores."""
    assert inputs.labels is not None, "run gives labelled text to heads that need it"
    if inputs.labels.is_floating_point():
        return _ridge_head(inputs.states, inputs.labels[:, None], recipe)
    return _logistic_head(inputs.states, inputs.labels, inputs.outputs, recipe)


def transplant(inputs: HeadInputs, recipe: HeadRecipe) -> Head:
    """Move the donor's own head over, behind a ridge map from the merged model's states to the donor's.

    Exact for the mapped states: no LayerNorm stands between pooler and classifier, so the donor's pooler
    fits into the first rows of the base's, and zeros fill the rest.
    """
    donor = inputs.donor_head
    hidden, donor_hidden = inputs.states.shape[1], inputs.donor_states.shape[1]
    mean, donor_mean = inputs.states.mean(dim=0), inputs.donor_states.mean(dim=0)
    states, targets = inputs.states - mean, inputs.donor_states - donor_mean
    gram, cross = states.T @ states, states.T @ targets
    solution = ridge_solution(gram, cross, ridge=recipe.ridge)
    pooler_weight = torch.zeros(hidden, hidden, dtype=torch.float64)
    pooler_bias = torch.zeros(hidden, dtype=torch.float64)
    classifier_weight = torch.zeros(inputs.outputs, hidden, dtype=torch.float64)
    pooler_weight[:donor_hidden] = donor.pooler_weight @ solution.T
    pooler_bias[:donor_hidden] = donor.pooler_bias + donor.pooler_weight @ (donor_mean - mean @ solution)
    classifier_weight[:, :donor_hidden] = donor.classifier_weight
    return Head(
        pooler_weight=pooler_weight,
        pooler_bias=pooler_bias,
        classifier_weight=classifier_weight,
        classifier_bias=donor.classifier_bias,
        r2=explained(gram, cross, targets.square().sum(dim=0), solution),
    )


def random_head(inputs: HeadInputs, recipe: HeadRecipe) -> Head:
    """Draw a head as BERT initialises one: the control that knows nothing."""
    hidden = inputs.states.shape[1]
    generator = torch.Generator().manual_seed(recipe.seed)
    return Head(
        pooler_weight=0.02 * torch.randn(hidden, hidden, generator=generator, dtype=torch.float64),
        pooler_bias=torch.zeros(hidden, dtype=torch.float64),
        classifier_weight=0.02 * torch.randn(inputs.outputs, hidden, generator=generator, dtype=torch.float64),
        classifier_bias=torch.zeros(inputs.outputs, dtype=torch.float64),
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HeadMode:
    """A way to get a head.

    Attributes:
        fit: Makes it.
        gold: True when it is fitted on labelled text of the train part, False on unlabelled text.
    """

    fit: Callable[[HeadInputs, HeadRecipe], Head]
    gold: bool = False


HEADS = {
    "probe_kd": HeadMode(fit=probe_kd),
    "transplant": HeadMode(fit=transplant),
    "probe_gold": HeadMode(fit=probe_gold, gold=True),
    "random": HeadMode(fit=random_head),
}


def linear_pooler(states: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Return weight and bias of a pooler through which everything passes almost unchanged.

    A linear head cannot be folded through tanh exactly. This pooler centres the states, rotates them by a
    drawn rotation, so that no outlier channel sets the scale, and shrinks them into tanh's linear part. The
    classifier is then fitted on the pooled features themselves, so that nothing is left to be folded.
    """
    hidden = states.shape[1]
    generator = torch.Generator().manual_seed(seed)
    rotation, _ = torch.linalg.qr(torch.randn(hidden, hidden, generator=generator, dtype=torch.float64))
    mean = states.mean(dim=0)
    spread = ((states - mean) @ rotation.T).std(dim=0, correction=0).max()
    weight = _LINEAR_SPREAD / spread.clamp_min(torch.finfo(torch.float32).tiny) * rotation
    return weight, -weight @ mean


def _pooled(states: Tensor, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    weight, bias = linear_pooler(states, seed)
    return weight, bias, torch.tanh(states @ weight.T + bias)


def _ridge_head(states: Tensor, targets: Tensor, recipe: HeadRecipe) -> Head:
    pooler_weight, pooler_bias, pooled = _pooled(states, recipe.seed)
    mean, target_mean = pooled.mean(dim=0), targets.mean(dim=0)
    features, wanted = pooled - mean, targets - target_mean
    gram, cross = features.T @ features, features.T @ wanted
    solution = ridge_solution(gram, cross, ridge=recipe.ridge)
    return Head(
        pooler_weight=pooler_weight,
        pooler_bias=pooler_bias,
        classifier_weight=solution.T,
        classifier_bias=target_mean - mean @ solution,
        r2=explained(gram, cross, wanted.square().sum(dim=0), solution),
    )


def _logistic_head(states: Tensor, labels: Tensor, outputs: int, recipe: HeadRecipe) -> Head:
    pooler_weight, pooler_bias, pooled = _pooled(states, recipe.seed)
    # Features of unit size make one penalty mean the same for every encoder.
    size = pooled.std(dim=0, correction=0).square().mean().sqrt()
    features = pooled / size
    weight = torch.zeros(outputs, features.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(outputs, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = torch.nn.functional.cross_entropy(features @ weight.T + bias, labels)
        value = value + recipe.ridge / 2 * weight.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    with torch.enable_grad():
        optimizer.step(loss)  # type: ignore[no-untyped-call]
    return Head(
        pooler_weight=pooler_weight,
        pooler_bias=pooler_bias,
        classifier_weight=(weight / size).detach(),
        classifier_bias=bias.detach(),
    )

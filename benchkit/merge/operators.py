"""Same-shape merge operators: pure functions of tensors, and the table that names them.

Bringing tensors into one shape and basis is left to the projections, choosing a scale to `search`.
"""

import dataclasses
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

# Below this distance from parallel, the arc is straight to float32 precision (mergekit's own threshold).
_PARALLEL = 0.9995


def linear(tensors: Sequence[Tensor], weights: Sequence[float], *, normalize: bool = True) -> Tensor:
    """Average tensors.

    Args:
        tensors: Tensors of one shape S.
        weights: One weight for each tensor.
        normalize: Divide by the sum of the weights.

    Returns:
        Tensor of shape S.

    Source: Wortsman et al., "Model soups" (arXiv 2203.05482); order of operations as in mergekit's `linear`.
    """
    total = _weighted_sum(torch.stack(list(tensors)), weights)
    return total / torch.tensor(weights, dtype=total.dtype).sum() if normalize else total


def slerp(base: Tensor, tuned: Tensor, *, share: float) -> Tensor:
    """Walk from one tensor to the other along the arc between their directions.

    Both are taken as one long vector each; norms are interpolated by the same factors, not restored.

    Args:
        base: Where the walk starts, of any shape S.
        tuned: Where it ends, of shape S.
        share: How far to walk: 0 gives `base`, 1 gives `tuned`.

    Returns:
        Tensor of shape S and of the base's dtype.

    Source: Shoemake, "Animating rotation with quaternion curves" (1985); as mergekit's `slerp`.
    """
    start, end = base.double(), tuned.double()
    norms = start.norm() * end.norm()
    cosine = float((start * end).sum() / norms) if norms > 0 else 1.0
    if abs(cosine) > _PARALLEL:
        return ((1 - share) * start + share * end).to(base.dtype)
    angle = torch.arccos(torch.tensor(cosine, dtype=torch.float64))
    toward_start = torch.sin((1 - share) * angle) / torch.sin(angle)
    toward_end = torch.sin(share * angle) / torch.sin(angle)
    return (toward_start * start + toward_end * end).to(base.dtype)


def task_arithmetic(
    base: Tensor, tuned: Sequence[Tensor], weights: Sequence[float], *, scale: float = 1.0, normalize: bool = False
) -> Tensor:
    """Add the scaled sum of the task vectors to the base weights.

    Args:
        base: Weights before fine-tuning, of any shape S.
        tuned: One tensor of shape S for each fine-tuned model.
        weights: One weight for each of them.
        scale: The paper's lambda. 1 adds every task vector whole; 0 gives the base back.
        normalize: Divide the sum of the task vectors by the sum of the weights.

    Returns:
        Tensor of shape S and of the base's dtype.

    Source: Ilharco et al., "Editing Models with Task Arithmetic" (arXiv 2212.04089).
    """
    vectors = torch.stack([weights_after - base for weights_after in tuned])
    return add_task_vectors(base, vectors, weights, scale=scale, normalize=normalize)


def add_task_vectors(
    base: Tensor, vectors: Tensor, weights: Sequence[float], *, scale: float = 1.0, normalize: bool = False
) -> Tensor:
    """Add task vectors that are already in the base's shape; `vectors` has shape (number, *S)."""
    total = _weighted_sum(vectors, weights)
    if normalize:
        divisor = torch.tensor(weights, dtype=total.dtype).sum()
        total = total / (divisor if divisor.abs() >= 1e-8 else 1.0)  # weights that cancel: mergekit divides by 1
    return (base + (total if scale == 1.0 else total * scale)).to(base.dtype)


def _weighted_sum(stacked: Tensor, weights: Sequence[float]) -> Tensor:
    factors = torch.tensor(weights, dtype=stacked.dtype).view(-1, *[1] * (stacked.dim() - 1))
    return (factors * stacked).sum(dim=0)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Pairwise:
    """How a method merges one donor into one base.

    Attributes:
        merge: Takes the base's tensor, the donor's of the same shape, and the scale.
        whole_weights: True when it averages weights themselves, which mean the same only in one basis;
            False when it adds a task vector, and so needs the encoder that the donor was tuned from.
        below: The scale stays below this: at 1 an average is the donor itself. None when open.
    """

    merge: Callable[[Tensor, Tensor, float], Tensor]
    whole_weights: bool
    below: float | None = None


PAIRWISE = {
    "linear": Pairwise(
        merge=lambda base, donor, scale: linear((base, donor), (1 - scale, scale)), whole_weights=True, below=1.0
    ),
    "slerp": Pairwise(merge=lambda base, donor, scale: slerp(base, donor, share=scale), whole_weights=True, below=1.0),
    "task_arithmetic": Pairwise(
        merge=lambda base, vector, scale: add_task_vectors(base, vector[None], (1.0,), scale=scale),
        whole_weights=False,
    ),
}

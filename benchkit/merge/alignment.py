"""Linear maps between two activation spaces, solved from their moments.

Row activations throughout: X_A of width p, X_B of width q, and a map T of shape (p, q) with X_A T ≈ X_B.
"""

import dataclasses

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from benchkit.merge.moments import Grams

_TINY = torch.finfo(torch.float64).tiny


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SpaceMap:
    """A scaled rotation from the donor's space into the base's.

    Attributes:
        rotation: Q of shape (p, q), float64; Q Qᵀ = 1 when p <= q.
        scale: s of the least-squares fit X_A (s Q) ≈ X_B.
        r2: Share of X_B's energy that X_A (s Q) explains.
    """

    rotation: Tensor
    scale: float
    r2: float

    def out(self, rows: Tensor) -> Tensor:
        """Bring what a donor module writes into the base's space: Tᵀ W for W of shape (p, ...)."""
        return self.scale * (self.rotation.T @ rows)

    def into(self, columns: Tensor) -> Tensor:
        """Let a donor module read from the base's space: W T for W of shape (..., p).

        What is scaled on the way out is scaled back on the way in. The least-squares scale of the way in would
        be smaller, but the two together would shrink each tensor by how badly its spaces fit.
        """
        return (columns @ self.rotation) / self.scale if self.scale > 0 else torch.zeros_like(columns @ self.rotation)

    def gain(self, gain: Tensor) -> Tensor:
        """Bring a gain per channel over: the diagonal of T_outᵀ diag(g) T_in, of shape (q,)."""
        return self.rotation.square().T @ gain


def procrustes(grams: Grams, *, whiten: float, ridge: float) -> SpaceMap:
    """Fit the rotation that takes X to Y best.

    Args:
        grams: Of the donor's activations X and the base's Y.
        whiten: Power of the whitening of the cross-covariance; 0 for plain Procrustes.
        ridge: Added to a Gram before it is whitened, as a share of its mean eigenvalue.

    Source: Schönemann, "A generalized solution of the orthogonal Procrustes problem" (1966); whitening as in
    Theseus (arXiv 2602.12952).
    """
    return _scaled(_rotation(grams, whiten, ridge), grams)


def procrustes_by_head(grams: Grams, matches: tuple[int, ...], *, whiten: float, ridge: float) -> SpaceMap:
    """Fit one rotation inside each head; `matches[i]` is the base's head that donor head i goes to."""
    rotation = torch.zeros_like(grams.xy)
    for donor_head, base_head in enumerate(matches):
        x = _head(donor_head, grams.xy.shape[0] // len(matches))
        y = _head(base_head, grams.xy.shape[1] // len(matches))
        block = Grams(xx=grams.xx[x, x], yy=grams.yy[y, y], xy=grams.xy[x, y])
        rotation[x, y] = _rotation(block, whiten, ridge)
    return _scaled(rotation, grams)


def match_heads(grams: Grams, heads: int) -> tuple[int, ...]:
    """Pair every donor head with the base head that carries most of the same signal.

    Similarity is linear CKA between the two heads' activations.

    Source: Kornblith et al., "Similarity of neural network representations revisited" (arXiv 1905.00414), eq. 4.
    """
    blocks = grams.xy.view(heads, grams.xy.shape[0] // heads, heads, grams.xy.shape[1] // heads)
    norms = torch.outer(_head_norms(grams.xx, heads), _head_norms(grams.yy, heads))
    similarity = blocks.square().sum(dim=(1, 3)) / norms.clamp_min(_TINY)
    _, base_heads = linear_sum_assignment(similarity.numpy(), maximize=True)
    return tuple(int(head) for head in base_heads)


def ridge_solution(gram: Tensor, cross: Tensor, *, ridge: float) -> Tensor:
    """Solve (G + r I) W = C with r = `ridge` times the mean eigenvalue of G.

    Args:
        gram: XᵀX, float64 of shape (p, p).
        cross: XᵀY, float64 of shape (p, q).
        ridge: Strength, as a share of the mean eigenvalue.

    Returns:
        W, float64 of shape (p, q): X W ≈ Y.
    """
    strength = (ridge * gram.diagonal().mean()).clamp_min(_TINY)
    system = gram + strength * torch.eye(len(gram), dtype=gram.dtype)
    solution: Tensor = torch.cholesky_solve(cross, torch.linalg.cholesky(system))
    return solution


def explained(gram: Tensor, cross: Tensor, energy: Tensor, solution: Tensor) -> float:
    """Return R² of X W ≈ Y from the moments of X and Y; `energy` is the diagonal of YᵀY."""
    left = energy.sum() - 2 * (solution * cross).sum() + (solution * (gram @ solution)).sum()
    return float(1 - left / energy.sum()) if energy.sum() > 0 else 0.0


def _rotation(grams: Grams, whiten: float, ridge: float) -> Tensor:
    cross = grams.xy
    if whiten > 0:
        cross = _power(grams.xx, -whiten, ridge) @ cross @ _power(grams.yy, -whiten, ridge)
    left, _, right = torch.linalg.svd(cross, full_matrices=False)
    rotation: Tensor = left @ right
    return rotation


def _power(gram: Tensor, exponent: float, ridge: float) -> Tensor:
    values, vectors = torch.linalg.eigh(gram)
    floor = (ridge * values.mean()).clamp_min(_TINY)
    power: Tensor = (vectors * (values.clamp_min(0) + floor) ** exponent) @ vectors.T
    return power


def _scaled(rotation: Tensor, grams: Grams) -> SpaceMap:
    shared = float((rotation * grams.xy).sum())
    energy = float((rotation * (grams.xx @ rotation)).sum())
    total = float(grams.yy.diagonal().sum())
    scale = shared / energy if energy > 0 else 0.0
    left = total - 2 * scale * shared + scale**2 * energy
    return SpaceMap(rotation=rotation, scale=scale, r2=1 - left / total if total > 0 else 0.0)


def _head(number: int, width: int) -> slice:
    return slice(number * width, (number + 1) * width)


def _head_norms(gram: Tensor, heads: int) -> Tensor:
    width = len(gram) // heads
    return torch.stack([gram[_head(i, width), _head(i, width)].norm() for i in range(heads)])

"""Second moments of activations, accumulated batch by batch in float64.

Which activations they are of is left to `calibration`, what is solved with them to `alignment`.
"""

import dataclasses

import torch
from torch import Tensor


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Grams:
    """XᵀX, YᵀY and XᵀY of the same tokens, float64 of shapes (p, p), (q, q) and (p, q)."""

    xx: Tensor
    yy: Tensor
    xy: Tensor

    def __add__(self, other: "Grams") -> "Grams":
        """Pool two sites that share one space."""
        return Grams(xx=self.xx + other.xx, yy=self.yy + other.yy, xy=self.xy + other.xy)


class Moments:
    """Grams of two activations of the same tokens, X of width p and Y of width q.

    Rows are shifted by the first batch's mean before they are multiplied: a BERT has channels whose mean is
    many times their spread, and subtracting such means afterwards would cancel most digits.
    """

    def __init__(self, *, y_gram: bool = True) -> None:
        """Start empty.

        Args:
            y_gram: Keep the Gram of Y too; its diagonal is always kept.
        """
        self.count = 0
        self._y_gram = y_gram
        self._x_shift = self._y_shift = self._empty()
        self._x_sum = self._y_sum = self._y_squares = self._empty()
        self._xx = self._xy = self._yy = self._empty()

    def add(self, x: Tensor, y: Tensor) -> None:
        """Add rows of shape (tokens, p) and (tokens, q).

        Products are taken in the rows' own dtype within one batch, and summed in float64 over batches.
        """
        if self.count == 0:
            self._x_shift, self._y_shift = x.mean(dim=0), y.mean(dim=0)
        x, y = x - self._x_shift, y - self._y_shift
        self.count += len(x)
        self._x_sum = self._x_sum + x.sum(dim=0).double()
        self._y_sum = self._y_sum + y.sum(dim=0).double()
        self._y_squares = self._y_squares + y.square().sum(dim=0).double()
        self._xx = self._xx + (x.T @ x).double()
        self._xy = self._xy + (x.T @ y).double()
        if self._y_gram:
            self._yy = self._yy + (y.T @ y).double()

    @property
    def x_mean(self) -> Tensor:
        """Mean of X, float64 of shape (p,)."""
        return self._x_shift.double() + self._x_sum / self.count

    @property
    def y_mean(self) -> Tensor:
        """Mean of Y, float64 of shape (q,)."""
        return self._y_shift.double() + self._y_sum / self.count

    def grams(self, *, center: bool) -> Grams:
        """Return all three Grams, about the means when `center`."""
        return Grams(xx=self.xx(center=center), yy=self.yy(center=center), xy=self.xy(center=center))

    def xx(self, *, center: bool) -> Tensor:
        """Return XᵀX, float64 of shape (p, p)."""
        return self._moved(self._xx, self._x_sum, self._x_sum, self.x_mean, self.x_mean, center)

    def xy(self, *, center: bool) -> Tensor:
        """Return XᵀY, float64 of shape (p, q)."""
        return self._moved(self._xy, self._x_sum, self._y_sum, self.x_mean, self.y_mean, center)

    def yy(self, *, center: bool) -> Tensor:
        """Return YᵀY, float64 of shape (q, q)."""
        return self._moved(self._yy, self._y_sum, self._y_sum, self.y_mean, self.y_mean, center)

    def y_energy(self, *, center: bool) -> Tensor:
        """Return the diagonal of YᵀY, float64 of shape (q,)."""
        centred = self._y_squares - self._y_sum.square() / self.count
        return centred if center else centred + self.count * self.y_mean.square()

    def _moved(  # noqa: PLR0917  # the five factors of one formula, in its order
        self, gram: Tensor, left_sum: Tensor, right_sum: Tensor, left_mean: Tensor, right_mean: Tensor, center: bool
    ) -> Tensor:
        centred = gram - torch.outer(left_sum, right_sum) / self.count
        return centred if center else centred + self.count * torch.outer(left_mean, right_mean)

    @staticmethod
    def _empty() -> Tensor:
        return torch.zeros((), dtype=torch.float64)

"""Choose the scale of a merge on carved validation; a grid whose edge is best is extended by itself."""

import dataclasses
from collections.abc import Callable, Sequence

from benchkit.core.recipes import MergeRecipe
from benchkit.merge.operators import PAIRWISE

# Steps are differences of decimals: 1.5 + 0.5 must not be counted as beyond 2.
_ROUNDING = 1e-9


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """One configuration that was tried.

    Attributes:
        scale: The scale.
        scores: Every metric of the task on carved validation, the headline first; None where undefined.
        head_r2: How well the head fits what it was fitted to; None when it was not fitted.
        seconds: What merging, fitting the head and scoring took.
    """

    scale: float
    scores: dict[str, float | None]
    head_r2: float | None
    seconds: float

    @property
    def headline(self) -> float:
        """The score to choose by; below every score when it is undefined."""
        score = next(iter(self.scores.values()))
        return float("-inf") if score is None else score


def scales_to_try(recipe: MergeRecipe) -> tuple[tuple[float, ...], float]:
    """Return the scales of the first round, 0 among them, and the limit of extension.

    A method that averages weights stays below its own limit: at 1 the average is the donor itself. A fixed
    scale is tried beside 0 only: without the control no merge says anything.
    """
    if recipe.scale is not None:
        return tuple(sorted({0.0, recipe.scale})), recipe.scale
    below = PAIRWISE[recipe.method].below
    scales = sorted({0.0, *recipe.search.grid})
    if below is None:
        return tuple(scales), recipe.search.extend_to
    kept = tuple(scale for scale in scales if scale < below)
    return kept, kept[-1]


def search(scales: Sequence[float], extend_to: float, attempt: Callable[[float], Tried]) -> list[Tried]:
    """Try every scale, then go on upwards for as long as the largest one is the best.

    Args:
        scales: The first round, rising.
        extend_to: No scale beyond this is added.
        attempt: Tries one scale.

    Returns:
        What was tried, in the order of trying.
    """
    tried = [attempt(scale) for scale in scales]
    if len(scales) < 2:
        return tried
    step = scales[-1] - scales[-2]
    while best_of(tried).scale == tried[-1].scale and tried[-1].scale + step <= extend_to + _ROUNDING:
        tried.append(attempt(round(tried[-1].scale + step, 9)))
    return tried


def best_of(tried: Sequence[Tried]) -> Tried:
    """Return the best by the headline metric; of equal ones that with the smallest scale."""
    return min(tried, key=lambda one: (-one.headline, one.scale))

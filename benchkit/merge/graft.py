"""Graft a task vector onto a base layer by ridge regression: the least-squares optimum of `transport`.

What the donor's change of weights adds to a linear map, `ΔW_A x_A`, is predicted from the base's own
activations x_B on the same tokens: `ΔW_Bᵀ = (X_BᵀX_B + rI)⁻¹ X_Bᵀ (X_A ΔW_Aᵀ) T_out`.

Source: the normal equations of RegMean (Jin et al., arXiv 2212.09849), carried across widths.
"""

from collections.abc import Callable

import torch

from benchkit.core.recipes import ProjectRecipe
from benchkit.merge.alignment import explained, ridge_solution
from benchkit.merge.bert import LINEAR_PARTS, NORM_PARTS, SPACES, Deltas, tensor_name
from benchkit.merge.calibration import LayerWalk
from benchkit.merge.layer_maps import Placement
from benchkit.merge.moments import Moments
from benchkit.merge.spaces import LayerSpaces
from benchkit.merge.transport import donor_part, transport_norm

_PARTS_BY_SITE = {site: tuple(part for part in LINEAR_PARTS if part.reads == site) for site in SPACES}


def graft_layer(
    placement: Placement,
    vector: Deltas,
    spaces: LayerSpaces,
    *,
    donor: LayerWalk,
    base: LayerWalk,
    recipe: ProjectRecipe,
    add: Callable[[Deltas], None] | None = None,
) -> tuple[Deltas, dict[str, float]]:
    """Graft one donor layer's task vector onto one base layer, part by part in the order of the computation.

    Args:
        placement: Which layers.
        vector: The donor's task vector by tensor name, whole.
        spaces: Maps between the two layers; only what a part writes is mapped by them.
        donor: Walk through the fine-tuned donor.
        base: Walk through the base on the same tokens, with its weights as they are now.
        recipe: Centring and ridge.
        add: Called with the tensors of each step; one that adds them to the base lets the following parts see
            what the grafted ones really give them.

    Returns:
        float64 tensors in the base's shapes by the base's tensor names, and R² of the prediction by site.
    """
    deltas: Deltas = {}
    r2: dict[str, float] = {}
    for site in SPACES:
        moments = _site_moments(placement, site, vector, donor, base)
        step, r2[site] = _solved(placement, site, vector, spaces, moments=moments, recipe=recipe)
        for norm in (norm for norm, follows in NORM_PARTS.items() if follows == site):
            step |= transport_norm(placement, norm, vector, spaces)
        if add is not None:
            add(step)
        deltas |= step
    return deltas, r2


def _solved(
    placement: Placement, site: str, vector: Deltas, spaces: LayerSpaces, *, moments: Moments, recipe: ProjectRecipe
) -> tuple[Deltas, float]:
    gram, cross = moments.xx(center=recipe.center), moments.xy(center=recipe.center)
    solution = ridge_solution(gram, cross, ridge=recipe.ridge)
    # Without centring the fit goes through the origin, so that no mean has to be moved into a bias.
    factor = 1.0 if recipe.center else 0.0
    base_mean, change_mean = factor * moments.x_mean, factor * moments.y_mean
    deltas: Deltas = {}
    at = 0
    for part in _PARTS_BY_SITE[site]:
        _, bias = donor_part(vector, placement.donor_layer, part.name)
        columns = slice(at, at + len(bias))
        at += len(bias)
        out_map = spaces.maps[part.writes]
        weight = out_map.out(solution[:, columns].T)
        deltas[tensor_name(placement.base_layer, part.name, "weight")] = weight
        constant = out_map.out(change_mean[columns] + bias) - weight @ base_mean
        deltas[tensor_name(placement.base_layer, part.name, "bias")] = constant
    return deltas, explained(gram, cross, moments.y_energy(center=recipe.center), solution)


def _site_moments(placement: Placement, site: str, vector: Deltas, donor: LayerWalk, base: LayerWalk) -> Moments:
    """Return moments of the base's activation at a site and of all changes that the donor computes from it."""
    # Query, key and value read one site, so one Gram serves the three.
    names = (tensor_name(placement.donor_layer, part.name, "weight") for part in _PARTS_BY_SITE[site])
    weight = torch.cat([vector[name] for name in names])
    moments = Moments(y_gram=False)
    pairs = zip(donor.site(placement.donor_layer, site), base.site(placement.base_layer, site), strict=True)
    for donor_rows, base_rows in pairs:
        moments.add(base_rows, donor_rows @ weight.T)
    return moments

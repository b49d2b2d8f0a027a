"""Graft a task vector onto a base layer by ridge regression: the least-squares optimum of `transport`.

What the donor's change of weights adds to a linear map, `ΔW_A x_A`, is predicted from the base's own
activations x_B on the same tokens: `ΔW_Bᵀ = (X_BᵀX_B + rI)⁻¹ X_Bᵀ (X_A ΔW_Aᵀ) T_out`.

Source: the normal equations of RegMean (Jin et al., arXiv 2212.09849), carried across widths.
"""

import torch
from torch import Tensor

from benchkit.core.recipes import ProjectRecipe
from benchkit.merge.alignment import explained, ridge_solution
from benchkit.merge.bert import LINEAR_PARTS, SPACES, Deltas, LinearPart, tensor_name
from benchkit.merge.calibration import LayerWalk
from benchkit.merge.layer_maps import Placement
from benchkit.merge.moments import Moments
from benchkit.merge.spaces import LayerSpaces
from benchkit.merge.transport import donor_part, transport_norms

_PARTS_BY_SITE = {site: tuple(part for part in LINEAR_PARTS if part.reads == site) for site in SPACES}


def graft_layer(
    placement: Placement,
    vector: Deltas,
    spaces: LayerSpaces,
    *,
    donor: LayerWalk,
    base: LayerWalk,
    recipe: ProjectRecipe,
) -> tuple[Deltas, dict[str, float]]:
    """Graft one donor layer's task vector onto one base layer.

    Args:
        placement: Which layers.
        vector: The donor's task vector by tensor name, whole.
        spaces: Maps between the two layers; only what a part writes is mapped by them.
        donor: Walk through the donor.
        base: Walk through the base on the same tokens, with the layers below as they are now.
        recipe: Centring and ridge.

    Returns:
        float64 tensors in the base's shapes by the base's tensor names, and R² of the prediction by site.
    """
    deltas, r2 = transport_norms(placement, vector, spaces), {}
    for site, moments in _site_moments(placement, vector, donor, base).items():
        gram, cross = moments.xx(center=recipe.center), moments.xy(center=recipe.center)
        solution = ridge_solution(gram, cross, ridge=recipe.ridge)
        r2[site] = explained(gram, cross, moments.y_energy(center=recipe.center), solution)
        base_mean, change_mean = moments.x_mean, moments.y_mean
        if not recipe.center:
            base_mean, change_mean = torch.zeros_like(base_mean), torch.zeros_like(change_mean)
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
    return deltas, r2


def _site_moments(placement: Placement, vector: Deltas, donor: LayerWalk, base: LayerWalk) -> dict[str, Moments]:
    """Return, by site, moments of the base's activation and of all changes that the donor computes from it."""
    # Query, key and value read one site, so one Gram serves the three.
    weights = {
        site: torch.cat([_weight(vector, placement, part) for part in parts]) for site, parts in _PARTS_BY_SITE.items()
    }
    moments = {site: Moments(y_gram=False) for site in weights}
    pairs = zip(donor.sites(placement.donor_layer), base.sites(placement.base_layer), strict=True)
    for donor_sites, base_sites in pairs:
        for site, weight in weights.items():
            moments[site].add(base_sites[site], donor_sites[site] @ weight.T)
    return moments


def _weight(vector: Deltas, placement: Placement, part: LinearPart) -> Tensor:
    return vector[tensor_name(placement.donor_layer, part.name, "weight")]

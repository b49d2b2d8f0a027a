"""How the donor's activation spaces lie in the base's: one map for the residual space, three a layer for the rest.

The maps are fitted on the two encoders before fine-tuning; using them is left to `transport` and `graft`.
"""

import dataclasses
from collections.abc import Sequence

from torch import Tensor

from benchkit.core.recipes import ProjectRecipe
from benchkit.merge.alignment import SpaceMap, match_heads, procrustes, procrustes_by_head
from benchkit.merge.bert import SPACES
from benchkit.merge.calibration import LayerWalk
from benchkit.merge.layer_maps import Placement
from benchkit.merge.moments import Grams, Moments

_RESIDUAL_SITES = ("hidden", "attended", "output")
_SITES = ("hidden", "query", "key", "context", "attended", "inner", "output")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LayerSpaces:
    """The maps between one donor layer and one base layer.

    Attributes:
        maps: By space: "residual", "query", "context", "inner".
        means: By site that a linear map reads: means of the donor's and of the base's activations.
        heads: Base head of each donor head; None when their numbers differ and heads are not told apart.
        r2: Fit by space.
    """

    maps: dict[str, SpaceMap]
    means: dict[str, tuple[Tensor, Tensor]]
    heads: tuple[int, ...] | None
    r2: dict[str, float]


def align_spaces(
    placements: Sequence[Placement], donor: LayerWalk, base: LayerWalk, *, heads: int | None, recipe: ProjectRecipe
) -> tuple[LayerSpaces, ...]:
    """Fit every space map that the placements need, in their order.

    The residual map is one for all layers, fitted on the Grams of all placed layers together: what a layer
    writes there, every later layer reads.

    Args:
        placements: Which donor layer lies on which base layer.
        donor: Walk through the donor before fine-tuning.
        base: Walk through the base on the same tokens.
        heads: Attention heads when both have the same number, else None.
        recipe: Centring, whitening and ridge.
    """
    residual: Grams | None = None
    layers = []
    for placement in placements:
        moments = _layer_moments(placement, donor, base)
        grams = {site: moments[site].grams(center=recipe.center) for site in _SITES}
        for site in _RESIDUAL_SITES:
            residual = grams[site] if residual is None else residual + grams[site]
        layers.append((_own_maps(grams, heads, recipe), _means(moments, center=recipe.center)))
    assert residual is not None, "a layer map places at least one layer"
    shared = procrustes(residual, whiten=recipe.whiten, ridge=recipe.ridge)
    return tuple(_layer_spaces(shared, maps, matches, means) for (maps, matches), means in layers)


def _layer_moments(placement: Placement, donor: LayerWalk, base: LayerWalk) -> dict[str, Moments]:
    moments = {site: Moments() for site in _SITES}
    pairs = zip(donor.sites(placement.donor_layer), base.sites(placement.base_layer), strict=True)
    for donor_sites, base_sites in pairs:
        for site, pooled in moments.items():
            pooled.add(donor_sites[site], base_sites[site])
    return moments


def _own_maps(
    grams: dict[str, Grams], heads: int | None, recipe: ProjectRecipe
) -> tuple[dict[str, SpaceMap], tuple[int, ...] | None]:
    query = grams["query"] + grams["key"]
    inner = procrustes(grams["inner"], whiten=recipe.whiten, ridge=recipe.ridge)
    if heads is None:
        maps = {
            "query": procrustes(query, whiten=recipe.whiten, ridge=recipe.ridge),
            "context": procrustes(grams["context"], whiten=recipe.whiten, ridge=recipe.ridge),
        }
        return maps | {"inner": inner}, None
    # A head is one thing: its queries, keys and values go to the same head of the base.
    matches = match_heads(grams["context"], heads)
    maps = {
        "query": procrustes_by_head(query, matches, whiten=recipe.whiten, ridge=recipe.ridge),
        "context": procrustes_by_head(grams["context"], matches, whiten=recipe.whiten, ridge=recipe.ridge),
    }
    return maps | {"inner": inner}, matches


def _means(moments: dict[str, Moments], *, center: bool) -> dict[str, tuple[Tensor, Tensor]]:
    # Without centring the maps go through the origin, so that no mean has to be moved into a bias.
    factor = 1.0 if center else 0.0
    return {site: (factor * moments[site].x_mean, factor * moments[site].y_mean) for site in SPACES}


def _layer_spaces(
    shared: SpaceMap,
    maps: dict[str, SpaceMap],
    matches: tuple[int, ...] | None,
    means: dict[str, tuple[Tensor, Tensor]],
) -> LayerSpaces:
    every = {"residual": shared} | maps
    return LayerSpaces(
        maps=every, means=means, heads=matches, r2={space: space_map.r2 for space, space_map in every.items()}
    )

"""Which donor layer speaks to which base layers, and with what share of its change.

What is carried over between two layers is left to the projections.

Source: Jiao et al., "TinyBERT" (arXiv 1909.10351), section 4.4: uniform, top and bottom maps.
"""

import dataclasses
import itertools
from collections.abc import Callable

from benchkit.core.errors import BenchkitError, unknown_name


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """One donor layer on one base layer.

    Attributes:
        donor_layer: Index in the donor.
        base_layer: Index in the base.
        share: Factor on the donor layer's change there.
    """

    donor_layer: int
    base_layer: int
    share: float


def _uniform(donor_layers: int, base_layers: int) -> list[range]:
    edges = [layer * base_layers // donor_layers for layer in range(donor_layers + 1)]
    return [range(low, high) for low, high in itertools.pairwise(edges)]


def _top(donor_layers: int, base_layers: int) -> list[range]:
    first = base_layers - donor_layers
    return [range(first + layer, first + layer + 1) for layer in range(donor_layers)]


def _bottom(donor_layers: int, base_layers: int) -> list[range]:
    return [range(layer, layer + 1) for layer in range(donor_layers)]


BLOCKS: dict[str, Callable[[int, int], list[range]]] = {"uniform": _uniform, "top": _top, "bottom": _bottom}

# The last layer of a block stands for it: TinyBERT's own map, and the best in its ablation.
SPREADS: dict[str, Callable[[range], dict[int, float]]] = {
    "last": lambda block: {block[-1]: 1.0},
    "even": lambda block: {layer: 1.0 / len(block) for layer in block},
    "all": lambda block: dict.fromkeys(block, 1.0),
}


def placements(layer_map: str, spread: str, *, donor_layers: int, base_layers: int) -> tuple[Placement, ...]:
    """Lay every donor layer onto base layers, in rising order of both.

    Args:
        layer_map: Name in `BLOCKS`.
        spread: Name in `SPREADS`.
        donor_layers: Layers of the donor.
        base_layers: Layers of the base.

    Raises:
        BenchkitError: An unknown name, or a donor deeper than the base.
    """
    if layer_map not in BLOCKS:
        raise unknown_name("layer map", layer_map, BLOCKS)
    if spread not in SPREADS:
        raise unknown_name("spread", spread, SPREADS)
    if donor_layers > base_layers:
        raise BenchkitError(
            f"the donor has {donor_layers} layers and the base {base_layers}: a donor layer would own no base layer",
            remedy="give the deeper model as base",
        )
    return tuple(
        Placement(donor_layer=donor_layer, base_layer=base_layer, share=share)
        for donor_layer, block in enumerate(BLOCKS[layer_map](donor_layers, base_layers))
        for base_layer, share in sorted(SPREADS[spread](block).items())
    )

"""Transport a task vector into the base's spaces by rotations: `ΔW_B = T_outᵀ ΔW_A T_in`.

Source: Theseus (arXiv 2602.12952), with the transposes that its code has and its formula lacks.
"""

from torch import Tensor

from benchkit.merge.bert import LINEAR_PARTS, NORM_PARTS, SPACES, Deltas, tensor_name
from benchkit.merge.layer_maps import Placement
from benchkit.merge.spaces import LayerSpaces


def transport_layer(placement: Placement, vector: Deltas, spaces: LayerSpaces) -> Deltas:
    """Bring one donor layer's task vector into one base layer.

    Args:
        placement: Which layers.
        vector: The donor's task vector by tensor name, whole.
        spaces: Maps between the two layers.

    Returns:
        float64 tensors in the base's shapes, by the base's tensor names.
    """
    deltas: Deltas = {}
    for norm in NORM_PARTS:
        deltas |= transport_norm(placement, norm, vector, spaces)
    for part in LINEAR_PARTS:
        weight, bias = donor_part(vector, placement.donor_layer, part.name)
        out_map, in_map = spaces.maps[part.writes], spaces.maps[SPACES[part.reads]]
        donor_mean, base_mean = spaces.means[part.reads]
        moved = out_map.out(in_map.into(weight))
        deltas[tensor_name(placement.base_layer, part.name, "weight")] = moved
        # What the vector does to the donor's mean activation is constant, and so belongs into the bias.
        constant = out_map.out(weight @ donor_mean + bias) - moved @ base_mean
        deltas[tensor_name(placement.base_layer, part.name, "bias")] = constant
    return deltas


def transport_norm(placement: Placement, part: str, vector: Deltas, spaces: LayerSpaces) -> Deltas:
    """Bring the change of one LayerNorm over: its gain as a diagonal map, its shift as a residual vector."""
    residual = spaces.maps["residual"]
    gain, shift = donor_part(vector, placement.donor_layer, part)
    return {
        tensor_name(placement.base_layer, part, "weight"): residual.gain(gain),
        tensor_name(placement.base_layer, part, "bias"): residual.out(shift),
    }


def donor_part(vector: Deltas, layer: int, part: str) -> tuple[Tensor, Tensor]:
    """Return the task vector of one module as float64 weight and bias."""
    weight, bias = (vector[tensor_name(layer, part, kind)].double() for kind in ("weight", "bias"))
    return weight, bias

"""The parts of a BERT layer: which linear map reads and writes which activation, and what each tensor is called.

Activations ("sites") of a layer, in the order of the computation:

    hidden -> query, key -> context -> attended -> inner -> (hidden of the next layer)

`hidden`, `attended` and whatever is added to them live in the residual space that all layers share.
"""

import dataclasses

from torch import Tensor, nn


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LinearPart:
    """A linear map of a layer.

    Attributes:
        name: Module inside the layer.
        reads: Site that it is applied to.
        writes: Space of its output: a site, or "residual".
    """

    name: str
    reads: str
    writes: str


LINEAR_PARTS = (
    LinearPart(name="attention.self.query", reads="hidden", writes="query"),
    LinearPart(name="attention.self.key", reads="hidden", writes="query"),
    # A head's context is a mean of its values, so both live in one space.
    LinearPart(name="attention.self.value", reads="hidden", writes="context"),
    LinearPart(name="attention.output.dense", reads="context", writes="residual"),
    LinearPart(name="intermediate.dense", reads="attended", writes="inner"),
    LinearPart(name="output.dense", reads="inner", writes="residual"),
)

# Each LayerNorm follows the linear map that reads this site.
NORM_PARTS = {"attention.output.LayerNorm": "context", "output.LayerNorm": "inner"}

# The space of each site that a linear map reads, in the order of the computation. Query and key share one of
# their own ("query"), for only their product counts.
SPACES = {"hidden": "residual", "context": "context", "attended": "residual", "inner": "inner"}

Deltas = dict[str, Tensor]


def tensor_name(layer: int, part: str, kind: str) -> str:
    """Return a tensor's name inside a BertModel, such as 'encoder.layer.3.output.dense.weight'."""
    return f"encoder.layer.{layer}.{part}.{kind}"


def layer_tensors(layer: int) -> tuple[str, ...]:
    """Return the names of every tensor of one layer."""
    parts = (*(part.name for part in LINEAR_PARTS), *NORM_PARTS)
    return tuple(tensor_name(layer, part, kind) for part in parts for kind in ("weight", "bias"))


def watched_modules(layer: nn.Module) -> dict[str, tuple[nn.Module, bool]]:
    """Return, by site, the module to watch and whether the site is its input (else its output)."""
    return {
        "hidden": (layer.get_submodule("attention.self.query"), True),
        "query": (layer.get_submodule("attention.self.query"), False),
        "key": (layer.get_submodule("attention.self.key"), False),
        "context": (layer.get_submodule("attention.output.dense"), True),
        "attended": (layer.get_submodule("intermediate.dense"), True),
        "inner": (layer.get_submodule("output.dense"), True),
        "output": (layer.get_submodule("output.LayerNorm"), False),
    }

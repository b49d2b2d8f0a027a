"""Bring an encoder to the merged weights of any scale: one class for each way of getting the donor's change over.

What a scale is worth is left to `search`; the maths of one layer to `operators`, `transport` and `graft`.
"""

import copy
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from transformers import BertModel

from benchkit.core.progress import Progress, silent
from benchkit.core.recipes import MergeRecipe, ProjectRecipe
from benchkit.merge.bert import Deltas, layer_tensors
from benchkit.merge.calibration import Batch, LayerWalk
from benchkit.merge.checkpoints import encoder_weights
from benchkit.merge.graft import graft_layer
from benchkit.merge.layer_maps import Placement, placements
from benchkit.merge.operators import PAIRWISE, Pairwise
from benchkit.merge.spaces import LayerSpaces, align_spaces
from benchkit.merge.transport import transport_layer

Fit = dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Encoders:
    """The encoders of a merge, in memory.

    Attributes:
        donor: Fine-tuned.
        donor_base: What the donor was fine-tuned from; None when the method needs no task vector.
        base: The encoder that it is merged into; it is not changed.
    """

    donor: BertModel
    donor_base: BertModel | None
    base: BertModel


class Merger(Protocol):
    """Holds `encoder`, a copy of the base, and brings it to the merge at a scale."""

    encoder: BertModel
    placements: tuple[Placement, ...]

    def apply(self, scale: float) -> list[Fit]:
        """Set the encoder to the merge at `scale`; return the fit of each site (R²), if anything was fitted."""


class SameWidth:
    """Layer by layer, with nothing to align: widths and basis are taken to be equal."""

    def __init__(self, encoders: Encoders, recipe: MergeRecipe) -> None:
        self.encoder = copy.deepcopy(encoders.base)
        self.placements = _placements(encoders, recipe.project)
        self._operator = PAIRWISE[recipe.method]
        self._base = encoder_weights(encoders.base)
        whole = self._operator.whole_weights
        self._donor = encoder_weights(encoders.donor) if whole else task_vector(encoders)

    def apply(self, scale: float) -> list[Fit]:
        """See `Merger.apply`; at a share below 1 a layer takes that share of the scale."""
        for placement in self.placements:
            names = zip(layer_tensors(placement.base_layer), layer_tensors(placement.donor_layer), strict=True)
            merged = {
                name: self._operator.merge(self._base[name], self._donor[donor_name], scale * placement.share)
                for name, donor_name in names
            }
            assign(self.encoder, merged)
        return []


class Transported:
    """A task vector carried over once, by transport or by a graft that is not recomputed, and added at any scale."""

    def __init__(self, encoders: Encoders, recipe: MergeRecipe, batches: Sequence[Batch], progress: Progress) -> None:
        self.encoder = copy.deepcopy(encoders.base)
        self.placements = _placements(encoders, recipe.project)
        self._operator = PAIRWISE[recipe.method]
        self._base = encoder_weights(encoders.base)
        vector = task_vector(encoders)
        spaces = _spaces(encoders, self.placements, recipe.project, batches, progress)
        self._fit = _space_fit(self.placements, spaces)
        self._deltas = []
        donor, base = LayerWalk(encoders.donor, batches), LayerWalk(encoders.base, batches)
        for placement, space in zip(self.placements, spaces, strict=True):
            if recipe.project.width == "transport":
                self._deltas.append(transport_layer(placement, vector, space))
                continue
            progress(f"grafting onto layer {placement.base_layer}")
            deltas, r2 = graft_layer(placement, vector, space, donor=donor, base=base, recipe=recipe.project)
            self._deltas.append(deltas)
            self._fit += _input_fit(placement, r2)

    def apply(self, scale: float) -> list[Fit]:
        """See `Merger.apply`."""
        for placement, deltas in zip(self.placements, self._deltas, strict=True):
            assign(self.encoder, _added(self._base, deltas, self._operator, scale * placement.share))
        return self._fit


class RecomputedGraft:
    """A graft whose parts see what the parts grafted before them really give; made anew for each scale."""

    def __init__(self, encoders: Encoders, recipe: MergeRecipe, batches: Sequence[Batch], progress: Progress) -> None:
        self.encoder = copy.deepcopy(encoders.base)
        self.placements = _placements(encoders, recipe.project)
        self._operator = PAIRWISE[recipe.method]
        self._recipe = recipe.project
        self._progress = progress
        self._base = encoder_weights(encoders.base)
        self._vector = task_vector(encoders)
        self._spaces = _spaces(encoders, self.placements, recipe.project, batches, progress)
        self._walks = LayerWalk(encoders.donor, batches), LayerWalk(self.encoder, batches)

    def apply(self, scale: float) -> list[Fit]:
        """See `Merger.apply`; at 0 nothing is added, so nothing is fitted but the spaces."""
        fit = _space_fit(self.placements, self._spaces)
        if scale == 0:
            assign(self.encoder, self._base)
            return fit
        donor, merged = self._walks
        donor.restart()
        merged.restart()
        for placement, space in zip(self.placements, self._spaces, strict=True):
            self._progress(f"scale {scale:g}: grafting onto layer {placement.base_layer}")
            own = {name: self._base[name] for name in layer_tensors(placement.base_layer)}
            # Whatever an earlier scale left in this layer must not be seen as the base's.
            assign(self.encoder, own)
            add = self._adder(own, scale * placement.share)
            _, r2 = graft_layer(placement, self._vector, space, donor=donor, base=merged, recipe=self._recipe, add=add)
            fit += _input_fit(placement, r2)
        return fit

    def _adder(self, own: Deltas, scale: float) -> Callable[[Deltas], None]:
        return lambda deltas: assign(self.encoder, _added(own, deltas, self._operator, scale))


def make_merger(
    recipe: MergeRecipe, encoders: Encoders, batches: Sequence[Batch], progress: Progress = silent
) -> Merger:
    """Return the merger that the recipe asks for.

    Args:
        recipe: Method and projection.
        encoders: Donor, its source and the base.
        batches: Calibration text; not looked at when nothing is to be aligned.
        progress: Told of each alignment and graft.
    """
    if recipe.project.width == "none":
        return SameWidth(encoders, recipe)
    if recipe.project.width == "graft" and recipe.project.recompute:
        return RecomputedGraft(encoders, recipe, batches, progress)
    return Transported(encoders, recipe, batches, progress)


def task_vector(encoders: Encoders) -> Deltas:
    """Return what fine-tuning changed in the donor, by tensor name."""
    assert encoders.donor_base is not None, "compatibility refuses a task vector without donor_base"
    before, after = encoder_weights(encoders.donor_base), encoder_weights(encoders.donor)
    return {name: after[name] - before[name] for name in before}


@torch.no_grad()
def assign(encoder: nn.Module, weights: Deltas) -> None:
    """Copy tensors into an encoder by name."""
    parameters = dict(encoder.named_parameters())
    for name, value in weights.items():
        parameters[name].copy_(value)


def _placements(encoders: Encoders, recipe: ProjectRecipe) -> tuple[Placement, ...]:
    return placements(
        recipe.layer_map,
        recipe.spread,
        donor_layers=encoders.donor.config.num_hidden_layers,
        base_layers=encoders.base.config.num_hidden_layers,
    )


def _spaces(
    encoders: Encoders,
    placed: Sequence[Placement],
    recipe: ProjectRecipe,
    batches: Sequence[Batch],
    progress: Progress,
) -> tuple[LayerSpaces, ...]:
    assert encoders.donor_base is not None, "compatibility refuses a projection without donor_base"
    progress("aligning the donor's spaces with the base's")
    donor_heads, base_heads = (encoder.config.num_attention_heads for encoder in (encoders.donor_base, encoders.base))
    return align_spaces(
        placed,
        LayerWalk(encoders.donor_base, batches),
        LayerWalk(encoders.base, batches),
        heads=donor_heads if donor_heads == base_heads else None,
        recipe=recipe,
    )


def _added(base: Deltas, deltas: Deltas, operator: Pairwise, scale: float) -> Deltas:
    return {name: operator.merge(base[name], _like(delta, base[name]), scale) for name, delta in deltas.items()}


def _like(delta: Tensor, tensor: Tensor) -> Tensor:
    return delta.to(tensor.dtype)


def _space_fit(placed: Sequence[Placement], spaces: Sequence[LayerSpaces]) -> list[Fit]:
    return [
        {**_where(placement), "kind": "space", "site": site, "r2": r2}
        for placement, space in zip(placed, spaces, strict=True)
        for site, r2 in space.r2.items()
    ]


def _input_fit(placement: Placement, r2: dict[str, float]) -> list[Fit]:
    return [{**_where(placement), "kind": "graft", "site": site, "r2": value} for site, value in r2.items()]


def _where(placement: Placement) -> Fit:
    return {"donor_layer": placement.donor_layer, "base_layer": placement.base_layer}

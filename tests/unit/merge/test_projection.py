"""Transport and graft on bases that are the donor itself in other coordinates, where the answer is known."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from benchkit.core.recipes import MergeRecipe, ProjectRecipe
from benchkit.merge.bert import LINEAR_PARTS, layer_tensors, tensor_name
from benchkit.merge.calibration import LayerWalk
from benchkit.merge.checkpoints import encoder_weights
from benchkit.merge.graft import graft_layer
from benchkit.merge.layer_maps import placements
from benchkit.merge.mergers import Encoders, make_merger, task_vector
from benchkit.merge.spaces import align_spaces
from benchkit.merge.transport import transport_layer

Batches = Sequence[dict[str, torch.Tensor]]


def permuted(encoder: Any, like: Any, *, seed: int = 5) -> Any:
    """The same function in other coordinates: residual channels, heads and inner neurons permuted."""
    generator = torch.Generator().manual_seed(seed)
    residual = torch.randperm(encoder.config.hidden_size, generator=generator)
    inner = torch.randperm(encoder.config.intermediate_size, generator=generator)
    heads, size = encoder.config.num_attention_heads, encoder.config.hidden_size // encoder.config.num_attention_heads
    context = torch.cat([torch.arange(size) + head * size for head in reversed(range(heads))])
    rows = {"query": context, "context": context, "inner": inner, "residual": residual}
    columns = {"hidden": residual, "attended": residual, "context": context, "inner": inner}
    target = dict(like.named_parameters())
    for name, tensor in encoder_weights(encoder).items():
        part = next((part for part in LINEAR_PARTS if f".{part.name}." in name and name.startswith("encoder")), None)
        if name.startswith("embeddings") or part is None:
            target[name].copy_(tensor[..., residual])
            continue
        moved = tensor[rows[part.writes]]
        target[name].copy_(moved[:, columns[part.reads]] if moved.dim() == 2 else moved)
    return like


@pytest.fixture(scope="module")
def planted(make_encoder: Callable[..., Any], tune: Callable[..., Any]) -> tuple[Encoders, Any]:
    """Encoders whose base is the donor's source permuted, and the donor permuted likewise."""
    source = make_encoder(0)
    donor = tune(source, 1)
    base = permuted(source, make_encoder(2))
    return Encoders(donor=donor, donor_base=source, base=base), permuted(donor, make_encoder(3))


def test_the_permuted_encoder_is_the_same_function(planted: tuple[Encoders, Any], batches: Batches) -> None:
    encoders, _ = planted
    ours = encoders.donor_base(**batches[0]).last_hidden_state
    theirs = encoders.base(**batches[0]).last_hidden_state
    torch.testing.assert_close(ours.square().sum(-1), theirs.square().sum(-1))


@pytest.mark.parametrize("whiten", [0.0, 0.4])
@pytest.mark.parametrize("center", [True, False])
def test_transport_is_exact_for_a_base_in_other_coordinates(
    planted: tuple[Encoders, Any], batches: Batches, *, whiten: float, center: bool
) -> None:
    encoders, permuted_donor = planted
    recipe = MergeRecipe(project=ProjectRecipe(width="transport", whiten=whiten, center=center))
    merger = make_merger(recipe, encoders, batches)
    fit = merger.apply(1.0)
    wanted = encoder_weights(permuted_donor)
    for name, tensor in encoder_weights(merger.encoder).items():
        torch.testing.assert_close(tensor, wanted[name], rtol=0, atol=1e-10)
    assert all(abs(row["r2"] - 1) < 1e-10 for row in fit)


@pytest.mark.parametrize("recompute", [True, False])
def test_a_graft_onto_a_base_in_other_coordinates_computes_what_the_donor_computes(
    planted: tuple[Encoders, Any], batches: Batches, *, recompute: bool
) -> None:
    encoders, permuted_donor = planted
    recipe = MergeRecipe(project=ProjectRecipe(width="graft", recompute=recompute, ridge=1e-10))
    merger = make_merger(recipe, encoders, batches)
    fit = merger.apply(1.0)
    # Post-LayerNorm states lack one direction, so weights are not unique; what they compute is.
    merged = merger.encoder(**batches[0]).last_hidden_state
    wanted = permuted_donor(**batches[0]).last_hidden_state
    if recompute:
        torch.testing.assert_close(merged, wanted, rtol=0, atol=1e-5)
        assert min(row["r2"] for row in fit if row["kind"] == "graft") > 1 - 1e-8
    else:
        # The upper layer was fitted to states that the grafted lower layer no longer gives.
        before = encoders.base(**batches[0]).last_hidden_state
        assert (merged - wanted).norm() < 0.5 * (before - wanted).norm()


def test_the_graft_explains_at_least_as_much_as_the_transport(
    make_encoder: Callable[..., Any], tune: Callable[..., Any], batches: Batches
) -> None:
    """Both predict the same target from the base's activations; least squares cannot be beaten at it."""
    source = make_encoder(0)
    base = make_encoder(7, hidden=48, inner=96, heads=2, layers=3)
    encoders = Encoders(donor=tune(source, 1), donor_base=source, base=base)
    recipe = ProjectRecipe(ridge=1e-9)
    placed = placements("uniform", "all", donor_layers=2, base_layers=3)
    spaces = align_spaces(placed, LayerWalk(source, batches), LayerWalk(base, batches), heads=2, recipe=recipe)
    vector = task_vector(encoders)
    donor_walk, base_walk = LayerWalk(source, batches), LayerWalk(base, batches)
    compared = 0
    for placement, space in zip(placed, spaces, strict=True):
        transported = transport_layer(placement, vector, space)
        grafted, _ = graft_layer(placement, vector, space, donor=donor_walk, base=base_walk, recipe=recipe)
        activations = list(
            zip(donor_walk.sites(placement.donor_layer), base_walk.sites(placement.base_layer), strict=True)
        )
        for part in LINEAR_PARTS:
            x_a = torch.cat([donor[part.reads] for donor, _ in activations])
            x_b = torch.cat([theirs[part.reads] for _, theirs in activations])
            weight = vector[tensor_name(placement.donor_layer, part.name, "weight")]
            target = space.maps[part.writes].out((x_a @ weight.T).T).T
            target = target - target.mean(0)
            errors = {}
            for way, deltas in (("transport", transported), ("graft", grafted)):
                found = x_b @ deltas[tensor_name(placement.base_layer, part.name, "weight")].T
                errors[way] = (target - (found - found.mean(0))).norm()
            assert errors["graft"] <= errors["transport"] * (1 + 1e-9)
            compared += 1
    assert compared == 18


def test_every_width_and_depth_gives_finite_tensors_in_the_shapes_of_the_base(
    make_encoder: Callable[..., Any], tune: Callable[..., Any], batches: Batches
) -> None:
    source = make_encoder(0)
    base = make_encoder(4, hidden=48, inner=80, heads=3, layers=5)  # Other heads too: no block structure to keep.
    encoders = Encoders(donor=tune(source, 1), donor_base=source, base=base)
    for width in ("transport", "graft"):
        merger = make_merger(MergeRecipe(project=ProjectRecipe(width=width)), encoders, batches)
        merger.apply(1.0)
        weights, before = encoder_weights(merger.encoder), encoder_weights(base)
        assert all(torch.isfinite(weight).all() for weight in weights.values())
        for name, weight in weights.items():
            assert (name.startswith("embeddings")) == torch.equal(weight, before[name]), name


@pytest.mark.parametrize(
    ("method", "width", "recompute"),
    [("task_arithmetic", "none", False), ("task_arithmetic", "transport", False), ("task_arithmetic", "graft", True),
     ("task_arithmetic", "graft", False), ("linear", "none", False), ("slerp", "none", False)],
)  # fmt: skip
def test_scale_zero_is_the_base_bit_for_bit(
    planted: tuple[Encoders, Any], batches: Batches, method: str, width: str, *, recompute: bool
) -> None:
    encoders, _ = planted
    recipe = MergeRecipe(method=method, project=ProjectRecipe(width=width, recompute=recompute))
    merger = make_merger(recipe, encoders, batches)
    merger.apply(0.7)
    merger.apply(0.0)
    for name, tensor in encoder_weights(merger.encoder).items():
        torch.testing.assert_close(tensor, encoder_weights(encoders.base)[name], rtol=0, atol=0, msg=name)


def test_a_recomputed_graft_does_not_remember_an_earlier_scale(planted: tuple[Encoders, Any], batches: Batches) -> None:
    encoders, _ = planted
    merger = make_merger(MergeRecipe(), encoders, batches)
    merger.apply(0.5)
    once = {name: tensor.clone() for name, tensor in encoder_weights(merger.encoder).items()}
    merger.apply(2.0)
    merger.apply(0.5)
    for name, tensor in encoder_weights(merger.encoder).items():
        torch.testing.assert_close(tensor, once[name], rtol=0, atol=0, msg=name)


def test_equal_width_task_arithmetic_on_the_donors_own_source_gives_the_donor(planted: tuple[Encoders, Any]) -> None:
    encoders, _ = planted
    own = Encoders(donor=encoders.donor, donor_base=encoders.donor_base, base=encoders.donor_base)
    merger = make_merger(MergeRecipe(project=ProjectRecipe(width="none")), own, [])
    merger.apply(1.0)
    wanted = encoder_weights(encoders.donor)
    for layer in range(2):
        for name in layer_tensors(layer):
            torch.testing.assert_close(encoder_weights(merger.encoder)[name], wanted[name], rtol=0, atol=1e-12)

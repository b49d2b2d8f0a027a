from collections.abc import Callable, Sequence
from typing import Any

import torch

from benchkit.merge.calibration import LayerWalk

Batches = Sequence[dict[str, torch.Tensor]]


def test_a_walk_sees_what_the_encoder_computes_and_leaves_padding_out(
    make_encoder: Callable[..., Any], batches: Batches
) -> None:
    encoder = make_encoder(0, layers=3)
    wanted = encoder(**batches[0], output_hidden_states=True).hidden_states
    tokens = batches[0]["attention_mask"].bool()
    walk = LayerWalk(encoder, batches)
    for layer in range(3):
        sites = next(iter(walk.sites(layer)))
        torch.testing.assert_close(sites["hidden"], wanted[layer][tokens])
        torch.testing.assert_close(sites["output"], wanted[layer + 1][tokens])
        assert len(sites["inner"]) == int(batches[0]["attention_mask"].sum())


def test_a_changed_layer_shows_above_it_after_a_restart(make_encoder: Callable[..., Any], batches: Batches) -> None:
    encoder = make_encoder(0, layers=2)
    walk = LayerWalk(encoder, batches)
    before = next(iter(walk.sites(1)))["hidden"]
    encoder.encoder.layer[0].output.dense.bias.add_(1.0 + torch.arange(32))
    walk.restart()
    after = next(iter(walk.sites(1)))["hidden"]
    assert not torch.allclose(before, after)
    torch.testing.assert_close(
        after, encoder(**batches[0], output_hidden_states=True).hidden_states[1][batches[0]["attention_mask"].bool()]
    )

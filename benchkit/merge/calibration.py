"""Replay an encoder layer by layer on calibration text, watching the activations inside each layer.

One layer's activations of one batch are held at a time, so memory does not grow with depth. What is made of
them is left to the projections; which text it is, to `texts`.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from benchkit.merge.bert import watched_modules

Batch = Mapping[str, Tensor]
Sites = dict[str, Tensor]


class LayerWalk:
    """The calibration batches on their way through one encoder.

    The walk goes upwards only; `restart` takes it back to the embeddings.
    """

    def __init__(self, encoder: nn.Module, batches: Sequence[Batch]) -> None:
        """Run the embeddings.

        Args:
            encoder: A BertModel in eval mode.
            batches: Token ids and masks, int64 of shape (batch, sequence); of the mask's rows only those
                with 1 count as tokens.
        """
        self._layers = list(encoder.get_submodule("encoder.layer").children())
        self._tokens = [batch["attention_mask"].bool() for batch in batches]
        self._calls = [_first_layer_call(encoder, self._layers[0], batch) for batch in batches]
        self._hidden: list[Tensor] = []
        self._layer = 0
        self.restart()

    def restart(self) -> None:
        """Go back to the input of the first layer."""
        self._hidden = [args[0] for args, _ in self._calls]
        self._layer = 0

    def sites(self, layer: int) -> Iterator[Sites]:
        """Yield each batch's activations inside a layer: by site, of shape (tokens, width), padding left out."""
        self.climb(layer)
        for number, tokens in enumerate(self._tokens):
            with _watched(self._layers[layer]) as seen:
                self._run(layer, number)
            yield {site: values[tokens] for site, values in seen.items()}

    def site(self, layer: int, site: str) -> Iterator[Tensor]:
        """Yield each batch's activations at one site, computing no more of the layer than that takes."""
        self.climb(layer)
        for number, tokens in enumerate(self._tokens):
            with _watched(self._layers[layer], stop_at=site) as seen, contextlib.suppress(_Reached):
                self._run(layer, number)
            yield seen[site][tokens]

    @torch.no_grad()
    def climb(self, layer: int) -> None:
        """Move up to the input of a layer, with the layers' weights as they are now."""
        assert layer >= self._layer, "a walk goes upwards only"
        while self._layer < layer:
            self._hidden = [self._run(self._layer, number) for number in range(len(self._hidden))]
            self._layer += 1

    @torch.no_grad()
    def _run(self, layer: int, number: int) -> Tensor:
        args, kwargs = self._calls[number]
        output = self._layers[layer](self._hidden[number], *args[1:], **kwargs)
        # transformers 4 returns a tuple, 5 a tensor.
        result: Tensor = output[0] if isinstance(output, tuple) else output
        return result


class _Reached(Exception):
    """Ends a forward pass where everything that was asked for is known."""


@torch.no_grad()
def _first_layer_call(encoder: nn.Module, first: nn.Module, batch: Batch) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments with which the encoder itself calls its first layer: mask and all, in any version."""
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def stop(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        calls.append((args, kwargs))
        raise _Reached

    handle = first.register_forward_pre_hook(stop, with_kwargs=True)
    try:
        with contextlib.suppress(_Reached):
            encoder(**batch)
    finally:
        handle.remove()
    return calls[0]


@contextlib.contextmanager
def _watched(layer: nn.Module, *, stop_at: str | None = None) -> Iterator[Sites]:
    seen: Sites = {}
    handles = []
    for site, (module, is_input) in watched_modules(layer).items():
        if is_input:
            handles.append(module.register_forward_pre_hook(_keeper(seen, site, stop_at)))
        else:
            handles.append(module.register_forward_hook(_keeper(seen, site, stop_at)))
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _keeper(seen: Sites, site: str, stop_at: str | None) -> Any:
    def keep(_: nn.Module, args: tuple[Tensor, ...], output: Tensor | None = None) -> None:
        # A pre-hook is told of no output: then the input is what is watched.
        seen[site] = args[0] if output is None else output
        if site == stop_at:
            raise _Reached

    return keep

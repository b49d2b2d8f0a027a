"""Attention that gives out its scores: transformers' `output_attentions` are the probabilities, after dropout.

Importing this module makes the implementation known to transformers. Comparing scores is left to `layer_matching`.

Source: transformers' guide "Attention Interface".
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
import transformers
from transformers.masking_utils import eager_mask

SCORES = "benchkit_scores"
"""Name of the implementation, as transformers knows it."""


@contextlib.contextmanager
def giving_scores(model: Any) -> Iterator[None]:
    """Let `output_attentions` of a model be its scores inside the block; what it computes stays the same."""
    before = model.config._attn_implementation
    model.set_attn_implementation(SCORES)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def attention_with_scores(  # noqa: PLR0917 - transformers calls it by position
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attend as transformers' eager attention does, operation by operation, and return the scores beside the result.

    Returns:
        The attended values, shape (batch, sequence, heads, width of a head), and the scaled scores before mask and
        softmax, shape (batch, heads, sequence, sequence).

    Source: `eager_attention_forward` of transformers' modeling_bert.
    """
    scores = torch.matmul(query, key.transpose(2, 3)) * (query.size(-1) ** -0.5 if scaling is None else scaling)
    masked = scores if attention_mask is None else scores + attention_mask
    weights = torch.nn.functional.softmax(masked, dim=-1)
    weights = torch.nn.functional.dropout(weights, p=dropout, training=module.training)
    return torch.matmul(weights, value).transpose(1, 2).contiguous(), scores


transformers.AttentionInterface.register(SCORES, attention_with_scores)
# An implementation without a mask function of its own name is given no mask at all.
transformers.AttentionMaskInterface.register(SCORES, eager_mask)

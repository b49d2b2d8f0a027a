"""Texts of a task as padded batches, and what encoders make of them.

Carving and tokenizing are `tasks`'; which parts are used for what is left to `run`.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import BertModel

from benchkit.core.recipes import CalibrationRecipe
from benchkit.merge.calibration import Batch
from benchkit.tasks.readers import Examples
from benchkit.tasks.tokenization import Encoded, TextTokenizer

Rows = npt.NDArray[np.int64]
_BATCH_SIZE = 64


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """Examples as batches of like length.

    Attributes:
        rows: For each batch, the examples that it holds.
        batches: input_ids, attention_mask and token_type_ids, int64 of shape (batch, sequence).
        tokens: Tokens in all, padding not counted.
    """

    rows: tuple[Rows, ...]
    batches: tuple[Batch, ...]
    tokens: int

    def __len__(self) -> int:
        """Return the number of examples."""
        return sum(len(rows) for rows in self.rows)


def batched(tokenizer: TextTokenizer, encoded: Encoded) -> Texts:
    """Sort examples by length and pad each batch to its own longest."""
    order = np.argsort(encoded.lengths(), kind="stable")
    rows = tuple(order[start : start + _BATCH_SIZE] for start in range(0, len(order), _BATCH_SIZE))
    feeds = (tokenizer.pad(encoded.take(batch)) for batch in rows)
    batches = tuple({name: torch.from_numpy(values) for name, values in feed.items()} for feed in feeds)
    return Texts(rows=rows, batches=batches, tokens=int(encoded.lengths().sum()))


def encoded(tokenizer: TextTokenizer, examples: Examples, rows: Rows, *, max_length: int) -> Encoded:
    """Tokenize some of the examples."""
    first = [examples.first[row] for row in rows]
    second = None if examples.second is None else [examples.second[row] for row in rows]
    return tokenizer.encode(first, second, max_length=max_length)


def calibration_rows(encoded: Encoded, recipe: CalibrationRecipe) -> Rows:
    """Take the first sentences up to the recipe's limits; the caller has drawn their order."""
    within = np.cumsum(encoded.lengths()) <= recipe.max_tokens
    within[0] = True  # A single long sentence is still better than none.
    return np.flatnonzero(within)[: recipe.sentences]


@torch.no_grad()
def first_states(encoder: BertModel, texts: Texts) -> Tensor:
    """Return the last layer's state of each example's first token, float64 of shape (examples, hidden)."""
    states = torch.empty(len(texts), encoder.config.hidden_size, dtype=torch.float64)
    for rows, batch in _numbered(texts):
        states[rows] = encoder(**batch).last_hidden_state[:, 0].double()
    return states


def _numbered(texts: Texts) -> Iterator[tuple[Tensor, Batch]]:
    for rows, batch in zip(texts.rows, texts.batches, strict=True):
        yield torch.from_numpy(rows), batch

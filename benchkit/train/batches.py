"""Examples of a task as what the training loop takes. Cutting text is left to `tasks.tokenization`."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from benchkit.tasks.readers import Examples
from benchkit.tasks.table import Task
from benchkit.tasks.tokenization import Encoded, TextTokenizer
from benchkit.train.loop import Feature
from benchkit.train.objectives import inputs_of

Collate = Callable[[list[Feature]], dict[str, torch.Tensor]]

_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class Cut(NamedTuple):
    """Examples as features, and what was lost on the way."""

    features: list[Feature]
    truncated: int


def cut(examples: Examples, tokenizer: TextTokenizer, *, max_length: int) -> Cut:
    """Cut every example into tokens; labels come along when the examples have them."""
    encoded = tokenizer.encode(examples.first, examples.second, max_length=max_length)
    features: list[Feature] = [
        {"input_ids": ids, "token_type_ids": type_ids}
        for ids, type_ids in zip(encoded.ids, encoded.type_ids, strict=True)
    ]
    if examples.labels is not None:
        for feature, label in zip(features, examples.labels, strict=True):
            feature["labels"] = label
    return Cut(features, encoded.truncated)


def features_of(examples: Examples, tokenizer: TextTokenizer, *, max_length: int) -> list[Feature]:
    """Cut every example into tokens, as `cut` does."""
    return cut(examples, tokenizer, max_length=max_length).features


def collator_for(model: Any, tokenizer: TextTokenizer, task: Task) -> Collate:
    """Return a function that pads features to the longest of their batch.

    Args:
        model: Says which inputs it takes; one without segments takes no token_type_ids.
        tokenizer: Knows how to pad.
        task: Its labels are classes (int64) or scores (float32).
    """
    accepted = inspect.signature(model.forward).parameters
    names = [name for name in _INPUTS if name in accepted]
    label_dtype = torch.float32 if task.is_regression else torch.int64

    def collate(features: list[Feature]) -> dict[str, torch.Tensor]:
        rows = Encoded(
            ids=[feature["input_ids"] for feature in features],
            type_ids=[feature["token_type_ids"] for feature in features],
            truncated=0,
        )
        batch = {name: torch.from_numpy(array) for name, array in tokenizer.pad(rows).items() if name in names}
        if "labels" in features[0]:
            batch["labels"] = torch.tensor([feature["labels"] for feature in features], dtype=label_dtype)
        if "teacher_logits" in features[0]:
            batch["teacher_logits"] = torch.from_numpy(np.stack([feature["teacher_logits"] for feature in features]))
        return batch

    return collate


def batches_by_length(features: Sequence[Feature], batch_size: int) -> Iterator[list[int]]:
    """Yield the rows of each batch, longest first."""
    order = sorted(range(len(features)), key=lambda row: -len(features[row]["input_ids"]))
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def logits_of(model: Any, features: Sequence[Feature], collate: Collate, *, batch_size: int) -> npt.NDArray[np.float64]:
    """Run a classifier over the features, longest first; return logits of shape (n, outputs) in their order."""
    logits = np.empty((len(features), model.config.num_labels))
    model.eval()
    with torch.inference_mode():
        for rows in batches_by_length(features, batch_size):
            batch = inputs_of(collate([features[row] for row in rows]))
            logits[rows] = model(**{name: tensor.to(model.device) for name, tensor in batch.items()}).logits.cpu()
    return logits

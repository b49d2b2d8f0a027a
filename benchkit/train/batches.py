"""Examples of a task as what the training loop takes. Cutting text is left to `tasks.tokenization`."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from benchkit.tasks.readers import Examples
from benchkit.tasks.tokenization import Encoded, TextTokenizer
from benchkit.train.loop import Feature

Collate = Callable[[list[Feature]], dict[str, torch.Tensor]]


def features_of(examples: Examples, tokenizer: TextTokenizer, *, max_length: int) -> list[Feature]:
    """Cut every example into tokens; labels come along when the examples have them."""
    encoded = tokenizer.encode(examples.first, examples.second, max_length=max_length)
    features: list[Feature] = [
        {"input_ids": ids, "token_type_ids": type_ids}
        for ids, type_ids in zip(encoded.ids, encoded.type_ids, strict=True)
    ]
    if examples.labels is not None:
        for feature, label in zip(features, examples.labels, strict=True):
            feature["labels"] = label
    return features


def collator(tokenizer: TextTokenizer, input_names: Sequence[str], label_dtype: torch.dtype) -> Collate:
    """Return a function that pads features to the longest of their batch.

    Args:
        tokenizer: Knows how to pad.
        input_names: Inputs that the model takes; a model without segments takes no token_type_ids.
        label_dtype: int64 for classes, float32 for scores.
    """

    def collate(features: list[Feature]) -> dict[str, torch.Tensor]:
        rows = Encoded(
            ids=[feature["input_ids"] for feature in features],
            type_ids=[feature["token_type_ids"] for feature in features],
            truncated=0,
        )
        batch = {name: torch.from_numpy(array) for name, array in tokenizer.pad(rows).items() if name in input_names}
        if "labels" in features[0]:
            batch["labels"] = torch.tensor([feature["labels"] for feature in features], dtype=label_dtype)
        return batch

    return collate


def logits_of(model: Any, features: Sequence[Feature], collate: Collate, *, batch_size: int) -> npt.NDArray[np.float64]:
    """Run a classifier over the features, longest first; return logits of shape (n, outputs) in their order."""
    order = sorted(range(len(features)), key=lambda row: -len(features[row]["input_ids"]))
    logits = np.empty((len(features), model.config.num_labels))
    model.eval()
    with torch.inference_mode():
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            batch = collate([features[row] for row in rows])
            batch.pop("labels", None)
            logits[rows] = model(**batch).logits.float().numpy()
    return logits

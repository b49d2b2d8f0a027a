"""Does the exported graph compute what the checkpoint computes? Asked at shapes it was not traced with.

What a difference does to a score is left to `judge`.
"""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchkit.core.errors import BenchkitError
from benchkit.core.registry import RUNTIMES
from benchkit.runtimes.protocol import Array, Feed, Session, SessionOptions
from benchkit.runtimes.torch import LoadedCheckpoint
from benchkit.tasks.tokenization import TextTokenizer

# (batch size, sequence length): one token pair, odd sizes, one example alone, more than a warm cache line.
RANDOM_SHAPES = ((1, 2), (1, 64), (3, 5), (3, 17), (8, 64))
_SENTENCE_BATCHES = (1, 3, 8, 20)
_MAX_TOKENS = 128


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """How far an ONNX file is from its checkpoint.

    Attributes:
        max_difference: Largest absolute difference of any output.
        relative_difference: The same as a share of the checkpoint's largest absolute output.
        output: What was compared: "logits" or "last_hidden_state".
        inputs: "random token ids", or "sentences and random token ids".
        shapes: (batch size, sequence length) of each comparison.
    """

    max_difference: float
    relative_difference: float
    output: str
    inputs: str
    shapes: tuple[tuple[int, int], ...]

    def check(self, tolerance: float) -> None:
        """Raise the error that names difference and passing tolerance, when it is above `tolerance`.

        Logits are held to it as they are. Hidden states, whose scale no task has set, as a share of the largest.
        """
        is_logits = self.output == "logits"
        difference = self.max_difference if is_logits else self.relative_difference
        if difference <= tolerance:
            return
        unit = "" if is_logits else " of the largest value"
        raise BenchkitError(
            f"the exported {self.output} differ from the checkpoint's by up to {difference:.3g}{unit}, "
            f"and the tolerance is {tolerance:g}",
            remedy=f"a tolerance of {passing_tolerance(difference):g} would pass; "
            "set it in [export] when the task can bear it",
        )


def random_feeds(checkpoint: LoadedCheckpoint, *, seed: int = 0) -> list[Feed]:
    """Draw padded batches of token ids at `RANDOM_SHAPES`, as far as the model has positions for them."""
    config: Any = checkpoint.model.config
    generator = np.random.default_rng(seed)
    feeds: list[Feed] = []
    for batch_size, wanted in RANDOM_SHAPES:
        length = min(wanted, checkpoint.max_positions)
        # The first example is never padded, so that the batch has the asked length.
        lengths = np.concatenate([[length], generator.integers(2, length + 1, batch_size - 1)])
        mask = np.arange(length) < lengths[:, None]
        ids = generator.integers(0, config.vocab_size, mask.shape)
        segments = generator.integers(0, getattr(config, "type_vocab_size", 1), mask.shape)
        feed = {
            "input_ids": np.where(mask, ids, config.pad_token_id or 0),
            "attention_mask": mask.astype(np.int64),
            "token_type_ids": np.where(mask, segments, 0),
        }
        feeds.append({name: feed[name] for name in checkpoint.input_names})
    return feeds


def sentence_feeds(checkpoint: LoadedCheckpoint, tokenizer: TextTokenizer, sentences: Sequence[str]) -> list[Feed]:
    """Tokenize the first sentences into batches of different sizes, each padded to its longest."""
    chosen = list(sentences[: sum(_SENTENCE_BATCHES)])
    rows = tokenizer.encode(chosen, None, max_length=min(_MAX_TOKENS, checkpoint.max_positions))
    feeds: list[Feed] = []
    start = 0
    for size in _SENTENCE_BATCHES:
        taken = range(start, min(start + size, len(chosen)))
        if taken:
            feed = tokenizer.pad(rows.take(taken))
            feeds.append({name: feed[name] for name in checkpoint.input_names})
        start += size
    return feeds


def reference_outputs(checkpoint: LoadedCheckpoint, feeds: Sequence[Feed]) -> list[Array]:
    """Run the checkpoint itself, with the mask and the attention that transformers gives it."""
    with torch.inference_mode():
        return [checkpoint({name: torch.from_numpy(array) for name, array in feed.items()}).numpy() for feed in feeds]


def compare(path: Path, feeds: Sequence[Feed], references: Sequence[Array], *, output: str, inputs: str) -> Parity:
    """Run the ONNX file in onnxruntime and compare every output.

    Raises:
        BenchkitError: The file does not load, or gives other shapes or values that are no numbers.
    """
    session: Session = RUNTIMES.get("onnxruntime")().open(path, SessionOptions())
    worst, largest = 0.0, 0.0
    for feed, reference in zip(feeds, references, strict=True):
        values = session.call(session.prepare(feed))
        if values.shape != reference.shape or not np.isfinite(values).all():
            raise BenchkitError(
                f"the exported graph gives shape {values.shape} where the checkpoint gives {reference.shape}, "
                f"or values that are no numbers, at input shape {feed['input_ids'].shape}",
                remedy="check the checkpoint for NaN weights; otherwise this is a bug in the export",
            )
        worst = max(worst, float(np.abs(values - reference).max()))
        largest = max(largest, float(np.abs(reference).max()))
    return Parity(
        max_difference=worst,
        relative_difference=worst / largest if largest else 0.0,
        output=output,
        inputs=inputs,
        shapes=tuple((feed["input_ids"].shape[0], feed["input_ids"].shape[1]) for feed in feeds),
    )


def passing_tolerance(difference: float) -> float:
    """Round a difference up to one leading digit: the tolerance to write down."""
    digit = 10.0 ** math.floor(math.log10(difference))
    return float(f"{math.ceil(difference / digit) * digit:.1g}")

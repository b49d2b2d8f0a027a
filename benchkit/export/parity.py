"""Does a graph compute what it was made from? Asked at shapes it was not traced with, on sentences and random ids.

What a difference does to a score is left to `judge`.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchkit.core.architectures import position_limit
from benchkit.core.errors import BenchkitError
from benchkit.core.registry import RUNTIMES
from benchkit.runtimes.protocol import Array, Feed, Session, SessionOptions
from benchkit.tasks.probe_sentences import PROBE_SENTENCES
from benchkit.tasks.tokenization import TextTokenizer

# (batch size, sequence length): one token pair, odd sizes, one example alone, more than a warm cache line.
RANDOM_SHAPES = ((1, 2), (1, 64), (3, 5), (3, 17), (8, 64))
# Examples of each batch of sentences, and of the pairs that follow: as many as there are sentences at most.
_SENTENCE_BATCHES = (1, 3, 8, 20)
_PAIRS = 4
_MAX_TOKENS = 128
# Any vocabulary has so many ids; for graphs without a config.
_SAFE_VOCABULARY = 100
_SAFE_POSITIONS = 64


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class InputRanges:
    """What may be fed to a model.

    Attributes:
        names: Its inputs.
        vocabulary_size: Token ids are below.
        segments: Values of token_type_ids are below.
        pad_id: Token id of padding.
        max_positions: Longest input in tokens.
    """

    names: tuple[str, ...]
    vocabulary_size: int
    segments: int
    pad_id: int
    max_positions: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """How far an ONNX file is from what it was made from.

    Attributes:
        max_difference: Largest absolute difference of any output.
        relative_difference: The same as a share of the largest absolute output of the origin.
        output: What was compared: "logits" or "last_hidden_state".
        inputs: "random token ids", or "sentences and random token ids".
        shapes: (batch size, sequence length) of each comparison.
    """

    max_difference: float
    relative_difference: float
    output: str
    inputs: str
    shapes: tuple[tuple[int, int], ...]

    @property
    def counted_difference(self) -> float:
        """What a tolerance is held against.

        Logits as they are; hidden states, whose scale no task has set, as a share of the largest.
        """
        return self.max_difference if self.output == "logits" else self.relative_difference

    def check(self, tolerance: float) -> None:
        """Raise the error that names difference and passing tolerance, when it is above `tolerance`."""
        if self.counted_difference <= tolerance:
            return
        unit = "" if self.output == "logits" else " of the largest value"
        raise BenchkitError(
            f"the exported {self.output} differ from the checkpoint's by up to {self.counted_difference:.3g}{unit}, "
            f"and the tolerance is {tolerance:g}",
            remedy=f"a tolerance of {passing_tolerance(self.counted_difference):g} would pass; "
            "set it in [export] when the task can bear it",
        )

    def notes(self, tolerance: float) -> dict[str, Any]:
        """Return what `artifact.json` says of it."""
        passing = {"tolerance": tolerance, "passing_tolerance": passing_tolerance(self.counted_difference)}
        return dataclasses.asdict(self) | passing


def ranges_of(config: Mapping[str, Any], names: tuple[str, ...]) -> InputRanges:
    """Return what a model with this `config.json` may be fed; {} assumes little."""
    return InputRanges(
        names=names,
        vocabulary_size=config.get("vocab_size") or _SAFE_VOCABULARY,
        segments=config.get("type_vocab_size") or 1,
        pad_id=config.get("pad_token_id") or 0,
        max_positions=position_limit(config) or _SAFE_POSITIONS,
    )


def parity_feeds(
    ranges: InputRanges, tokenizer: TextTokenizer | None, sentences: Sequence[str] = PROBE_SENTENCES
) -> tuple[list[Feed], str]:
    """Return what both sides are run on, and its name; without a tokenizer that is random ids alone."""
    feeds = random_feeds(ranges)
    if tokenizer is None or not sentences:
        return feeds, "random token ids"
    # Random ids too: sentences alone need not be long, or many enough for every batch size.
    return [*sentence_feeds(ranges, tokenizer, sentences), *feeds], "sentences and random token ids"


def random_feeds(
    ranges: InputRanges, *, shapes: Sequence[tuple[int, int]] = RANDOM_SHAPES, seed: int = 0
) -> list[Feed]:
    """Draw padded batches of token ids, as far as the model has positions for their shapes."""
    generator = np.random.default_rng(seed)
    feeds: list[Feed] = []
    for batch_size, wanted in shapes:
        length = min(wanted, ranges.max_positions)
        # The first example is never padded, so that the batch has the asked length.
        lengths = np.concatenate([[length], generator.integers(2, length + 1, batch_size - 1)])
        mask = np.arange(length) < lengths[:, None]
        ids = generator.integers(0, ranges.vocabulary_size, mask.shape)
        segments = generator.integers(0, ranges.segments, mask.shape)
        feed = {
            "input_ids": np.where(mask, ids, ranges.pad_id),
            "attention_mask": mask.astype(np.int64),
            "token_type_ids": np.where(mask, segments, 0),
            "position_ids": np.tile(np.arange(length), (batch_size, 1)),
        }
        feeds.append({name: feed[name] for name in ranges.names})
    return feeds


def sentence_feeds(ranges: InputRanges, tokenizer: TextTokenizer, sentences: Sequence[str]) -> list[Feed]:
    """Tokenize the first sentences into batches of different sizes, each padded to its longest; pairs come last."""
    longest = min(_MAX_TOKENS, ranges.max_positions)
    chosen = list(sentences[: sum(_SENTENCE_BATCHES)])
    rows = tokenizer.encode(chosen, None, max_length=longest)
    batches = []
    start = 0
    for size in _SENTENCE_BATCHES:
        taken = range(start, min(start + size, len(chosen)))
        if taken:
            batches.append(tokenizer.pad(rows.take(taken)))
        start += size
    pairs = min(_PAIRS, len(chosen) // 2)
    if pairs:
        first, second = chosen[:pairs], chosen[-pairs:]
        batches.append(tokenizer.pad(tokenizer.encode(first, second, max_length=longest)))
    positions = [np.tile(np.arange(width), (size, 1)) for size, width in (feed["input_ids"].shape for feed in batches)]
    everything = [feed | {"position_ids": ids} for feed, ids in zip(batches, positions, strict=True)]
    return [{name: feed[name] for name in ranges.names} for feed in everything]


def open_graph(path: Path) -> Session:
    """Open an ONNX file in onnxruntime, with one copy of its weights."""
    session: Session = RUNTIMES.get("onnxruntime")().open(path, SessionOptions(prepacking=False))
    return session


def compare(path: Path, feeds: Sequence[Feed], references: Sequence[Array], *, output: str, inputs: str) -> Parity:
    """Run the ONNX file in onnxruntime and compare every output.

    Raises:
        BenchkitError: The file does not load, or gives other shapes or values that are no numbers.
    """
    session = open_graph(path)
    worst, largest = 0.0, 0.0
    for feed, reference in zip(feeds, references, strict=True):
        values = session.call(session.prepare(feed))
        if values.shape != reference.shape or not np.isfinite(values).all():
            raise BenchkitError(
                f"the exported graph gives shape {values.shape} where its origin gives {reference.shape}, "
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
    if not difference:
        return 0.0
    digit = 10.0 ** math.floor(math.log10(difference))
    return float(f"{math.ceil(difference / digit) * digit:.1g}")

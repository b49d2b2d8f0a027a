"""What is fed to a model in one cell, as facts that cross the pipe: shapes, lengths, padding, texts, and their counts.

Making the batches is left to `inputs`. Standard library and numpy alone: the worker imports this.
"""

import dataclasses
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Padding = Literal["max", "longest", "bucketed", "grid"]
Text = tuple[str, str | None]
Ids = npt.NDArray[np.int64]

PADDINGS: tuple[Padding, ...] = ("max", "longest", "bucketed", "grid")
# What is drawn from when nothing says how large the vocabulary is: a range that every vocabulary has.
ASSUMED_VOCABULARY = 100


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What is fed to a model in one cell, as plain JSON.

    Attributes:
        batch_size: Examples per call.
        sequence_length: Most tokens of an example; longer ones are truncated. Without `lengths` and `texts`, the
            tokens of every example. None: no limit but the tokenizer's.
        padding: To how many tokens a batch is padded. "max": to sequence_length. "longest": to its longest example.
            "bucketed": batches of examples of like length, each to its longest, in random order. "grid": to the next
            length of `GRID`, above it to the next multiple of its last, never above sequence_length. Examples
            of one fixed length need no padding, so that the four are the same.
        lengths: Tokens of real examples, special tokens included, from which the lengths are drawn.
        vocabulary_size: Random token ids lie below it.
        seed: Seed of every draw. The examples are the same under each padding policy.
        count: Distinct batches.
        texts: Real texts or pairs of texts, which take the place of random ids.
        tokenizer: Folder of the tokenizer, or its tokenizer.json; needed for `texts`.
        lengths_from: Task that lengths or texts were drawn from.
    """

    batch_size: int
    sequence_length: int | None
    padding: Padding = "max"
    lengths: tuple[int, ...] = ()
    vocabulary_size: int = ASSUMED_VOCABULARY
    seed: int = 0
    count: int = 8
    texts: tuple[Text, ...] = ()
    tokenizer: str | None = None
    lengths_from: str | None = None

    def __post_init__(self) -> None:
        limit = 1 if self.sequence_length is None else self.sequence_length
        if min(self.batch_size, self.count, self.vocabulary_size, limit, *self.lengths) < 1:
            raise ValueError("batch_size, count, vocabulary_size, sequence_length and lengths must be at least 1")
        if self.padding not in PADDINGS:
            raise ValueError(f"padding must be one of {', '.join(PADDINGS)}, got '{self.padding}'")
        if self.sequence_length is None and not (self.lengths or self.texts):
            raise ValueError("without sequence_length, lengths or texts must be given")
        if self.sequence_length is None and self.padding == "max" and not self.texts:
            raise ValueError("padding 'max' needs a sequence_length to pad to")
        if self.texts and self.tokenizer is None:
            raise ValueError("texts need a tokenizer")
        if len({second is None for _, second in self.texts}) > 1:
            raise ValueError("texts must be all single or all pairs")

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Workload":
        """Read a workload back from what `dataclasses.asdict` gave, by way of JSON or not."""
        texts = tuple((first, second) for first, second in value.get("texts", ()))
        return cls(**(value | {"lengths": tuple(value.get("lengths", ())), "texts": texts}))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One batch.

    Attributes:
        feed: int64 arrays of shape (batch, padded length): input_ids, attention_mask, token_type_ids, position_ids.
            Batches of one shape may share arrays.
        lengths: Real tokens of each example, after truncation.
        truncated: Examples that were longer.
    """

    feed: dict[str, Ids]
    lengths: tuple[int, ...]
    truncated: int = 0

    @property
    def tokens(self) -> int:
        """Real tokens, special tokens included."""
        return sum(self.lengths)

    @property
    def padded_tokens(self) -> int:
        """Tokens that the model computes, padding included."""
        return int(self.feed["input_ids"].size)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class InputFacts:
    """What was fed, as plain JSON, by batch; call i takes batch i modulo their number.

    Attributes:
        tokens: Real tokens of each batch.
        padded_tokens: Tokens of each batch, padding included.
        examples: Examples of all batches.
        truncated: Examples that were longer than the limit, of all batches. Lengths that `tasks.lengths` drew were
            cut there already, and are counted there.
        shapes: Distinct shapes among the batches. A runtime allocates, and may plan anew, for each one it meets first.
        shortest: Tokens of the shortest example, after truncation.
        longest: Tokens of the longest.
    """

    tokens: tuple[int, ...]
    padded_tokens: tuple[int, ...]
    examples: int
    truncated: int
    shapes: int
    shortest: int
    longest: int

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "InputFacts":
        """Read the facts back from JSON."""
        return cls(**(value | {name: tuple(value[name]) for name in ("tokens", "padded_tokens")}))

    @property
    def mean_length(self) -> float:
        """Real tokens per example."""
        return sum(self.tokens) / self.examples

    @property
    def padding_waste(self) -> float:
        """Share of the computed tokens that are padding, when each batch is called equally often."""
        return 1 - sum(self.tokens) / sum(self.padded_tokens)

    def tokens_in(self, calls: int, *, first: int = 0) -> int:
        """Return the real tokens of `calls` successive calls, the first of which took batch `first`."""
        rounds, rest = divmod(calls, len(self.tokens))
        return rounds * sum(self.tokens) + sum(self.tokens[(first + n) % len(self.tokens)] for n in range(rest))

"""What is fed to the model: seeded batches of drawn or real lengths, padded by a policy; random ids or real text.

Reading a task's texts is left to `tasks.lengths`, turning text into ids to `tasks.tokenization`, timing to `worker`.
The worker imports this file, so that its top holds the standard library and numpy alone.
"""

import dataclasses
import functools
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from benchkit.runtimes.protocol import Feed

if TYPE_CHECKING:
    from benchkit.tasks.tokenization import Encoded, TextTokenizer

Padding = Literal["max", "longest", "bucketed", "grid"]
Text = tuple[str, str | None]
Ids = npt.NDArray[np.int64]

PADDINGS: tuple[Padding, ...] = ("max", "longest", "bucketed", "grid")
GRID = (16, 32, 64, 128, 256, 512)
# What is drawn from when nothing says how large the vocabulary is: a range that every vocabulary has.
ASSUMED_VOCABULARY = 100

# Ids below 1000 are special or unused tokens in BERT's vocabularies.
_FIRST_WORD_ID, _CLS_ID, _SEP_ID = 1000, 101, 102


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


class Tokenizing:
    """An open tokenizer with the limit and the padding policy of a cell: what is timed as "tokenize"."""

    def __init__(self, tokenizer: "TextTokenizer", *, max_length: int, padding: Padding) -> None:
        self._tokenizer = tokenizer
        self.max_length = max_length
        self.padding: Padding = padding

    def text_batches(self, workload: Workload) -> list[list[Text]]:
        """Return the texts of each batch: the same examples, in the same order, as `make_batches` feeds."""
        lengths = self._encoded(workload.texts).lengths()
        return [[workload.texts[row] for row in rows] for rows in _chosen(lengths, workload)]

    def encode(self, texts: Sequence[Text]) -> dict[str, Ids]:
        """Turn the texts of a batch into its feed, padded by the policy. This is what is timed."""
        return self._padded(self._encoded(texts))

    def batch(self, texts: Sequence[Text]) -> Batch:
        """Return the feed of a batch with its facts."""
        encoded = self._encoded(texts)
        lengths = tuple(encoded.lengths().tolist())
        return Batch(feed=self._padded(encoded), lengths=lengths, truncated=encoded.truncated)

    def _encoded(self, texts: Sequence[Text]) -> "Encoded":
        second = [text for _, text in texts if text is not None] or None
        return self._tokenizer.encode([text for text, _ in texts], second, max_length=self.max_length)

    def _padded(self, encoded: "Encoded") -> dict[str, Ids]:
        width = padded_length(self.padding, int(encoded.lengths().max()), self.max_length)
        feed = self._tokenizer.pad(encoded, to=width)
        return feed | {"position_ids": np.broadcast_to(np.arange(width, dtype=np.int64), (len(encoded), width))}


def open_tokenizer(path: str | Path, max_length: int | None, padding: Padding = "longest") -> Tokenizing:
    """Open a tokenizer for one thread, with the very settings that scoring uses.

    It may be the first use of the package `tokenizers`, whose import this then includes.

    Args:
        path: Folder with the tokenizer (and the model's config.json), or the tokenizer.json in it.
        max_length: Most tokens of an example; None takes the model's positions.
        padding: Policy of `encode`.

    Raises:
        BenchkitError: No usable tokenizer, a `max_length` above the model's positions, or neither of the two known.
    """
    # One thread: the tokenizer would take every core for a batch, whatever the cell's threads are.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    from benchkit.core.errors import BenchkitError
    from benchkit.tasks.tokenization import load_tokenizer

    folder = Path(path).parent if Path(path).is_file() else Path(path)
    tokenizer = load_tokenizer(folder)
    limit = tokenizer.max_positions if max_length is None else max_length
    if limit is None:
        raise BenchkitError(
            f"neither a sequence length nor the config.json in '{folder}' says how long an input may be",
            remedy="give one: --sequence-length 128",
        )
    if tokenizer.max_positions is not None and limit > tokenizer.max_positions:
        raise BenchkitError(
            f"sequence length {limit} is longer than the {tokenizer.max_positions} positions of '{folder}'",
            remedy=f"ask for --sequence-length up to {tokenizer.max_positions}",
        )
    return Tokenizing(tokenizer, max_length=limit, padding=padding)


def make_batches(workload: Workload, tokenizing: Tokenizing | None = None) -> list[Batch]:
    """Make the distinct batches of a workload, seeded.

    Random ids are those of words, [CLS] first and [SEP] last where the vocabulary is BERT's by its size, padded
    on the right with masked zeros. Real texts are tokenized.

    Args:
        workload: What to make.
        tokenizing: The tokenizer where it is open already; it must have been opened with the workload's settings.

    Raises:
        BenchkitError: The texts' tokenizer cannot be used.
    """
    if workload.texts:
        path = workload.tokenizer or ""
        tokenizing = tokenizing or open_tokenizer(path, workload.sequence_length, workload.padding)
        return [tokenizing.batch(texts) for texts in tokenizing.text_batches(workload)]
    drawn = np.array(workload.lengths or (workload.sequence_length,), dtype=np.int64)
    limit = workload.sequence_length or int(drawn.max())
    generator = np.random.default_rng([workload.seed, 1])
    batches = []
    for rows in _chosen(np.minimum(drawn, limit), workload):
        lengths = np.minimum(drawn[rows], limit)
        width = padded_length(workload.padding, int(lengths.max()), workload.sequence_length)
        feed = _random_feed(lengths, width, workload.vocabulary_size, generator)
        truncated = int((drawn[rows] > limit).sum())
        batches.append(Batch(feed=feed, lengths=tuple(lengths.tolist()), truncated=truncated))
    return batches


def padded_length(padding: Padding, longest: int, limit: int | None) -> int:
    """Return to how many tokens a batch is padded whose longest example has `longest`, at most `limit`."""
    if padding == "max" and limit is not None:
        return limit
    if padding == "grid":
        step = next((step for step in GRID if step >= longest), -(-longest // GRID[-1]) * GRID[-1])
        return step if limit is None else min(step, limit)
    return max(1, longest)  # A batch of empty texts without special tokens still needs a column.


def padding_waste(batches: Iterable[Batch]) -> float:
    """Return the share of the batches' tokens that are padding: 1 - real / padded."""
    return input_facts(batches).padding_waste


def input_facts(batches: Iterable[Batch]) -> InputFacts:
    """Say what batches hold.

    Raises:
        ValueError: There are none.
    """
    batches = list(batches)
    lengths = [length for batch in batches for length in batch.lengths]
    return InputFacts(
        tokens=tuple(batch.tokens for batch in batches),
        padded_tokens=tuple(batch.padded_tokens for batch in batches),
        examples=len(lengths),
        truncated=sum(batch.truncated for batch in batches),
        shapes=len({batch.feed["input_ids"].shape for batch in batches}),
        shortest=min(lengths),
        longest=max(lengths),
    )


def random_feeds(
    *, batch_size: int, sequence_length: int, vocabulary_size: int, seed: int, count: int = 8
) -> list[Feed]:
    """Draw batches of distinct inputs of one length, without padding.

    Returns:
        `count` feeds of int64 arrays of shape (batch_size, sequence_length): input_ids, attention_mask,
        token_type_ids, position_ids.
    """
    workload = Workload(
        batch_size=batch_size, sequence_length=sequence_length, vocabulary_size=vocabulary_size, seed=seed, count=count
    )
    return [batch.feed for batch in make_batches(workload)]


def _chosen(lengths: Ids, workload: Workload) -> list[Ids]:
    """Choose the rows of each batch: every example as often as any other, give or take one."""
    generator = np.random.default_rng([workload.seed, 0])
    needed = workload.batch_size * workload.count
    rounds = np.broadcast_to(np.arange(len(lengths)), (-(-needed // len(lengths)), len(lengths)))
    rows = generator.permuted(rounds, axis=1).ravel()[:needed]
    if workload.padding == "bucketed":
        rows = rows[np.argsort(lengths[rows], kind="stable")]
    batches = list(rows.reshape(workload.count, workload.batch_size))
    # Sorted batches in sorted order would be a trend over time, and hand the warm-up the short ones.
    order = generator.permutation(workload.count) if workload.padding == "bucketed" else range(workload.count)
    return [batches[n] for n in order]


def _random_feed(lengths: Ids, width: int, vocabulary_size: int, generator: np.random.Generator) -> dict[str, Ids]:
    is_large = vocabulary_size > 2 * _FIRST_WORD_ID
    first = _FIRST_WORD_ID if is_large else min(5, vocabulary_size - 1)
    shape = (len(lengths), width)
    ids = generator.integers(first, vocabulary_size, shape, dtype=np.int64)
    if is_large:
        ids[np.arange(len(lengths)), lengths - 1] = _SEP_ID
        ids[:, 0] = _CLS_ID
    mask = np.arange(width) < lengths[:, None]
    zeros, ones, positions = _plain(shape)
    return {
        "input_ids": ids * mask,
        "attention_mask": ones if mask.all() else mask.astype(np.int64),
        "token_type_ids": zeros,
        "position_ids": positions,
    }


@functools.lru_cache(maxsize=64)
def _plain(shape: tuple[int, int]) -> tuple[Ids, Ids, Ids]:
    """Return zeros, ones and positions of a shape: the same for all its batches, since the worker's memory counts."""
    positions = np.broadcast_to(np.arange(shape[1], dtype=np.int64), shape)
    return np.zeros(shape, dtype=np.int64), np.ones(shape, dtype=np.int64), positions

"""What is fed to the model: seeded batches of drawn or real lengths, padded by a policy; random ids or real text.

Reading a task's texts is left to `tasks.lengths`, turning text into ids to `tasks.tokenization`, timing to `worker`.
The worker imports this file, so that its top holds the standard library and numpy alone.
"""

import functools
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchkit.bench.workload import Batch, Ids, InputFacts, Padding, Text, Workload

if TYPE_CHECKING:
    from benchkit.tasks.tokenization import Encoded, TextTokenizer

GRID = (16, 32, 64, 128, 256, 512)

# Ids below 1000 are special or unused tokens in BERT's vocabularies.
_FIRST_WORD_ID, _CLS_ID, _SEP_ID = 1000, 101, 102


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

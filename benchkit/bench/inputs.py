"""What is fed to the model: seeded token ids of the asked shape. Real text and its lengths are left to `tasks`."""

import numpy as np

from benchkit.runtimes.protocol import Feed

# Ids below 1000 are special or unused tokens in BERT's vocabularies ([CLS] 101, [SEP] 102).
_FIRST_WORD_ID = 1000
# What is drawn from when nothing says how large the vocabulary is: a range that every vocabulary has.
ASSUMED_VOCABULARY = 100


def random_feeds(
    *, batch_size: int, sequence_length: int, vocabulary_size: int, seed: int, count: int = 8
) -> list[Feed]:
    """Draw batches of distinct inputs without padding.

    Returns:
        `count` feeds of int64 arrays of shape (batch_size, sequence_length): input_ids, attention_mask,
        token_type_ids, position_ids.
    """
    generator = np.random.default_rng(seed)
    first = _FIRST_WORD_ID if vocabulary_size > 2 * _FIRST_WORD_ID else min(5, vocabulary_size - 1)
    shape = (batch_size, sequence_length)
    ones, zeros = np.ones(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    positions = np.broadcast_to(np.arange(sequence_length, dtype=np.int64), shape)
    return [
        {
            "input_ids": generator.integers(first, vocabulary_size, shape, dtype=np.int64),
            "attention_mask": ones,
            "token_type_ids": zeros,
            "position_ids": positions,
        }
        for _ in range(count)
    ]

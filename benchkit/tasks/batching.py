"""Which examples go into one call: neighbours in length, under a budget of tokens or a fixed number.

Calling the model with them is left to `answering`.
"""

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from benchkit.tasks.readers import Examples

# Neighbours in length among so many differ by less than a token in most batches, and their text and ids take few MB.
WINDOW_EXAMPLES = 4_096
# Of a logit: above what other batches change in fp32 by the order of its sums, which is some 1e-6.
FELT_DIFFERENCE = 1e-4


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Batching:
    """How large a batch is; one of the two is given.

    Attributes:
        examples: Examples per call.
        tokens: Most tokens per call, padding included; one example longer than that is a batch of its own.
    """

    examples: int | None = None
    tokens: int | None = None

    def __post_init__(self) -> None:
        """Check that exactly one of the two is given."""
        if (self.examples is None) == (self.tokens is None):
            raise ValueError(f"give examples or tokens, not {self.examples} and {self.tokens}")

    def batches(self, lengths: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.int64]]:
        """Yield the rows of each batch, sorted by length.

        The longest come first, so that a lack of memory shows at once.

        Args:
            lengths: Tokens of each example, shape (n,).
        """
        order = np.argsort(-lengths, kind="stable")
        start = 0
        while start < len(order):
            longest = max(1, int(lengths[order[start]]))
            size = self.examples or max(1, (self.tokens or 0) // longest)
            yield order[start : start + size]
            start += size


def windows(examples: Examples | Iterable[Examples]) -> Iterator[Examples]:
    """Cut examples into the windows that are sorted by length one at a time."""
    for chunk in [examples] if isinstance(examples, Examples) else examples:
        if len(chunk) <= WINDOW_EXAMPLES:
            yield chunk
            continue
        for start in range(0, len(chunk), WINDOW_EXAMPLES):
            yield chunk.take(range(start, min(start + WINDOW_EXAMPLES, len(chunk))))

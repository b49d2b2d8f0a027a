"""The order of examples: batches of like length, drawn anew in each epoch, the same for the same seed and epoch."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

# Examples of so many batches are sorted together: enough for batches of one length, and few enough that each epoch
# makes other batches of them. Trainer's own 50 pads 8 % more on SST-2, and takes each 50 from long to short.
_POOLED_BATCHES = 200
_LEAST_POOLS = 2


class LengthGroups(torch.utils.data.Sampler[int]):
    """Rows of a data set, so that each slice of `batch_size` has examples of like length.

    Unlike Trainer's sampler it draws from no global state, so that a training which is resumed within any epoch goes
    on in the same order, and several processes agree. Batches come in random order, not from long to short; but the
    longest comes first of all, so that a lack of memory shows at once.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        """Take the tokens of each example, the examples a step and the seed of the order."""
        self._lengths = np.asarray(lengths)
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next; called by Trainer."""
        self._epoch = epoch

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        """Yield each row once."""
        rng = np.random.default_rng([self._seed, self._epoch])
        rows = rng.permutation(len(self))
        batches = [batch for pool in self._pools(rows) for batch in self._cut(pool)]
        # A batch that is not full must stay the last: Trainer cuts what is yielded into slices.
        whole = [batch for batch in batches if len(batch) == self._batch_size]
        rest = [batch for batch in batches if len(batch) < self._batch_size]
        order = rng.permutation(len(whole)).tolist()
        if self._epoch == 0 and whole:
            longest = max(order, key=lambda number: int(self._lengths[whole[number]].max()))
            order.remove(longest)
            order.insert(0, longest)
        for batch in [*(whole[number] for number in order), *rest]:
            yield from batch.tolist()

    def _pools(self, rows: np.ndarray) -> list[np.ndarray]:
        """Divide the rows into pools of whole batches; only the last may have a rest."""
        batches = max(1, len(rows) // self._batch_size)
        pooled = min(_POOLED_BATCHES, max(1, batches // _LEAST_POOLS)) * self._batch_size
        return [rows[start : start + pooled] for start in range(0, len(rows), pooled)]

    def _cut(self, pool: np.ndarray) -> list[np.ndarray]:
        # Stable, so that which of two examples of one length comes first is the permutation's doing.
        ordered = pool[np.argsort(self._lengths[pool], kind="stable")]
        return [ordered[start : start + self._batch_size] for start in range(0, len(ordered), self._batch_size)]

import numpy as np
import pytest

from benchkit.train.grouping import LengthGroups

LENGTHS = np.random.default_rng(0).integers(3, 60, 1000).tolist()


def order(epoch=0, seed=0, batch_size=32) -> list[int]:
    groups = LengthGroups(LENGTHS, batch_size, seed)
    groups.set_epoch(epoch)
    return list(groups)


def padding(rows: list[int], batch_size=32) -> float:
    batches = [[LENGTHS[row] for row in rows[start : start + batch_size]] for start in range(0, len(rows), batch_size)]
    return sum(max(batch) * len(batch) for batch in batches) / sum(LENGTHS) - 1


@pytest.mark.parametrize("batch_size", [1, 32, 1000, 4096])
@pytest.mark.parametrize("epoch", [0, 1])
def test_each_row_comes_once(epoch, batch_size):
    assert sorted(order(epoch, batch_size=batch_size)) == list(range(1000))


def test_epochs_and_seeds_differ_and_nothing_else_does():
    np.random.seed(1)
    first = order()
    np.random.seed(2)
    assert order() == first
    assert order(epoch=1) != first
    assert order(seed=1) != first
    neighbours = [{*first[start : start + 32]} for start in range(0, 960, 32)]
    again = [{*order(epoch=1)[start : start + 32]} for start in range(0, 960, 32)]
    assert not any(batch in again for batch in neighbours)


def test_batches_are_of_one_length_and_come_in_no_order():
    assert padding(order()) < 0.06
    longest = [max(LENGTHS[row] for row in order()[start : start + 32]) for start in range(0, 992, 32)]
    assert longest[0] == max(LENGTHS)
    assert abs(np.corrcoef(np.arange(len(longest)), longest)[0, 1]) < 0.4

"""Records of one cell that was measured several times: which of them speaks for it.

Repeats are kept in files and shown in tables; a verdict and a headline take one.
"""

import collections
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from benchkit.core.records import Record

_UNPROVED = "none"  # Provider of a cell whose worker gave nothing.


class Chosen(NamedTuple):
    """The record that speaks for a cell.

    Attributes:
        record: The latest of those that may be used best.
        left_aside: Other records of the same cell.
    """

    record: Record
    left_aside: int


def one_of_each_cell(records: Iterable[Record], *, usable: Callable[[Record], int] | None = None) -> list[Chosen]:
    """Choose one record for each artifact, cell and host: the most usable, of those the latest.

    A cell whose worker gave nothing proves no provider, and counts to the cell that was asked for.

    Args:
        records: In the order written; of two of the same second the later one counts.
        usable: How far a record may be used, more is better; None goes by its noise verdict.

    Returns:
        In the order in which the cells are met first.
    """
    usable = usable or cleanness
    groups: dict[tuple[str, ...], list[tuple[int, Record]]] = collections.defaultdict(list)
    for number, record in enumerate(records):
        groups[_key(record)].append((number, record))
    chosen = []
    for group in groups.values():
        for same in _by_provider(group):
            _, best = max(same, key=lambda one: (usable(one[1]), one[1].started_at_utc, one[0]))
            chosen.append(Chosen(best, len(same) - 1))
    return chosen


def cleanness(record: Record) -> int:
    """Return 2 for a clean record, 1 for a noisy one, 0 for a void one."""
    return {"clean": 2, "noisy": 1, "invalid": 0}[record.noise.verdict]


def _key(record: Record) -> tuple[str, ...]:
    cell = record.cell.model_dump_json(exclude={"provider"})
    return (record.kind, record.artifact.id, record.artifact.precision, record.host.id, cell)


def _by_provider(group: Sequence[tuple[int, Record]]) -> list[list[tuple[int, Record]]]:
    found: dict[str, list[tuple[int, Record]]] = collections.defaultdict(list)
    for number, record in group:
        found[record.cell.provider].append((number, record))
    unproved = found.pop(_UNPROVED, []) if len(found) > 1 else []
    return [same + unproved for same in found.values()]

"""Which of many cells is best, and whether that may be said: the least of many figures is partly luck.

Measuring the apparent best once more is left to `pairs`.
"""

from collections.abc import Sequence
from typing import NamedTuple

from benchkit.core.quantities import quantity_named
from benchkit.core.records import Record
from benchkit.judge.levels import Ends, bounds_at_error
from benchkit.stats.order_statistics import ALPHA


class Best(NamedTuple):
    """What may be said of the best of several cells.

    Attributes:
        record_id: The best; None when no cell may be called that.
        apparent_id: The cell with the best figure, whether or not that means anything; None when none has one.
        reason: Why, in one sentence.
        needs_confirmation: Whether it was chosen among several: it has to be measured again, on fresh runs and
            against the second, before it is called best.
        second_id: The cell with the next best figure: what a confirmation is held against.
    """

    record_id: str | None
    apparent_id: str | None
    reason: str
    needs_confirmation: bool
    second_id: str | None = None


class _Contender(NamedTuple):
    record: Record
    cost: float  # Less is better, whichever way the quantity points.
    low: float | None
    high: float | None


def apparent_best(
    records: Sequence[Record], quantity: str = "latency", *, statistic: str | None = None, alpha: float = ALPHA
) -> Best:
    """Say which of several cells at one place is best, if its bound lies beyond the bounds of all others.

    The bounds are made again from the raw values, each with the error alpha / k for k cells (Bonferroni): the
    apparent best is any of k. That all others must be beaten costs nothing more.

    Args:
        records: Profiles of one host, scenario, batch size and sequence length, one a cell. Void ones never win.
        quantity: Name in the table of quantities.
        statistic: Its figure; None takes the headline.
        alpha: Error allowed for the whole choice.
    """
    places = {_place(record) for record in records}
    if len(places) > 1:
        return Best(None, None, "the cells differ in host, scenario or shape, so that none is best", False)
    known = quantity_named(quantity)
    name = statistic or known.headline
    valid = [record for record in records if record.noise.verdict != "invalid"]
    k = len(valid)
    found = [_contender(record, quantity, name, alpha / max(1, k), known.better) for record in valid]
    ranked = sorted((one for one in found if one is not None), key=lambda one: (one.cost, one.record.record_id))
    if not ranked:
        return Best(None, None, f"no cell has a {name} of {quantity}", False)
    best, rest = ranked[0], ranked[1:]
    own = best.record.record_id
    if not rest:
        return Best(own, own, "it is the only cell that was measured", False)
    second = rest[0].record.record_id
    why = _not_best(best, rest, k, alpha)
    if why is not None:
        return Best(None, own, f"no winner: {why}", True, second)
    return Best(
        own,
        own,
        f"its bound lies beyond those of all {k - 1} others, at an error of {alpha / k:.2g} each",
        True,
        second,
    )


def _place(record: Record) -> tuple[object, ...]:
    cell = record.cell
    return (record.host.id, cell.scenario, cell.batch_size, cell.sequence_length, cell.rate_per_s, cell.load)


def _not_best(best: _Contender, rest: list[_Contender], k: int, alpha: float) -> str | None:
    """Say why the apparent best may not be called best; None when it may."""
    noisy = [one for one in (best, *rest) if one.record.noise.verdict != "clean"]
    if best in noisy:
        return f"'{best.record.artifact.name}' looks best, and the machine was noisy while it was measured"
    if best.high is None:
        return f"'{best.record.artifact.name}' looks best, and its runs are too few for bounds at {alpha / k:.2g}"
    open_ones = [one for one in rest if one in noisy or one.low is None or one.low <= best.high]
    if not open_ones:
        return None
    names = ", ".join(f"'{one.record.artifact.name}'" for one in open_ones[:3])
    more = f" and {len(open_ones) - 3} more" if len(open_ones) > 3 else ""
    return (
        f"'{best.record.artifact.name}' looks best of {k}, and the bounds that {k} cells ask for "
        f"do not tell it apart from {names}{more}"
    )


def _contender(record: Record, quantity: str, name: str, alpha: float, better: str) -> _Contender | None:
    figure = record.statistic(quantity, name)
    if figure is None or figure.value is None:
        return None
    # Figures that repeating does not change need no bounds.
    fixed = quantity_named(quantity).exact or name == "max"
    ends = Ends(figure.value, figure.value) if fixed else bounds_at_error(record, quantity, name, alpha)
    if better == "lower":
        return _Contender(record, figure.value, ends.low, ends.high)
    low, high = (None if end is None else -end for end in (ends.high, ends.low))
    return _Contender(record, -figure.value, low, high)

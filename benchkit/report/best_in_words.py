"""Which cell at one place is best, in a sentence, or that there is no winner. The judging is done by `judge.best`."""

from typing import TYPE_CHECKING, NamedTuple

from benchkit.core.quantities import QUANTITIES, Quantity, format_number
from benchkit.core.records import Statistic
from benchkit.report.entries import Entry
from benchkit.report.figures import with_unit
from benchkit.report.headline import Headline
from benchkit.report.plain import clean, counted, listed

if TYPE_CHECKING:
    from benchkit.judge.best import Best

_FIGURES = {
    ("latency", "p50"): "median latency",
    ("response_time", "p50"): "median response time",
    ("response_time", "p99"): "p99 of the response time",
    ("throughput", "median"): "throughput",
    ("sustained_rate", "median"): "rate that holds the bound on p99",
}


class _Ranked(NamedTuple):
    figure: Statistic
    entry: Entry


def sentence_on_best(headline: Headline, *, name_host: bool) -> str:
    """Say who is best at a place, or that nobody is, and why."""
    place = headline.words + (f" on {headline.host}" if name_host else "")
    key = _judged_by(headline)
    quantity, words = QUANTITIES[key[0]], _FIGURES.get(key, f"{key[1]} of {key[0]}")
    ranked = _ranked(headline, key)
    if not ranked:
        what = "latency" if key[0] == "latency" else words
        return f"At {place} no {what} was measured that may be used"
    first, rest = ranked[0], ranked[1:]
    figure = with_unit(quantity, first.figure)
    if not rest:
        if key == ("latency", "p50"):
            return f"At {place}, {_name(first.entry)} takes {figure} for a call, at the median"
        return f"At {place}, the {words} of {_name(first.entry)} is {figure}"
    # Judging loads the statistics: a table in a terminal, which imports this room, needs neither.
    from benchkit.judge.best import apparent_best

    best = apparent_best([one.entry.record for one in ranked], key[0], statistic=key[1])
    superlative = "lowest" if quantity.better == "lower" else "highest"
    begun = f"{_name(first.entry)} has the {superlative} {words}, {figure}"
    slowest = _slowest(ranked, quantity)
    if best.record_id is not None:
        others = counted(len(rest), "other")
        return (
            f"At {place}, {begun}; its bound lies beyond those of the {others} at an error shared by all. Chosen among "
            f"{len(ranked)}, it is the best once a fresh comparison with {_second(best, ranked)} agrees.{slowest}"
        )
    return f"At {place} there is no winner: {begun}, and {_why_none(best, first, rest, quantity)}.{slowest}"


def _judged_by(headline: Headline) -> tuple[str, str]:
    """Return the figure that ranks the place; the median response where some row has too few calls for its p99."""
    key = headline.entries[0].judged_by
    if key == ("response_time", "p99"):
        medians = [entry for entry in headline.entries if entry.figure("response_time", "p50") is not None]
        if any(entry.figure("response_time", "p99") is None for entry in medians):
            return ("response_time", "p50")
    return key


def _ranked(headline: Headline, key: tuple[str, str]) -> list[_Ranked]:
    found = [_Ranked(figure, entry) for entry in headline.entries if (figure := entry.figure(*key)) is not None]
    sign = 1.0 if QUANTITIES[key[0]].better == "lower" else -1.0
    return sorted(found, key=lambda one: (sign * _value(one.figure), one.entry.label, one.entry.record.record_id))


def _why_none(best: "Best", first: _Ranked, rest: list[_Ranked], quantity: Quantity) -> str:
    tied = [_name(one.entry) for one in rest if _may_be_equal(first.figure, one.figure, quantity)]
    noisy = [_name(one.entry) for one in (first, *rest) if one.entry.record.noise.verdict != "clean"]
    if tied:
        return f"its bounds do not tell it apart from {listed(tied)}"
    if noisy:
        return f"the machine was noisy while {listed(noisy)} {'was' if len(noisy) == 1 else 'were'} measured"
    return clean(best.reason.partition(", and ")[2] or best.reason, 300)


def _slowest(ranked: list[_Ranked], quantity: Quantity) -> str:
    """Name the other end, where the bounds hold it apart from the first."""
    first, last = ranked[0], ranked[-1]
    if _may_be_equal(first.figure, last.figure, quantity):
        return ""
    word = "slowest" if quantity.unit == "s" else "lowest"
    return f" The {word} is {_name(last.entry)} with {with_unit(quantity, last.figure)}{_times(first, last, quantity)}"


def _second(best: "Best", ranked: list[_Ranked]) -> str:
    return next((_name(one.entry) for one in ranked if one.entry.record.record_id == best.second_id), "the second")


def _name(entry: Entry) -> str:
    """Return the label, with the settings in which the rows of one place differ."""
    return f"{entry.label} ({', '.join(entry.tuning)})" if entry.tuning else entry.label


def _may_be_equal(best: Statistic, other: Statistic, quantity: Quantity) -> bool:
    """Tell whether the bounds leave it open which is better; a missing bound leaves it open."""
    low, high = (other, best) if quantity.better == "lower" else (best, other)
    return high.high is None or low.low is None or low.low <= high.high


def _times(first: _Ranked, last: _Ranked, quantity: Quantity) -> str:
    values = (_value(first.figure), _value(last.figure))
    if quantity.unit != "s" or min(values) <= 0:
        return ""
    ratio = max(values) / min(values)
    return f", {format_number(ratio, 2)} times as long" if ratio < 1e4 else ", very much longer"


def _value(statistic: Statistic) -> float:
    assert statistic.value is not None
    return statistic.value

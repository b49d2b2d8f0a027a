"""The comparison in a few plain sentences: nothing wins by its estimate alone, what cannot be told apart is named."""

import dataclasses
from collections.abc import Sequence

from benchkit.core.quantities import QUANTITIES, format_number
from benchkit.core.records import Statistic
from benchkit.report.entries import Entry, Score
from benchkit.report.figures import with_unit
from benchkit.report.headline import Headline, headlines
from benchkit.report.notes import noisy_rows, not_measured, void_rows
from benchkit.report.plain import counted, listed

# Most caveats of each kind on top; all of them stand below the table.
_MOST_CAVEATS = 4


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What the records say, and what they do not.

    Attributes:
        answers: Who is fastest, who scores best.
        caveats: What is not scored, void, noisy or not measured, and why.
    """

    answers: tuple[str, ...]
    caveats: tuple[str, ...]


def findings_of(entries: Sequence[Entry]) -> Findings:
    """Put the comparison into sentences."""
    found = headlines(entries)
    answers = [sentence for headline in found for sentence in _fastest(headline, name_host=len(found) > 1)]
    answers += _best_scores(entries)
    kinds = (void_rows(entries), noisy_rows(entries), not_measured(entries))
    caveats = [*_not_scored(entries), *(text for kind in kinds for text in kind[:_MOST_CAVEATS])]
    left_out = sum(len(kind[_MOST_CAVEATS:]) for kind in kinds)
    if left_out:
        caveats.append(f"{counted(left_out, 'more remark')} of this kind below the table")
    if not entries:
        answers.append("There is nothing to compare: no profile and no score")
    return Findings(answers=tuple(map(_sentence, answers)), caveats=tuple(map(_sentence, caveats)))


def _fastest(headline: Headline, *, name_host: bool) -> list[str]:
    ranked = sorted(
        ((median, entry) for entry in headline.entries if (median := entry.latency("p50")) is not None),
        key=lambda pair: (pair[0].value, pair[1].label, pair[1].record.record_id),
    )
    place = headline.words + (f" on {headline.host}" if name_host else "")
    if not ranked:
        return [f"At {place} no latency was measured that may be used"]
    (best, first), rest = ranked[0], ranked[1:]
    latency = QUANTITIES["latency"]
    if not rest:
        return [f"At {place}, {_name(first)} takes {with_unit(latency, best)} for a call, at the median"]
    sentence = f"At {place}, {_name(first)} has the lowest median latency, {with_unit(latency, best)}"
    tied = [_name(entry) for median, entry in rest if _may_be_equal(best, median)]
    if tied:
        sentence += f"; its bounds do not tell it apart from {listed(tied)}"
    slowest, last = ranked[-1]
    if _name(last) not in tied:
        sentence += f". The slowest is {_name(last)} with {with_unit(latency, slowest)}, {_times(best, slowest)}"
    return [sentence]


def _best_scores(entries: Sequence[Entry]) -> list[str]:
    scored: dict[tuple[str, str, str], dict[str, tuple[Score, Entry]]] = {}
    for entry in entries:
        # Whatever voided the profile, a candidate that could not be measured properly is not praised.
        for score in () if entry.is_void else entry.scores:
            if score.statistic is not None and not score.is_void:
                key = (score.task, score.metric, score.record.cell.split or "")
                scored.setdefault(key, {}).setdefault(entry.artifact.id, (score, entry))
    return [_best_score(task, list(found.values())) for (task, _, _), found in sorted(scored.items())]


def _best_score(task: str, found: list[tuple[Score, Entry]]) -> str:
    ranked = sorted(found, key=lambda pair: (-_value(pair[0].statistic), pair[1].label, pair[1].artifact.id))
    (best, first), rest = ranked[0], ranked[1:]
    assert best.statistic is not None
    figure = with_unit(QUANTITIES["score"], best.statistic)
    if not rest:
        return f"On {task}, {first.label} is the only artifact scored: {best.metric} {figure}"
    sentence = f"On {task}, {first.label} scores highest: {best.metric} {figure}"
    close = [entry.label for score, entry in rest if _within(score.statistic, best.statistic)]
    if close:
        sentence += f"; the bounds overlap with {listed(close)}, so a paired comparison has to decide"
    return sentence


def _not_scored(entries: Sequence[Entry]) -> list[str]:
    without = {entry.artifact.id: entry for entry in entries if not entry.scores}
    random = sorted({entry.label for entry in without.values() if entry.artifact.weights == "random"})
    others = sorted({entry.label for entry in without.values() if entry.artifact.weights != "random"})
    sentences = [f"Not scored, because the weights are random: {listed(random)}"] if random else []
    return sentences + ([f"Not scored: {listed(others)}"] if others else [])


def _name(entry: Entry) -> str:
    """Return the label, with the settings that the series name adds."""
    settings = entry.series.partition(", ")[2]
    return f"{entry.label} ({settings})" if settings else entry.label


def _may_be_equal(best: Statistic, other: Statistic) -> bool:
    """Tell whether the bounds leave it open which is lower; a missing bound leaves it open."""
    return best.high is None or other.low is None or other.low <= best.high


def _within(score: Statistic | None, best: Statistic | None) -> bool:
    if score is None or best is None:
        return False
    return score.high is None or best.low is None or score.high >= best.low


def _times(best: Statistic, slowest: Statistic) -> str:
    ratio = _value(slowest) / _value(best) if _value(best) > 0 else float("inf")
    return f"{format_number(ratio, 2)} times as long" if ratio < 1e4 else "very much longer"


def _value(statistic: Statistic | None) -> float:
    assert statistic is not None
    assert statistic.value is not None
    return statistic.value


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")

"""The comparison in a few plain sentences: nothing wins by its estimate alone, what cannot be told apart is named."""

import dataclasses
from collections.abc import Sequence

from benchkit.core.quantities import QUANTITIES
from benchkit.core.records import Statistic
from benchkit.report.best_in_words import sentence_on_best
from benchkit.report.entries import Entry, Score
from benchkit.report.figures import with_unit
from benchkit.report.headline import headlines_of_scenarios
from benchkit.report.notes import noisy_rows, not_measured, void_rows
from benchkit.report.paired import Paired
from benchkit.report.plain import counted, listed

# Most caveats of each kind on top; all of them stand below the table.
_MOST_CAVEATS = 4
_MOST_PAIRED = 4


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What the records say, and what they do not.

    Attributes:
        answers: Who is fastest, who scores best.
        caveats: What is not scored, void, noisy or not measured, and why.
    """

    answers: tuple[str, ...]
    caveats: tuple[str, ...]


def findings_of(entries: Sequence[Entry], paired: Sequence[Paired] = ()) -> Findings:
    """Put the comparison into sentences."""
    found = headlines_of_scenarios(entries)
    name_host = len({headline.host for headline in found}) > 1
    answers = [sentence_on_best(headline, name_host=name_host) for headline in found]
    answers += [one.sentence for one in paired[:_MOST_PAIRED]]
    answers += _best_scores(entries)
    kinds = (void_rows(entries), noisy_rows(entries), not_measured(entries))
    caveats = [*_not_scored(entries), *(text for kind in kinds for text in kind[:_MOST_CAVEATS])]
    left_out = sum(len(kind[_MOST_CAVEATS:]) for kind in kinds)
    if left_out:
        caveats.append(f"{counted(left_out, 'more remark')} of this kind below the table")
    if len(paired) > _MOST_PAIRED:
        caveats.append(f"{counted(len(paired) - _MOST_PAIRED, 'more paired comparison')} below the table")
    if not entries and not paired:
        answers.append("There is nothing to compare: no profile and no score")
    return Findings(answers=tuple(map(_sentence, answers)), caveats=tuple(map(_sentence, caveats)))


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
        return f"On {task}{_data(best)}, {first.label} is the only artifact scored: {best.metric} {figure}"
    sentence = f"On {task}{_data(best)}, {first.label} scores highest: {best.metric} {figure}"
    close = [entry.label for score, entry in rest if _within(score.statistic, best.statistic)]
    if close:
        sentence += (
            f"; the bounds overlap with {listed(close)}, so there is no winner: a paired comparison has to decide"
        )
    return sentence


def _data(score: Score) -> str:
    return {"subset": " (a subset of its data)", "altered": " (altered data)"}.get(score.data_state, "")


def _not_scored(entries: Sequence[Entry]) -> list[str]:
    without = {entry.artifact.id: entry for entry in entries if not entry.scores}
    random = sorted({entry.label for entry in without.values() if entry.artifact.weights == "random"})
    others = sorted({entry.label for entry in without.values() if entry.artifact.weights != "random"})
    sentences = [f"Not scored, because the weights are random: {listed(random)}"] if random else []
    return sentences + ([f"Not scored: {listed(others)}"] if others else [])


def _within(score: Statistic | None, best: Statistic | None) -> bool:
    if score is None or best is None:
        return False
    return score.high is None or best.low is None or score.high >= best.low


def _value(statistic: Statistic | None) -> float:
    assert statistic is not None
    assert statistic.value is not None
    return statistic.value


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")

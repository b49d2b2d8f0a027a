"""The cells that speak of scores: which task, which metric, how good, or why there is none."""

from benchkit.core.quantities import QUANTITIES
from benchkit.core.records import Measured, Statistic
from benchkit.report.cells import Column, TableCell, absent
from benchkit.report.entries import Entry, Score
from benchkit.report.figures import bounds_text, value_text, with_unit
from benchkit.report.plain import NAME_LENGTH, NOTE_LENGTH, clean
from benchkit.report.reasons import reasons_of, why_absent


def task_cell(_: Column, entry: Entry, __: bool) -> TableCell:
    """Name the tasks and their headline metrics."""
    if not entry.scores:
        return absent(_why_not_scored(entry))
    names = " / ".join(score.task for score in entry.scores)
    return TableCell(text=names, below=" / ".join(score.metric for score in entry.scores), value=names)


def metric_cell(_: Column, entry: Entry, __: bool) -> TableCell:
    """Name the metrics alone."""
    if not entry.scores:
        return absent(_why_not_scored(entry))
    metrics = " / ".join(score.metric for score in entry.scores)
    return TableCell(text=metrics, value=metrics)


def score_cell(_: Column, entry: Entry, __: bool) -> TableCell:
    """Give the headline score of each task, with bounds; sorted by the first one that may be used."""
    if not entry.scores:
        text = _why_not_scored(entry)
        return TableCell(text="not scored", below=text.partition(": ")[2], note=text, tone="absent")
    note = clean("; ".join(map(_score_note, entry.scores)), NOTE_LENGTH)
    if all(score.is_void for score in entry.scores):
        return TableCell(text="void", note=note, tone="void")
    first = next((score for score in entry.scores if score.statistic is not None and not score.is_void), None)
    if first is None or first.statistic is None:
        return TableCell(text="not scored", note=note, tone="absent")
    quantity = QUANTITIES["score"]
    shown = [None if score.is_void else score.statistic for score in entry.scores]
    statistic = first.statistic
    return TableCell(
        text=" / ".join(_marked(score, each) for score, each in zip(entry.scores, shown, strict=True)),
        below=" / ".join("—" if each is None else bounds_text(quantity, each) for each in shown),
        value=statistic.value,
        low=statistic.low,
        high=statistic.high,
        note=note,
    )


def _marked(score: Score, statistic: Statistic | None) -> str:
    if statistic is None:
        return "—"
    return value_text(QUANTITIES["score"], statistic) + ("*" if score.data_state else "")


def _score_note(score: Score) -> str:
    measurement = score.record.measurements.get("score")
    figures = measurement.statistics if isinstance(measurement, Measured) else {}
    others = [
        f"{clean(name, NAME_LENGTH)} {with_unit(QUANTITIES['score'], figure)}"
        for name, figure in sorted(figures.items())
        if name != score.metric and figure.value is not None
    ]
    size = [f"n = {score.statistic.n:,}"] if score.statistic is not None else []
    split = [clean(score.record.cell.split, NAME_LENGTH)] if score.record.cell.split else []
    void = [f"void: {reasons_of(score.record)}"] if score.is_void else []
    missing = [why_absent(score.record, "score")] if score.statistic is None else []
    told = filter(None, [score.data_said, score.batch_effect])
    return f"{score.task}: " + ", ".join([_score_text(score), *others, *split, *size, *void, *missing, *told])


def _score_text(score: Score) -> str:
    if score.statistic is None:
        return f"{score.metric} not scored"
    return f"{score.metric} {with_unit(QUANTITIES['score'], score.statistic)}"


def _why_not_scored(entry: Entry) -> str:
    return "not scored: random weights" if entry.artifact.weights == "random" else "not scored"

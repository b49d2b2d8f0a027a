"""Scores as papers print them: candidates in rows, tasks in columns, mean and spread over seeds, the GLUE average.

Which record counts where an artifact was scored twice is left to `entries`; scores beside latencies, to `tables`.
"""

import collections
import re
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from benchkit.core.quantities import QUANTITIES
from benchkit.core.records import Measured, Record, Statistic
from benchkit.report import loose
from benchkit.report.cells import Column, TableCell, absent
from benchkit.report.entries import Entry, Score, entries_of
from benchkit.report.figures import bounds_text, value_text
from benchkit.report.plain import NAME_LENGTH, clean, counted, listed
from benchkit.report.tables import Row, Table
from benchkit.tasks.table import TASKS

_QUANTITY = QUANTITIES["score"]
_MISMATCHED = "validation_mismatched"
# Wang et al. (arXiv 1804.07461), section 4: the mean over nine tasks, each the mean of its metrics, MNLI of its halves.
_GLUE = ("cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli")
_FEWEST_FOR_AVERAGE = 4  # With fewer tasks nobody asks for the average of nine.
_DEFAULT_SPLIT = "validation"


class _Line(NamedTuple):
    """What makes a row: repeats with other seeds share it."""

    candidate: str
    precision: str
    runtime: str
    host: str


class _Place(NamedTuple):
    """What makes a column."""

    task: str
    split: str

    @property
    def title(self) -> str:
        if self.split in ("", _DEFAULT_SPLIT):
            return self.task
        return f"{self.task}-mm" if self.split == _MISMATCHED else f"{self.task} {self.split}"


_Scores = dict[_Place, list[Score]]


def score_table(records: Sequence[Record]) -> Table:
    """Build the table of scores; empty when nothing was scored. It does not depend on the order of `records`."""
    lines = _lines(entries_of([record for record in records if record.kind == "score"]))
    places = sorted({place for scores in lines.values() for place in scores}, key=_task_order)
    with_average = len({place.task for place in places} & set(_GLUE)) >= _FEWEST_FOR_AVERAGE
    columns = [*_heads(lines), *(_column(place, lines) for place in places), *(_AVERAGES if with_average else ())]
    rows = tuple(_row(line, scores, lines, places, with_average) for line, scores in sorted(lines.items()))
    return Table(columns=tuple(columns), rows=rows, notes=tuple(_notes(lines)))


def has_more_than_one_score_a_row(table: Table) -> bool:
    """Tell whether the table says what no column of scores beside latencies says: several tasks, or repeats."""
    return len([column for column in table.columns if column.quantity == "score"]) > 1 or any(
        "seed" in cell.below for row in table.rows for cell in row.cells
    )


def _lines(entries: Sequence[Entry]) -> dict[_Line, _Scores]:
    """Gather what belongs into one row: the tasks of a candidate, and its repeats with other seeds."""
    scores = [score for entry in entries for score in entry.scores]
    repeated = collections.Counter((_line(score), _place(score), score.record.artifact.seed) for score in scores)
    # Two artifacts of one seed are no repeats of each other: such a candidate is shown by its artifacts' own names.
    mixed = {line for (line, _, _), times in repeated.items() if times > 1}
    lines: dict[_Line, _Scores] = collections.defaultdict(lambda: collections.defaultdict(list))
    for score in scores:
        line = _line(score)
        if line in mixed:
            line = line._replace(candidate=clean(score.record.artifact.name, NAME_LENGTH))
        lines[line][_place(score)].append(score)
    return lines


def _line(score: Score) -> _Line:
    artifact, cell = score.record.artifact, score.record.cell
    return _Line(
        clean(artifact.candidate or artifact.name, NAME_LENGTH),
        clean(artifact.precision, 20),
        clean(cell.runtime, 20),
        score.record.host.id,
    )


def _place(score: Score) -> _Place:
    return _Place(score.task, clean(score.record.cell.split or "", 40))


def _task_order(place: _Place) -> tuple[int, str, str]:
    names = list(TASKS)
    return (names.index(place.task) if place.task in names else len(names), place.task, place.split)


def _heads(lines: Mapping[_Line, _Scores]) -> list[Column]:
    heads = [
        Column(key="artifact", title="candidate", is_number=False),
        Column(key="precision", title="precision", is_number=False, folds=True),
    ]
    if len({line.runtime for line in lines}) > 1:
        heads.append(Column(key="runtime", title="runtime", is_number=False, folds=True))
    if len({line.host for line in lines}) > 1:
        heads.append(Column(key="host", title="host", is_number=False, folds=True))
    return heads


def _column(place: _Place, lines: Mapping[_Line, _Scores]) -> Column:
    metrics = next((_metrics(scores[place][0].record) for scores in lines.values() if place in scores), ())
    return Column(
        key=re.sub(r"[^\w-]+", "_", place.title),
        title=place.title,
        unit=", ".join(filter(None, [" / ".join(clean(metric, 20) for metric in metrics), "%"])),
        better="higher",
        quantity="score",
    )


_AVERAGES = (
    Column(key="glue", title="GLUE average", unit="9 tasks, %", better="higher", quantity="score"),
    Column(key="glue_without_wnli", title="without WNLI", unit="8 tasks, %", better="higher", quantity="score"),
)


def _row(
    line: _Line, scores: _Scores, lines: Mapping[_Line, _Scores], places: Sequence[_Place], with_average: bool
) -> Row:
    settings = [TableCell(text=name, value=name) for name in (line.candidate, line.precision)]
    if len({other.runtime for other in lines}) > 1:
        settings.append(TableCell(text=line.runtime, value=line.runtime))
    if len({other.host for other in lines}) > 1:
        settings.append(TableCell(text=clean(line.host, 12), value=line.host))
    cells = [_cell(scores[place]) if place in scores else absent("not scored") for place in places]
    averages = [_average(scores, _GLUE), _average(scores, _GLUE[:-1])] if with_average else []
    first = min(score.record.record_id for found in scores.values() for score in found)
    return Row(record_id=first, cells=(*settings, *cells, *averages))


def _cell(found: Sequence[Score]) -> TableCell:
    """One score with its bounds, or the mean of several seeds with their spread."""
    usable = [score for score in found if score.statistic is not None and not score.is_void]
    if not usable:
        return absent(clean(found[0].record.measurements["score"].model_dump().get("detail") or "no score"))
    mark = "*" if any(score.data_state for score in usable) else ""
    metrics = _metrics(usable[0].record)
    note = "; ".join(_note(score, metrics) for score in usable)
    if len(usable) == 1:
        figures = [figure for metric in metrics if (figure := usable[0].record.statistic("score", metric)) is not None]
        head = figures[0]
        text = " / ".join(value_text(_QUANTITY, figure) for figure in figures)
        below = " ".join(filter(None, [bounds_text(_QUANTITY, head), usable[0].data_state]))
        return TableCell(text=text + mark, below=below, value=head.value, low=head.low, high=head.high, note=note)
    by_metric = [_values(usable, metric) for metric in metrics]
    means = [statistics.fmean(values) for values in by_metric if values]
    spread = statistics.stdev(by_metric[0]) if len(by_metric[0]) > 1 else 0.0
    below = f"±{spread * _QUANTITY.display_factor:.1f}, {counted(len(usable), 'seed')} {usable[0].data_state}".strip()
    text = " / ".join(value_text(_QUANTITY, Statistic(value=mean, n=len(usable))) for mean in means)
    return TableCell(text=text + mark, below=below, value=means[0], note=note)


def _values(scores: Sequence[Score], metric: str) -> list[float]:
    found = [score.record.statistic("score", metric) for score in scores]
    return [figure.value for figure in found if figure is not None and figure.value is not None]


def _note(score: Score, metrics: Sequence[str]) -> str:
    figures = [(metric, score.record.statistic("score", metric)) for metric in metrics]
    told = ", ".join(f"{clean(name, 20)} {value_text(_QUANTITY, figure)}" for name, figure in figures if figure)
    return f"{clean(score.record.artifact.name, NAME_LENGTH)}: {told}"


def _average(scores: _Scores, tasks: Sequence[str]) -> TableCell:
    missing = [
        place.title
        for task in tasks
        for place in [_Place(task, _DEFAULT_SPLIT), *([_Place(task, _MISMATCHED)] if task == "mnli" else [])]
        if _task_mean(scores, place) is None
    ]
    if missing:
        return absent(f"no average without {listed(missing)}")
    means = []
    for task in tasks:
        halves = [_task_mean(scores, _Place(task, _DEFAULT_SPLIT))]
        halves += [_task_mean(scores, _Place(task, _MISMATCHED))] if task == "mnli" else []
        means.append(statistics.fmean(half for half in halves if half is not None))
    value = statistics.fmean(means)
    partial = sorted({place.task for place, found in scores.items() if any(score.data_state for score in found)})
    text = value_text(_QUANTITY, Statistic(value=value, n=len(tasks))) + ("*" if partial else "")
    note = f"not comparable with published averages: {listed(partial)} not on the whole data" if partial else ""
    return TableCell(text=text, value=value, note=note)


def _task_mean(scores: _Scores, place: _Place) -> float | None:
    """Return the mean of a task's metrics over its seeds."""
    usable = [score for score in scores.get(place, []) if score.statistic is not None and not score.is_void]
    if not usable:
        return None
    by_metric = [_values(usable, metric) for metric in _metrics(usable[0].record)]
    return statistics.fmean(statistics.fmean(values) for values in by_metric if values)


def _metrics(record: Record) -> tuple[str, ...]:
    """Return the metrics that a record holds, the headline first."""
    measurement = record.measurements.get("score")
    if not isinstance(measurement, Measured):
        return ()
    task = TASKS.get(record.cell.task or "")
    named = [loose.text(name) for name in loose.items(measurement.details.get("metrics"))]
    order = named or (task.metrics if task else ())
    known = [name for name in order if name in measurement.statistics]
    return tuple(known or sorted(measurement.statistics))


def _notes(lines: Mapping[_Line, _Scores]) -> list[str]:
    everything = [score for scores in lines.values() for found in scores.values() for score in found]
    notes = sorted({f"* {score.data_said}" for score in everything if score.data_state})
    if any(len(found) > 1 for scores in lines.values() for found in scores.values()):
        notes.append("± is the sample standard deviation over training seeds; beneath single scores stand 95 % bounds")
    return notes + sorted({said for score in everything if (said := score.batch_effect)})

"""Which records belong together: one entry for each profiled cell, with the scores of the very same artifact.

What a column makes of an entry is left to `columns`; who is on the front, to `front`.
"""

import collections
import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from benchkit.core.quantities import QUANTITIES
from benchkit.core.records import ArtifactFacts, Measured, Record, Statistic
from benchkit.report import loose
from benchkit.report.plain import NAME_LENGTH, clean, prefix
from benchkit.report.settings_in_words import SETTINGS, TUNING, in_words, load_in_words, transfers_in_words, varying
from benchkit.tasks.batching import FELT_DIFFERENCE
from benchkit.tasks.table import TASKS


class Place(NamedTuple):
    """What must be equal before two rows are compared; a token count of 0 stands for inputs of their own lengths."""

    host: str
    scenario: str
    batch_size: int
    sequence_length: int
    load: str = ""
    lengths_from: str = ""
    transfers: str = ""

    @property
    def words(self) -> str:
        """The place without its host: 'batch 1, 128 tokens', and the scenario where it is not a closed loop."""
        tokens = f"{self.sequence_length:,} tokens" if self.sequence_length else ""
        return ", ".join(filter(None, [f"batch {self.batch_size:,}", tokens, *self.load_words]))

    @property
    def load_words(self) -> tuple[str, ...]:
        """How the calls come and what they carry, where that is not a closed loop over inputs of one length."""
        scenario = "" if self.scenario == "single-stream" else f"scenario {clean(self.scenario, 20)}"
        copies = f"copies {self.transfers}" if self.transfers == "not timed" else ""
        lengths = f"lengths from {self.lengths_from}" if self.lengths_from else ""
        return tuple(filter(None, [scenario, self.load, lengths, copies]))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """The score of an artifact on one task.

    Attributes:
        record: The score record.
        task: Task name, cleaned.
        metric: The task's headline metric.
        statistic: Its figure; None when it was not measured.
    """

    record: Record
    task: str
    metric: str
    statistic: Statistic | None

    @property
    def is_void(self) -> bool:
        """Tell whether the scoring run was invalid."""
        return self.record.noise.verdict == "invalid"

    @property
    def data_state(self) -> str:
        """'subset' or 'altered' where the examples are not the official ones; '' where they are, or nobody knows."""
        state = loose.at(loose.details(self.record, "score"), "data", "state")
        return state if state in ("subset", "altered") else ""

    @property
    def data_said(self) -> str:
        """What was scored instead of the whole official split; '' where it was the whole."""
        if not self.data_state:
            return ""
        data = loose.at(loose.details(self.record, "score"), "data")
        rows, official = (loose.number(loose.at(data, key)) for key in ("rows", "official_rows"))
        count = f": {rows:,.0f} of {official:,.0f} rows" if rows is not None and official is not None else ""
        kind = "a subset of the official data" if self.data_state == "subset" else "altered data"
        source = loose.text(loose.at(data, "source"), NAME_LENGTH) or self.task
        return f"{self.task} was scored on {kind} ({source}{count}): not comparable with published scores"

    @property
    def batch_effect(self) -> str:
        """How much the answers depend on the batch; '' where they do not, or it was not looked at."""
        batching = loose.at(loose.details(self.record, "score"), "batching")
        changed, sample = (loose.number(loose.at(batching, key)) for key in ("changed_answers", "sample"))
        difference = loose.number(loose.at(batching, "max_logit_difference"))
        if difference is None or difference < FELT_DIFFERENCE or sample is None:
            return ""
        return (
            f"{clean(self.record.artifact.name, NAME_LENGTH)} answers differently in other batches: logits by up to "
            f"{difference:.2g}, {changed or 0:.0f} of {sample:.0f} answers of {self.task}; "
            f"scored at batch {self.record.cell.batch_size:,}"
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One row of a comparison.

    Attributes:
        label: The artifact's name, with a part of its id where names repeat.
        series: Short name within charts, such as "small fp32".
        artifact: The artifact.
        profile: The profile record; None for an artifact that was scored and never profiled.
        scores: One for each task and split, in the order of task names.
        place: What must be equal before two rows are compared.
        settings: Those of the cell that vary among the rows, in words.
        tuning: Those of them in which rows of one place may differ.
    """

    label: str
    series: str
    artifact: ArtifactFacts
    profile: Record | None
    scores: tuple[Score, ...]
    place: Place
    settings: tuple[str, ...] = ()
    tuning: tuple[str, ...] = ()

    @property
    def record(self) -> Record:
        """The record that tells where the row comes from."""
        return self.profile or self.scores[0].record

    @property
    def is_void(self) -> bool:
        """Tell whether the profile must not be used."""
        return self.profile is not None and self.profile.noise.verdict == "invalid"

    @property
    def task(self) -> str:
        """Names of the tasks it was scored on, joined; '' for none."""
        return ", ".join(sorted({score.task for score in self.scores}))

    def figure(self, quantity: str, name: str) -> Statistic | None:
        """Return a figure of the profile that has a value and may be used, or None."""
        if self.profile is None or self.is_void:
            return None
        statistic = self.profile.statistic(quantity, name)
        return statistic if statistic is not None and statistic.value is not None else None

    def latency(self, name: str) -> Statistic | None:
        """Return a latency figure that has a value and may be used, or None."""
        return self.figure("latency", name)

    @property
    def judged_by(self) -> tuple[str, str]:
        """Quantity and statistic by which rows of this scenario are ranked."""
        cell = self.record.cell
        if cell.scenario == "server" and cell.p99_at_most_s is not None:
            return ("sustained_rate", "median")
        return _JUDGED_BY.get(cell.scenario, ("latency", "p50"))


_JUDGED_BY = {
    "server": ("response_time", "p99"),
    "low-rate": ("response_time", "p50"),
    "offline": ("throughput", "median"),
}


def entries_of(records: Sequence[Record]) -> tuple[Entry, ...]:
    """Join profiles and scores by artifact id, in an order that depends on the records' content only."""
    unique = list({record.record_id: record for record in records}.values())
    profiles = [record for record in unique if record.kind == "profile"]
    scores = collections.defaultdict(list)
    for record in unique:
        if record.kind == "score":
            scores[record.artifact.id].append(record)
    labels = _labels(unique)
    profiled = {record.artifact.id for record in profiles}
    entries = [_entry(record.artifact, record, scores[record.artifact.id], labels) for record in profiles]
    for artifact_id, found in scores.items():
        if artifact_id not in profiled:
            entries.append(_entry(found[0].artifact, None, found, labels))
    return tuple(sorted(_with_series(entries), key=_order))


def metric_of(record: Record) -> str:
    """Return the headline metric of a score record: the task's own, or the first that is there."""
    measurement = record.measurements.get("score")
    if not isinstance(measurement, Measured) or not measurement.statistics:
        return "score"
    task = TASKS.get(record.cell.task or "")
    preferred = [loose.text(measurement.details.get("headline")), *(task.metrics if task else ())]
    return next((name for name in preferred if name in measurement.statistics), min(measurement.statistics))


def _entry(artifact: ArtifactFacts, profile: Record | None, scores: list[Record], labels: dict[str, str]) -> Entry:
    best: dict[tuple[str, str], Record] = {}
    for record in sorted(scores, key=lambda record: _nearness(record, profile)):
        best.setdefault((clean(record.cell.task or "task unknown", NAME_LENGTH), record.cell.split or ""), record)
    return Entry(
        label=labels[artifact.id],
        series=labels[artifact.id],
        artifact=artifact,
        profile=profile,
        scores=tuple(_score(task, record) for (task, _), record in sorted(best.items())),
        place=_place(profile or scores[0]),
    )


def _place(record: Record) -> Place:
    cell = record.cell
    return Place(
        host=record.host.id,
        scenario=cell.scenario,
        batch_size=cell.batch_size,
        sequence_length=cell.sequence_length or 0,
        load=load_in_words(cell),
        lengths_from=clean(cell.lengths_from or "", 40),
        transfers=transfers_in_words(cell),
    )


def _nearness(record: Record, profile: Record | None) -> tuple[object, ...]:
    """Order the scores of one artifact on one task: valid, same host, same runtime, newest first."""
    same_host = profile is not None and record.host.id == profile.host.id
    same_runtime = profile is not None and record.cell.runtime == profile.cell.runtime
    newest_first = tuple(-ord(character) for character in record.started_at_utc)
    return (record.noise.verdict == "invalid", not same_host, not same_runtime, newest_first, record.record_id)


def _score(task: str, record: Record) -> Score:
    metric = metric_of(record)
    statistic = record.statistic("score", metric)
    usable = statistic if statistic is not None and statistic.value is not None else None
    return Score(record=record, task=task, metric=clean(metric, NAME_LENGTH), statistic=usable)


def _labels(records: Sequence[Record]) -> dict[str, str]:
    """Name each artifact id; ids that share a name carry a part of the id."""
    names = {record.artifact.id: clean(record.artifact.name, NAME_LENGTH) or "unnamed" for record in records}
    shared = {name for name, times in collections.Counter(names.values()).items() if times > 1}
    return {key: f"{name} ({prefix(key, 8)})" if name in shared else name for key, name in names.items()}


def _with_series(entries: list[Entry]) -> list[Entry]:
    """Give each artifact the shortest name that is its own within each task: model and precision, or its label."""
    ids = collections.defaultdict(set)
    for entry in entries:
        ids[entry.task, _model(entry)].add(entry.artifact.id)
    differing = varying(entry.profile.cell for entry in entries if entry.profile is not None)
    named = []
    for entry in entries:
        cell = entry.profile.cell if entry.profile is not None else None
        settings = in_words(cell, (name for name in SETTINGS if name in differing)) if cell is not None else ()
        tuning = in_words(cell, (name for name in TUNING if name in differing)) if cell is not None else ()
        name = entry.label if len(ids[entry.task, _model(entry)]) > 1 else _model(entry)
        named.append(
            dataclasses.replace(entry, series=", ".join([name, *tuning]), settings=settings, tuning=tuning),
        )
    return named


def _model(entry: Entry) -> str:
    candidate = clean(entry.artifact.candidate or entry.artifact.name, 32)
    precision = clean(entry.artifact.precision, 20)
    return candidate if precision in candidate else f"{candidate} {precision}"


def _order(entry: Entry) -> tuple[object, ...]:
    """Order rows for reading: those that may be compared stand together, the fastest first."""
    cell = entry.record.cell
    return (
        entry.task == "",
        entry.task,
        entry.profile is None,
        *entry.place,
        _cost(entry),
        entry.label,
        entry.artifact.precision,
        cell.runtime,
        cell.threads,
        cell.padding,
        entry.record.record_id,
    )


def _cost(entry: Entry) -> float:
    quantity, name = entry.judged_by
    figure = entry.figure(quantity, name)
    if figure is None or figure.value is None:
        return float("inf")
    return figure.value if QUANTITIES[quantity].better == "lower" else -figure.value

"""What has to be said under a comparison: hidden dimensions, void and noisy rows, what was not measured, the star.

A difference that no column shows is announced here; it is never left to the reader to notice.
"""

import collections
from collections.abc import Iterable, Sequence

from benchkit.core.quantities import QUANTITIES
from benchkit.core.records import Measured, NotMeasured, Record
from benchkit.report.cells import Column
from benchkit.report.entries import Entry
from benchkit.report.plain import NOTE_LENGTH, clean, counted, listed
from benchkit.report.reasons import kinds_of, reasons_of, summarised

_CELL_FIELDS = (
    *("runtime", "device", "provider", "threads", "inter_op_threads", "scenario", "padding", "rate_per_s", "load"),
    *("p99_at_most_s", "lengths_from", "affinity", "transfers", "engine"),
)
_SHOWN_BY_LOAD = ("rate_per_s", "p99_at_most_s")
_HOST_FIELDS = ("cpu_model", "cores", "memory_bytes", "os", "kernel", "machine")


def notes_of(
    records: Sequence[Record], entries: Sequence[Entry], columns: Sequence[Column], has_stars: bool
) -> tuple[str, ...]:
    """Return the sentences that belong under the table, in order of weight."""
    notes = [*void_rows(entries), *noisy_rows(entries), *hidden_differences(entries, columns), *_score_origin(entries)]
    notes += _score_data(entries)
    notes += [*_repeats(entries), *_weak_bounds(entries), *not_measured(entries), *_other_kinds(records)]
    if has_stars:
        notes.append(
            "★ on the Pareto front: no row of the same task, host, batch size and sequence length has a better score "
            "at no more latency (p95, or p50 where a p95 is missing); estimates are compared, not their bounds"
        )
    return tuple(notes)


def void_rows(entries: Sequence[Entry]) -> list[str]:
    """Name the void rows and scores, one sentence for each kind of reasons."""
    scores = [
        f"void: the score of {entry.label} on {score.task}: {reasons_of(score.record)}"
        for entry in _once_an_artifact(entries)
        for score in entry.scores
        if score.is_void
    ]
    return [*_disturbed(entries, "invalid", "void"), *scores]


def noisy_rows(entries: Sequence[Entry]) -> list[str]:
    """Name the noisy rows, one sentence for each kind of reasons; they are shown, and can decide nothing."""
    return _disturbed(entries, "noisy", "noisy")


def _disturbed(entries: Sequence[Entry], verdict: str, word: str) -> list[str]:
    by_kind = collections.defaultdict(list)
    for entry in entries:
        if entry.profile is not None and entry.profile.noise.verdict == verdict:
            by_kind[kinds_of(entry.profile)].append(entry)
    return [
        f"{word}: {listed(list(map(where, rows)))}: {summarised(r for row in rows for r in row.record.noise.reasons)}"
        for rows in by_kind.values()
    ]


def hidden_differences(entries: Sequence[Entry], columns: Sequence[Column]) -> list[str]:
    """Announce every setting, version and host fact in which the profiles differ and which is not a column.

    Void rows are left out: they are compared with nothing, and what ran in them is not proved.
    """
    profiles = [entry.profile for entry in entries if entry.profile is not None and not entry.is_void]
    shown = {column.key for column in columns}
    shown |= set(_SHOWN_BY_LOAD) if "load" in shown else set()
    seen: dict[str, set[str]] = collections.defaultdict(set)
    for record in profiles:
        for name, value in _dimensions(record):
            seen[name].add(clean(value, 40))
    # A fact of the host is hidden only where one host shows two of them: another host is told by its own column.
    hosts = collections.defaultdict(lambda: collections.defaultdict(set))  # type: ignore[var-annotated]
    for record in profiles:
        for name in _HOST_FIELDS:
            hosts[name][record.host.id].add(clean(getattr(record.host, name), 40))
    for name, values_by_host in hosts.items():
        if any(len(values) > 1 for values in values_by_host.values()):
            seen[name] = set().union(*values_by_host.values())
    return [
        f"these {len(profiles)} records differ in {name} ({', '.join(_few(values))}), which is not a column"
        for name, values in sorted(seen.items())
        if len(values) > 1 and name not in shown
    ]


def not_measured(entries: Sequence[Entry]) -> list[str]:
    """Say which quantities could not be measured, in how many rows, why, and what would help."""
    profiles = [entry.profile for entry in entries if entry.profile is not None]
    found: dict[tuple[str, ...], int] = collections.Counter()
    for record in profiles:
        for name, measurement in sorted(record.measurements.items()):
            if isinstance(measurement, NotMeasured):
                found[name, measurement.reason, measurement.detail, measurement.remedy] += 1
    return [
        f"{_title(name)} was not measured in {_share(times, len(profiles))} ({clean(reason, 60)})"
        + "".join(f"{mark}{clean(part, NOTE_LENGTH)}" for mark, part in ((": ", detail), ("; fix: ", remedy)) if part)
        for (name, reason, detail, remedy), times in sorted(found.items())
    ] + _without_value(profiles)


def where(entry: Entry) -> str:
    """Name a row so that it cannot be taken for another: 'small-int8 (batch 1, 128 tokens, padding longest)'."""
    if entry.profile is None:
        return entry.label
    cell = entry.profile.cell
    tokens = f", {cell.sequence_length:,} tokens" if cell.sequence_length is not None else ""
    settings = "".join(f", {words}" for words in entry.settings)
    return f"{entry.label} (batch {cell.batch_size:,}{tokens}{settings})"


def _without_value(profiles: Sequence[Record]) -> list[str]:
    """Say which percentiles the samples were too small for."""
    found: dict[tuple[str, str], list[str]] = collections.defaultdict(list)
    measured: dict[str, int] = collections.Counter()
    for record in profiles:
        for name in ("latency", "response_time"):
            measurement = record.measurements.get(name)
            figures = measurement.statistics if isinstance(measurement, Measured) else {}
            measured[name] += isinstance(measurement, Measured)
            for statistic, figure in figures.items():
                if figure.value is None:
                    found[name, statistic].append(figure.reason or "no reason is recorded")
    return [
        f"{_title(name)} {clean(statistic, 20)} is missing in {_share(len(reasons), measured[name])}: "
        f"{'in one of them, ' if len(set(reasons)) > 1 else ''}{clean(sorted(reasons)[0], NOTE_LENGTH)}"
        for (name, statistic), reasons in sorted(found.items())
    ]


def _weak_bounds(entries: Sequence[Entry]) -> list[str]:
    """Pass on what the records say of the bounds of their medians: of latencies and of response times."""
    notes = []
    for quantity in ("latency", "response_time"):
        medians = [median for entry in entries if (median := entry.figure(quantity, "p50")) is not None]
        found = collections.Counter(clean(median.reason, NOTE_LENGTH) for median in medians if median.reason)
        notes += [
            f"median {_title(quantity)} in {_share(times, len(medians))}: {reason}"
            for reason, times in sorted(found.items(), key=lambda item: (-item[1], item[0]))[:3]
        ]
    return notes


def _dimensions(record: Record) -> Iterable[tuple[str, object]]:
    cell = record.cell
    yield from ((name, getattr(cell, name)) for name in _CELL_FIELDS)
    yield from ((clean(name, 40), value) for name, value in (cell.model_extra or {}).items())
    yield from ((f"the version of {clean(name, 40)}", value) for name, value in record.host.versions.items())
    yield ("the version of benchkit", record.benchkit_version)
    yield ("seed", record.seed)
    if record.host.id:
        yield ("host", record.host.id)


def _score_origin(entries: Sequence[Entry]) -> list[str]:
    strangers = [
        entry.label
        for entry in _once_an_artifact(entries)
        for score in entry.scores
        if entry.profile is not None
        and (score.record.host.id, score.record.cell.runtime) != (entry.profile.host.id, entry.profile.cell.runtime)
    ]
    names = sorted(set(strangers))
    if not names:
        return []
    return [f"the score of {listed(names)} was taken on another host or runtime than the latency"]


def _score_data(entries: Sequence[Entry]) -> list[str]:
    """Say which scores are of other data than the official, and which depend on the batch."""
    scores = [score for entry in _once_an_artifact(entries) for score in entry.scores]
    partial = sorted({f"* {score.data_said}" for score in scores if score.data_state})
    return partial + sorted({score.batch_effect for score in scores if score.batch_effect})


def _repeats(entries: Sequence[Entry]) -> list[str]:
    times = collections.Counter(
        (where(entry), entry.profile.cell.model_dump_json(), entry.profile.host.id)
        for entry in entries
        if entry.profile is not None
    )
    return [
        f"{where_} was profiled {number} times; each time has its own row"
        for (where_, _, _), number in times.items()
        if number > 1
    ]


def _other_kinds(records: Sequence[Record]) -> list[str]:
    others = {record.record_id for record in records if record.kind not in ("profile", "score")}
    return (
        [f"{counted(len(others), 'paired comparison')} among the records: in a section of its own, not in this table"]
        if others
        else []
    )


def _once_an_artifact(entries: Sequence[Entry]) -> list[Entry]:
    return list({entry.artifact.id: entry for entry in reversed(entries)}.values())[::-1]


def _title(name: str) -> str:
    return QUANTITIES[name].title if name in QUANTITIES else clean(name, 40)


def _share(times: int, of: int) -> str:
    if times == of:
        return f"all {of} rows" if of > 1 else "the only row"
    return f"{times} of {of} rows"


def _few(values: set[str]) -> list[str]:
    ordered = sorted(values, key=lambda value: (len(value), value))
    return ordered if len(ordered) <= 4 else [*ordered[:4], f"and {len(ordered) - 4} more"]

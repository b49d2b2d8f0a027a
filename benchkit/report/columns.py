"""The columns of a comparison and what each makes of an entry; a column is one row of the table below."""

import dataclasses
from collections.abc import Callable, Sequence

from benchkit.core.quantities import QUANTITIES
from benchkit.core.records import Measured, Record, Statistic
from benchkit.report.cells import Column, TableCell, absent
from benchkit.report.entries import Entry, varying_cell_fields
from benchkit.report.figures import bounds_text, value_text, with_unit
from benchkit.report.plain import NAME_LENGTH, NOTE_LENGTH, clean, counted
from benchkit.report.reasons import reasons_of, why_absent
from benchkit.report.score_cells import metric_cell, score_cell, task_cell

Maker = Callable[[Column, Entry, bool], TableCell]

# Shown only when some record has it; load_time and first_call are for CSV and JSON.
_OPTIONAL = ("response_time", "cold_start", "energy_gpu", "load_time", "first_call", "logit_difference")
_DETAILS = ("load_time", "first_call", "logit_difference")


def columns_for(entries: Sequence[Entry]) -> tuple[Column, ...]:
    """Return the columns that these entries need: settings that vary, rare quantities that were measured."""
    varying = set(varying_cell_fields(entries, ("runtime", "device", "threads", "scenario")))
    if len({entry.record.host.id for entry in entries}) > 1:
        varying.add("host")
    if any(entry.scores for entry in entries):
        varying |= {"task", "metric"}
    varying |= {
        name
        for name in _OPTIONAL
        for entry in entries
        if entry.profile is not None and isinstance(entry.profile.measurements.get(name), Measured)
    }
    return tuple(column for column in _MAKERS if not column.is_optional or column.key in varying)


def cell_of(column: Column, entry: Entry, on_front: bool) -> TableCell:
    """Draw one cell."""
    return _MAKERS[column](column, entry, on_front)


def _artifact(_: Column, entry: Entry, on_front: bool) -> TableCell:
    artifact = entry.artifact
    note = f"{clean(artifact.name, NOTE_LENGTH)}, id {clean(artifact.id, 64)}"
    star = "★ " if on_front else ""
    # The precision has a column of its own.
    label = entry.label.removesuffix(f"-{clean(artifact.precision, NAME_LENGTH)}")
    return TableCell(text=star + label, value=clean(artifact.name), note=note)


def _from_artifact(column: Column, entry: Entry, _: bool) -> TableCell:
    text = clean(getattr(entry.artifact, column.key), NAME_LENGTH)
    return TableCell(text=text, value=text)


def _from_cell(column: Column, entry: Entry, _: bool) -> TableCell:
    value = getattr(entry.profile.cell, column.key) if entry.profile is not None else None
    if value is None:
        why = "not profiled" if entry.profile is None else "inputs have their own lengths"
        return absent(why)
    if column.is_number:
        return TableCell(text=f"{value:,}", value=value)
    return TableCell(text=clean(value, NAME_LENGTH), value=clean(value, NAME_LENGTH))


def _host(_: Column, entry: Entry, __: bool) -> TableCell:
    host = entry.record.host
    text = clean(host.id, 24)
    return TableCell(text=text, value=text, note=clean(f"{host.cpu_model}, {host.cores} cores, {host.os}", NOTE_LENGTH))


def _figure(column: Column, entry: Entry, _: bool) -> TableCell:
    assert column.quantity is not None
    if entry.profile is None:
        return absent("not profiled")
    statistic = _statistic(entry.profile, column)
    if entry.is_void and (statistic is None or statistic.value is None):
        return TableCell(text="void", note=f"void: {reasons_of(entry.profile)}", tone="void")
    if statistic is None:
        return absent(why_absent(entry.profile, column.quantity))
    if statistic.value is None:
        return absent(clean(statistic.reason or "no figure, and no reason is recorded", NOTE_LENGTH))
    quantity = QUANTITIES[column.quantity]
    if entry.is_void:
        note = f"void: {reasons_of(entry.profile)}; the instrument read {with_unit(quantity, statistic)}"
        return TableCell(text="void", note=clean(note, NOTE_LENGTH), tone="void")
    note = f"{with_unit(quantity, statistic)}, n = {statistic.n:,}"
    if statistic.reason:
        note += f"; {clean(statistic.reason, NOTE_LENGTH)}"
    return TableCell(
        text=value_text(quantity, statistic),
        below=bounds_text(quantity, statistic) if not quantity.exact else "",
        value=statistic.value,
        low=statistic.low,
        high=statistic.high,
        note=note,
    )


def _size(column: Column, entry: Entry, on_front: bool) -> TableCell:
    """Draw the size of the artifact: a fact about the files, known even where no profile is or the profile is void."""
    del on_front
    exact = Statistic(value=entry.artifact.size_bytes, n=1)
    quantity = QUANTITIES["artifact_size"]
    note = f"{entry.artifact.size_bytes:,} bytes: model file and its external data"
    return TableCell(text=value_text(quantity, exact), value=entry.artifact.size_bytes, note=note)


def _statistic(record: Record, column: Column) -> Statistic | None:
    """Return the column's statistic: the one its key names, or the quantity's headline, or the only one there is."""
    assert column.quantity is not None
    measurement = record.measurements.get(column.quantity)
    if not isinstance(measurement, Measured):
        return None
    named = column.key.removeprefix(column.quantity).strip("_")
    if named:
        return measurement.statistics.get(named)
    headline = measurement.statistics.get(QUANTITIES[column.quantity].headline)
    alone = next(iter(measurement.statistics.values())) if len(measurement.statistics) == 1 else None
    return headline or alone


def _count(_: Column, entry: Entry, __: bool) -> TableCell:
    measurement = entry.profile.measurements.get("latency") if entry.profile is not None else None
    if not isinstance(measurement, Measured):
        return absent("no latency was measured")
    n = max((statistic.n for statistic in measurement.statistics.values()), default=0)
    runs = len(measurement.runs)
    below = counted(runs, "run") if runs else ""
    note = f"{counted(n, 'latency value')} from {counted(runs, 'process', 'processes')}" if runs else ""
    return TableCell(text=f"{n:,}", below=below, value=n, note=note)


def _noise(_: Column, entry: Entry, __: bool) -> TableCell:
    if entry.profile is None:
        return absent("not profiled")
    verdict = entry.profile.noise.verdict
    reasons = clean("; ".join(entry.profile.noise.reasons), NOTE_LENGTH)
    if verdict == "invalid":
        return TableCell(text="void", value="void", note=reasons or "no reason is recorded", tone="void")
    return TableCell(text=verdict, value=verdict, note=reasons, tone=verdict)


def _quantity_column(name: str, statistic: str = "", *, title: str = "", rank: int) -> Column:
    quantity = QUANTITIES[name]
    return Column(
        key=f"{name}_{statistic}".rstrip("_"),
        title=title or quantity.title,
        unit=quantity.display_unit,
        better=quantity.better,
        quantity=name,
        rank=rank,
        is_detail=name in _DETAILS,
    )


def _optional(column: Column) -> Column:
    return dataclasses.replace(column, is_optional=True)


# In the order of the table.
_MAKERS: dict[Column, Maker] = {
    Column(key="artifact", title="artifact", is_number=False): _artifact,
    Column(key="precision", title="precision", is_number=False, rank=2): _from_artifact,
    _optional(Column(key="host", title="host", is_number=False)): _host,
    _optional(Column(key="runtime", title="runtime", is_number=False)): _from_cell,
    _optional(Column(key="device", title="device", is_number=False)): _from_cell,
    _optional(Column(key="threads", title="threads")): _from_cell,
    _optional(Column(key="scenario", title="scenario", is_number=False)): _from_cell,
    Column(key="batch_size", title="batch"): _from_cell,
    Column(key="sequence_length", title="tokens"): _from_cell,
    _optional(Column(key="task", title="task", is_number=False)): task_cell,
    Column(key="score", title="score", unit="%", better="higher", quantity="score"): score_cell,
    _optional(Column(key="metric", title="metric", is_number=False, is_detail=True)): metric_cell,
    _quantity_column("latency", "p50", title="latency p50", rank=0): _figure,
    _quantity_column("latency", "p95", title="latency p95", rank=1): _figure,
    _quantity_column("latency", "p99", title="latency p99", rank=6): _figure,
    _optional(_quantity_column("response_time", rank=3)): _figure,
    _quantity_column("throughput", rank=3): _figure,
    _quantity_column("peak_memory", rank=4): _figure,
    _quantity_column("artifact_size", rank=5): _size,
    _quantity_column("cpu_time", title="CPU time per example", rank=8): _figure,
    _optional(_quantity_column("cold_start", rank=8)): _figure,
    _optional(_quantity_column("load_time", rank=9)): _figure,
    _optional(_quantity_column("first_call", rank=9)): _figure,
    _optional(_quantity_column("logit_difference", rank=9)): _figure,
    _quantity_column("energy_package", rank=9): _figure,
    _optional(_quantity_column("energy_gpu", rank=7)): _figure,
    Column(key="n", title="n", rank=7): _count,
    Column(key="noise", title="noise", is_number=False): _noise,
}

"""The cells that hold a measured figure: a value with its bounds, 'void', or an em dash with its reason."""

import dataclasses

from benchkit.core.quantities import QUANTITIES
from benchkit.core.records import Measured, Record, Statistic
from benchkit.report import loose
from benchkit.report.cells import Column, TableCell, absent
from benchkit.report.entries import Entry
from benchkit.report.figures import bounds_text, value_text, with_unit
from benchkit.report.plain import NOTE_LENGTH, clean, counted
from benchkit.report.reasons import reasons_of, why_absent

# Quantities whose raw values are single calls, in the order in which a row is counted by them.
_OF_CALLS = ("latency", "response_time")


def figure_cell(column: Column, entry: Entry, _: bool) -> TableCell:
    """Draw one figure. 'void' stands only where something was measured, and may not be used."""
    assert column.quantity is not None
    if entry.profile is None:
        return absent("not profiled")
    statistic = statistic_of(entry.profile, column)
    if statistic is None:
        return absent(why_absent(entry.profile, column.quantity))
    if statistic.value is None and not entry.is_void:
        return absent(clean(statistic.reason or "no figure, and no reason is recorded", NOTE_LENGTH))
    quantity = QUANTITIES[column.quantity]
    if entry.is_void:
        read = "" if statistic.value is None else f"; the instrument read {with_unit(quantity, statistic)}"
        return TableCell(text="void", note=clean(f"void: {reasons_of(entry.profile)}{read}", NOTE_LENGTH), tone="void")
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


def energy_cell(column: Column, entry: Entry, on_front: bool) -> TableCell:
    """Draw gross energy, with the net figure beneath it."""
    assert column.quantity is not None
    cell = figure_cell(column, entry, on_front)
    if cell.value is None or entry.profile is None:
        return cell
    quantity, details = QUANTITIES[column.quantity], loose.details(entry.profile, column.quantity)
    net = entry.profile.statistic(column.quantity, "net_median")
    read_by = ", ".join(filter(None, [loose.text(details.get("source")), loose.text(details.get("scope"))]))
    told = [cell.note, read_by]
    below = cell.below
    if net is not None and net.value is not None:
        below = ", ".join(filter(None, [below, f"net {value_text(quantity, net)}"]))
        told.append(f"net of idle power {with_unit(quantity, net)}")
    elif net is not None:
        told.append(f"no net figure: {clean(net.reason or 'no reason is recorded', NOTE_LENGTH)}")
    return dataclasses.replace(cell, below=below, note=clean("; ".join(filter(None, told)), NOTE_LENGTH))


def size_cell(_: Column, entry: Entry, on_front: bool) -> TableCell:
    """Draw the size of the artifact: a fact about the files, known even where no profile is or the profile is void."""
    del on_front
    exact = Statistic(value=entry.artifact.size_bytes, n=1)
    note = f"{entry.artifact.size_bytes:,} bytes: model file and its external data"
    text = value_text(QUANTITIES["artifact_size"], exact)
    return TableCell(text=text, value=entry.artifact.size_bytes, note=note)


def count_cell(_: Column, entry: Entry, __: bool) -> TableCell:
    """Count the calls behind the row's percentiles, or the windows behind its throughput where it has none."""
    if entry.profile is None:
        return absent("not profiled")
    found = [name for name in _OF_CALLS if isinstance(entry.profile.measurements.get(name), Measured)]
    name = found[0] if found else "throughput"
    measurement = entry.profile.measurements.get(name)
    if not isinstance(measurement, Measured):
        return absent("nothing was timed")
    n = max((statistic.n for statistic in measurement.statistics.values()), default=0)
    runs = len(measurement.runs)
    note = f"{counted(n, f'{loose.title(name)} value')} from {counted(runs, 'process', 'processes')}" if runs else ""
    return TableCell(text=f"{n:,}", below=counted(runs, "run") if runs else "", value=n, note=note)


def statistic_of(record: Record, column: Column) -> Statistic | None:
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

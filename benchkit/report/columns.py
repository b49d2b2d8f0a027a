"""The columns of a comparison, in the order of the table, and which of them a set of rows needs.

What each makes of an entry is in `setting_cells`, `figure_cells` and `score_cells`.
"""

import dataclasses
from collections.abc import Callable, Sequence

from benchkit.core.quantities import QUANTITIES
from benchkit.core.records import Measured
from benchkit.report import figure_cells, setting_cells
from benchkit.report.cells import Column, TableCell
from benchkit.report.entries import Entry
from benchkit.report.score_cells import metric_cell, score_cell, task_cell
from benchkit.report.settings_in_words import varying

Maker = Callable[[Column, Entry, bool], TableCell]

# Closed-loop figures and package energy are looked for in every comparison: a missing one is a fact to be seen.
_ALWAYS = ("throughput", "peak_memory", "artifact_size", "cpu_time", "energy_package")
# For CSV and JSON alone.
_DETAILS = ("load_time", "first_call", "logit_difference", "attained_flops")
_TEXT_SETTINGS = ("scenario", "load", "padding", "lengths_from", "runtime", "device", "affinity", "transfers", "engine")


def columns_for(entries: Sequence[Entry]) -> tuple[Column, ...]:
    """Return the columns that these entries need: settings that vary, rare quantities that were measured."""
    profiles = [entry.profile for entry in entries if entry.profile is not None]
    needed = set(varying(record.cell for record in profiles))
    if any(record.cell.scenario != "single-stream" for record in profiles):
        needed |= {"scenario", "load"} if any(entry.place.load for entry in entries) else {"scenario"}
    if "load" in needed:
        needed |= {"rate_per_s", "load_share", "p99_at_most_s"}
    if any(record.cell.lengths_from for record in profiles):
        needed |= {"lengths_from", "padding"}
    if len({entry.record.host.id for entry in entries}) > 1:
        needed.add("host")
    if any(entry.scores for entry in entries):
        needed |= {"task", "metric"}
    measured = {
        name for record in profiles for name, found in record.measurements.items() if isinstance(found, Measured)
    }
    if not any(_is_padded(entry) for entry in entries):
        measured -= {"padding_waste", "token_throughput"}
    needed |= {column.key for column in _COLUMNS if column.quantity in measured}
    if not profiles or any("latency" in record.measurements for record in profiles):
        needed |= {column.key for column in _COLUMNS if column.quantity == "latency"}
    columns = (column for column in _COLUMNS if not column.is_optional or column.key in needed)
    return tuple(_ranked(column, entries) for column in columns)


def cell_of(column: Column, entry: Entry, on_front: bool) -> TableCell:
    """Draw one cell."""
    return _MAKERS[column.key](column, entry, on_front)


def _ranked(column: Column, entries: Sequence[Entry]) -> Column:
    """Rank the figure that rows are judged by before others, and a score that nobody has after them."""
    judged = {"_".join(entry.judged_by) for entry in entries if entry.profile is not None}
    if column.rank > 1 and judged & {column.key, f"{column.key}_{_headline(column)}"}:
        return dataclasses.replace(column, rank=1)
    if column.key == "score" and not any(entry.scores for entry in entries):
        return dataclasses.replace(column, rank=3)
    return column


def _headline(column: Column) -> str:
    return QUANTITIES[column.quantity].headline if column.quantity is not None else ""


def _is_padded(entry: Entry) -> bool:
    waste = entry.profile.statistic("padding_waste", "value") if entry.profile is not None else None
    return waste is not None and bool(waste.value)


def _quantity(name: str, statistic: str = "", *, title: str = "", rank: int) -> Column:
    quantity = QUANTITIES[name]
    return Column(
        key=f"{name}_{statistic}".rstrip("_"),
        title=title or quantity.title,
        unit=quantity.display_unit,
        better=quantity.better,
        quantity=name,
        rank=rank,
        is_optional=name not in _ALWAYS,
        is_detail=name in _DETAILS,
    )


def _setting(key: str, title: str) -> Column:
    return Column(key=key, title=title, is_number=key not in _TEXT_SETTINGS, is_optional=True, folds=True)


def _detail(key: str, title: str, *, is_number: bool = True) -> Column:
    return Column(key=key, title=title, is_number=is_number, is_optional=True, is_detail=True)


# In the order of the table.
_TABLE: tuple[tuple[Column, Maker], ...] = (
    (Column(key="artifact", title="artifact", is_number=False), setting_cells.artifact_cell),
    (Column(key="precision", title="precision", is_number=False, rank=2, folds=True), setting_cells.precision_cell),
    (Column(key="host", title="host", is_number=False, is_optional=True), setting_cells.host_cell),
    (_setting("runtime", "runtime"), setting_cells.setting_cell),
    (_setting("device", "device"), setting_cells.setting_cell),
    (_setting("threads", "threads"), setting_cells.setting_cell),
    (_setting("scenario", "scenario"), setting_cells.setting_cell),
    (_setting("load", "load"), setting_cells.load_cell),
    (_detail("rate_per_s", "rate"), setting_cells.setting_cell),
    (_detail("load_share", "share of capacity"), setting_cells.load_share_cell),
    (_detail("p99_at_most_s", "bound on p99"), setting_cells.setting_cell),
    (_setting("padding", "padding"), setting_cells.setting_cell),
    (_setting("lengths_from", "lengths from"), setting_cells.setting_cell),
    (_setting("affinity", "cores"), setting_cells.affinity_cell),
    (_setting("transfers", "copies"), setting_cells.transfers_cell),
    (_setting("engine", "load by"), setting_cells.setting_cell),
    (Column(key="batch_size", title="batch"), setting_cells.setting_cell),
    (Column(key="sequence_length", title="tokens"), setting_cells.setting_cell),
    (Column(key="task", title="task", is_number=False, is_optional=True), task_cell),
    (Column(key="score", title="score", unit="%", better="higher", quantity="score"), score_cell),
    (_detail("metric", "metric", is_number=False), metric_cell),
    (_quantity("latency", "p50", title="latency p50", rank=0), figure_cells.figure_cell),
    (_quantity("latency", "p95", title="latency p95", rank=2), figure_cells.figure_cell),
    (_quantity("latency", "p99", title="latency p99", rank=6), figure_cells.figure_cell),
    (_quantity("response_time", "p50", title="response p50", rank=3), figure_cells.figure_cell),
    (_quantity("response_time", "p95", title="response p95", rank=4), figure_cells.figure_cell),
    (_quantity("response_time", "p99", title="response p99", rank=1), figure_cells.figure_cell),
    (_quantity("sustained_rate", title="sustained rate", rank=2), figure_cells.figure_cell),
    (_quantity("tokenize_time", rank=7), figure_cells.figure_cell),
    (_quantity("end_to_end_latency", rank=4), figure_cells.figure_cell),
    (_quantity("throughput", rank=3), figure_cells.figure_cell),
    (_quantity("token_throughput", title="real tokens", rank=6), figure_cells.figure_cell),
    (_quantity("padding_waste", rank=6), figure_cells.figure_cell),
    (_quantity("peak_memory", rank=4), figure_cells.figure_cell),
    (_quantity("plateau_memory", rank=8), figure_cells.figure_cell),
    (_quantity("peak_gpu_memory", rank=4), figure_cells.figure_cell),
    (_quantity("artifact_size", rank=5), figure_cells.size_cell),
    (_quantity("cpu_time", title="CPU time per example", rank=8), figure_cells.figure_cell),
    (_quantity("cold_start", title="cold start", rank=7), figure_cells.figure_cell),
    (_quantity("cold_start", "warm_median", title="warm start", rank=8), figure_cells.figure_cell),
    (_quantity("load_time", rank=9), figure_cells.figure_cell),
    (_quantity("first_call", rank=9), figure_cells.figure_cell),
    (_quantity("logit_difference", rank=9), figure_cells.figure_cell),
    (_quantity("attained_flops", rank=9), figure_cells.figure_cell),
    (_quantity("roofline_share", title="of the roofline", rank=8), figure_cells.figure_cell),
    (_quantity("energy_package", rank=9), figure_cells.energy_cell),
    (_quantity("energy_dram", rank=9), figure_cells.energy_cell),
    (_quantity("energy_gpu", rank=7), figure_cells.energy_cell),
    (Column(key="n", title="n", rank=7), figure_cells.count_cell),
    (Column(key="noise", title="noise", is_number=False), setting_cells.noise_cell),
)
_COLUMNS = tuple(column for column, _ in _TABLE)
_MAKERS = {column.key: maker for column, maker in _TABLE}

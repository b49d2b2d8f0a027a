"""What lies behind a row, for those who doubt it: proof, sampling, memory, cold start, energy, roofline.

A page of thousands of rows carries this for some of them only, and says so.
"""

import dataclasses
from collections.abc import Sequence

from benchkit.report.cells import Listing
from benchkit.report.chart_facts import Chart
from benchkit.report.detail_cold_start import cold_start_chart, cold_start_parts
from benchkit.report.detail_energy import energy_parts
from benchkit.report.detail_memory import memory_parts
from benchkit.report.detail_proof import proof_parts
from benchkit.report.detail_roofline import roofline_parts
from benchkit.report.detail_sampling import sampling_parts
from benchkit.report.entries import Entry
from benchkit.report.notes import where
from benchkit.report.plain import counted

# Rows with details on a page, and on one of so many rows that its size matters.
_MOST, _MOST_OF_MANY, MANY_ROWS = 40, 12, 300
_MOST_CHARTS = 8

_PARTS = (proof_parts, sampling_parts, memory_parts, cold_start_parts, energy_parts, roofline_parts)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RowDetails:
    """The details of one row.

    Attributes:
        title: Which row.
        state: "clean", "noisy" or "void".
        on_front: Whether the row carries the star.
        parts: Tables under a heading each; a part without rows is its lead alone.
        chart: The phases of a cold start; None without one.
    """

    title: str
    state: str
    on_front: bool
    parts: tuple[Listing, ...]
    chart: Chart | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Details:
    """Those of a page, and what is left out."""

    rows: tuple[RowDetails, ...]
    remark: str = ""


def details_of(entries: Sequence[Entry], stars: frozenset[str]) -> Details:
    """Return details of the rows on the front, then of void ones, then of others, in the order of the table."""
    profiled = [entry for entry in entries if entry.profile is not None and _has_details(entry)]
    most = _MOST if len(entries) <= MANY_ROWS else _MOST_OF_MANY
    ranked = sorted(
        range(len(profiled)), key=lambda k: (profiled[k].record.record_id not in stars, not profiled[k].is_void, k)
    )
    chosen = [profiled[number] for number in sorted(ranked[:most])]
    rows, charts = [], 0
    for entry in chosen:
        chart = cold_start_chart(entry.record, charts + 1) if charts < _MOST_CHARTS else None
        charts += chart is not None
        rows.append(_row(entry, entry.record.record_id in stars, chart))
    remark = ""
    if len(chosen) < len(profiled):
        remark = (
            f"Of {counted(len(profiled), 'row')} {len(chosen):,} have their details here: those on the front first, "
            f"then void ones. The records hold all of them."
        )
    return Details(rows=tuple(rows), remark=remark)


def _row(entry: Entry, on_front: bool, chart: Chart | None) -> RowDetails:
    verdict = entry.record.noise.verdict
    parts = [part for make in _PARTS for part in make(entry.record)]
    return RowDetails(
        title=where(entry),
        state="void" if verdict == "invalid" else verdict,
        on_front=on_front,
        parts=tuple(part for part in parts if part.rows or part.lead),
        chart=chart,
    )


def _has_details(entry: Entry) -> bool:
    """Tell whether the record holds more than its figures."""
    return bool(entry.record.proof or entry.record.sampling)

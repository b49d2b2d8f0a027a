"""Batch x sequence heatmaps: the median latency of an artifact over its matrix, as tables with tinted cells.

They are tables, not pictures: every number is text that a screen reader, a search and a phone can handle, and a
combination that was not run is seen to be missing.
"""

import dataclasses
import math
from collections.abc import Sequence

from benchkit.core.quantities import QUANTITIES
from benchkit.report.entries import Entry
from benchkit.report.figures import value_text, with_unit
from benchkit.report.front import groups_of, starred
from benchkit.report.plain import clean
from benchkit.report.selection import representatives

_MOST = 12


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HeatCell:
    """One combination; `tint` runs from 0 (the fastest of the page) to 1, None when it was not run or is void."""

    text: str
    note: str = ""
    tint: float | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Heatmap:
    """One artifact: rows are batch sizes, columns sequence lengths."""

    title: str
    lengths: tuple[str, ...]
    rows: tuple[tuple[str, tuple[HeatCell, ...]], ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Heatmaps:
    """All heatmaps of a page, on one colour scale, and what is left out."""

    maps: tuple[Heatmap, ...]
    remark: str = ""


def heatmaps_of(entries: Sequence[Entry]) -> Heatmaps:
    """Return a heatmap for each model and precision that was run at more than one batch size or sequence length."""
    cells: dict[tuple[str, ...], dict[tuple[int, int], Entry]] = {}
    for entry in entries:
        # Without calls one at a time there is no latency to tint: server and offline rows have no map.
        if entry.profile is not None and entry.place.scenario == "single-stream":
            cells.setdefault(_identity(entry), {}).setdefault(_shape(entry), entry)
    spread = {key: found for key, found in cells.items() if len(found) > 1}
    firsts = [next((e for e in found.values() if not e.is_void), None) for found in spread.values()]
    chosen = representatives([e for e in firsts if e is not None], most=_MOST, prefer=starred(groups_of(entries)))
    several_hosts = len({entry.record.host.id for entry in entries}) > 1
    shown = {_identity(entry): spread[_identity(entry)] for entry in chosen.entries}
    seconds = [s for found in shown.values() for entry in found.values() if (s := _seconds(entry)) is not None]
    return Heatmaps(
        maps=tuple(_heatmap(found, seconds, several_hosts) for found in shown.values()), remark=chosen.remark
    )


def _identity(entry: Entry) -> tuple[str, ...]:
    place = entry.place
    return (entry.artifact.id, entry.series, place.host, place.scenario, *place.load_words)


def _shape(entry: Entry) -> tuple[int, int]:
    return (entry.place.batch_size, entry.place.sequence_length)


def _heatmap(found: dict[tuple[int, int], Entry], seconds: list[float], name_host: bool) -> Heatmap:
    batches = sorted({batch for batch, _ in found})
    lengths = sorted({length for _, length in found})
    entry = next(iter(found.values()))
    host = [clean(entry.record.host.id, 16)] if name_host else []
    return Heatmap(
        title=", ".join([entry.series, *entry.place.load_words, *host]),
        lengths=tuple(f"{length:,}" if length else "own" for length in lengths),
        rows=tuple(
            (f"{batch:,}", tuple(_cell(found.get((batch, length)), seconds) for length in lengths)) for batch in batches
        ),
    )


def _cell(entry: Entry | None, seconds: list[float]) -> HeatCell:
    if entry is None:
        return HeatCell(text="not run")
    if entry.is_void:
        return HeatCell(text="void", note=clean("; ".join(entry.record.noise.reasons), 200))
    median, value = entry.latency("p50"), _seconds(entry)
    if median is None:
        return HeatCell(text="—", note="no median latency")
    quantity = QUANTITIES["latency"]
    return HeatCell(text=value_text(quantity, median), note=with_unit(quantity, median), tint=_tint(value, seconds))


def _tint(value: float | None, seconds: list[float]) -> float | None:
    if value is None:
        return None
    low, high = min(seconds), max(seconds)
    return 0.5 if low == high else round(math.log(value / low) / math.log(high / low), 3)


def _seconds(entry: Entry) -> float | None:
    """Return a positive median; the colour scale is logarithmic."""
    median = entry.latency("p50")
    return median.value if median is not None and median.value is not None and median.value > 0 else None

"""Which rows a chart shows when there are too many, and the sentence that says what it leaves out."""

import dataclasses
from collections.abc import Sequence

from benchkit.report.entries import Entry
from benchkit.report.plain import counted, listed


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Rows of a chart.

    Attributes:
        entries: Those shown, in the table's order.
        remark: What is left out and why; "" when nothing is.
    """

    entries: tuple[Entry, ...]
    remark: str = ""


def representatives(entries: Sequence[Entry], *, most: int, prefer: frozenset[str] = frozenset()) -> Selection:
    """Choose rows that may be drawn: not void, one for each model and precision, at most `most`.

    Fine-tuning one model for several tasks changes its scores and hardly its cost, so the cost is drawn once.

    Args:
        entries: Rows of one place.
        most: Upper limit.
        prefer: Record ids that stay when there are too many; then the fastest stay.
    """
    usable = [entry for entry in entries if not entry.is_void]
    by_series: dict[str, list[Entry]] = {}
    for entry in usable:
        by_series.setdefault(entry.series, []).append(entry)
    chosen = [same[0] for same in by_series.values()]
    remarks = []
    if len(chosen) < len(usable):
        remarks.append(f"Artifacts that differ only in their task are drawn once ({len(chosen)} of {len(usable)}).")
    if len(chosen) > most:
        ranked = sorted(chosen, key=lambda entry: (entry.record.record_id not in prefer, _seconds(entry), entry.series))
        dropped = ranked[most:]
        chosen = [entry for entry in chosen if entry not in dropped]
        remarks.append(f"Left out for want of room: {listed(sorted(entry.series for entry in dropped))}.")
    void = [entry.label for entry in entries if entry.is_void]
    if void:
        remarks.append(f"Not drawn: {counted(len(void), 'void row')} ({listed(sorted(void))}).")
    return Selection(entries=tuple(chosen), remark=" ".join(remarks))


def _seconds(entry: Entry) -> float:
    median = entry.latency("p50")
    return median.value if median is not None and median.value is not None else float("inf")

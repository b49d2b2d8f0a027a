"""How much of the machine's own peak a cell attained, and what holds it back."""

from benchkit.core.quantities import QUANTITIES, format_number
from benchkit.core.records import NotMeasured, Record
from benchkit.report import loose
from benchkit.report.cells import Listing
from benchkit.report.figures import with_unit
from benchkit.report.plain import NOTE_LENGTH
from benchkit.report.reasons import why_absent

_GIGA = 1e-9


def roofline_parts(record: Record) -> list[Listing]:
    """Return the roofline of the cell as facts."""
    if isinstance(record.measurements.get("roofline_share"), NotMeasured):
        return [Listing(title="Roofline", lead=why_absent(record, "roofline_share"))]
    details = loose.details(record, "roofline_share")
    if not details:
        return []
    attained = record.statistic("attained_flops", "median")
    share = record.statistic("roofline_share", "median")
    ceiling, intensity = (
        loose.number(details.get(name)) for name in ("ceiling_flops_per_s", "arithmetic_intensity_flops_per_byte")
    )
    rows = [
        ("attained", with_unit(QUANTITIES["attained_flops"], attained) if attained is not None else ""),
        ("ceiling", f"{format_number(ceiling * _GIGA)} GFLOP/s" if ceiling is not None else ""),
        ("share", with_unit(QUANTITIES["roofline_share"], share) if share is not None else ""),
        ("bound by", loose.text(details.get("bound_by"), 40)),
        ("intensity", f"{format_number(intensity)} FLOP per byte" if intensity is not None else ""),
        ("work of a call", _work(record)),
        ("peak measured with", _peak(record)),
        ("notes", loose.sentences(details.get("notes"))),
        ("warning", loose.text(details.get("warning"), NOTE_LENGTH)),
    ]
    known = tuple((name, text) for name, text in rows if text)
    return [Listing(title="Roofline", heads=("fact", "value"), rows=known)] if known else []


def _work(record: Record) -> str:
    details = loose.details(record, "roofline_share")
    flops, traffic = loose.number(details.get("flops_per_call")), loose.number(details.get("bytes_per_call"))
    if flops is None or traffic is None:
        return ""
    return f"{format_number(flops * _GIGA)} GFLOP, at least {loose.mib(traffic)} of memory traffic"


def _peak(record: Record) -> str:
    details = loose.details(record, "roofline_share")
    return ", ".join(filter(None, [loose.text(details.get(name), 40) for name in ("library", "data_type")]))

"""What ran, as the open session and the kernel told it: provider, settings, threads, cores, operators, formats."""

from typing import Any

from benchkit.core.records import Record
from benchkit.report import loose
from benchkit.report.cells import Listing
from benchkit.report.plain import NOTE_LENGTH, clean
from benchkit.report.settings_in_words import affinity_in_words

_MOST_OPERATORS = 10
_MOST_SETTINGS = 24


def proof_parts(record: Record) -> list[Listing]:
    """Return the proof as facts, and the operators that took the time."""
    proof, cell = record.proof, record.cell
    if not proof:
        return []
    busy = loose.numbers(proof.get("busy_cores"))
    coverage = proof.get("coverage")
    rows = [
        (
            "provider",
            f"{loose.text(proof.get('provider')) or 'not told'} on {clean(cell.device, 20)}, as the session says",
        ),
        ("runtime", " ".join(filter(None, [clean(cell.runtime, 40), loose.text(proof.get("version"), 40)]))),
        ("threads", _threads(record, busy)),
        ("cores", f"asked: {affinity_in_words(cell)}; allowed: {_list(proof.get('affinity')) or 'not known'}"),
        ("settings", _object(proof.get("settings"))),
        ("variables", _object(proof.get("variables"))),
        ("time by provider", _shares(loose.at(coverage, "by_provider"))),
        ("products by format", _shares(loose.at(coverage, "matmul_by_precision"))),
        ("output", _output(proof)),
        ("record", f"{clean(record.record_id, 40)}, seed {record.seed}, {clean(record.started_at_utc, 32)}"),
    ]
    facts = Listing(title="What ran", heads=("fact", "value"), rows=tuple(row for row in rows if row[1]))
    return [facts, *_operators(proof.get("top_operators"))]


def _threads(record: Record, busy: list[float]) -> str:
    os_threads = loose.number(record.proof.get("os_threads"))
    told = [f"{record.cell.threads} asked (inter-op {record.cell.inter_op_threads})"]
    told += [f"{loose.span(busy)} cores busy"] if busy else []
    told += [f"{os_threads:.0f} threads of the system"] if os_threads is not None else []
    return ", ".join(told)


def _shares(value: Any) -> str:
    """Write {"int8": {"nodes": 0.77, "time": 0.94}} as 'int8 94 % (77 % of the nodes)', the largest first."""
    found = [(name, loose.number(loose.at(one, "time")), loose.at(one, "nodes")) for name, one in loose.pairs(value)]
    known = sorted(
        ((time, name, nodes) for name, time, nodes in found if time is not None), key=lambda i: (-i[0], i[1])
    )
    told = (
        f"{clean(name, 40)} {loose.share(time)} ({loose.share(nodes) or '—'} of the nodes)"
        for time, name, nodes in known
    )
    return clean("; ".join(told), NOTE_LENGTH)


def _output(proof: dict[str, Any]) -> str:
    digests = loose.items(proof.get("output_sha256"))
    if not digests:
        return ""
    values = ", ".join(f"{value:g}" for value in loose.numbers(proof.get("output_values"))[:4])
    same = "the same in every run" if len(digests) == 1 else f"{len(digests)} different ones over the runs"
    return f"digest {loose.text(digests[0])[:12]}, {same}; first values {values or 'not recorded'}"


def _object(value: Any) -> str:
    told = (f"{clean(name, 40)} = {loose.text(one)}" for name, one in loose.pairs(value)[:_MOST_SETTINGS])
    return clean("; ".join(told), 2 * NOTE_LENGTH)


def _list(value: Any) -> str:
    return clean(",".join(loose.text(one, 12) for one in loose.items(value)), 60)


def _operators(value: Any) -> list[Listing]:
    rows = tuple(_operator(one) for one in loose.items(value)[:_MOST_OPERATORS])
    if not rows:
        return []
    lead = "From one run under the runtime's own profiler, apart from everything timed."
    return [Listing(title="Operators", lead=lead, heads=("operator", "time", "calls", "provider"), rows=rows)]


def _operator(one: Any) -> tuple[str, ...]:
    calls = loose.number(loose.at(one, "calls"))
    provider = loose.text(loose.at(one, "provider"), 40).removesuffix("ExecutionProvider")
    name = loose.text(loose.at(one, "op_type"), 40)
    return (
        name or "—",
        loose.share(loose.at(one, "share")) or "—",
        "—" if calls is None else f"{calls:,.0f}",
        provider,
    )

"""Everything a report says in words and tables, before any format: the page and the Markdown draw the same contents."""

import collections
import dataclasses
import re
from collections.abc import Sequence

from benchkit.core.records import Host, Record
from benchkit.report.cells import Listing
from benchkit.report.details import Details, details_of
from benchkit.report.entries import Entry, entries_of
from benchkit.report.findings import Findings, findings_of
from benchkit.report.front import groups_of, starred
from benchkit.report.method import METHOD
from benchkit.report.notes import where
from benchkit.report.paired import paired_listing, paired_of
from benchkit.report.plain import NAME_LENGTH, NOTE_LENGTH, clean, counted, listed, prefix
from benchkit.report.reasons import reasons_of
from benchkit.report.score_table import has_more_than_one_score_a_row, score_table
from benchkit.report.tables import Table, comparison

_GIB = 2**30


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """A whole report.

    Attributes:
        title: Heading of the page.
        subtitle: How many records, of what, when taken.
        findings: The short sentences on top.
        table: The comparison.
        scores: Scores by task; None where the comparison says as much.
        entries: The rows behind it, for the charts.
        paired: The paired comparisons; None without any.
        details: What lies behind single rows.
        listings: Lineage, hosts, noise, warnings, method.
    """

    title: str
    subtitle: str
    findings: Findings
    table: Table
    scores: Table | None
    entries: tuple[Entry, ...]
    paired: Listing | None
    details: Details
    listings: tuple[Listing, ...]


def contents_of(records: Sequence[Record], title: str) -> Contents:
    """Build the report's contents; they do not depend on the order of `records`."""
    ordered = sorted({record.record_id: record for record in records}.values(), key=lambda record: record.record_id)
    entries = entries_of(ordered)
    compared = paired_of(ordered)
    scores = score_table(ordered)
    listings = (_lineage(ordered), _hosts(ordered), _versions(ordered), _noise(entries), _warnings(ordered), METHOD)
    return Contents(
        title=clean(title, NAME_LENGTH * 2),
        subtitle=_subtitle(ordered),
        findings=findings_of(entries, compared),
        table=comparison(ordered),
        scores=scores if has_more_than_one_score_a_row(scores) else None,
        entries=entries,
        paired=paired_listing(compared) if compared else None,
        details=details_of(entries, starred(groups_of(entries))),
        listings=tuple(listing for listing in listings if listing.rows),
    )


def _subtitle(records: Sequence[Record]) -> str:
    if not records:
        return "No records."
    artifacts = len({record.artifact.id for record in records})
    hosts = len({record.host.id for record in records})
    times = sorted(prefix(record.started_at_utc, 10) for record in records)
    taken = f"taken on {times[0]}" if times[0] == times[-1] else f"taken from {times[0]} to {times[-1]}"
    counts = [counted(len(records), "record"), counted(artifacts, "artifact"), counted(hosts, "host")]
    return (
        f"{listed(counts)}, {taken} (UTC), benchkit {listed(sorted({clean(r.benchkit_version, 20) for r in records}))}."
    )


def _lineage(records: Sequence[Record]) -> Listing:
    artifacts = {record.artifact.id: record.artifact for record in records}
    names = {key: clean(artifact.name, NAME_LENGTH) for key, artifact in artifacts.items()}
    rows = [
        (
            names[key],
            clean(artifact.precision, NAME_LENGTH),
            listed(
                [names.get(parent) or f"{prefix(parent, 12)} (not among these records)" for parent in artifact.parents]
            )
            or "none recorded",
            prefix(key, 12),
            prefix(artifact.sha256, 12),
            {"random": "random", "trained": "trained"}.get(artifact.weights, "not known"),
        )
        for key, artifact in artifacts.items()
    ]
    heads = ("artifact", "precision", "made from", "id", "SHA-256", "weights")
    lead = "What each artifact was made from, as its manifest says; a figure belongs to the file with this digest."
    return Listing(title="Lineage", lead=lead, heads=heads, rows=tuple(sorted(rows)))


def _hosts(records: Sequence[Record]) -> Listing:
    hosts = {record.host.id: record.host for record in records}
    rows = [(clean(key, 24), name, text) for key, host in sorted(hosts.items()) for name, text in _host_rows(host)]
    lead = "Figures of different hosts are never mixed: a latency holds on the host that it was measured on."
    if len(hosts) == 1:
        return Listing(title="Host", lead=lead, heads=("fact", "value"), rows=tuple(row[1:] for row in rows))
    return Listing(title="Hosts", lead=lead, heads=("host", "fact", "value"), rows=tuple(rows))


def _host_rows(host: Host) -> list[tuple[str, str]]:
    relevant = [flag for flag in host.flags if re.match(r"avx|amx|sse4|neon|asimd|sve|fma|f16c|i8mm|bf16", flag)]
    return [
        ("host id", clean(host.id, 64)),
        ("processor", clean(host.cpu_model, NOTE_LENGTH)),
        ("cores", f"{host.cores:,}"),
        ("memory", f"{host.memory_bytes / _GIB:,.1f} GiB"),
        ("instruction sets", clean(", ".join(relevant), NOTE_LENGTH) or "not known"),
        ("graphics processors", clean(", ".join(host.gpus), NOTE_LENGTH) or "none seen"),
        ("system", clean(f"{host.os}, kernel {host.kernel}", NOTE_LENGTH)),
    ]


def _versions(records: Sequence[Record]) -> Listing:
    found = collections.defaultdict(set)
    for record in records:
        for package, version in record.host.versions.items():
            found[clean(package, NAME_LENGTH)].add(clean(version, NAME_LENGTH))
    rows = tuple((package, ", ".join(sorted(versions))) for package, versions in sorted(found.items()))
    return Listing(title="Versions", heads=("package", "version"), rows=rows)


def _noise(entries: Sequence[Entry]) -> Listing:
    profiled = [entry for entry in entries if entry.profile is not None]
    verdicts = collections.Counter(entry.record.noise.verdict for entry in profiled)
    rows = [
        (
            where(entry),
            "void" if entry.is_void else entry.record.noise.verdict,
            reasons_of(entry.record),
        )
        for entry in profiled
        if entry.record.noise.verdict != "clean"
    ]
    lead = (
        f"Of {counted(len(profiled), 'profiled row')}, {verdicts['clean']:,} clean, {verdicts['noisy']:,} noisy, "
        f"{verdicts['invalid']:,} void. A noisy row is shown and decides nothing; a void row is not used at all."
    )
    shown = tuple(rows) or ((("all rows", "clean", "nothing disturbed them that could be seen"),) if profiled else ())
    return Listing(title="Noise", lead=lead, heads=("row", "verdict", "reasons"), rows=shown)


def _warnings(records: Sequence[Record]) -> Listing:
    found = collections.Counter(clean(text, NOTE_LENGTH) for record in records for text in record.warnings)
    rows = tuple((text, counted(times, "record")) for text, times in sorted(found.items(), key=lambda i: (-i[1], i[0])))
    return Listing(title="Warnings", lead="Kept by the records themselves.", heads=("warning", "in"), rows=rows)

"""Results on stdout, records into files, and what records mean for the exit code."""

import json
from collections.abc import Sequence
from pathlib import Path

import typer

from benchkit.cli.options import Format
from benchkit.core.errors import Exit
from benchkit.core.records import NotMeasured, Record


def print_records(records: Sequence[Record], format: Format) -> None:
    """Write records to stdout: as JSON whole, otherwise as the comparison table."""
    if format == "json":
        typer.echo(json.dumps([record.as_json() for record in records], indent=2))
        return
    from benchkit.report.rendering import render
    from benchkit.report.tables import comparison

    typer.echo(render(comparison(records), format))


def keep(records: Sequence[Record], output: Path | None) -> None:
    """Append records to a file, if one was named.

    Called without records before anything is measured, so that a place that cannot be written to is told
    then, and not after an hour.
    """
    if output is not None:
        from benchkit.core.store import append_lines

        append_lines(output, [record.as_json() for record in records])


def journal_of(output: Path | None) -> Path | None:
    """Return the file that keeps finished processes until the records are written; none without an output."""
    return None if output is None else output.with_name(f"{output.name}.journal")


def is_failed(record: Record) -> bool:
    """Tell whether the cell of a profile gave no timed value at all."""
    found = record.measurements.get("throughput")
    return isinstance(found, NotMeasured) and found.reason in ("worker_failed", "out_of_time")


def exit_of_records(records: Sequence[Record]) -> Exit:
    """Return 4 when a cell's worker failed, so that a script notices; disturbed cells are shown, not failed.

    Where every cell is void, nothing was measured: that is 4 as well, and is said on stderr.
    """
    if records and all(record.kind == "profile" and record.noise.verdict == "invalid" for record in records):
        reason = next((reason for record in records for reason in record.noise.reasons), "see the records")
        typer.echo(f"nothing was measured: every cell is void ({reason})", err=True)
        return Exit.NOT_MEASURED
    failed = any(map(is_failed, records)) or any(
        isinstance(measurement, NotMeasured) and measurement.reason == "worker_failed"
        for record in records
        for measurement in record.measurements.values()
    )
    return Exit.NOT_MEASURED if failed else Exit.OK

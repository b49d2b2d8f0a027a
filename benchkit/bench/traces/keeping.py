"""Passes that look inside the runtime: its own profile, and flame graphs. Each in processes of its own, none timed."""

import dataclasses
import json
import re
from collections.abc import Container, Sequence
from pathlib import Path

from benchkit.bench.launch import WORKER, run_in_child, worker_environment
from benchkit.bench.plan import Spot, job_for
from benchkit.bench.sweep import Plan
from benchkit.bench.traces.flame import flame
from benchkit.core.errors import MeasurementFailed
from benchkit.core.progress import Progress, silent
from benchkit.core.store import digest, explained_writes, write_text


def keep_traces(
    planned: Plan,
    folder: Path,
    *,
    timeout_s: float,
    leave_out: Container[int] = (),
    progress: Progress = silent,
) -> list[Path]:
    """Run each cell under its runtime's own profile; keep the trace and a table of the operators.

    Args:
        planned: The sweep.
        folder: Where `CELL.json` (Chrome trace; open it at https://ui.perfetto.dev, where it stays on the machine) and
            `CELL.operators.md` go.
        timeout_s: Longest life of one process.
        leave_out: Indices of cells that could not be measured.
        progress: Told of each cell.

    Returns:
        The trace files, one a cell.

    Raises:
        MeasurementFailed: A worker crashed, or its runtime kept no profile.
    """
    _made(folder)
    kept = []
    for number, cell in enumerate(planned.cells):
        if number in leave_out:
            continue
        progress(f"trace {cell.label()}", number / len(planned.cells))
        name = _name(cell)
        options = dataclasses.replace(cell.options, trace=str((folder / name).absolute()))
        job = dataclasses.replace(job_for(cell, "coverage", planned.matrix, planned.schedule), options=options)
        outcome = run_in_child(job, timeout_s=timeout_s)
        if outcome["trace"] is None:
            progress(f"runtime '{cell.runtime}' gives no profile of {cell.label()}")
            continue
        path = folder / f"{name}.json"
        Path(outcome["trace"]).replace(path)
        write_text(folder / f"{name}.operators.md", _table(cell, outcome["top_operators"]))
        kept.append(path)
    return kept


def keep_flames(
    planned: Plan,
    folder: Path,
    *,
    timeout_s: float,
    leave_out: Container[int] = (),
    progress: Progress = silent,
) -> list[Path]:
    """Run each cell's timed pass under py-spy; keep `CELL.svg` and `CELL.speedscope.json`. Arguments: `keep_traces`.

    Raises:
        EnvironmentLacks: py-spy is not installed, or may not look into other processes.
        MeasurementFailed: A recording failed or took too long.
    """
    _made(folder)
    kept = []
    for number, cell in enumerate(planned.cells):
        if number in leave_out:
            continue
        progress(f"flame graph of {cell.label()}", number / len(planned.cells))
        job = job_for(cell, "time", planned.matrix, planned.schedule)
        svg = folder / f"{_name(cell)}.svg"
        outcome = flame(
            WORKER,
            json.dumps({"job": job.as_json()}),
            svg,
            svg.with_suffix(".speedscope.json"),
            environment=worker_environment(job),
            timeout_s=timeout_s,
        )
        if outcome is None or "error" in outcome:
            said = (outcome or {}).get("error", {}).get("problem", "nothing")
            raise MeasurementFailed(
                f"the worker under py-spy answered: {said}", remedy="run the same command without --flame"
            )
        kept.append(svg)
    return kept


def _made(folder: Path) -> None:
    with explained_writes(folder):
        folder.mkdir(parents=True, exist_ok=True)


def _name(cell: Spot) -> str:
    """Name a cell's files: what people call it, and a digest of what they do not."""
    workload = cell.workload
    told = f"{cell.artifact.manifest.name}-{cell.runtime}-b{workload.batch_size}-t{workload.sequence_length}"
    # Artifacts of one name, and settings that the name leaves out, must not overwrite each other's files.
    asked = [cell.artifact.manifest.id, dataclasses.asdict(cell.options), dataclasses.asdict(workload), cell.scenario]
    return f"{re.sub(r'[^A-Za-z0-9_.-]', '-', told)}-{digest(asked)}"


def _table(cell: Spot, rows: Sequence[dict[str, object]]) -> str:
    lines = [
        f"Operators of {cell.label()}, {cell.runtime}, by time.",
        "",
        "| operator | provider | executions | ms | share % |",
        "| :--- | :--- | ---: | ---: | ---: |",
    ]
    for row in rows:
        total_s, share = row["total_s"], row["share"]
        assert isinstance(total_s, float)
        assert isinstance(share, float)
        figures = f"{row['calls']} | {total_s * 1e3:.3f} | {share:.1%}".replace("%", "")
        lines.append(f"| {row['op_type']} | {row['provider']} | {figures} |")
    return "\n".join(lines) + "\n"

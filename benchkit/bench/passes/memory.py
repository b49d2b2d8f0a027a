"""The memory pass: peak by phase, the arena's ratchet, and the control of imports only. Nothing is timed here."""

import dataclasses
from typing import Any

from benchkit.bench.inputs import make_batches
from benchkit.bench.job import Job
from benchkit.bench.passes.opening import bind_to, open_session
from benchkit.core.errors import BenchkitError
from benchkit.core.registry import RUNTIMES
from benchkit.meters.memory import (
    Phases,
    Ratchet,
    cgroup_peak_bytes,
    children_peak_bytes,
    footprint,
    highest_peak,
    ratchet,
)
from benchkit.runtimes.protocol import Session

_CALLS = 3  # The first call allocates; the next ones show whether the arena still grows.
_SHORT = 8  # Tokens of the short inputs that follow the longest ones.


def run(job: Job) -> dict[str, Any]:
    """Measure the memory of one cell in this process."""
    bind_to(job.affinity)
    phases = Phases()
    with phases.phase("interpreter and benchkit"):
        pass
    with phases.phase("imports"):
        RUNTIMES.get(job.runtime)
    with phases.phase("session"):
        session, _ = open_session(job)
    # Short lengths come first, so that what the long ones leave behind can be seen.
    with phases.phase("lengths"):
        risen = _ratchet(job, session)
    with phases.phase("calls"):
        for prepared in [session.prepare(batch.feed) for batch in make_batches(job.workload)][:_CALLS]:
            session.call(prepared)
    gpu = _gpu_bytes(job)
    group = cgroup_peak_bytes()
    imports = next(phase for phase in phases.done if phase.name == "imports")
    return {
        "peak_bytes": highest_peak(phases.done),
        "imports_only_bytes": imports.footprint.resident_bytes,
        "phases": phases.as_json(),
        "ratchet": None if risen is None else dataclasses.asdict(risen),
        "children_peak_bytes": children_peak_bytes(),
        "cgroup_peak": None if group is None else {"bytes": group[0], "source": group[1]},
        "gpu": gpu,
    }


def _ratchet(job: Job, session: Session) -> Ratchet | None:
    """Call ascending lengths and then short ones; None where the graph takes one length only."""
    try:
        ascending, short = _lengths(job, session)
    except BenchkitError:
        return None
    return ratchet(session.call, ascending, short, read=lambda: footprint().resident_bytes)


def _lengths(job: Job, session: Session) -> tuple[list[Any], list[Any]]:
    """Return inputs of ascending lengths up to the cell's own, and short ones that follow them."""
    longest = job.workload.sequence_length or max(job.workload.lengths)
    short = min(_SHORT, longest)

    def fed(length: int) -> Any:
        workload = dataclasses.replace(
            job.workload, sequence_length=length, lengths=(), texts=(), padding="max", count=1
        )
        return session.prepare(make_batches(workload)[0].feed)

    ascending = sorted({short, max(short, longest // 4), max(short, longest // 2), longest})
    return [fed(length) for length in ascending], [fed(short)] * _CALLS


def _gpu_bytes(job: Job) -> dict[str, int | None] | None:
    if job.options.device != "cuda":
        return None
    import os

    from benchkit.host.gpus import device_memory_used_bytes, process_memory_bytes

    return {"process_bytes": process_memory_bytes(0, os.getpid()), "device_bytes": device_memory_used_bytes(0)}

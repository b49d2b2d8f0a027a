"""The cold-start pass: from exec to steady calls, phase by phase, with the model's files in the page cache or not."""

import dataclasses
import time
from pathlib import Path
from typing import Any

from benchkit.bench.inputs import make_batches, open_tokenizer
from benchkit.bench.job import Job
from benchkit.bench.passes.opening import bind_to, open_session
from benchkit.bench.timing import warm_up
from benchkit.core.registry import RUNTIMES
from benchkit.meters.cold_start import ColdStart
from benchkit.stats.stationarity import is_warm


def run(job: Job, start: ColdStart) -> dict[str, Any]:
    """Start once, marking the end of each phase; `start` already holds the interpreter's."""
    bind_to(job.affinity)
    RUNTIMES.get(job.runtime)
    start.mark("imports")
    workload, tokenizing = job.workload, None
    if workload.texts:
        tokenizing = open_tokenizer(workload.tokenizer or "", workload.sequence_length, workload.padding)
    start.mark("tokenizer")
    session, _ = open_session(job)
    start.mark("session")
    inputs = [session.prepare(batch.feed) for batch in make_batches(workload, tokenizing)]
    session.call(inputs[0])
    start.mark("first inference")
    warm_up(session.call, inputs, job.schedule, time.perf_counter_ns, is_warm=is_warm)
    start.mark("steady")
    return {"phases_s": start.phases_s(), "total_s": start.total_s, "page_cache": job.page_cache}


def leave_in_page_cache(job: Job) -> dict[str, Any]:
    """Drop the artifact's files from the page cache, or read them into it; say what was reached.

    Called by the parent before the process starts: inside it, the work would count as its start.
    """
    from benchkit.meters.page_cache import drop_from_page_cache

    files = [Path(file) for file in job.files]
    if job.page_cache == "cold":
        return {"dropped": dataclasses.asdict(drop_from_page_cache(files))}
    for file in files:
        with file.open("rb") as content:
            while content.read(1 << 22):
                pass
    return {}

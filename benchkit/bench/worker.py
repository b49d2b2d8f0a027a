"""The child process: one job from stdin, one outcome to stdout. Nothing heavy is imported here but the runtime.

Everything that the model's libraries print goes to stderr, so that stdout holds the outcome alone.
"""

import dataclasses
import hashlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchkit.bench.inputs import random_feeds
from benchkit.bench.job import Job
from benchkit.bench.timing import saturate, time_calls, warm_up
from benchkit.core.errors import BenchkitError
from benchkit.core.registry import RUNTIMES
from benchkit.host.noise import take_snapshot
from benchkit.meters.memory import peak_memory, reset_peak
from benchkit.meters.powercap import Powercap
from benchkit.runtimes.protocol import Array, Session

_MEMORY_CALLS = 3  # The first call allocates; the next ones show whether the arena still grows.
_ENERGY_WINDOW_S = 2.0  # The counters step every millisecond or so: 2 s keep that below 0.1 %.


def run_job(job: Job) -> dict[str, Any]:
    """Do one job in this process and return its outcome as a JSON object."""
    runtime = RUNTIMES.get(job.runtime)()
    imports_only = peak_memory()
    reset_peak()
    begin_ns = time.perf_counter_ns()
    session: Session = runtime.open(Path(job.model), job.options)
    load_s = (time.perf_counter_ns() - begin_ns) * 1e-9
    feeds = random_feeds(
        batch_size=job.batch_size,
        sequence_length=job.sequence_length,
        vocabulary_size=job.vocabulary_size,
        seed=job.seed,
    )
    inputs = [session.prepare(feed) for feed in feeds]
    begin_ns = time.perf_counter_ns()
    first = session.call(inputs[0])
    first_call_s = (time.perf_counter_ns() - begin_ns) * 1e-9
    outcome: dict[str, Any] = {
        "proof": dataclasses.asdict(session.proof()),
        "load_s": load_s,
        "first_call_s": first_call_s,
        "output": _output_facts(first, session.call(inputs[1])),
    }
    match job.kind:
        case "memory":
            for prepared in inputs[:_MEMORY_CALLS]:
                session.call(prepared)
            peak = peak_memory()
            outcome["imports_only_bytes"] = imports_only.peak_bytes if imports_only else None
            outcome["peak_bytes"] = peak.peak_bytes if peak else None
        case "time":
            outcome |= _timed(job, session, inputs, call_s=first_call_s)
        case "energy":
            outcome |= _energy(job, session, inputs, call_s=first_call_s)
    return outcome


def _timed(job: Job, session: Session, inputs: list[Any], *, call_s: float) -> dict[str, Any]:
    warmup_calls = warm_up(session.call, inputs, job.schedule, time.perf_counter_ns)
    before = take_snapshot()
    latency_ns: list[int] = []
    if job.scenario == "single-stream":
        latency_ns = time_calls(session.call, inputs, job.schedule, time.perf_counter_ns)
        call_s = sorted(latency_ns)[len(latency_ns) // 2] * 1e-9
    window = saturate(
        session.call,
        inputs,
        job.schedule.throughput_s,
        call_s=call_s,
        clock_ns=time.perf_counter_ns,
        cpu_clock_ns=time.process_time_ns,
    )
    return {
        "warmup_calls": warmup_calls,
        "latency_ns": latency_ns,
        "window": dataclasses.asdict(window),
        "snapshots": [dataclasses.asdict(before), dataclasses.asdict(take_snapshot())],
    }


def _energy(job: Job, session: Session, inputs: list[Any], *, call_s: float) -> dict[str, Any]:
    meter = Powercap()
    warm_up(session.call, inputs, job.schedule, time.perf_counter_ns)
    mark = meter.start()
    window = saturate(
        session.call,
        inputs,
        _ENERGY_WINDOW_S,
        call_s=call_s,
        clock_ns=time.perf_counter_ns,
        cpu_clock_ns=time.process_time_ns,
    )
    return {"energy_j": meter.stop(mark), "window": dataclasses.asdict(window)}


def _output_facts(first: Array, second: Array) -> dict[str, Any]:
    """Say what the model answered to two different batches: enough to void a cell that answers nonsense."""
    values = np.asarray(first, dtype=np.float32)
    return {
        "shape": list(values.shape),
        "finite": bool(np.isfinite(values).all()),
        "constant": bool(np.array_equal(values, np.asarray(second, dtype=np.float32))),
        "sha256": hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest(),
    }


def main() -> int:
    """Read the job, do it, write the outcome; a problem that the user can solve is an outcome too."""
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    job = Job.from_json(json.load(sys.stdin))
    try:
        outcome = run_job(job)
    except BenchkitError as error:
        outcome = {"error": {"kind": type(error).__name__, "problem": str(error), "remedy": error.remedy}}
    except KeyboardInterrupt:
        return 130
    with answer:
        json.dump(outcome, answer)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What every pass begins with: the runtime, the session, the inputs, and the first answers."""

import dataclasses
import hashlib
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchkit.bench.inputs import input_facts, make_batches
from benchkit.bench.job import Job
from benchkit.bench.timing import Schedule
from benchkit.bench.workload import Batch
from benchkit.core.errors import EnvironmentLacks
from benchkit.core.registry import RUNTIMES
from benchkit.host.clocks import own_cores
from benchkit.runtimes.protocol import Array, Session

# Answers kept for comparison with other artifacts: enough to tell nonsense, few enough for a pipe.
_KEPT_VALUES = 64
_ROUNDING = 1e-5  # Of fp32 sums, relative.


class Opened(NamedTuple):
    """An open session with its prepared inputs.

    Attributes:
        session: The session.
        batches: What was made from the workload.
        inputs: The batches as the session takes them.
        load_s: Opening the session.
        first_call_s: The first call, which allocates.
        first: Answer to the first input.
        second: Answer to the second input.
        threads_before: Threads of the process before the session was opened; None where nobody counts them.
    """

    session: Session
    batches: list[Batch]
    inputs: list[Any]
    load_s: float
    first_call_s: float
    first: Array
    second: Array
    threads_before: int | None

    def schedule(self, job: Job) -> Schedule:
        """Return the job's schedule with a warm-up that meets every shape: a runtime plans anew for each."""
        if input_facts(self.batches).shapes == 1:
            return job.schedule
        return dataclasses.replace(job.schedule, warmup_calls=max(job.schedule.warmup_calls, len(self.inputs)))


def open_session(job: Job) -> tuple[Session, float]:
    """Open the job's model; return the session and how many seconds that took."""
    runtime = RUNTIMES.get(job.runtime)()
    begin_ns = time.perf_counter_ns()
    session: Session = runtime.open(Path(job.model), job.options)
    return session, (time.perf_counter_ns() - begin_ns) * 1e-9


def opened(job: Job) -> Opened:
    """Open the job's model, prepare its inputs and make the first two calls."""
    RUNTIMES.get(job.runtime)
    threads_before = _os_threads()
    session, load_s = open_session(job)
    batches = make_batches(job.workload)
    inputs = [session.prepare(batch.feed) for batch in batches]
    begin_ns = time.perf_counter_ns()
    first = session.call(inputs[0])
    first_call_s = (time.perf_counter_ns() - begin_ns) * 1e-9
    second = session.call(inputs[1 % len(inputs)])
    return Opened(session, batches, inputs, load_s, first_call_s, np.asarray(first), np.asarray(second), threads_before)


def bind_to(affinity: Sequence[int] | None) -> None:
    """Bind this process to cores where that was asked."""
    if affinity is None:
        return
    if not hasattr(os, "sched_setaffinity"):
        raise EnvironmentLacks(f"{sys.platform} binds no process to cores", remedy="leave --affinity out")
    os.sched_setaffinity(0, affinity)


def what_ran(found: Opened) -> dict[str, Any]:
    """Ask the session and the kernel what runs here; called after the timed part, when every thread exists."""
    variables = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TOKENIZERS_PARALLELISM")
    return dataclasses.asdict(found.session.proof()) | {
        # Asked now, since a runtime may have bound the process anew; None where no system says.
        "affinity": sorted(own_cores()) if hasattr(os, "sched_getaffinity") else None,
        "os_threads": _os_threads(),
        "os_threads_before": found.threads_before,
        "variables": {name: os.environ[name] for name in variables if name in os.environ},
        "python": sys.version.split()[0],
    }


def what_was_fed(found: Opened) -> dict[str, Any]:
    """Describe the inputs: call i of a loop took batch i modulo their number."""
    return dataclasses.asdict(input_facts(found.batches))


def output_facts(found: Opened) -> dict[str, Any]:
    """Say what the model answered to two different batches: enough to void a cell that answers nonsense."""
    values = np.asarray(found.first, dtype=np.float32)
    second = np.asarray(found.second, dtype=np.float32)
    return {
        "shape": list(values.shape),
        "finite": bool(np.isfinite(values).all() and np.isfinite(second).all()),
        "constant": _are_alike(values, second),
        "sha256": hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest(),
        "values": [float(f"{value:.6g}") for value in values.ravel()[:_KEPT_VALUES] if np.isfinite(value)],
    }


def _are_alike(first: Array, second: Array) -> bool:
    """Tell answers that differ by rounding only: another input must move a logit by more than that."""
    scale = float(np.abs(first).max()) or 1.0
    return bool(first.shape == second.shape and np.abs(first - second).max() <= _ROUNDING * scale)


def same_answers(found: Opened, answers: dict[int, Any]) -> dict[str, Any]:
    """Compare what timed calls answered with the answers before the timing, for the first two inputs.

    Returns:
        The largest difference relative to the largest reference value, and whether every answer is finite.
    """
    worst, finite = 0.0, True
    for number, answer in answers.items():
        values = np.asarray(answer, dtype=np.float32)
        finite &= bool(np.isfinite(values).all())
        if number < 2 and finite:
            reference = np.asarray((found.first, found.second)[number], dtype=np.float32)
            scale = float(np.abs(reference).max()) or 1.0
            same = values.shape == reference.shape
            worst = max(worst, float(np.abs(values - reference).max()) / scale if same else 1e9)
    return {"timed_difference": worst, "timed_finite": finite}


def _os_threads() -> int | None:
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return None

"""The parent's side: start a fresh process, sleep in the kernel until it ends, read its answer.

The parent must not poll: a busy parent takes a core, and its energy, from the thing being measured.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from typing import Any

from benchkit.bench.job import Job
from benchkit.core import errors

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


WORKER = (sys.executable, "-P", "-m", "benchkit.bench.worker")  # -P: the folder we are in shadows no package.


def run_in_child(job: Job, *, timeout_s: float, command: Sequence[str] = WORKER) -> dict[str, Any]:
    """Do one job in a fresh process and return its outcome.

    Beside what the worker says stand `answered_s`, from just before the process was made until its answer was here,
    and `child_wall_s`, until it was gone.

    Args:
        job: What to do.
        timeout_s: Longest life of the process.
        command: How the worker is started; another one to run it under an instrument.

    Raises:
        MeasurementFailed: The worker crashed, was killed, or gave no answer in time.
        BenchkitError: What the worker said that the user can solve.
    """
    # Made before the process: what they cost is not its start.
    request, environment = json.dumps(job.as_json()), worker_environment(job)
    with tempfile.TemporaryFile() as said:
        begin_ns = time.perf_counter_ns()
        child = subprocess.Popen(
            list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, env=environment
        )
        killed = threading.Event()

        def give_up() -> None:
            killed.set()
            child.kill()

        watchdog = threading.Timer(timeout_s, give_up)
        watchdog.daemon = True
        watchdog.start()
        try:
            answer = _asked(child, f'{{"exec_ns": {begin_ns}, "job": {request}}}')
            answered_ns = time.perf_counter_ns()
            child.wait()
            gone_ns = time.perf_counter_ns()
        finally:
            watchdog.cancel()
            if child.poll() is None:
                child.kill()
                child.wait()
        said.seek(0)
        complaint = said.read().decode(errors="replace")
    if killed.is_set():
        raise errors.MeasurementFailed(
            f"no result from the worker after {timeout_s:g} s", remedy="give it longer with --cell-timeout"
        )
    outcome = _understood(child.returncode, answer, complaint)
    return outcome | {"answered_s": (answered_ns - begin_ns) * 1e-9, "child_wall_s": (gone_ns - begin_ns) * 1e-9}


def _asked(child: "subprocess.Popen[bytes]", request: str) -> bytes:
    """Send the request and sleep in the kernel until the answer is whole."""
    assert child.stdin is not None
    assert child.stdout is not None
    # A child that died at once is told by its exit code, not by our broken pipe.
    with contextlib.suppress(OSError), child.stdin as pipe:  # Windows has another number for a broken pipe.
        pipe.write(request.encode())
    with child.stdout as pipe:
        return pipe.read()


def _understood(code: int, answer: bytes, complaint: str) -> dict[str, Any]:
    if code == errors.Exit.INTERRUPTED:
        raise KeyboardInterrupt
    if code != 0:
        raise errors.MeasurementFailed(
            f"the worker {_how_it_ended(code)}: {_last_line(complaint)}",
            remedy="run the same command with a smaller batch or sequence, or look at the model",
        )
    outcome: dict[str, Any] = json.loads(answer)
    if "error" in outcome:
        said = outcome["error"]
        kind = getattr(errors, said["kind"], errors.BenchkitError)
        raise kind(said["problem"], remedy=said["remedy"])
    return outcome


def worker_environment(job: Job) -> dict[str, str]:
    """Return the environment of the job's worker: as many threads in every library as were asked for."""
    environment = os.environ | {name: str(job.options.threads) for name in _THREAD_VARIABLES}
    environment["TOKENIZERS_PARALLELISM"] = "false"
    if not job.options.spinning:
        environment["OMP_WAIT_POLICY"] = "PASSIVE"
    return environment


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"ended with code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
    hint = " (often: out of memory)" if name == "SIGKILL" else ""
    return f"was killed by {name}{hint}"


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "(nothing on stderr)"

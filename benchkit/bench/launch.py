"""The parent's side: start a fresh process, sleep in the kernel until it ends, read its answer.

The parent must not poll: a busy parent takes a core, and its energy, from the thing being measured.
"""

import json
import os
import signal
import subprocess
import sys
from typing import Any

from benchkit.bench.job import Job
from benchkit.core import errors

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def run_in_child(job: Job, *, timeout_s: float) -> dict[str, Any]:
    """Do one job in a fresh process and return its outcome.

    Raises:
        MeasurementFailed: The worker crashed, was killed, or gave no answer in time.
        BenchkitError: What the worker said that the user can solve.
    """
    environment = os.environ | {name: str(job.options.threads) for name in _THREAD_VARIABLES}
    environment["TOKENIZERS_PARALLELISM"] = "false"
    try:
        # -P: the folder we are in must not shadow the packages that are measured.
        child = subprocess.run(
            [sys.executable, "-P", "-m", "benchkit.bench.worker"],
            input=json.dumps(job.as_json()),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        raise errors.MeasurementFailed(
            f"no result from the worker after {timeout_s:g} s", remedy="give it longer with --cell-timeout"
        ) from None
    if child.returncode == errors.Exit.INTERRUPTED:
        raise KeyboardInterrupt
    if child.returncode != 0:
        raise errors.MeasurementFailed(
            f"the worker {_how_it_ended(child.returncode)}: {_last_line(child.stderr)}",
            remedy="run the same command with a smaller batch or sequence, or look at the model",
        )
    outcome: dict[str, Any] = json.loads(child.stdout)
    if "error" in outcome:
        said = outcome["error"]
        kind = getattr(errors, said["kind"], errors.BenchkitError)
        raise kind(said["problem"], remedy=said["remedy"])
    return outcome


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"ended with code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
    hint = " (often: out of memory)" if name == "SIGKILL" else ""
    return f"was killed by {name}{hint}"


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "(nothing on stderr)"

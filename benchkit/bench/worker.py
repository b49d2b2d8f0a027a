"""The child process: one job from stdin, one outcome to stdout. Nothing heavy is imported here but the runtime.

Everything that the model's libraries print goes to stderr, so that stdout holds the outcome alone.
"""

import time

_BEGIN_NS = time.perf_counter_ns()  # The end of the interpreter's own start.

import importlib  # noqa: E402 - what is imported from here on counts as imports, not as the interpreter
import json  # noqa: E402
import os  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
from typing import Any  # noqa: E402

from benchkit.bench.job import Job  # noqa: E402
from benchkit.core.errors import BenchkitError  # noqa: E402

_PR_SET_PDEATHSIG = 1
# Each pass stands in a module of its own, so that a process carries only what it measures with.
_PASSES = {
    "time": "timed:run",
    "memory": "memory:run",
    "energy": "energy:run",
    "idle": "energy:idle",
    "coverage": "coverage:run",
}


def run_job(job: Job, *, exec_ns: int | None = None) -> dict[str, Any]:
    """Do one job in this process and return its outcome as a JSON object.

    Args:
        job: What to do.
        exec_ns: When the parent started this process, on the monotonic clock that both share; for cold starts.
    """
    if job.kind == "cold-start":
        from benchkit.bench.passes.cold_start import run
        from benchkit.meters.cold_start import ColdStart

        start = ColdStart(exec_ns if exec_ns is not None else _BEGIN_NS)
        start.mark("interpreter", at_ns=_BEGIN_NS)
        return run(job, start)
    module, _, function = _PASSES[job.kind].partition(":")
    outcome: dict[str, Any] = getattr(importlib.import_module(f"benchkit.bench.passes.{module}"), function)(job)
    return outcome


def main() -> int:
    """Read the job, do it, write the outcome; a problem that the user can solve is an outcome too."""
    _end_with_parent()
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    asked = json.load(sys.stdin)
    job = Job.from_json(asked["job"])
    try:
        outcome = run_job(job, exec_ns=asked.get("exec_ns"))
    except BenchkitError as error:
        outcome = {"error": {"kind": type(error).__name__, "problem": str(error), "remedy": error.remedy}}
    except KeyboardInterrupt:
        return 130
    with answer:
        json.dump(outcome, answer)
    return 0


def _end_with_parent() -> None:
    """Let the kernel end this process with its parent, whose watchdog is then gone: a hung call would stay for ever.

    Source: prctl(2), PR_SET_PDEATHSIG.
    """
    if sys.platform == "linux":
        import ctypes  # numpy has imported it already.

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())

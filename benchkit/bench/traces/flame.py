"""Flame graphs of the worker by py-spy, an external program that samples the stacks of a process from outside.

Two recordings of the same job, one for each file: py-spy writes one format a run and converts none into another, and a
conversion of ours would be drawn by us, not by it. So their sample counts differ. Never in a timed pass: each sample
stops the process. The SVG opens in a browser, the speedscope file at https://www.speedscope.app (it is not sent away).
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchkit.core.errors import EnvironmentLacks, MeasurementFailed

_TIMEOUT_S = 600.0
_DENIED = ("permission denied", "operation not permitted", "sys_ptrace", "elevated permissions")


def flame(
    command: Sequence[str],
    job_json: str,
    out_svg: Path,
    out_speedscope: Path,
    *,
    rate_hz: int = 100,
    duration_s: int | None = None,
    native: bool = False,
    environment: Mapping[str, str] | None = None,
    timeout_s: float = _TIMEOUT_S,
) -> dict[str, Any] | None:
    """Run a worker twice under py-spy and keep a flame graph (SVG) and a speedscope file.

    Args:
        command: The worker: a Python program and its arguments, from its interpreter on.
        job_json: What the worker reads from its standard input.
        out_svg: Flame graph to write.
        out_speedscope: Speedscope file to write.
        rate_hz: Samples in a second.
        duration_s: Sample no longer than this, and end the worker; None follows it to its end.
        native: Show the frames of C and C++ libraries too, where py-spy can unwind them (Linux and Windows, x86-64).
            Libraries without symbols, as onnxruntime's wheels are, show bare addresses.
        environment: Of the worker; None for our own.
        timeout_s: Longest life of each recording.

    Returns:
        What the worker answered in the last recording, its error included; None when it was ended before.

    Raises:
        EnvironmentLacks: py-spy is not installed, or may not look into other processes.
        MeasurementFailed: A recording failed or took too long.
    """
    program = py_spy()
    answer = None
    for file, form in ((out_svg, "flamegraph"), (out_speedscope, "speedscope")):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)  # An old one must not pass for this one.
        recorder = [program, "record", "--format", form, "--rate", str(rate_hz), "--output", str(file)]
        recorder += ["--duration", str(duration_s)] if duration_s is not None else []
        recorder += ["--native"] if native else []
        answer = _record([*recorder, "--", *command], job_json, file, environment, timeout_s)
    return answer


def py_spy() -> str:
    """Return the path of py-spy: beside our interpreter, as pip installs it, or on the PATH.

    Raises:
        EnvironmentLacks: It is in neither place.
    """
    beside = Path(sys.executable).parent
    found = shutil.which("py-spy", path=os.pathsep.join((str(beside), os.environ.get("PATH", os.defpath))))
    if found is None:
        raise EnvironmentLacks(
            "no program 'py-spy' here, which draws flame graphs", remedy="pip install 'benchkit[flame]'"
        )
    return found


def _record(
    recorder: list[str], job_json: str, file: Path, environment: Mapping[str, str] | None, timeout_s: float
) -> dict[str, Any] | None:
    try:
        done = subprocess.run(
            recorder, input=job_json, capture_output=True, text=True, timeout=timeout_s, check=False, env=environment
        )
    except subprocess.TimeoutExpired:
        raise MeasurementFailed(
            f"no flame graph after {timeout_s:g} s", remedy="give it longer with --cell-timeout"
        ) from None
    if done.returncode != 0 or not file.is_file():
        raise _explained(done.stderr or done.stdout)
    return _answer(done.stdout)


def _answer(text: str) -> dict[str, Any] | None:
    """Return the worker's outcome from between py-spy's own lines."""
    for line in reversed(text.splitlines()):
        if line.startswith("{"):
            try:
                # py-spy writes to the same pipe: its words may follow on the line.
                answer: dict[str, Any] = json.JSONDecoder().raw_decode(line)[0]
            except ValueError:
                return None  # Ended in mid-answer.
            return answer
    return None


def _explained(said: str) -> MeasurementFailed | EnvironmentLacks:
    words = " ".join(line.strip() for line in said.splitlines() if line.strip())
    if any(word in words.lower() for word in _DENIED):
        return EnvironmentLacks(
            f"py-spy may not look into the worker: {words[:200]}",
            remedy="in a container, add the capability SYS_PTRACE (docker run --cap-add SYS_PTRACE); on another Linux, "
            "set kernel.yama.ptrace_scope to at most 1; on macOS, run as root",
        )
    return MeasurementFailed(
        f"py-spy recorded nothing: {words[:300] or 'it said nothing'}",
        remedy="run the worker without --flame first; it may have ended before the first sample",
    )

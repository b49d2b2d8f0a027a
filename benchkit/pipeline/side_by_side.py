"""Several trainings at once, each a process with its share of the cores; one line tells of all.

What a process does is `training_child`. The parent sleeps until one of them says something.
"""

import contextlib
import dataclasses
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any

from benchkit.core import errors
from benchkit.core.artifacts import Artifact
from benchkit.core.errors import BenchkitError
from benchkit.pipeline.trainings import Training

CHILD = (sys.executable, "-P", "-m", "benchkit.pipeline.training_child")  # -P: the folder we are in shadows no package.
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")
# A child that is told to end deletes what it had half-made; one that does not within this time is killed.
_FAREWELL_S = 10.0

Told = Callable[[int, str, float | None], None]
Ended = Callable[[int, BenchkitError | None], None]


class TrainingCrashed(BenchkitError):
    """A process ended as none should."""

    exit = errors.Exit.BUG


@dataclasses.dataclass(slots=True, kw_only=True)
class _Child:
    process: "subprocess.Popen[str]"
    complaint: IO[bytes]
    error: BenchkitError | None = None
    is_finished: bool = False


def train_side_by_side(
    trainings: Sequence[Training],
    *,
    encoder: Artifact,
    jobs: int,
    told: Told,
    ended: Ended,
    command: Sequence[str] = CHILD,
) -> None:
    """Make every training, `jobs` at a time. One that fails stops none of the others.

    Args:
        trainings: What to make.
        encoder: What all of them start from.
        jobs: How many at once.
        told: Told of each one's progress, by its number.
        ended: Told of each one's end, with its error when it failed.
        command: How a child is started; another one for tests.
    """
    events: queue.SimpleQueue[tuple[int, str | None]] = queue.SimpleQueue()
    waiting = iter(enumerate(trainings))
    running: dict[int, _Child] = {}
    with contextlib.ExitStack() as stack:
        stack.callback(_end_all, running)
        for number, training in _first(waiting, jobs):
            running[number] = _started(number, training, encoder, events, command)
        while running:
            number, line = events.get()
            child = running[number]
            if line is not None:
                _take(child, json.loads(line), number, told)
                continue
            code = child.process.wait()
            ended(number, _how_it_ended(child, code, trainings[number].name))
            child.complaint.close()
            del running[number]
            for following, training in _first(waiting, 1):
                running[following] = _started(following, training, encoder, events, command)


def _first(waiting: Iterator[tuple[int, Training]], count: int) -> list[tuple[int, Training]]:
    return [pair for _, pair in zip(range(count), waiting, strict=False)]


def _started(
    number: int,
    training: Training,
    encoder: Artifact,
    events: "queue.SimpleQueue[tuple[int, str | None]]",
    command: Sequence[str],
) -> _Child:
    complaint = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the child
    process = subprocess.Popen(
        list(command),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=complaint,
        env=_environment(training.recipe.threads or 1),
        encoding="utf-8",
    )
    assert process.stdin is not None
    assert process.stdout is not None
    request = {"training": training.as_json(), "encoder": str(encoder.path.absolute())}
    with contextlib.suppress(OSError), process.stdin as pipe:  # One that died at once is told by its exit code.
        pipe.write(json.dumps(request))
    threading.Thread(target=_listen, args=(number, process.stdout, events), daemon=True).start()
    return _Child(process=process, complaint=complaint)


def _listen(number: int, pipe: IO[str], events: "queue.SimpleQueue[tuple[int, str | None]]") -> None:
    with contextlib.suppress(ValueError, OSError), pipe:  # The pipe of a child that is being ended.
        for line in pipe:
            events.put((number, line))
    events.put((number, None))


def _take(child: _Child, said: dict[str, Any], number: int, told: Told) -> None:
    if "error" in said:
        kind = getattr(errors, said["error"]["kind"], BenchkitError)
        child.error = kind(said["error"]["problem"], remedy=said["error"]["remedy"])
    elif "finished" in said:
        child.is_finished = True
    else:
        told(number, said["message"], said["done"])


def _how_it_ended(child: _Child, code: int, name: str) -> BenchkitError | None:
    if child.error is not None or (child.is_finished and code == 0):
        return child.error
    child.complaint.seek(0)
    lines = [line.strip() for line in child.complaint.read().decode(errors="replace").splitlines() if line.strip()]
    last = lines[-1] if lines else "(nothing on stderr)"
    if code < 0:
        hint = " (often: out of memory)" if code == -signal.SIGKILL else ""
        return errors.EnvironmentLacks(
            f"{name}: the process was killed by signal {-code}{hint}", remedy="run the command again with --jobs 1"
        )
    return TrainingCrashed(
        f"{name}: the process ended with code {code}: {last}",
        remedy="this is a bug in benchkit; run the command again with --jobs 1, and report what it says",
    )


def _end_all(running: dict[int, _Child]) -> None:
    for child in running.values():
        child.process.terminate()
    for child in running.values():
        try:
            child.process.wait(timeout=_FAREWELL_S)
        except subprocess.TimeoutExpired:
            child.process.kill()
            child.process.wait()
        child.complaint.close()


def _environment(threads: int) -> dict[str, str]:
    environment = os.environ | {name: str(threads) for name in _THREAD_VARIABLES}
    # Threads that spin while they wait take the cores that the other trainings run on.
    return environment | {"OMP_WAIT_POLICY": "PASSIVE"}


def clear_after(trainings: Sequence[Training]) -> None:
    """Delete what killed trainings left half-made; what lets them go on is kept."""
    for training in trainings:
        training.workshop.clear_remains(training.folder.name)

"""One training in a process of its own: the request on stdin, one JSON object a line on stdout.

Started by `side_by_side`. Ends when it is told to (SIGTERM), and when nobody listens any more.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import TextIO

from benchkit.core.artifacts import load_artifact
from benchkit.core.errors import BenchkitError, Exit
from benchkit.pipeline.trainings import Training

_TELL_EVERY_S = 0.25


def main() -> int:
    """Make the training that stdin describes; return the exit code."""
    # Ctrl-C reaches the whole group of processes; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _interrupted)
    # What libraries print is no answer of ours.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        _train(json.loads(sys.stdin.read()), answers)
    except BenchkitError as error:
        told = {"kind": type(error).__name__, "problem": str(error), "remedy": error.remedy}
        _say(answers, {"error": told})
        return int(error.exit)
    except KeyboardInterrupt:
        return int(Exit.INTERRUPTED)
    return int(Exit.OK)


def _train(request: dict[str, object], answers: TextIO) -> None:
    training = Training.from_json(request["training"])  # type: ignore[arg-type]
    made = {"encoder": load_artifact(Path(str(request["encoder"])))}
    if training.teacher is not None:
        made["teacher"] = load_artifact(training.teacher)
    training.workshop.make(training.step(), made, _Teller(answers))
    _say(answers, {"finished": training.name})


class _Teller:
    """Passes progress on, a few times a second; a step may take a hundredth of that."""

    def __init__(self, answers: TextIO) -> None:
        self._answers = answers
        self._told_s = 0.0

    def __call__(self, message: str, done: float | None = None) -> None:
        now_s = time.monotonic()
        if done is not None and 0 < done < 1 and now_s - self._told_s < _TELL_EVERY_S:
            return
        self._told_s = now_s
        _say(self._answers, {"message": message, "done": done})


def _say(answers: TextIO, value: dict[str, object]) -> None:
    answers.write(json.dumps(value) + "\n")
    answers.flush()


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())

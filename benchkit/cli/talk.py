"""Talk and progress on stderr; results are never written here."""

import sys
import time
from typing import TextIO

from benchkit.core.progress import Progress, silent

_LINE_EVERY_S = 5.0  # Where stderr is no terminal: a log that shows life without filling up.
_REDRAW_EVERY_S = 0.1


def progress_on(stream: TextIO | None = None, *, quiet: bool) -> Progress:
    """Return the progress that fits the stream: one line that redraws itself on a terminal, else lines now and then."""
    stream = stream or sys.stderr
    if quiet:
        return silent
    return _Redrawn(stream) if stream.isatty() else _Lines(stream)


class _Lines:
    """Prints a line when the subject changes, and one every few seconds while it does not."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._subject = ""
        self._printed_s = 0.0

    def __call__(self, message: str, done: float | None = None) -> None:
        subject = message.partition(",")[0].rpartition(":")[0] or message
        now_s = time.monotonic()
        if subject == self._subject and now_s - self._printed_s < _LINE_EVERY_S:
            return
        self._subject, self._printed_s = subject, now_s
        self._stream.write(f"{_with_share(message, done)}\n")
        self._stream.flush()


class _Redrawn:
    """Keeps one line of the terminal up to date, cut to its width."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._drawn_s = 0.0

    def __call__(self, message: str, done: float | None = None) -> None:
        import shutil

        now_s = time.monotonic()
        finished = done is not None and done >= 1
        if now_s - self._drawn_s < _REDRAW_EVERY_S and not finished:
            return
        self._drawn_s = now_s
        width = shutil.get_terminal_size().columns - 1
        text = "" if finished else _with_share(message, done)[:width]
        self._stream.write(f"\r\x1b[2K{text}")
        self._stream.flush()


def _with_share(message: str, done: float | None) -> str:
    return message if done is None else f"{done:4.0%} {message}"

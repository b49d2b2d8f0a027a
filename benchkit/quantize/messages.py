"""What quantizers of other packages say, kept for the artifact instead of printed."""

import contextlib
import importlib
import io
import logging
from collections.abc import Iterator
from typing import Any

# Pre-processing is advice for convolutions; encoders that benchkit exports have nothing to gain.
_NO_NEWS = ("pre-processing",)


@contextlib.contextmanager
def taken_messages() -> Iterator[list[str]]:
    """Collect the warnings of onnxruntime's Python side, and drop what it prints."""
    messages: list[str] = []

    def taken(record: logging.LogRecord) -> bool:
        if "onnxruntime" not in record.pathname:
            return True
        message = record.getMessage()
        if record.levelno >= logging.WARNING and not any(word in message for word in _NO_NEWS):
            messages.append(message)
        return False

    # Some of its modules speak through the root logger, some through loggers of their own below "onnxruntime". A
    # filter sees what is said to its own logger; what comes from below, a filter of the handler does.
    handler = logging.NullHandler()
    collector = logging.Handler()
    collector.addFilter(taken)
    root, package = logging.getLogger(), logging.getLogger("onnxruntime")
    propagated = package.propagate
    # Without a handler `logging.warning` would install one that prints, for the rest of the process.
    root.addHandler(handler)
    root.addFilter(taken)
    package.addHandler(collector)
    package.propagate = False
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield messages
    finally:
        package.propagate = propagated
        package.removeHandler(collector)
        root.removeFilter(taken)
        root.removeHandler(handler)


def imported_quietly(module: str) -> Any:
    """Import a module that sets logging up for the whole process, and take that back."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    placeholder = logging.NullHandler()
    root.addHandler(placeholder)  # `logging.basicConfig` does nothing where there is a handler.
    try:
        return importlib.import_module(module)
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)

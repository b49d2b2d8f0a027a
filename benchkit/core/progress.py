"""How long work tells its watcher where it is; showing it is left to `cli`, which passes its own `Progress`."""

from typing import Protocol


class Progress(Protocol):
    """Told of progress; must return at once."""

    def __call__(self, message: str, done: float | None = None) -> None:
        """Take one line of talk, and the share done (0 to 1) when it is known."""


def silent(message: str, done: float | None = None) -> None:
    """Say nothing."""

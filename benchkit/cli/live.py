"""The live table of a sweep on stderr: one row a cell, redrawn between two processes and never while one measures."""

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from benchkit.core.progress import Progress
from benchkit.core.quantities import format_value

if TYPE_CHECKING:
    from rich.table import Table

    from benchkit.bench.sweep import CellState

_MOST_ROWS = 30


class LiveTable(AbstractContextManager["LiveTable"]):
    """Draws the cells of a sweep on a terminal; elsewhere only the lines of progress are left."""

    def __init__(self, progress: Progress, *, quiet: bool) -> None:
        """Draw where a person watches.

        Args:
            progress: Takes the lines where there is no table.
            quiet: Draw nothing.
        """
        self._fallback = progress
        self._drawn = not quiet and sys.stderr.isatty()
        self._message = ""
        self._live: Any = None

    def __enter__(self) -> "LiveTable":
        """Take the terminal."""
        if self._drawn:
            from rich.console import Console
            from rich.live import Live

            # No refresh by a thread: it would take CPU time from the worker that is being measured.
            self._live = Live(console=Console(stderr=True), auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Give the terminal back, empty: the results follow on stdout."""
        if self._live is not None:
            self._live.stop()

    def progress(self, message: str, done: float | None = None) -> None:
        """Take a line of talk; see `benchkit.core.progress.Progress`."""
        if self._live is None:
            self._fallback(message, done)
        else:
            self._message = message if done is None else f"{done:4.0%} {message}"

    def watch(self, states: "Sequence[CellState]") -> None:
        """Draw the cells as they are now."""
        if self._live is not None:
            self._live.update(_table(states, self._message), refresh=True)


def _table(states: "Sequence[CellState]", caption: str) -> "Table":
    from rich.table import Table

    table = Table(caption=caption, caption_justify="left", box=None, pad_edge=False)
    for heading in ("cell", "runs", "latest p50", "state"):
        table.add_column(heading, justify="left" if heading in ("cell", "state") else "right")
    busy = [state for state in states if not state.stopped_by and not state.failed]
    shown = (busy + [state for state in states if state not in busy])[:_MOST_ROWS]
    for state in shown:
        table.add_row(state.spot.label(), str(len(state.outcomes["time"])), _latest(state), _word(state))
    if len(states) > len(shown):
        table.add_row(f"... and {len(states) - len(shown)} more cells", "", "", "")
    return table


def _latest(state: "CellState") -> str:
    timed = state.outcomes["time"]
    latency_ns = sorted(timed[-1].get("latency_ns", ())) if timed else []
    return format_value("latency", latency_ns[len(latency_ns) // 2] * 1e-9) if latency_ns else "—"


def _word(state: "CellState") -> str:
    if state.failed:
        kind, reason = next(iter(state.failed.items()))
        return f"{kind} failed: {reason.detail.partition(';')[0]}"
    return {"targets": "narrow enough", "runs": "done", "time": "out of time", "": "measuring"}[state.stopped_by]

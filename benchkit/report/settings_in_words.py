"""The settings of a cell in words, for the rows and captions that have to tell two cells apart.

Which of them are columns is left to `columns`.
"""

from collections.abc import Callable, Iterable

from benchkit.core.records import Cell
from benchkit.report.plain import NAME_LENGTH, clean

_SHORT = 20


def load_in_words(cell: Cell) -> str:
    """Say how calls arrive: '50 % of capacity', '40/s', 'largest under p99 20 ms'; '' for a closed loop."""
    if cell.p99_at_most_s is not None:
        return f"largest under p99 {cell.p99_at_most_s * 1e3:g} ms"
    if cell.load is not None:
        return f"{cell.load * 100:g} % of capacity"
    return "" if cell.rate_per_s is None else f"{cell.rate_per_s:g}/s"


def affinity_in_words(cell: Cell) -> str:
    """Name the cores that the worker was bound to."""
    return "not bound" if cell.affinity is None else clean(",".join(map(str, cell.affinity)), NAME_LENGTH)


def transfers_in_words(cell: Cell) -> str:
    """Say whether copies to and from the device are in the timed call; '' on a CPU, which has none."""
    return {True: "timed", False: "not timed", None: ""}[cell.transfers]


# What each setting adds to the name of a row where it varies.
_WORDS: dict[str, Callable[[Cell], str]] = {
    "scenario": lambda cell: clean(cell.scenario, _SHORT),
    "load": load_in_words,
    "lengths_from": lambda cell: f"lengths from {clean(cell.lengths_from, _SHORT)}" if cell.lengths_from else "",
    "transfers": lambda cell: f"copies {transfers_in_words(cell)}" if cell.transfers is not None else "",
    "runtime": lambda cell: clean(cell.runtime, _SHORT),
    "device": lambda cell: clean(cell.device, _SHORT),
    "threads": lambda cell: f"{cell.threads} thread{'' if cell.threads == 1 else 's'}",
    "inter_op_threads": lambda cell: f"{cell.inter_op_threads} inter-op",
    # Where every input has one length there is nothing to pad.
    "padding": lambda cell: f"padding {clean(cell.padding, _SHORT)}" if cell.lengths_from else "",
    "affinity": lambda cell: "any core" if cell.affinity is None else f"cores {affinity_in_words(cell)}",
    "engine": lambda cell: f"by {clean(cell.engine, _SHORT)}",
}
SETTINGS = tuple(_WORDS)
# Those in which rows of one place may differ: they are chosen by whoever tunes, and change what is asked in nothing.
TUNING = ("runtime", "device", "threads", "inter_op_threads", "padding", "affinity", "engine")


def varying(cells: Iterable[Cell]) -> tuple[str, ...]:
    """Return the settings in which these cells differ, in a fixed order."""
    known = list(cells)
    return tuple(name for name, words in _WORDS.items() if len({words(cell) for cell in known}) > 1)


def in_words(cell: Cell, names: Iterable[str]) -> tuple[str, ...]:
    """Return the words of some settings of a cell, without those that say nothing of it."""
    return tuple(filter(None, (_WORDS[name](cell) for name in names)))

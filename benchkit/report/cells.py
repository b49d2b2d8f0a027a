"""What a table is made of: a column's heading and one drawn cell."""

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column.

    Attributes:
        key: Stable name, for CSV and JSON.
        title: Heading for people.
        unit: Display unit of the cells' text.
        better: Direction of improvement, drawn as an arrow; None for what is neither good nor bad.
        is_number: True when cells align right and sort as numbers.
        quantity: Name in the table of quantities, when values are of one.
        rank: Where width is short, columns of the highest rank go first; 0 stays.
        is_optional: True when it is taken only where its setting varies or its quantity was measured.
        is_detail: True when only CSV and JSON carry it.
        folds: True when it moves beneath the artifact's name where width is short.
    """

    key: str
    title: str
    unit: str = ""
    better: Literal["lower", "higher"] | None = None
    is_number: bool = True
    quantity: str | None = None
    rank: int = 0
    is_optional: bool = False
    is_detail: bool = False
    folds: bool = False

    @property
    def arrow(self) -> str:
        """An arrow in the direction of improvement, or ''."""
        return {"lower": "↓", "higher": "↑", None: ""}[self.better]

    @property
    def subtitle(self) -> str:
        """Unit and arrow."""
        return " ".join(filter(None, [self.unit, self.arrow]))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TableCell:
    """One cell, drawn alike by every writer.

    Attributes:
        text: What is read first.
        below: What stands smaller beneath or behind it: bounds, a metric's name, a number of runs.
        value: To sort by, and what CSV and JSON carry: base unit for a quantity, None for an absence.
        low: Lower bound in the base unit.
        high: Upper bound in the base unit.
        note: The whole story, shown on hover; says why a value is absent.
        tone: How it looks: "" or "absent", "void", "noisy", "clean".
    """

    text: str
    below: str = ""
    value: float | int | str | None = None
    low: float | None = None
    high: float | None = None
    note: str = ""
    tone: Literal["", "absent", "void", "noisy", "clean"] = ""


def absent(note: str, text: str = "—") -> TableCell:
    """Return a cell for what was not measured: never a number, always with its reason."""
    return TableCell(text=text, note=note, tone="absent")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A plain table of text under a heading; without heads its rows are a list.

    Attributes:
        title: Heading.
        lead: A sentence before it.
        heads: Column headings.
        rows: Cleaned text.
    """

    title: str
    lead: str = ""
    heads: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()

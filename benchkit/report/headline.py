"""The cell that a reader looks at first: where most artifacts were profiled, at the smallest batch, the most tokens."""

import collections
import dataclasses
from collections.abc import Sequence

from benchkit.report.entries import Entry
from benchkit.report.plain import clean


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """One host's headline cell.

    Attributes:
        host: Short id of the host, cleaned.
        batch_size: Examples per call.
        sequence_length: Tokens per example; 0 when inputs have their own lengths.
        entries: Every row at this place, void ones included, in the table's order.
    """

    host: str
    batch_size: int
    sequence_length: int
    entries: tuple[Entry, ...]

    @property
    def words(self) -> str:
        """The place in words: 'batch 1, 128 tokens'."""
        tokens = f", {self.sequence_length:,} tokens" if self.sequence_length else ""
        return f"batch {self.batch_size:,}{tokens}"

    @property
    def sentence(self) -> str:
        """The place as a caption begins: 'Batch 1, 128 tokens, host 4f2a.'."""
        return f"{self.words[0].upper()}{self.words[1:]}, host {self.host}."


def headlines(entries: Sequence[Entry]) -> tuple[Headline, ...]:
    """Return the headline cell of each host, by host id."""
    places = collections.defaultdict(list)
    for entry in entries:
        if entry.profile is not None:
            places[entry.place].append(entry)
    best: dict[str, tuple[str, str, int, int]] = {}
    for place in sorted(places, key=lambda place: _preference(place, places[place])):
        best.setdefault(place[0], place)
    return tuple(
        Headline(host=clean(host, 40), batch_size=place[2], sequence_length=place[3], entries=tuple(places[place]))
        for host, place in sorted(best.items())
    )


def _preference(place: tuple[str, str, int, int], entries: list[Entry]) -> tuple[object, ...]:
    artifacts = {entry.artifact.id for entry in entries if not entry.is_void}
    return (-len(artifacts), place[1] != "single-stream", place[1], place[2], -place[3])

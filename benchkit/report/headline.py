"""The cell that a reader looks at first: where most artifacts were profiled, at the smallest batch, the most tokens."""

import collections
import dataclasses
from collections.abc import Sequence

from benchkit.core.repeats import one_of_each_cell
from benchkit.report.entries import Entry, Place
from benchkit.report.plain import clean


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """One host's headline cell.

    Attributes:
        host: Short id of the host, cleaned.
        place: What the rows have in common.
        entries: Every cell at this place, void ones included, in the table's order; of one that was measured several
            times the latest clean row.
    """

    host: str
    place: Place
    entries: tuple[Entry, ...]

    @property
    def words(self) -> str:
        """The place in words: 'batch 1, 128 tokens'."""
        return self.place.words

    @property
    def sentence(self) -> str:
        """The place as a caption begins: 'Batch 1, 128 tokens, host 4f2a.'."""
        return f"{self.words[0].upper()}{self.words[1:]}, host {self.host}."


def headlines(entries: Sequence[Entry]) -> tuple[Headline, ...]:
    """Return the headline cell of each host, by host id: a closed loop where there is one."""
    best: dict[str, Headline] = {}
    for headline in _by_preference(entries):
        best.setdefault(headline.place.host, headline)
    return tuple(best[host] for host in sorted(best))


def headlines_of_scenarios(entries: Sequence[Entry]) -> tuple[Headline, ...]:
    """Return the headline cell of each host and scenario, by both."""
    best: dict[tuple[str, bool, str, bool], Headline] = {}
    for headline in _by_preference(entries):
        place, looked_for = headline.place, headline.entries[0].judged_by[0] == "sustained_rate"
        best.setdefault((place.host, place.scenario != "single-stream", place.scenario, looked_for), headline)
    return tuple(best[key] for key in sorted(best))


def _by_preference(entries: Sequence[Entry]) -> list[Headline]:
    # A run beside a neighbour that was repeated since says nothing any more of who is fastest.
    chosen = {one.record.record_id for one in one_of_each_cell(entry.profile for entry in entries if entry.profile)}
    places = collections.defaultdict(list)
    for entry in entries:
        if entry.profile is not None and entry.profile.record_id in chosen:
            places[entry.place].append(entry)
    return [
        Headline(host=clean(place.host, 40), place=place, entries=tuple(places[place]))
        for place in sorted(places, key=lambda place: _preference(place, places[place]))
    ]


def _preference(place: Place, entries: list[Entry]) -> tuple[object, ...]:
    artifacts = {entry.artifact.id for entry in entries if not entry.is_void}
    return (place.scenario != "single-stream", -len(artifacts), place.batch_size, -place.sequence_length, place)

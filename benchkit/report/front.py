"""Who is not beaten: the Pareto front of score against latency, among rows that may be compared.

Void rows and rows without a score are on no front. Bounds are drawn, and not used here: the front is of estimates.
"""

import collections
import dataclasses
import itertools
from collections.abc import Sequence

from benchkit.core.records import Statistic
from benchkit.report.entries import Entry, Place


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One candidate of a front.

    Attributes:
        entry: The row.
        latency: p95, or p50 where some row of the group has no p95.
        score: The headline metric.
        on_front: No other point of the group is at least as good in both and better in one.
    """

    entry: Entry
    latency: Statistic
    score: Statistic
    on_front: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Rows of one task, metric, split and place.

    Attributes:
        task: Task name.
        metric: Metric name.
        place: What the rows have in common.
        statistic: Latency statistic used for every point: "p95" or "p50".
        points: Fastest first.
    """

    task: str
    metric: str
    place: Place
    statistic: str
    points: tuple[Point, ...]


def groups_of(entries: Sequence[Entry]) -> tuple[Group, ...]:
    """Return every group with a usable score and latency, the front marked."""
    found = collections.defaultdict(list)
    for entry in entries:
        for score in entry.scores:
            if score.statistic is not None and not score.is_void and entry.latency("p50") is not None:
                found[score.task, score.metric, score.record.cell.split or "", entry.place].append(
                    (entry, score.statistic)
                )
    return tuple(_group(key[0], key[1], key[3], members) for key, members in sorted(found.items(), key=lambda i: i[0]))


def starred(groups: Sequence[Group]) -> frozenset[str]:
    """Return the record ids of rows on a front of at least two different artifacts: a front of one says nothing."""
    return frozenset(
        point.entry.record.record_id
        for group in groups
        if len({point.entry.artifact.id for point in group.points}) > 1
        for point in group.points
        if point.on_front
    )


def _group(task: str, metric: str, place: Place, members: list[tuple[Entry, Statistic]]) -> Group:
    name = "p95" if all(entry.latency("p95") is not None for entry, _ in members) else "p50"
    points = []
    for entry, score in members:
        latency = entry.latency(name)
        assert latency is not None
        points.append(Point(entry=entry, latency=latency, score=score))
    return Group(task=task, metric=metric, place=place, statistic=name, points=_marked(points))


def _marked(points: list[Point]) -> tuple[Point, ...]:
    ordered = sorted(points, key=lambda point: (_of(point.latency), -_of(point.score), point.entry.record.record_id))
    best, marked = float("-inf"), []
    for _, equal in itertools.groupby(ordered, key=lambda point: _of(point.latency)):
        tied = list(equal)
        top = _of(tied[0].score)
        marked += [dataclasses.replace(p, on_front=_of(p.score) == top > best) for p in tied]
        best = max(best, top)
    return tuple(marked)


def _of(statistic: Statistic) -> float:
    assert statistic.value is not None
    return statistic.value

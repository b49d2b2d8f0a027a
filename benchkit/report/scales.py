"""Axes and label places, worked out here so that a chart's layout depends on its data alone, not on installed fonts."""

import dataclasses
import math
from collections.abc import Sequence

_CHARACTER_PX = 6.6  # Mean width of a character at 11.5 px.
_LINE_PX = 13
_MOST_TICKS = 7


# What an axis is made for, in display units; only a damaged or hostile record lies outside.
_SMALLEST, _LARGEST = 1e-9, 1e12


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """One axis.

    Attributes:
        low: Value at its beginning.
        high: Value at its end.
        is_log: Logarithmic.
        ticks: Values that carry a label.
    """

    low: float
    high: float
    is_log: bool
    ticks: tuple[float, ...]

    def share(self, value: float) -> float:
        """Return where a value lies: 0 at the beginning, 1 at the end."""
        if self.is_log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def value(self, share: float) -> float:
        """Return the value at a place."""
        if self.is_log:
            return self.low * math.exp(share * math.log(self.high / self.low))
        return self.low + share * (self.high - self.low)


def is_drawable(value: float | None, *, positive: bool = True) -> bool:
    """Tell whether an axis can show the value: present, of a sane size, and above zero where that is needed."""
    if value is None or abs(value) > _LARGEST:
        return False
    return value >= _SMALLEST if positive else True


def log_scale(values: Sequence[float]) -> Scale:
    """Return a logarithmic scale around positive values, with ticks at 1, 2 and 5."""
    low, high = min(values), max(values)
    margin = max((high / low) ** 0.07, 1.08)
    low, high = low / margin, high * margin
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 9), (1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1,)):
        ticks = [float(f"{step}e{decade}") for decade in decades for step in steps]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) <= _MOST_TICKS:
            break
    return Scale(low=low, high=high, is_log=True, ticks=tuple(ticks[:: math.ceil(len(ticks) / _MOST_TICKS) or 1]))


def linear_scale(values: Sequence[float], *, from_zero: bool = False, most_ticks: int = _MOST_TICKS) -> Scale:
    """Return a linear scale around values, with round ticks."""
    low, high = (0.0 if from_zero else min(values)), max(values)
    margin = (high - low) * 0.08 or abs(high) * 0.05 or 1.0
    low, high = (0.0 if from_zero else low - margin), high + margin
    rough = (high - low) / most_ticks
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= rough)
    first = math.ceil(low / step)
    ticks = tuple(round((first + number) * step, 12) for number in range(int(high / step) - first + 1))
    return Scale(low=low, high=high, is_log=False, ticks=ticks)


Box = tuple[float, float, float, float]
"""Left, top, right and bottom in pixels."""


def label_places(
    points: Sequence[tuple[float, float, str]], obstacles: Sequence[Box], *, width: float, height: float
) -> list[tuple[float, float] | None]:
    """Find a place for each point's label: over no other label and no point, and across lines as little as can be.

    Args:
        points: x and y of each point in pixels, and its label.
        obstacles: Boxes around lines that labels should not cross.
        width: Of the plot, in pixels.
        height: Of the plot, in pixels.

    Returns:
        Left end and middle line of each label in pixels; None where there is no room.
    """
    taken = [(x - 6, y - 6, x + 6, y + 6) for x, y, _ in points]
    places: list[tuple[float, float] | None] = []
    for x, y, label in points:
        wide = len(label) * _CHARACTER_PX
        tries = [place for place in _around(x, y, wide) if _is_inside(_box(place, wide), width, height)]
        free = [place for place in tries if not _hidden(_box(place, wide), taken)]
        place = min(free, key=lambda place: _hidden(_box(place, wide), obstacles), default=None)
        places.append(place)
        if place is not None:
            taken.append(_box(place, wide))
    return places


def _around(x: float, y: float, wide: float) -> list[tuple[float, float]]:
    right, left, centre = x + 9, x - 9 - wide, x - wide / 2
    near = [(right, y - 11), (right, y), (right, y + 11), (left, y - 11), (left, y), (left, y + 11)]
    return [*near, (centre, y - 15), (centre, y + 15), (right, y - 24), (right, y + 24), (left, y - 24), (left, y + 24)]


def _box(place: tuple[float, float], wide: float) -> Box:
    return (place[0], place[1] - _LINE_PX / 2, place[0] + wide, place[1] + _LINE_PX / 2)


def _is_inside(box: Box, width: float, height: float) -> bool:
    return box[0] >= 0 and box[1] >= 0 and box[2] <= width and box[3] <= height


def _hidden(box: Box, others: Sequence[Box]) -> float:
    """Return the area of `box` under the others: a line struck through a word hides more than one across it."""
    return sum(
        _overlap(box[0], box[2], other[0], other[2]) * _overlap(box[1], box[3], other[1], other[3]) for other in others
    )


def _overlap(low: float, high: float, other_low: float, other_high: float) -> float:
    return max(0.0, min(high, other_high) - max(low, other_low))

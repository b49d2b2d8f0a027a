"""What a chart is, before it is drawn: a specification, a caption, a legend and the table of its figures."""

import dataclasses
from typing import Any

# Size of a plot in pixels, without its axes: two stand side by side on a laptop, one fits a phone.
WIDTH, HEIGHT = 360, 230


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How one series is drawn: a colour of the page's style sheet, a shape, dash lengths in pixels."""

    color: str
    shape: str
    dash: tuple[float, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One entry of a legend; `mark` is "line", "point" or "bar"."""

    text: str
    look: Look
    mark: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """One figure of the page.

    Attributes:
        name: Unique within the page.
        title: Heading.
        caption: What is seen, and what is left out.
        spec: Vega-Lite, with inline data only.
        keys: Legend.
        heads: Headings of the table under the chart.
        rows: The figures that are drawn, as text.
    """

    name: str
    title: str
    caption: str
    spec: dict[str, Any]
    keys: tuple[Key, ...] = ()
    heads: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()

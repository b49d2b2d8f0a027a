"""Vega-Lite in the page's look: a layer is a dict made here, and a chart is a few layers.

Written as plain dicts, not by Altair's classes: those spent 3 s on checking a page's nine small charts against their
schema (its whole budget), and tie the version of the schema to that of the drawing library.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from benchkit.report.scales import Scale

Layer = dict[str, Any]
Rows = Sequence[Mapping[str, Any]]

MUTED = "var(--muted)"
INK = "currentColor"

# Margins around the plot in pixels. They are fixed, and `autosize` is off, so that the layout does not depend on how
# wide a label is in the fonts of the machine that draws.
MARGIN = {"left": 46, "right": 14, "top": 26, "bottom": 47}

_AXIS = {
    "labelColor": INK,
    "labelOpacity": 0.72,
    "labelFontSize": 11.5,
    "labelLimit": 0,
    "labelOverlap": False,
    "labelPadding": 7,
    "titleColor": INK,
    "titleOpacity": 0.72,
    "titleFontSize": 11.5,
    "titleFontWeight": "normal",
    "domain": False,
    "ticks": False,
    "gridColor": INK,
    "gridOpacity": 0.1,
}
_CONFIG = {
    "axis": _AXIS,
    "view": {"stroke": None},
    "text": {"fontSize": 11.5, "fill": INK},
    "aria": False,
    "background": None,
}


def layer(rows: Rows, mark: Mapping[str, Any], **encoding: Any) -> Layer:
    """Return one layer: inline rows, a mark with its constant looks, and channels."""
    return {"data": {"values": [dict(row) for row in rows]}, "mark": dict(mark), "encoding": encoding}


def axis_x(field: str, scale: Scale, title: str) -> dict[str, Any]:
    """Return a quantitative x channel with fixed ticks and its title under the right end."""
    axis = {"title": title, "titleAnchor": "end", "titleAlign": "right", "titleY": 30}
    return _quantitative(field, scale, axis, "~r")


def axis_y(field: str, scale: Scale, title: str, *, ticks: str = "~r") -> dict[str, Any]:
    """Return a quantitative y channel with its title lying above the axis; `ticks` is a d3 number format."""
    axis = {
        "title": title,
        "titleAngle": 0,
        "titleAlign": "left",
        "titleAnchor": "start",
        "titleX": 4 - MARGIN["left"],
        "titleY": -14,
    }
    return _quantitative(field, scale, axis, ticks)


def as_is(field: str) -> dict[str, Any]:
    """Return a channel whose field holds the look itself: a colour, a shape, an opacity."""
    return {"field": field, "type": "nominal", "scale": None}


def at(pixels: float) -> dict[str, Any]:
    """Return a position channel at a fixed place of the plot."""
    return {"value": pixels}


def specification(layers: Sequence[Layer], *, width: int, height: int, left: int = MARGIN["left"]) -> dict[str, Any]:
    """Return layers as one Vega-Lite specification of a fixed layout."""
    return {
        "width": width,
        "height": height,
        "autosize": "none",
        "padding": MARGIN | {"left": left},
        "config": _CONFIG,
        "layer": list(layers),
    }


def _quantitative(field: str, scale: Scale, axis: dict[str, Any], ticks: str) -> dict[str, Any]:
    return {
        "field": field,
        "type": "quantitative",
        "scale": {
            "type": "log" if scale.is_log else "linear",
            "domain": [scale.low, scale.high],
            "nice": False,
            "zero": False,
        },
        "axis": axis | {"values": list(scale.ticks), "format": ticks},
    }

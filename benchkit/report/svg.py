"""A Vega-Lite spec -> SVG that may stand inside a page: no ids that collide, no scripts, no more than drawing.

vl-convert draws; what it returns is parsed and rebuilt from a list of known elements and attributes, so that nothing
else, whatever a record said, gets into the page.
"""

import re
import xml.etree.ElementTree as ET
from typing import Any

_SVG = "http://www.w3.org/2000/svg"
_ELEMENTS = {"svg", "g", "path", "line", "rect", "circle", "text", "tspan", "defs", "clipPath"}
_ATTRIBUTES = {
    "clip-path", "cx", "cy", "d", "dx", "dy", "fill", "fill-opacity", "font-size", "font-style", "font-weight",
    "height", "id", "opacity", "r", "stroke", "stroke-dasharray", "stroke-linecap", "stroke-linejoin",
    "stroke-opacity", "stroke-width", "text-anchor", "transform", "viewBox", "width", "x", "x1", "x2", "y", "y1", "y2",
}  # fmt: skip
_LONG_NUMBER = re.compile(r"-?\d+\.\d{2,}(?:e-?\d+)?")
_REFERENCE = re.compile(r"url\(#([^)]*)\)")
_NOTHING = {"", "M0,0h0v0h0Z"}


def svg_from_spec(spec: dict[str, Any], *, name: str, title: str) -> str:
    """Draw a Vega-Lite spec.

    Args:
        spec: With inline data only; nothing is ever fetched.
        name: Unique within the page; ids begin with it.
        title: Spoken by screen readers in place of the picture.
    """
    import vl_convert

    # An empty list allows no address: by default vl-convert fetches what a spec asks for, without a word.
    return tidy(vl_convert.vegalite_to_svg(spec, allowed_base_urls=[]), name=name, title=title)


def tidy(drawn: str, *, name: str, title: str) -> str:
    """Rebuild an SVG from known parts, with ids that begin with `name` and numbers to a tenth of a pixel."""
    root = ET.fromstring(drawn)  # noqa: S314 - drawn by vl-convert in this process, not received from anybody
    # vl-convert counts ids up through the whole process: number them anew, in the order of the document.
    ids = {element.get("id", ""): "" for element in root.iter() if element.get("id")}
    ids = {old: f"{name}-{number}" for number, old in enumerate(ids, 1)}
    rebuilt = _rebuilt(root, ids)
    assert rebuilt is not None
    rebuilt.set("role", "img")
    rebuilt.set("aria-label", title)
    return ET.tostring(rebuilt, encoding="unicode", short_empty_elements=True)


def _rebuilt(element: ET.Element, ids: dict[str, str]) -> ET.Element | None:
    tag = element.tag.removeprefix(f"{{{_SVG}}}")
    if tag not in _ELEMENTS:
        return None
    made = ET.Element(tag)
    for key, value in element.attrib.items():
        if key in _ATTRIBUTES:
            made.set(key, _attribute(key, value, ids))
    made.text = element.text if tag in ("text", "tspan") else None
    made.extend(child for child in (_rebuilt(child, ids) for child in element) if child is not None)
    is_empty = (tag in ("g", "defs") and len(made) == 0) or (tag == "path" and made.get("d", "") in _NOTHING)
    return None if is_empty else made


def _attribute(key: str, value: str, ids: dict[str, str]) -> str:
    if key == "id":
        return ids[value]
    if "url(" in value:
        return _REFERENCE.sub(lambda found: f"url(#{ids.get(found[1], '')})", value)
    return _LONG_NUMBER.sub(lambda found: f"{float(found[0]):.1f}".removesuffix(".0"), value)

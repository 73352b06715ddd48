"""A figure of matplotlib as a piece of a page: without fonts, sizes and colours of its own, so that the page decides them.

Figures are drawn with stand-ins for colours, and each becomes a variable of the page's style sheet, which has a
light and a dark value for it. Nothing in it depends on when or where it was drawn.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Names of the page's variables; the stand-in of each is a colour that nothing else has.
COLOURS: Final = ("ink", "muted", "grid", "fault", "good", "bad", "other", "blue", "orange", "violet")
_STAND_IN: Final = {name: f"#01{number:02x}fe" for number, name in enumerate(COLOURS)}
_NAME: Final = {colour: name for name, colour in _STAND_IN.items()}
_USED: Final = re.compile("|".join(_NAME))
_FONT: Final = re.compile(r"font: ([\d.]+px)[^;]*")
_FAMILY: Final = re.compile(r"font-family: [^;]*; ?")
_LONG: Final = re.compile(r"(\.\d\d)\d+")
_REFERENCE: Final = re.compile(r"url\(#([^)]+)\)")
_HREF: Final = "{http://www.w3.org/1999/xlink}href"
_PLACES: Final = frozenset({"d", "x", "y", "x1", "x2", "y1", "y2", "transform", "width", "height"})


def colour(name: str) -> str:
    """What to draw with for a colour of the page."""
    return _STAND_IN[name]


def inline(figure: Figure, title: str, key: str) -> str:
    """The figure as an `svg` element for HTML, as wide as its place; `key` sets its ids apart from those of others."""
    drawn = io.StringIO()
    figure.savefig(
        drawn, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None}, transparent=True
    )
    root = ET.fromstring(drawn.getvalue())  # noqa: S314  matplotlib's own, from the line above
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.endswith(("}metadata", "}style")):
                parent.remove(child)
    wanted = _wanted(root)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = _attributes(element.attrib, key, wanted)
    width, height = (root.attrib.pop(name).removesuffix("pt") for name in ("width", "height"))
    # A width in a percentage that is at most so much, for a browser that has no style sheet.
    root.attrib |= {"role": "img", "aria-label": title, "viewBox": f"0 0 {float(width):g} {float(height):g}"}
    root.attrib.pop("version", None)
    text = ET.tostring(root, encoding="unicode")
    return _USED.sub(lambda found: f"var(--{_NAME[found[0]]})", text)


def _wanted(root: ET.Element) -> set[str]:
    """The ids that something refers to; all others are matplotlib's notes to itself."""
    values = [value for element in root.iter() for value in element.attrib.values()]
    named = {name for value in values for name in _REFERENCE.findall(value)}
    return named | {element.attrib[_HREF][1:] for element in root.iter() if _HREF in element.attrib}


def _attributes(found: dict[str, str], key: str, wanted: set[str]) -> dict[str, str]:
    kept = {}
    for name, value in found.items():
        if name == "id":
            if value in wanted:
                kept["id"] = f"{key}-{value}"
        elif name == _HREF:
            kept["href"] = f"#{key}-{value[1:]}"
        elif name in _PLACES:
            kept[name] = _LONG.sub(r"\1", value)
        elif name == "style":
            kept[name] = _FAMILY.sub("", _FONT.sub(r"font-size: \1", _LONG.sub(r"\1", value)))
        else:
            kept[name] = _REFERENCE.sub(rf"url(#{key}-\1)", value)
    return kept

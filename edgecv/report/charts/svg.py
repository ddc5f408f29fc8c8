"""Elements of a drawing, the two sizes it comes in, and room for its words."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from edgecv.report.values import clean

COLORS = 8
# Square, triangle, diamond, triangle upside down, flat box: corners around the middle, of radius 1.
POLYGONS = (
    ((-1, -1), (1, -1), (1, 1), (-1, 1)),
    ((0, -1.3), (1.2, 1), (-1.2, 1)),
    ((0, -1.4), (1.4, 0), (0, 1.4), (-1.4, 0)),
    ((0, 1.3), (1.2, -1), (-1.2, -1)),
    ((-1.5, -0.7), (1.5, -0.7), (1.5, 0.7), (-1.5, 0.7)),
)
MARKERS = 1 + len(POLYGONS)
# Of the font's size: wider than most letters of the fonts that systems use, so that words fit.
LETTER, WIDE_LETTER = 0.61, 1.05


@dataclass(frozen=True)
class Layout:
    """A drawing's size. width, font: in its own units, which are about pixels of the page."""

    name: str
    width: float
    font: float
    height: float
    is_narrow: bool


WIDE = Layout("wide", 760, 13, 320, is_narrow=False)
NARROW = Layout("narrow", 310, 12.5, 230, is_narrow=True)

Drawing = tuple[Sequence[Markup], float]
"""Elements, and the height that they take."""


def tag(name: str, *children: str, **attributes: object) -> Markup:
    """An element. Text among the children is escaped; `stroke_width=1` becomes stroke-width="1".

    Attributes of None are left out.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_attribute(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    content = "".join(child if isinstance(child, Markup) else escape(clean(child)) for child in children)
    return Markup(f"<{name}{written}>{content}</{name}>" if content else f"<{name}{written}/>")


def plot(draw: Callable[[Layout], Drawing], *notes: str) -> Markup:
    """A chart in both sizes, with what has to be said below it."""
    drawings = []
    for layout in (WIDE, NARROW):
        elements, height = draw(layout)
        drawings.append(
            tag(
                "svg",
                *elements,
                xmlns="http://www.w3.org/2000/svg",
                viewBox=f"0 0 {_number(layout.width)} {_number(height)}",
                class_=f"plot {layout.name}",
                aria_hidden="true",
            )
        )
    said = [tag("p", note, class_="plot-note") for note in notes if note]
    return tag("div", *drawings, *said)


def nothing(layout: Layout) -> Drawing:
    """What stands where there is nothing to draw."""
    return [text("nothing to show", layout.width / 2, 34, class_="muted", anchor="middle")], 60


def text(words: str, x: float, y: float, *, class_: str | None = None, anchor: str | None = None) -> Markup:
    """A line of words; y is its baseline."""
    return tag("text", words, x=x, y=y, class_=class_, text_anchor=anchor)


def axis_label(words: str, x: float, y: float, layout: Layout, anchor: str = "middle") -> Markup:
    """What an axis counts, in as many words as there is room for."""
    room = 2 * min(x, layout.width - x) if anchor == "middle" else layout.width - x
    return text(shorten(words, room, layout.font), x, y, class_="axis-label", anchor=anchor)


def tick_labels(places: Sequence[tuple[str, float]], y: float, layout: Layout) -> list[Markup]:
    """Labels below their places, rising; those without room beside the one before are left out.

    At the drawing's edges a label moves inwards.
    """
    labels = []
    free = -1.0
    for words, x in places:
        half = text_width(words, layout.font) / 2
        middle = min(max(x, half), layout.width - half)
        if middle - half > free:
            labels.append(text(words, middle, y, class_="tick", anchor="middle"))
            free = middle + half + layout.font * 0.4
    return labels


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """A straight line."""
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def text_width(words: str, font: float) -> float:
    """About how wide a line of words is, rather more than less."""
    return sum(map(_letter_width, words)) * font


def shorten(words: str, width: float, font: float) -> str:
    """The words in one line, cut where they are wider than `width`."""
    words = " ".join(words.split())
    room, ellipsis = width / font, _letter_width("…")
    used, kept = 0.0, 0
    for letter in words:
        used += _letter_width(letter)
        if used > room:
            return words[:kept].rstrip() + "…"
        kept += used + ellipsis <= room
    return words


def _letter_width(letter: str) -> float:
    """Of a font of size 1; marks upon another letter take no room."""
    if unicodedata.category(letter) in ("Mn", "Me", "Cf"):
        return 0
    return WIDE_LETTER if unicodedata.east_asian_width(letter) in "WF" else LETTER


def marker(shape: int, x: float, y: float, r: float = 3.4) -> Markup:
    """One of `MARKERS` shapes around a place."""
    shape %= MARKERS
    if shape == 0:
        return tag("circle", cx=x, cy=y, r=r)
    corners = [(x + r * dx, y + r * dy) for dx, dy in POLYGONS[shape - 1]]
    return tag("polygon", points=" ".join(f"{_number(px)},{_number(py)}" for px, py in corners))


def legend(
    entries: Sequence[tuple[int, str]], swatch: Callable[[int, float, float], Markup], layout: Layout
) -> tuple[list[Markup], float]:
    """Labels in as many lines as they take, each behind its swatch. Returns the height too.

    entries: index of the style, and label. swatch: draws a style, 22 wide, from its left end and its
    middle.
    """
    elements: list[Markup] = []
    x, y = 0.0, layout.font
    for style, label in entries:
        shown = shorten(label, layout.width - 40, layout.font)
        width = 28 + text_width(shown, layout.font)
        if x and x + width > layout.width:
            x, y = 0.0, y + layout.font * 1.6
        elements.append(
            tag(
                "g",
                tag("title", label),
                swatch(style, x, y - layout.font * 0.35),
                text(shown, x + 28, y),
                class_=series_class(style),
            )
        )
        x += width + 16
    return elements, y + layout.font * 0.9


def series_class(index: int) -> str:
    """Classes of a series: its color, and its dash."""
    return f"c{index % COLORS} d{index % MARKERS}"


def path(points: Sequence[tuple[float, float]]) -> str:
    """The points as the data of a path."""
    return "M" + "L".join(f"{_number(x)},{_number(y)}" for x, y in points)


def _attribute(value: object) -> str:
    return _number(value) if isinstance(value, (int, float)) else clean(str(value))


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")

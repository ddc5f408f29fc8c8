"""Elements of a drawing as values, and room for its words."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

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


Point = tuple[float, float]
Attribute = str | float | tuple[Point, ...]


@dataclass(frozen=True)
class Layout:
    """A drawing's size. width, font: in its own units, which are about pixels of the page."""

    name: str
    width: float
    font: float
    height: float
    is_narrow: bool


@dataclass(frozen=True)
class Element:
    """An element of SVG: its attributes by SVG's names, and its children; text is plain text.

    An attribute is text, a number in the drawing's units, or points (x, y).
    """

    name: str
    attributes: tuple[tuple[str, Attribute], ...] = ()
    children: tuple[Element | str, ...] = ()


def tag(name: str, *children: Element | str, **attributes: Attribute | None) -> Element:
    """An element. `stroke_width=1` becomes stroke-width="1"; attributes of None are left out."""
    written = (
        (key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items() if value is not None
    )
    return Element(name, tuple(written), children)


def text(words: str, x: float, y: float, *, class_: str | None = None, anchor: str | None = None) -> Element:
    """A line of words; y is its baseline."""
    return tag("text", words, x=x, y=y, class_=class_, text_anchor=anchor)


def axis_label(words: str, x: float, y: float, layout: Layout, anchor: str = "middle") -> Element:
    """What an axis counts, in as many words as there is room for."""
    room = 2 * min(x, layout.width - x) if anchor == "middle" else layout.width - x
    return text(shorten(words, room, layout.font), x, y, class_="axis-label", anchor=anchor)


def tick_labels(places: Sequence[tuple[str, float]], y: float, layout: Layout) -> list[Element]:
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


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Element:
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


def wrapped(words: str, width: float, font: float, most: int = 4) -> list[str]:
    """The words in as many lines as they take, none wider than `width`, and at most so many.

    A word that alone is wider is cut, and so is what is left for the last line.
    """
    lines: list[str] = []
    for word in words.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and (len(lines) == most or text_width(longer, font) <= width):
            lines[-1] = longer
        else:
            lines.append(word)
    return [shorten(each, width, font) for each in lines]


def _letter_width(letter: str) -> float:
    """Of a font of size 1; marks upon another letter take no room."""
    if unicodedata.category(letter) in ("Mn", "Me", "Cf"):
        return 0
    return WIDE_LETTER if unicodedata.east_asian_width(letter) in "WF" else LETTER


def marker(shape: int, x: float, y: float, r: float = 3.4) -> Element:
    """One of `MARKERS` shapes around a place."""
    shape %= MARKERS
    if shape == 0:
        return tag("circle", cx=x, cy=y, r=r)
    return tag("polygon", points=tuple((x + r * dx, y + r * dy) for dx, dy in POLYGONS[shape - 1]))


def legend(
    entries: Sequence[tuple[int, str]], swatch: Callable[[int, float, float], Element], layout: Layout
) -> tuple[list[Element], float]:
    """Labels in as many lines as they take, each behind its swatch. Returns the height too.

    entries: index of the style, and label. swatch: draws a style, 22 wide, from its left end and its
    middle.
    """
    elements: list[Element] = []
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


def path(points: Sequence[Point], class_: str = "line") -> Element:
    """The points, joined by straight lines."""
    return tag("path", d=tuple(points), class_=class_)

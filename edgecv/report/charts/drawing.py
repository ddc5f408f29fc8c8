"""What a chart function returns: a drawing, as values. `edgecv.report.svg` alone turns it into text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgecv.report.charts.elements import Element, Layout, shorten, text

WIDE = Layout("wide", 760, 13, 320, is_narrow=False)
NARROW = Layout("narrow", 310, 12.5, 230, is_narrow=True)
# Of a description: so many parts, each of so many letters' width.
MOST_PARTS, PART_WIDTH = 12, 60


@dataclass(frozen=True)
class View:
    """A chart at one size. elements: from back to front. height: in the units of the layout's width."""

    layout: Layout
    elements: tuple[Element, ...]
    height: float

    @property
    def size_wh(self) -> tuple[float, float]:
        """Width and height, about pixels of a page."""
        return self.layout.width, self.height


@dataclass(frozen=True)
class Drawing:
    """A chart, drawn twice: for a wide page and for a phone. Its title is the caption of its block.

    description: what it shows, in words, for those who do not see it; one line of bounded length.
    notes: lines below it, such as what could not be drawn. The legend is among the elements.
    """

    wide: View
    narrow: View
    description: str
    notes: tuple[str, ...] = ()


def compose(draw: Callable[[Layout], View], parts: Sequence[str], *notes: str) -> Drawing:
    """A drawing in both sizes. parts: of its description, the first ones are taken; empty notes are not."""
    said = [shorten(part, PART_WIDTH, 1) for part in parts[:MOST_PARTS]]
    if len(parts) > MOST_PARTS:
        said.append(f"and {len(parts) - MOST_PARTS} more")
    description = "; ".join(said) or "nothing to show"
    return Drawing(draw(WIDE), draw(NARROW), description, tuple(note for note in notes if note))


def nothing(layout: Layout) -> View:
    """What stands where there is nothing to draw."""
    words = text("nothing to show", layout.width / 2, 34, class_="muted", anchor="middle")
    return View(layout, (words,), 60)

"""The plane that lines and points are drawn on: grid, axes and the maps onto them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgecv.report.charts.elements import (
    Element,
    Layout,
    Point,
    axis_label,
    line,
    text,
    text_width,
    tick_labels,
)
from edgecv.report.charts.scale import Axis, Scale, is_plottable

EDGE = 8.0


@dataclass(frozen=True)
class Plane:
    """Where the points go, what stands behind them, and the drawing's height."""

    x: Scale
    y: Scale
    elements: tuple[Element, ...]
    height: float

    def __call__(self, point: Point) -> Point:
        """A point's place, in the drawing's units."""
        return self.x(point[0]), self.y(point[1])

    @property
    def columns(self) -> int:
        """How many places across tell points apart."""
        return round((self.x.end - self.x.start) / 1.5)


def plane(across: Axis, up: Axis, top: float, x_label: str, y_label: str, layout: Layout) -> Plane:
    """The plane below `top`; both axes are named where they have a name."""
    font = layout.font
    elements = []
    if y_label:
        elements.append(axis_label(y_label, 0, top + font, layout, anchor="start"))
        top += font * 2
    top += 4
    left = max(text_width(tick.label, font) for tick in up.ticks) + 8
    right, bottom = layout.width - EDGE, top + layout.height
    x, y = across.scale(left, right), up.scale(bottom, top)
    for tick in up.ticks:
        elements.append(line(left, y(tick.value), right, y(tick.value), "grid"))
        elements.append(text(tick.label, left - 6, y(tick.value) + font * 0.34, class_="tick", anchor="end"))
    for tick in across.ticks:
        elements.append(line(x(tick.value), bottom, x(tick.value), bottom + 4, "zero"))
    elements.append(line(left, bottom, right, bottom, "zero"))
    places = [(tick.label, x(tick.value)) for tick in across.ticks]
    elements += tick_labels(places, bottom + font + 6, layout)
    height = bottom + font + 12
    if x_label:
        elements.append(axis_label(x_label, (left + right) / 2, height + font, layout))
        height += font + 8
    return Plane(x, y, tuple(elements), height)


def points_of(
    x: Sequence[float | None], y: Sequence[float | None], x_log: bool, y_log: bool
) -> list[Point | None]:
    """Each point, or None where it has no place on the plane."""
    return [
        (float(a), float(b)) if is_plottable(a, is_log=x_log) and is_plottable(b, is_log=y_log) else None
        for a, b in zip(x, y, strict=True)
    ]


def left_out(lost: int, is_log: bool) -> str:
    """The line that says how many points are not drawn; empty where all are."""
    why = "not finite or not above zero" if is_log else "not finite"
    return f"Left out: {lost} point{'' if lost == 1 else 's'}, {why}." if lost else ""


def count_points(n: int) -> str:
    """For a description."""
    return f"{n} point{'' if n == 1 else 's'}"

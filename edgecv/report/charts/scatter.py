"""Points over a plane, one by one: accuracy against latency, a model each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgecv.errors import InputError
from edgecv.report.charts.drawing import Drawing, View, compose, nothing
from edgecv.report.charts.elements import (
    Element,
    Layout,
    Point,
    legend,
    marker,
    path,
    series_class,
    shorten,
    tag,
    text,
    text_width,
)
from edgecv.report.charts.front import Best, pareto_front, staircase
from edgecv.report.charts.plane import Plane, count_points, left_out, plane, points_of
from edgecv.report.charts.scale import axis, number_text

RADIUS = 4.2
# With more points than that, those of a series within one square of so many units share a marker.
MANY, SQUARE = 1000, 2.0
# So many names are given a place at most, none of them wider than that.
MOST_NAMES, NAME_WIDTH = 60, 160.0
# The style of the front in the legend, which no series has.
FRONT = -1


@dataclass(frozen=True)
class Points:
    """One series.

    names: one for each point, written beside it where there is room, or none. color: index of color and
    marker; None counts the chart's series.
    """

    label: str
    x: Sequence[float | None]
    y: Sequence[float | None]
    names: Sequence[str] = ()
    color: int | None = None


@dataclass(frozen=True)
class _Spot:
    """A point that is drawn. series: its place among the series."""

    series: int
    style: int
    point: Point
    name: str
    hint: str


def scatter(
    series: Sequence[Points],
    *,
    x_label: str = "",
    y_label: str = "",
    x_log: bool = False,
    y_log: bool = False,
    x_at_least: Sequence[float] = (),
    y_at_least: Sequence[float] = (),
    front: tuple[Best, Best] | None = None,
) -> Drawing:
    """A marker for each point; series are told apart by color and shape.

    x_at_least, y_at_least: values that the axes cover too, such as (0, 1). front: whether the least or
    the most of x and of y is best, such as ("min", "max") for accuracy over latency; a step line then
    joins the points of all series that no other beats. Points that are not finite, or not above zero on
    a logarithmic axis, are left out, and a line below the chart counts them. Of many points those that
    cover each other are drawn once. Raises InputError where x, y and names are not of one length.
    """
    spots, lost = [], 0
    for i, each in enumerate(series):
        _check(each)
        found = points_of(each.x, each.y, x_log, y_log)
        lost += found.count(None)
        spots += list(_spots(i, each, found))
    points = [spot.point for spot in spots]
    best = [] if front is None else pareto_front(points, x=front[0], y=front[1])
    steps = [] if front is None else staircase([points[i] for i in best], x=front[0])
    # Points of the front come first where there is no room for all.
    order = [*best, *sorted(set(range(len(spots))) - set(best))]
    styles = [(i if each.color is None else each.color, each.label) for i, each in enumerate(series)]
    if len(steps) > 1:
        styles.append((FRONT, "Pareto front"))

    def draw(layout: Layout) -> View:
        if not spots:
            return nothing(layout)
        across = axis(
            [x for x, _ in points], count=5 if layout.is_narrow else 9, at_least=x_at_least, is_log=x_log
        )
        up = axis([y for _, y in points], count=5, at_least=y_at_least, is_log=y_log)
        names, top = legend(styles, _swatch, layout) if len(styles) > 1 else ([], 0)
        on = plane(across, up, top, x_label, y_label, layout)
        ranked = _thin([spots[i] for i in order], on)
        drawn = [
            *_front(steps, on),
            *(_markers(i, each.label, ranked, on) for i, each in enumerate(series)),
            *_names(ranked, on, layout),
        ]
        return View(layout, (*names, *on.elements, *drawn), on.height)

    said = [f"{each.label}: {count_points(_count(spots, i))}" for i, each in enumerate(series)]
    if best:
        said.append("Pareto front: " + ", ".join(spots[i].name or spots[i].hint for i in best))
    return compose(draw, said, left_out(lost, x_log or y_log))


def _check(points: Points) -> None:
    if len(points.x) != len(points.y):
        raise InputError(
            f"scatter: expected as many x as y of {points.label!r}, got {len(points.x)} and {len(points.y)}"
        )
    if len(points.names) not in (0, len(points.x)):
        raise InputError(
            f"scatter: expected {len(points.x)} names of {points.label!r} or none, got {len(points.names)}"
        )


def _spots(number: int, points: Points, found: Sequence[Point | None]) -> Iterator[_Spot]:
    style = number if points.color is None else points.color
    for i, point in enumerate(found):
        if point is not None:
            name = points.names[i] if points.names else ""
            what = f"{points.label}, {name}" if name else points.label
            hint = f"{what}: {number_text(point[0], '')}, {number_text(point[1], '')}"
            yield _Spot(number, style, point, name, hint)


def _count(spots: Sequence[_Spot], series: int) -> int:
    return sum(spot.series == series for spot in spots)


def _thin(spots: Sequence[_Spot], on: Plane) -> list[_Spot]:
    """The spots, without those that the ones before them cover where there are many."""
    if len(spots) <= MANY:
        return list(spots)
    kept: dict[tuple[int, int, int], _Spot] = {}
    for spot in spots:
        x, y = on(spot.point)
        kept.setdefault((spot.series, int(x / SQUARE), int(y / SQUARE)), spot)
    return list(kept.values())


def _front(steps: Sequence[Point], on: Plane) -> list[Element]:
    if len(steps) < 2:
        return []
    line = path([on(point) for point in steps], "front")
    return [tag("g", tag("title", "Pareto front"), line)]


def _markers(series: int, label: str, spots: Sequence[_Spot], on: Plane) -> Element:
    own = [spot for spot in spots if spot.series == series]
    markers = [
        tag("g", tag("title", spot.hint), marker(spot.style, *on(spot.point), RADIUS), class_="fill")
        for spot in own
    ]
    return tag("g", tag("title", label), *markers, class_=series_class(own[0].style) if own else None)


def _names(spots: Sequence[_Spot], on: Plane, layout: Layout) -> list[Element]:
    """Names beside their markers, over no other marker or name; those without room are left out."""
    taken = np.array(
        [(x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS) for x, y in map(on, (s.point for s in spots))]
    )
    found = []
    for spot in [spot for spot in spots if spot.name][:MOST_NAMES]:
        words = shorten(spot.name, NAME_WIDTH, layout.font)
        for element, box in _beside(words, *on(spot.point), layout):
            if _is_inside(box, on, layout) and not _overlaps(box, taken):
                found.append(element)
                taken = np.vstack([taken, box])
                break
    return found


_Box = tuple[float, float, float, float]


def _beside(words: str, x: float, y: float, layout: Layout) -> Iterator[tuple[Element, _Box]]:
    """The words right of, left of, above and below a marker, and the box left, top, right, bottom of each."""
    font, gap = layout.font, RADIUS + 3
    width = text_width(words, font)
    for anchor, dx, dy, left in (
        ("start", gap, font * 0.34, gap),
        ("end", -gap, font * 0.34, -gap - width),
        ("middle", 0.0, -gap - font * 0.25, -width / 2),
        ("middle", 0.0, gap + font * 0.8, -width / 2),
    ):
        base = y + dy
        box = (x + left, base - font * 0.8, x + left + width, base + font * 0.25)
        yield text(words, x + dx, base, anchor=anchor), box


def _is_inside(box: _Box, on: Plane, layout: Layout) -> bool:
    # Beside a marker on the edge, words reach over it by half a line.
    top, bottom = on.y.end - layout.font * 0.6, on.y.start + layout.font * 0.6
    return box[0] >= on.x.start and box[2] <= layout.width and box[1] >= top and box[3] <= bottom


def _overlaps(box: _Box, taken: NDArray[np.float64]) -> bool:
    left, top, right, bottom = taken.T
    return bool(np.any((box[0] < right) & (left < box[2]) & (box[1] < bottom) & (top < box[3])))


def _swatch(style: int, x: float, y: float) -> Element:
    if style == FRONT:
        return path([(x, y), (x + 22, y)], "front")
    return tag("g", marker(style, x + 11, y, RADIUS), class_="fill")

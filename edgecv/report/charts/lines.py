"""Lines over a plane: losses over epochs, precision over recall, a latency for every frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edgecv.errors import InputError
from edgecv.report.charts.drawing import Drawing, View, compose, nothing
from edgecv.report.charts.elements import Element, Layout, Point, legend, marker, path, series_class, tag
from edgecv.report.charts.plane import Plane, count_points, left_out, plane, points_of
from edgecv.report.charts.scale import axis
from edgecv.report.values import to_text

MAX_MARKERS = 10


@dataclass(frozen=True)
class Series:
    """Points in the order in which they are joined; a gap is left where one cannot be drawn.

    color: index of color, dash and marker; None counts the chart's series.
    """

    label: str
    x: Sequence[float | None]
    y: Sequence[float | None]
    color: int | None = None


def lines(
    series: Sequence[Series],
    *,
    x_label: str = "",
    y_label: str = "",
    x_log: bool = False,
    y_log: bool = False,
    x_at_least: Sequence[float] = (),
    y_at_least: Sequence[float] = (),
) -> Drawing:
    """A line for each series, told apart by color, dash and marker; a single point is a marker.

    x_at_least, y_at_least: values that the axes cover too, such as (0, 1). Of more points than the
    chart has columns, each column keeps its lowest and its highest. Points that are not finite, or not
    above zero on a logarithmic axis, are left out, and a line below the chart counts them. Raises
    InputError where x and y are not of one length.
    """
    runs = []
    lost = 0
    for each in series:
        if len(each.x) != len(each.y):
            raise InputError(
                f"lines: expected as many x as y of {each.label!r}, got {len(each.x)} and {len(each.y)}"
            )
        places = points_of(each.x, each.y, x_log, y_log)
        lost += places.count(None)
        runs.append(_runs(places))
    styles = [(i if each.color is None else each.color, each.label) for i, each in enumerate(series)]
    points = [point for found in runs for run in found for point in run]

    def draw(layout: Layout) -> View:
        if not points:
            return nothing(layout)
        xs, ys = [x for x, _ in points], [y for _, y in points]
        across = axis(
            xs,
            count=5 if layout.is_narrow else 9,
            at_least=x_at_least,
            is_log=x_log,
            is_whole=all(x == int(x) for x in xs),
            is_tight=True,
        )
        up = axis(ys, count=5, at_least=y_at_least, is_log=y_log)
        names, top = legend(styles, _swatch, layout) if len(series) > 1 else ([], 0)
        on = plane(across, up, top, x_label, y_label, layout)
        drawn = [_line(style, label, found, on) for (style, label), found in zip(styles, runs, strict=True)]
        return View(layout, (*names, *on.elements, *drawn), on.height)

    said = [
        f"{each.label}: {count_points(sum(map(len, found)))}"
        for each, found in zip(series, runs, strict=True)
    ]
    return compose(draw, said, left_out(lost, x_log or y_log))


def _runs(places: Sequence[Point | None]) -> list[list[Point]]:
    """The points in stretches without a gap."""
    runs: list[list[Point]] = [[]]
    for place in places:
        if place is not None:
            runs[-1].append(place)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _line(style: int, label: str, runs: Sequence[Sequence[Point]], on: Plane) -> Element:
    elements = [tag("title", label)]
    for run in runs:
        if len(run) > 1:
            elements.append(path([on(point) for point in _thin(run, on.columns)]))
    for x, y in _marked(runs, style):
        hint = tag("title", f"{label}: {to_text(x)}, {to_text(y)}")
        elements.append(tag("g", hint, marker(style, *on((x, y))), class_="fill"))
    return tag("g", *elements, class_=series_class(style))


def _marked(runs: Sequence[Sequence[Point]], style: int) -> Iterator[Point]:
    """The points that carry a marker: some of a line, and whatever stands alone."""
    total = sum(map(len, runs))
    every = max(1, -(-total // MAX_MARKERS))
    for number, (point, is_alone) in enumerate((p, len(run) == 1) for run in runs for p in run):
        # Not the same places on every line: lines that run together show both markers.
        if is_alone or number % every == style % every:
            yield point


def _thin(run: Sequence[Point], columns: int) -> list[Point]:
    """At most four points a column: its first, lowest, highest and last, so that no spike is lost."""
    if len(run) <= 4 * columns:
        return list(run)
    return [point for part in _parts(run, columns) for point in _extremes(part)]


def _parts(run: Sequence[Point], count: int) -> Iterator[Sequence[Point]]:
    for i in range(count):
        yield run[len(run) * i // count : len(run) * (i + 1) // count]


def _extremes(part: Sequence[Point]) -> list[Point]:
    order = range(len(part))
    kept = {0, len(part) - 1, min(order, key=lambda i: part[i][1]), max(order, key=lambda i: part[i][1])}
    return [part[i] for i in sorted(kept)]


def _swatch(index: int, x: float, y: float) -> Element:
    return tag("g", path([(x, y), (x + 22, y)]), tag("g", marker(index, x + 11, y), class_="fill"))

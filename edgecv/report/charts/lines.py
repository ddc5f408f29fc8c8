"""Lines over a plane: losses over epochs, precision over recall, a latency for every frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from edgecv.errors import InputError
from edgecv.report.charts.scale import Axis, Scale, axis, is_plottable
from edgecv.report.charts.svg import (
    Drawing,
    Layout,
    axis_label,
    legend,
    line,
    marker,
    nothing,
    path,
    plot,
    series_class,
    tag,
    text,
    text_width,
    tick_labels,
)
from edgecv.report.values import to_text

MAX_MARKERS = 10
EDGE = 8.0


@dataclass(frozen=True)
class Series:
    """Points in the order in which they are joined; a gap is left where one cannot be drawn.

    color: index of color, dash and marker; None counts the chart's series.
    """

    label: str
    x: Sequence[float | None]
    y: Sequence[float | None]
    color: int | None = None


@dataclass(frozen=True)
class _Plane:
    """Where the points go."""

    x: Scale
    y: Scale
    columns: int


def lines(
    series: Sequence[Series],
    *,
    x_label: str = "",
    y_label: str = "",
    x_log: bool = False,
    y_log: bool = False,
    x_at_least: Sequence[float] = (),
    y_at_least: Sequence[float] = (),
) -> Markup:
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
        found = _runs(each, x_log, y_log)
        lost += len(each.x) - sum(map(len, found))
        runs.append(found)
    styles = [(i if each.color is None else each.color, each.label) for i, each in enumerate(series)]
    points = [point for found in runs for run in found for point in run]
    log = " or not above zero" if x_log or y_log else ""
    note = f"Left out: {lost} point{'' if lost == 1 else 's'}, not finite{log}." if lost else ""

    def draw(layout: Layout) -> Drawing:
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
        if y_label:
            names.append(axis_label(y_label, 0, top + layout.font, layout, anchor="start"))
            top += layout.font * 2
        frame, plane, height = _frame(across, up, top + 4, x_label, layout)
        drawn = [
            _line(style, label, found, plane) for (style, label), found in zip(styles, runs, strict=True)
        ]
        return [*names, *frame, *drawn], height

    return plot(draw, note)


def _runs(series: Series, x_log: bool, y_log: bool) -> list[list[tuple[float, float]]]:
    """The points in stretches without a gap."""
    runs: list[list[tuple[float, float]]] = [[]]
    for x, y in zip(series.x, series.y, strict=True):
        if is_plottable(x, is_log=x_log) and is_plottable(y, is_log=y_log):
            runs[-1].append((float(x), float(y)))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _frame(
    across: Axis, up: Axis, top: float, x_label: str, layout: Layout
) -> tuple[list[Markup], _Plane, float]:
    """Grid and axes, the maps onto them, and the drawing's height."""
    font = layout.font
    left = max(text_width(tick.label, font) for tick in up.ticks) + 8
    right, bottom = layout.width - EDGE, top + layout.height
    x, y = across.scale(left, right), up.scale(bottom, top)
    elements = []
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
    return elements, _Plane(x, y, round((right - left) / 1.5)), height


def _line(style: int, label: str, runs: Sequence[Sequence[tuple[float, float]]], plane: _Plane) -> Markup:
    elements = [tag("title", label)]
    for run in runs:
        if len(run) > 1:
            places = [(plane.x(x), plane.y(y)) for x, y in _thin(run, plane.columns)]
            elements.append(tag("path", d=path(places), class_="line"))
    for x, y in _marked(runs, style):
        hint = tag("title", f"{label}: {to_text(x)}, {to_text(y)}")
        elements.append(tag("g", hint, marker(style, plane.x(x), plane.y(y)), class_="fill"))
    return tag("g", *elements, class_=series_class(style))


def _marked(runs: Sequence[Sequence[tuple[float, float]]], style: int) -> Iterator[tuple[float, float]]:
    """The points that carry a marker: some of a line, and whatever stands alone."""
    total = sum(map(len, runs))
    every = max(1, -(-total // MAX_MARKERS))
    for number, (point, is_alone) in enumerate((p, len(run) == 1) for run in runs for p in run):
        # Not the same places on every line: lines that run together show both markers.
        if is_alone or number % every == style % every:
            yield point


def _thin(run: Sequence[tuple[float, float]], columns: int) -> list[tuple[float, float]]:
    """At most four points a column: its first, lowest, highest and last, so that no spike is lost."""
    if len(run) <= 4 * columns:
        return list(run)
    return [point for part in _parts(run, columns) for point in _extremes(part)]


def _parts(run: Sequence[tuple[float, float]], count: int) -> Iterator[Sequence[tuple[float, float]]]:
    for i in range(count):
        yield run[len(run) * i // count : len(run) * (i + 1) // count]


def _extremes(part: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    order = range(len(part))
    kept = {0, len(part) - 1, min(order, key=lambda i: part[i][1]), max(order, key=lambda i: part[i][1])}
    return [part[i] for i in sorted(kept)]


def _swatch(index: int, x: float, y: float) -> Markup:
    stroke = tag("path", d=path([(x, y), (x + 22, y)]), class_="line")
    return tag("g", stroke, tag("g", marker(index, x + 11, y), class_="fill"))

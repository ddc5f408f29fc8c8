"""Heat maps: a matrix, each value in a cell whose color says how large it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgecv.errors import InputError
from edgecv.report.charts.drawing import Drawing, View, compose, nothing
from edgecv.report.charts.elements import (
    Element,
    Layout,
    axis_label,
    shorten,
    tag,
    text,
    text_width,
    tick_labels,
)
from edgecv.report.charts.scale import Axis, axis, is_plottable, number_text

LABEL_SHARE = 0.36
# A cell, where there is room, and the most room for column labels that stand upright.
CELL_WIDTH, CELL_HEIGHT, UPRIGHT = 64.0, 32.0, 120.0
# Between words and the words of the next cell.
GAP = 6.0
# Smaller cells touch each other.
LEAST_GAPPED = 6.0
FONT = 11.0
BAR_WIDTH, BAR_HEIGHT, SLICES = 180.0, 10.0, 45
# From this share of the range on the words in a cell change from dark to light, or from light to dark.
# At it both have a contrast of 4.5 against the colors of colors.css, in either theme.
SWITCH = 0.588


@dataclass(frozen=True)
class _Matrix:
    """What is drawn. values: [row][column]. along: the range of the color scale."""

    values: Sequence[Sequence[float | None]]
    rows: Sequence[str]
    columns: Sequence[str]
    along: Axis
    spec: str

    def words(self, row: int, column: int) -> str:
        return number_text(self.values[row][column], self.spec)

    def share(self, row: int, column: int) -> float | None:
        """Where the value stands between the ends of the color scale, 0 to 1; None where it has no place."""
        value = self.values[row][column]
        return self.along.scale(0, 1)(float(value)) if is_plottable(value) else None


@dataclass(frozen=True)
class _Grid:
    """Where the cells stand. left, top: of the first one. width, height: of each."""

    left: float
    top: float
    width: float
    height: float


def heat_map(
    values: Sequence[Sequence[float | None]],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    x_label: str = "",
    y_label: str = "",
    spec: str = ".4g",
    at_least: Sequence[float] = (0,),
) -> Drawing:
    """A cell for each value, first row on top, with the value in it where there is room.

    values: [row][column]. rows, columns: their labels; some are left out where there is no room, and the
    cells' hints still name them. x_label, y_label: what the columns and the rows are. spec: format of the
    numbers, such as ".0%" for shares; empty writes whole numbers as such. at_least: values that the color
    scale covers too, such as (0, 1). A value that is None or cannot be drawn leaves its cell without a
    color and is written there, None as an en dash. Raises InputError where values and labels differ in
    number.
    """
    if len(values) != len(rows):
        raise InputError(f"heat_map: expected {len(rows)} rows of values, got {len(values)}")
    for label, row in zip(rows, values, strict=True):
        if len(row) != len(columns):
            raise InputError(f"heat_map: expected {len(columns)} values in row {label!r}, got {len(row)}")
    known = [float(value) for row in values for value in row if is_plottable(value)]
    # Of nothing but zeros the range still has a length, and they are at its low end.
    ends = at_least if any(known) or any(at_least) else (0, 1)
    matrix = _Matrix(values, rows, columns, axis(known, count=4, at_least=ends), spec)

    def draw(layout: Layout) -> View:
        if not rows or not columns:
            return nothing(layout)
        return _draw(matrix, x_label, y_label, bool(known), layout)

    parts = [
        f"{label}: " + ", ".join(f"{name} {matrix.words(i, j)}" for j, name in enumerate(columns))
        for i, label in enumerate(rows)
    ]
    return compose(draw, parts)


def _draw(matrix: _Matrix, x_label: str, y_label: str, has_scale: bool, layout: Layout) -> View:
    font = layout.font
    elements, top = _color_bar(matrix.along, layout) if has_scale else ([], 2.0)
    if y_label:
        elements.append(axis_label(y_label, 0, top + font, layout, anchor="start"))
        top += font * 1.6
    grid = _grid(matrix, top, layout)
    elements += _row_labels(matrix.rows, grid, layout)
    elements += _cells(matrix, grid)
    names, height = _column_labels(matrix.columns, grid, grid.top + grid.height * len(matrix.rows), layout)
    elements += names
    if x_label:
        middle = grid.left + grid.width * len(matrix.columns) / 2
        elements.append(axis_label(x_label, middle, height + font, layout))
        height += font + 8
    return View(layout, tuple(elements), height)


def _grid(matrix: _Matrix, top: float, layout: Layout) -> _Grid:
    widest = max(text_width(label, layout.font) for label in matrix.rows)
    left = min(layout.width * LABEL_SHARE, widest) + 8
    room = (layout.width - left - 2) / len(matrix.columns)
    width = min(CELL_WIDTH, room)
    label = max(text_width(name, layout.font) for name in matrix.columns) + GAP
    if label <= room:
        width = max(width, label)
    return _Grid(left, top, width, min(CELL_HEIGHT, width))


def _color_bar(along: Axis, layout: Layout) -> tuple[list[Element], float]:
    """Which color is which value; and the height that it takes."""
    left, top = 2.0, 2.0
    width = BAR_WIDTH / SLICES
    slices = [_rect(left + i * width, top, width, BAR_HEIGHT, i / (SLICES - 1)) for i in range(SLICES)]
    ground = tag("rect", x=left, y=top, width=BAR_WIDTH, height=BAR_HEIGHT, class_="heat-low")
    scale = along.scale(left, left + BAR_WIDTH)
    places = [(tick.label, scale(tick.value)) for tick in along.ticks]
    bottom = top + BAR_HEIGHT + layout.font + 2
    bar = tag("g", ground, *slices, stroke_width=0, shape_rendering="crispEdges")
    return [bar, *tick_labels(places, bottom, layout)], bottom + 12


def _rect(x: float, y: float, width: float, height: float, share: float) -> Element:
    """A color, as how much of the scale's high end covers its low end."""
    opacity = f"{share:.3f}"
    return tag("rect", x=x, y=y, width=width, height=height, fill_opacity=opacity, class_="heat")


def _cells(matrix: _Matrix, grid: _Grid) -> list[Element]:
    whole_wh = grid.width * len(matrix.columns), grid.height * len(matrix.rows)
    ground = tag("rect", x=grid.left, y=grid.top, width=whole_wh[0], height=whole_wh[1], class_="heat-low")
    places = ((i, j) for i in range(len(matrix.rows)) for j in range(len(matrix.columns)))
    cells = [_cell(matrix, i, j, grid) for i, j in places]
    return [tag("g", ground, *cells, stroke_width=1 if grid.width >= LEAST_GAPPED else 0)]


def _cell(matrix: _Matrix, i: int, j: int, grid: _Grid) -> Element:
    x, y = grid.left + j * grid.width, grid.top + i * grid.height
    words, share = matrix.words(i, j), matrix.share(i, j)
    inside = [tag("title", f"{matrix.rows[i]}, {matrix.columns[j]}: {words}")]
    if share is None:
        inside.append(tag("rect", x=x, y=y, width=grid.width, height=grid.height, class_="heat-none"))
    else:
        inside.append(_rect(x, y, grid.width, grid.height, share))
    if text_width(words, FONT) + GAP <= grid.width and grid.height >= FONT + 4:
        on = "muted" if share is None else "on-high" if share >= SWITCH else "on-low"
        middle, base = x + grid.width / 2, y + grid.height / 2 + FONT * 0.36
        inside.append(text(words, middle, base, class_=f"inside {on}", anchor="middle"))
    return tag("g", *inside)


def _every(room: float, layout: Layout) -> int:
    """How many labels share the room of one that is shown; room: of each."""
    return max(1, math.ceil(layout.font * 1.15 / room))


def _row_labels(labels: Sequence[str], grid: _Grid, layout: Layout) -> list[Element]:
    every = _every(grid.height, layout)
    return [
        text(
            shorten(labels[i], grid.left - 8, layout.font),
            grid.left - 6,
            grid.top + (i + 0.5) * grid.height + layout.font * 0.34,
            anchor="end",
        )
        for i in range(0, len(labels), every)
    ]


def _column_labels(
    labels: Sequence[str], grid: _Grid, bottom: float, layout: Layout
) -> tuple[list[Element], float]:
    """Labels below the columns, upright where a cell is too narrow for one; and where they end."""
    font = layout.font
    widest = max(text_width(label, font) for label in labels)
    middles = [grid.left + (j + 0.5) * grid.width for j in range(len(labels))]
    if widest + GAP <= grid.width:
        y = bottom + font + 4
        return [text(label, x, y, anchor="middle") for label, x in zip(labels, middles, strict=True)], y + 8
    every, room = _every(grid.width, layout), min(widest, UPRIGHT)
    upright = [
        _upright(shorten(labels[j], room, font), middles[j] + font * 0.34, bottom + 6)
        for j in range(0, len(labels), every)
    ]
    return upright, bottom + 6 + room + 6


def _upright(words: str, x: float, y: float) -> Element:
    """Words that are read upwards and end at a place."""
    return tag("text", words, x=x, y=y, text_anchor="end", transform=f"rotate(-90 {x:.1f} {y:.1f})")

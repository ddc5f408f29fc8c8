"""Horizontal bars: a number for each label, or the parts that add up to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeGuard

from edgecv.errors import InputError
from edgecv.report.charts.drawing import Drawing, View, compose, nothing
from edgecv.report.charts.elements import (
    Element,
    Layout,
    legend,
    line,
    series_class,
    tag,
    text,
    text_width,
    tick_labels,
    wrapped,
)
from edgecv.report.charts.scale import Axis, Scale, axis, is_plottable, number_text
from edgecv.report.values import to_text

LABEL_SHARE = 0.36
WORDS_SHARE = 0.5
BAR = 15.0


@dataclass(frozen=True)
class Bar:
    """One bar. low, high: ends of its whisker, both or none. color: index of the series' color.

    words: what stands behind it, and behind its whisker; None: its value.
    """

    label: str
    value: float | None
    low: float | None = None
    high: float | None = None
    color: int = 0
    words: str | None = None


@dataclass(frozen=True)
class Stack:
    """One bar of parts, in the order of the chart's legend."""

    label: str
    parts: Sequence[float | None]


@dataclass(frozen=True)
class _Row:
    """A bar's label, the words at its end, and where they stand: behind `reach`."""

    label: str
    words: str
    reach: float
    hint: str
    draw: Callable[[Scale, float], list[Element]]


def bars(
    items: Sequence[Bar], *, unit: str = "", spec: str = ".4g", at_least: Sequence[float] = ()
) -> Drawing:
    """A bar for each value, from zero, with the value behind it.

    unit: behind the numbers. spec: format of the numbers. at_least: values that the axis covers too,
    such as (0, 1). A value that cannot be drawn is written in its place.
    """
    rows = [_bar_row(item, unit, spec) for item in items]
    ends = (v for bar in items if is_plottable(bar.value) for v in (bar.value, bar.low, bar.high))
    places = [0.0, *(float(value) for value in (*at_least, *ends) if is_plottable(value))]
    return compose(lambda layout: _draw(rows, _axis(places, layout), layout), [row.hint for row in rows])


def stacked_bars(
    parts: Sequence[str],
    items: Sequence[Stack],
    *,
    unit: str = "",
    spec: str = ".4g",
    colors: Sequence[int] | None = None,
) -> Drawing:
    """Bars whose parts add up, with the sum behind each.

    parts: names of the parts, from left to right. colors: indices of their colors; None counts. A part
    that is not a finite number of at least zero is left out, and a line below the chart counts them.
    Raises InputError for bars or colors of another number.
    """
    for item in items:
        if len(item.parts) != len(parts):
            raise InputError(
                f"stacked_bars: expected {len(parts)} parts of {item.label!r}, got {len(item.parts)}"
            )
    if colors is not None and len(colors) != len(parts):
        raise InputError(f"stacked_bars: expected {len(parts)} colors, got {len(colors)}")
    styles = list(zip(colors or range(len(parts)), parts, strict=True))
    rows = [_stack_row(item, styles, unit, spec) for item in items]
    places = [0.0, *(row.reach for row in rows)]
    lost = sum(not _is_part(value) for item in items for value in item.parts)
    note = (
        f"Left out: {lost} part{'' if lost == 1 else 's'} without a number of at least zero." if lost else ""
    )

    def draw(layout: Layout) -> View:
        if not items:
            return nothing(layout)
        names, top = legend(styles, _box, layout)
        below = _draw(rows, _axis(places, layout), layout, top + 6)
        return View(layout, (*names, *below.elements), below.height)

    return compose(draw, [row.hint for row in rows], note)


def _box(_: int, x: float, y: float) -> Element:
    return tag("rect", x=x, y=y - 6, width=20, height=12, rx=2, class_="fill")


def _axis(values: Sequence[float], layout: Layout) -> Axis:
    # Bars without length still begin at the left.
    at_least = () if any(values) else (1,)
    return axis(values, count=5 if layout.is_narrow else 8, at_least=at_least, is_tight=True)


def _with_unit(value: object, unit: str, spec: str) -> str:
    return f"{number_text(value, spec)} {unit}".rstrip()


def _is_part(value: object) -> TypeGuard[float]:
    return is_plottable(value) and value >= 0


def _bar_row(bar: Bar, unit: str, spec: str) -> _Row:
    if not is_plottable(bar.value):
        words = to_text(bar.value)
        return _Row(bar.label, words, 0, f"{bar.label}: {words}", lambda scale, y: [])
    value = float(bar.value)
    words = _with_unit(value, unit, spec)
    hint = f"{bar.label}: {words}"
    if bar.low is not None and bar.high is not None:
        hint += f" ({_with_unit(bar.low, unit, spec)} to {_with_unit(bar.high, unit, spec)})"

    def draw(scale: Scale, y: float) -> list[Element]:
        start, end = sorted((scale(0), scale(value)))
        elements = [
            tag(
                "rect",
                x=start,
                y=y,
                width=max(end - start, 1 if value else 0),
                height=BAR,
                rx=2,
                class_="fill",
            )
        ]
        if is_plottable(bar.low) and is_plottable(bar.high):
            low, high, middle = scale(float(bar.low)), scale(float(bar.high)), y + BAR / 2
            elements += [
                line(low, middle, high, middle, "whisker"),
                line(low, y + 3, low, y + BAR - 3, "whisker"),
                line(high, y + 3, high, y + BAR - 3, "whisker"),
            ]
        return [tag("g", *elements, class_=series_class(bar.color))]

    reach = max(0.0, *(float(end) for end in (value, bar.low, bar.high) if is_plottable(end)))
    return _Row(bar.label, words if bar.words is None else bar.words, reach, hint, draw)


def _stack_row(stack: Stack, styles: Sequence[tuple[int, str]], unit: str, spec: str) -> _Row:
    values = [float(value) if _is_part(value) else 0.0 for value in stack.parts]
    lost = sum(not _is_part(value) for value in stack.parts)
    words = _with_unit(sum(values), unit, spec) + (f", {lost} left out" if lost else "")

    def draw(scale: Scale, y: float) -> list[Element]:
        elements, start = [], 0.0
        for (color, name), value in zip(styles, values, strict=True):
            left, right = scale(start), scale(start + value)
            start += value
            if right - left < 0.05:
                continue
            shown = to_text(value, spec)
            inside = [tag("title", f"{stack.label}, {name}: {_with_unit(value, unit, spec)}")]
            inside.append(
                tag("rect", x=left, y=y, width=max(right - left - 1, 0.5), height=BAR, class_="fill")
            )
            if text_width(shown, 11) + 8 < right - left:
                inside.append(
                    text(shown, (left + right) / 2, y + BAR - 3.8, class_="inside", anchor="middle")
                )
            elements.append(tag("g", *inside, class_=series_class(color)))
        return elements

    return _Row(stack.label, words, sum(values), f"{stack.label}: {words}", draw)


def _draw(rows: Sequence[_Row], along: Axis, layout: Layout, top: float = 4) -> View:
    """The rows over an axis: labels beside the bars, or above them where the page is narrow or they are long.

    What a row says at its end stands above its bar too, where some row says more than there is room for.
    """
    if not rows:
        return nothing(layout)
    font = layout.font
    widest = max(text_width(row.label, font) for row in rows)
    is_above = layout.is_narrow or widest > layout.width * LABEL_SHARE
    says_above = any(text_width(row.words, font) > layout.width * WORDS_SHARE for row in rows)
    left = 2.0 if is_above else widest + 10
    behind = 10.0 if says_above else max(text_width(row.words, font) for row in rows) + 10
    room = layout.width - left - 6
    above = [
        [
            *(wrapped(row.label, room, font) if is_above else ()),
            *(wrapped(row.words, room, font) if says_above else ()),
        ]
        for row in rows
    ]
    scale = along.scale(left, max(layout.width - behind, left + 60))
    line_height = font * 1.3
    tops, bottom = [], top
    for lines in above:
        tops.append(bottom + line_height * len(lines) + 6)
        bottom += line_height * len(lines) + BAR + 13
    elements = []
    for tick in along.ticks:
        x = scale(tick.value)
        elements.append(line(x, top, x, bottom, "zero" if tick.value == 0 else "grid"))
    places = [(tick.label, scale(tick.value)) for tick in along.ticks]
    elements += tick_labels(places, bottom + font + 4, layout)
    for row, lines, y in zip(rows, above, tops, strict=True):
        words = [
            text(each, left + 4, y - 4 - line_height * (len(lines) - 1 - i)) for i, each in enumerate(lines)
        ]
        if not is_above:
            words.append(text(row.label, left - 8, y + BAR - 3, anchor="end"))
        if not says_above:
            words.append(text(row.words, scale(row.reach) + 7, y + BAR - 3))
        elements.append(tag("g", tag("title", row.hint), *words, *row.draw(scale, y)))
    return View(layout, tuple(elements), bottom + font + 12)

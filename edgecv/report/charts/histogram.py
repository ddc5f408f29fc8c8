"""Distributions, one below the other over one axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgecv.report.charts.drawing import Drawing, View, compose, nothing
from edgecv.report.charts.elements import (
    Element,
    Layout,
    axis_label,
    line,
    series_class,
    tag,
    text,
    text_width,
    tick_labels,
    wrapped,
)
from edgecv.report.charts.scale import Axis, Scale, axis, is_plottable
from edgecv.report.values import to_text

ROW = 46.0
EDGE = 10.0
WIDE_BINS, NARROW_BINS = 60, 30
# Of each row at least this share stands inside the axis; what lies beyond is counted at its end.
SHOWN_PERCENT = 99.0
# A tail up to so many times as wide as what has to be shown still stands inside.
TAIL = 1.5


@dataclass(frozen=True)
class Samples:
    """One distribution.

    mark: a value with a line of its own, such as the median. note: a few words. color: index of the
    color; None counts the chart's series.
    """

    label: str
    values: Sequence[float | None]
    mark: float | None = None
    note: str = ""
    color: int | None = None


def histogram(series: Sequence[Samples], *, x_label: str = "", spec: str = ".4g") -> Drawing:
    """How often which value came, in a row for each series, every row to a height of its own.

    All rows share the axis and its bins. A long tail is cut where it would squeeze the rest, and the
    row says how many values lie beyond. Values that are not finite are left out, and a line below the
    chart counts them.
    """
    kept = [np.array([v for v in each.values if is_plottable(v)], np.float64) for each in series]
    lost = sum(len(each.values) for each in series) - sum(map(len, kept))
    note = f"Left out: {lost} value{'' if lost == 1 else 's'}, not finite." if lost else ""

    def draw(layout: Layout) -> View:
        if not any(map(len, kept)):
            return nothing(layout)
        return _draw(series, kept, x_label, spec, layout)

    return compose(draw, [_count(*each) for each in zip(series, kept, strict=True)], note)


def _range(kept: Sequence[NDArray[np.float64]]) -> tuple[float, float]:
    filled = [values for values in kept if len(values)]
    low = min(float(values.min()) for values in filled)
    inner = max(float(np.percentile(values, SHOWN_PERCENT)) for values in filled)
    most = max(float(values.max()) for values in filled)
    return low, most if most - low <= TAIL * (inner - low) or inner <= low else inner


def _draw(
    series: Sequence[Samples],
    kept: Sequence[NDArray[np.float64]],
    x_label: str,
    spec: str,
    layout: Layout,
) -> View:
    font = layout.font
    along = axis(_range(kept), count=5 if layout.is_narrow else 9)
    scale = along.scale(EDGE, layout.width - EDGE)
    notes = [_note(each, values, along, spec) for each, values in zip(series, kept, strict=True)]
    lines = [_lines(each.label, note, layout) for each, note in zip(series, notes, strict=True)]
    tops, bottom = [], 2.0
    for labels, below in lines:
        tops.append(bottom)
        bottom += ROW + font * (0.5 + 1.4 * max(1, len(labels) + len(below)))
    elements = [line(scale(t.value), 2, scale(t.value), bottom, "grid") for t in along.ticks]
    for i, (each, values, y, base) in enumerate(zip(series, kept, tops, [*tops[1:], bottom], strict=True)):
        elements += _words(each.label, notes[i], lines[i], y + font * 1.3, layout)
        elements += _bins(i, each, values, base, along, scale, spec, layout)
    places = [(tick.label, scale(tick.value)) for tick in along.ticks]
    elements += tick_labels(places, bottom + font + 4, layout)
    height = bottom + font + 10
    if x_label:
        elements.append(axis_label(x_label, layout.width / 2, height + font, layout))
        height += font + 8
    return View(layout, tuple(elements), height)


def _count(samples: Samples, values: NDArray[np.float64]) -> str:
    return f"{samples.label}: {len(values)} values"


def _note(samples: Samples, values: NDArray[np.float64], along: Axis, spec: str) -> str:
    notes = [samples.note] if samples.note else []
    beyond = int(np.count_nonzero(values > along.high))
    if beyond:
        notes.append(f"{beyond} beyond, up to {to_text(float(values.max()), spec)}")
    if not len(values):
        notes.append("no values")
    return "; ".join(notes)


def _lines(label: str, note: str, layout: Layout) -> tuple[list[str], list[str]]:
    """Of a row's label and its note; no lines where both stand in one, the note at its end."""
    font, room = layout.font, layout.width - 2 * EDGE
    if not layout.is_narrow and text_width(label, font) + text_width(note, font) + 12 <= room:
        return [], []
    return wrapped(label, room, font), wrapped(note, room, font)


def _words(
    label: str, note: str, lines: tuple[list[str], list[str]], y: float, layout: Layout
) -> list[Element]:
    """A row's label and note; y: the first base line."""
    labels, below = lines
    if not labels and not below:
        return [text(label, EDGE, y), text(note, layout.width - EDGE, y, class_="muted", anchor="end")]
    step = layout.font * 1.4
    return [
        *(text(each, EDGE, y + step * i) for i, each in enumerate(labels)),
        *(text(each, EDGE, y + step * (len(labels) + i), class_="muted") for i, each in enumerate(below)),
    ]


def _bins(
    index: int,
    samples: Samples,
    values: NDArray[np.float64],
    base: float,
    along: Axis,
    scale: Scale,
    spec: str,
    layout: Layout,
) -> list[Element]:
    """One distribution over its base line."""
    edges = np.linspace(along.low, along.high, 1 + (NARROW_BINS if layout.is_narrow else WIDE_BINS))
    counts, _ = np.histogram(values, edges)
    top = max(1, int(counts.max()))
    elements = [tag("title", _count(samples, values))]
    for n, start, end in zip(counts.tolist(), edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        if n:
            height = max(1.0, n / top * (ROW - 4))
            elements.append(
                tag(
                    "rect",
                    tag("title", f"{to_text(start, spec)} to {to_text(end, spec)}: {n}"),
                    x=scale(start),
                    y=base - height,
                    width=max(scale(end) - scale(start) - 0.8, 0.6),
                    height=height,
                    class_="fill",
                )
            )
    if is_plottable(samples.mark) and along.low <= samples.mark <= along.high:
        x = scale(float(samples.mark))
        elements.append(line(x, base - ROW + 2, x, base, "mark"))
    return [
        tag("g", *elements, class_=series_class(index if samples.color is None else samples.color)),
        line(scale.start, base, scale.end, base, "zero"),
    ]

"""Charts: functions from values to a `Drawing`, which `edgecv.report` shows in a page or writes as SVG.

A drawing comes at two sizes, for a wide page and for a phone; the page's style shows the one that fits.
It scales with the page, takes its colors from the page's variables, and tells series apart by dash and
marker too. What cannot be drawn (None, NaN, infinity) is left out, and the chart says so. Labels are
plain text, whoever wrote them.
"""

from __future__ import annotations

from edgecv.report.charts.bars import Bar, Stack, bars, stacked_bars
from edgecv.report.charts.drawing import Drawing
from edgecv.report.charts.histogram import Samples, histogram
from edgecv.report.charts.lines import Series, lines
from edgecv.report.charts.scale import nice_ticks

__all__ = [
    "Bar",
    "Drawing",
    "Samples",
    "Series",
    "Stack",
    "bars",
    "histogram",
    "lines",
    "nice_ticks",
    "stacked_bars",
]

"""Charts: functions from values to a `Drawing`, which `edgecv.report` shows in a page or writes as SVG.

A drawing comes at two sizes, for a wide page and for a phone; the page's style shows the one that fits.
It scales with the page, takes its colors from the page's variables, and tells series apart by dash and
marker too. What cannot be drawn (None, NaN, infinity) is left out, and the chart says so. Labels are
plain text, whoever wrote them.
"""

from __future__ import annotations

from edgecv.report.charts.bars import Bar, Stack, bars, stacked_bars
from edgecv.report.charts.drawing import Drawing
from edgecv.report.charts.front import pareto_front
from edgecv.report.charts.heat_map import heat_map
from edgecv.report.charts.histogram import Samples, histogram
from edgecv.report.charts.lines import Series, lines
from edgecv.report.charts.scale import nice_ticks
from edgecv.report.charts.scatter import Points, scatter

__all__ = [
    "Bar",
    "Drawing",
    "Points",
    "Samples",
    "Series",
    "Stack",
    "bars",
    "heat_map",
    "histogram",
    "lines",
    "nice_ticks",
    "pareto_front",
    "scatter",
    "stacked_bars",
]

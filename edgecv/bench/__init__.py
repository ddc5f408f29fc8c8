"""Latency of a model on its backends, measured side by side in one run."""

from __future__ import annotations

from edgecv.bench.checks import prepared
from edgecv.bench.compare import compare, read_report, with_comparison
from edgecv.bench.report import (
    END_TO_END,
    BenchConfig,
    BenchReport,
    BenchResult,
    FrameInfo,
    parse_cpus,
    turn_of,
)
from edgecv.bench.runner import Measurement, Progress, measure, run
from edgecv.bench.statistics import Summary
from edgecv.bench.tables import failures, names_of, to_lines, to_table

__all__ = [
    "END_TO_END",
    "BenchConfig",
    "BenchReport",
    "BenchResult",
    "FrameInfo",
    "Measurement",
    "Progress",
    "Summary",
    "compare",
    "failures",
    "measure",
    "names_of",
    "parse_cpus",
    "prepared",
    "read_report",
    "run",
    "to_lines",
    "to_table",
    "turn_of",
    "with_comparison",
]

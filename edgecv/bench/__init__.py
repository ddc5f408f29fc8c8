"""Latency of a model on its backends, measured side by side in one run."""

from __future__ import annotations

from edgecv.bench.checks import check_model
from edgecv.bench.report import (
    END_TO_END,
    BenchConfig,
    BenchReport,
    BenchResult,
    FrameInfo,
    parse_cpus,
)
from edgecv.bench.runner import Measurement, Progress, measure, run
from edgecv.bench.statistics import Summary
from edgecv.bench.tables import to_lines, to_table

__all__ = [
    "END_TO_END",
    "BenchConfig",
    "BenchReport",
    "BenchResult",
    "FrameInfo",
    "Measurement",
    "Progress",
    "Summary",
    "check_model",
    "measure",
    "parse_cpus",
    "run",
    "to_lines",
    "to_table",
]

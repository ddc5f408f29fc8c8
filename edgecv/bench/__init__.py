"""Latency of a model on its backends, measured side by side in one run."""

from __future__ import annotations

from edgecv.bench.report import (
    BenchConfig,
    BenchReport,
    BenchResult,
    FrameInfo,
    Latency,
    json_schema,
    parse_cpus,
)
from edgecv.bench.runner import Progress, run
from edgecv.bench.statistics import Summary
from edgecv.bench.tables import to_lines, to_table

__all__ = [
    "BenchConfig",
    "BenchReport",
    "BenchResult",
    "FrameInfo",
    "Latency",
    "Progress",
    "Summary",
    "json_schema",
    "parse_cpus",
    "run",
    "to_lines",
    "to_table",
]

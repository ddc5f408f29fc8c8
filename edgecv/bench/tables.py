"""A benchmark's report as a table for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgecv import machine
from edgecv.bench.report import STAGES, BenchReport, BenchResult
from edgecv.bench.statistics import Summary

if TYPE_CHECKING:
    from rich.table import Table

FIGURES = ("min", "mean", "p50", "p90", "p99", "p99.9", "max")


def to_table(report: BenchReport) -> Table:
    """Milliseconds of every stage of every result; failures are told below."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(
        title=f"{escape(report.config.model)}: latency in ms",
        caption=escape(_caption(report)),
        caption_justify="left",
    )
    table.add_column("backend")
    table.add_column("threads", justify="right")
    table.add_column("stage")
    table.add_column("n", justify="right")
    for name in FIGURES:
        table.add_column(name, justify="right")
    table.add_column("load, memory")
    for result in report.results:
        name = escape(_backend(result))
        threads = "" if result.threads is None else str(result.threads)
        if result.latency_ms is None:
            table.add_row(name, threads, "[red]failed[/red]", end_section=True)
            continue
        notes = iter(_notes(result))
        for stage in STAGES:
            row = [stage.replace("_", " "), *_cells(getattr(result.latency_ms, stage))]
            last = stage == STAGES[-1]
            table.add_row(name, threads, *row, next(notes, ""), style="bold" if last else None)
            name = threads = ""
        table.add_section()
    return table


def _backend(result: BenchResult) -> str:
    placed = (result.placement or {}).get("backend")
    if result.backend is None:
        return f"{placed} (first usable)" if placed else "first usable"
    return result.backend


def _threads(result: BenchResult) -> str:
    if result.threads is None:
        return ""
    return f", {result.threads} thread{'s' if result.threads != 1 else ''}"


def _cells(summary: Summary) -> list[str]:
    tail = (summary.p90, summary.p99, summary.p99_9, summary.max)
    values = (summary.min, summary.mean, summary.p50, *tail)
    return [str(summary.n), *("-" if value is None else f"{value:.3f}" for value in values)]


def _notes(result: BenchResult) -> list[str]:
    lines = []
    if result.load_ms is not None:
        lines.append(f"load {result.load_ms:.0f} ms")
    if result.first_frame_ms is not None:
        lines.append(f"first frame {result.first_frame_ms:.0f} ms")
    if result.peak_rss_bytes is not None:
        lines.append(f"peak {result.peak_rss_bytes / 2**20:.0f} MiB")
    if result.cpu_ms_per_frame is not None:
        lines.append(f"CPU {result.cpu_ms_per_frame:.2f} ms/frame")
    return lines


def _caption(report: BenchReport) -> str:
    lines = [
        f"{_backend(result)}{_threads(result)}: {result.error}"
        for result in report.results
        if result.error is not None
    ]
    lines.append(machine.describe(report.machine))
    if report.frame is not None:
        frame = report.frame
        what = frame.source or "a synthetic frame"
        many = f", {frame.count} frames" if frame.count > 1 else ""
        lines.append(f"{what}, {frame.width}x{frame.height}{many}")
    lines.append(report.percentiles)
    return "\n".join(lines)

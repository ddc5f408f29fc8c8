"""A benchmark's report as text for a terminal, 80 columns wide."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgecv import machine
from edgecv.bench.report import END_TO_END, BenchReport, BenchResult
from edgecv.bench.statistics import Summary

if TYPE_CHECKING:
    from rich.table import Table

FIGURES = ("n", "min", "mean", "p50", "p90", "p99", "p99.9", "max")


def to_table(report: BenchReport) -> Table:
    """Milliseconds of every stage of every result; those that failed are left to `to_lines`."""
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("milliseconds", no_wrap=True)
    for name in FIGURES:
        table.add_column(name, justify="right", no_wrap=True)
    for result in report.results:
        if result.latency_ms is None:
            continue
        table.add_row(f"[bold]{escape(name_of(result))}[/bold]")
        for stage, summary in result.latency_ms.items():
            name = f"  {stage.replace('_', ' ')}"
            table.add_row(name, *_cells(summary), end_section=stage == END_TO_END)
    return table


def to_lines(report: BenchReport) -> list[str]:
    """What stands below the table: model, machine, frame; loads, memory and failures of each result."""
    lines = [report.config.model, machine.describe(report.machine)]
    if report.frame is not None:
        frame = report.frame
        many = f", {frame.count} frames" if frame.count > 1 else ""
        lines.append(f"{frame.source or 'a synthetic frame'}, {frame.width}x{frame.height}{many}")
    for result in report.results:
        facts = result.error if result.latency_ms is None else ", ".join(_notes(result))
        lines.append(f"{name_of(result)}: {facts}")
    lines.append(f"percentiles: {report.percentiles}")
    return lines


def name_of(result: BenchResult) -> str:
    """What a result is called: its backend, and its threads or, where each has a frame, its streams."""
    placed = (result.placement or {}).get("backend")
    backend = result.backend or (f"{placed} (first usable)" if placed else "first usable")
    if result.threads is None:
        return backend
    what = "thread" if result.streams == 1 else "stream"
    return f"{backend}, {result.threads} {what}{'' if result.threads == 1 else 's'}"


def _cells(summary: Summary) -> list[str]:
    tail = (summary.p90, summary.p99, summary.p99_9, summary.max)
    values = (summary.min, summary.mean, summary.p50, *tail)
    return [str(summary.n), *("-" if value is None else _short(value) for value in values)]


def _short(value: float) -> str:
    """At most six characters up to 10 seconds, and never fewer than three digits."""
    return f"{value:.3f}" if value < 10 else f"{value:.2f}" if value < 100 else f"{value:.1f}"


def _notes(result: BenchResult) -> list[str]:
    placed = result.placement or {}
    notes = [str(placed[key]) for key in ("version", "engine", "precision") if placed.get(key)]
    if result.load_ms is not None:
        kept = " (plan from the cache)" if result.plan_from_cache else ""
        notes.append(f"load {result.load_ms:.0f} ms{kept}")
    if result.first_frame_ms is not None:
        notes.append(f"first frame {result.first_frame_ms:.0f} ms")
    if result.peak_rss_bytes is not None:
        notes.append(f"peak {result.peak_rss_bytes / 2**20:.0f} MiB")
    if result.cpu_ms_per_frame is not None:
        notes.append(f"CPU {result.cpu_ms_per_frame:.2f} ms/frame")
    if result.frames_per_s is not None:
        notes.append(f"{result.frames_per_s:.1f} frames/s")
    return notes

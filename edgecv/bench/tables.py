"""A benchmark's report as text for a terminal, 80 columns wide."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgecv import machine
from edgecv.bench.ratios import MIN_TURNS, Comparison, Ratio
from edgecv.bench.report import END_TO_END, BenchReport, BenchResult, MachineLoad, Noise
from edgecv.bench.statistics import Summary

if TYPE_CHECKING:
    from rich.table import Table

FIGURES = ("n", "min", "mean", "p50", "p90", "p99", "p99.9", "max")
# Of a row that compares contenders.
IN_SHORT = ("min", "p50", "p90", "p99")
NONE = "\N{EN DASH}"


def to_table(report: BenchReport) -> Table:
    """Milliseconds of every stage of every result; of several models or batches one row a result. Those that
    failed are left to `to_lines`.
    """
    if len(report.config.models) > 1 or len(report.config.batches) > 1:
        return _comparing(report)
    from rich.markup import escape

    table = _empty("milliseconds", FIGURES)
    for name, result in zip(names_of(report), report.results, strict=True):
        if result.latency_ms is None:
            continue
        table.add_row(f"[bold]{escape(name)}[/bold]")
        for stage, summary in result.latency_ms.items():
            title = f"  {stage.replace('_', ' ')}"
            table.add_row(title, *_cells(summary), end_section=stage == END_TO_END)
    return table


def _comparing(report: BenchReport) -> Table:
    """End to end alone, a row for each of the results, those of a model together."""
    from rich.markup import escape

    table = _empty("model, backend, threads", ("batch", *IN_SHORT, "frames/s"))
    models = short_names(report.config.models)
    for i, result in enumerate(report.results):
        if result.latency_ms is None:
            continue
        total = result.latency_ms[END_TO_END]
        values = (total.min, total.p50, total.p90, total.p99)
        table.add_row(
            escape(f"{models[result.model]}, {name_of(result)}"),
            str(result.batch),
            *map(_short, values),
            NONE if result.frames_per_s is None else f"{result.frames_per_s:.1f}",
            end_section=report.results[i + 1 : i + 2] != () and report.results[i + 1].model != result.model,
        )
    return table


def _empty(title: str, names: tuple[str, ...]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column(title, no_wrap=title == "milliseconds")
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def to_lines(report: BenchReport) -> list[str]:
    """What stands below the table: model, machine, frame; loads, memory and failures of each result; how
    quiet the machine was; what an earlier run compares to.
    """
    lines = [", ".join(report.config.models), machine.describe(report.machine)]
    if report.frame is not None:
        frame = report.frame
        many = f", {frame.count} frames" if frame.count > 1 else ""
        lines.append(f"{frame.source or 'a synthetic frame'}, {frame.width}x{frame.height}{many}")
    lines += [
        f"{model}: nothing says what its outputs mean: inference alone, on made-up inputs"
        for model in report.config.alone
    ]
    names = names_of(report)
    said = zip(names, map(_facts, report.results), strict=True)
    lines += [f"{name}: {facts}" for name, facts in _grouped(said)]
    if report.load is not None:
        lines.append(load_line(report.load))
    if report.noise is not None:
        lines.append(noise_line(report.noise, names))
    if report.comparison is not None:
        lines += _compared(report.comparison, names)
    lines.append(f"percentiles: {report.percentiles}")
    return lines


def load_line(load: MachineLoad) -> str:
    """How busy the machine was."""
    several = "" if load.processors == 1 else "s"
    line = (
        f"load average {load.start:.2f} at the start and {load.end:.2f} at the end, on {load.processors} "
        f"processor{several}"
    )
    return f"{line}: busy with other work, which the figures contain" if load.is_busy else line


def noise_line(noise: Noise, names: list[str]) -> str:
    """How far two equal measurements lay apart."""
    return (
        f"{names[noise.contender]}, measured once more: {noise.p50:.3f} of its p50, {noise.min:.3f} of its "
        f"min: noise of {noise.shares[0]:.1%} and {noise.shares[1]:.1%}"
    )


def names_of(report: BenchReport) -> list[str]:
    """What each result is called: as `name_of`, after its model where there are several, with its batch where
    that is not one frame.
    """
    models = short_names(report.config.models)
    names = []
    for result in report.results:
        name = f"{models[result.model]}, {name_of(result)}" if len(models) > 1 else name_of(result)
        names.append(name if result.batch == 1 else f"{name}, batch {result.batch}")
    return names


def short_names(models: Sequence[str]) -> dict[str, str]:
    """Files by their last part, where that tells them apart."""
    names = {model: Path(model).name or model for model in models}
    return names if len(set(names.values())) == len(names) else {model: model for model in models}


def name_of(result: BenchResult) -> str:
    """What a result is called: its backend, and its threads or, where each has a frame, its streams."""
    placed = (result.placement or {}).get("backend")
    backend = result.backend or (f"{placed} (first usable)" if placed else "first usable")
    if not result.threads:
        return backend
    what = "thread" if result.streams == 1 else "stream"
    return f"{backend}, {result.threads} {what}{'' if result.threads == 1 else 's'}"


def _grouped(lines: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Names and what is said of them; what is said of several alike once, with how many more it goes for."""
    names: dict[str, list[str]] = {}
    for name, said in lines:
        names.setdefault(said, []).append(name)
    for said, (first, *more) in names.items():
        yield f"{first}{f' and {len(more)} more' if more else ''}", said


def failures(report: BenchReport) -> list[tuple[str, str, str]]:
    """What failed, its error and the error's type; where several failed alike once."""
    types = {_error(result): result.error_type or "" for result in report.results}
    failed = (
        (name, _error(result))
        for name, result in zip(names_of(report), report.results, strict=True)
        if result.error is not None
    )
    return [(name, error, types[error]) for name, error in _grouped(failed)]


def _error(result: BenchResult) -> str:
    """Without the name of the backend, which stands in front of it."""
    return (result.error or "").removeprefix(f"{result.backend}: ")


def _facts(result: BenchResult) -> str:
    if result.skipped is not None:
        return f"skipped: {result.skipped}"
    return _error(result) if result.latency_ms is None else ", ".join(_notes(result))


def _compared(comparison: Comparison, names: list[str]) -> list[str]:
    lines = [
        f"against {comparison.before}, this run over that one; in brackets what holds "
        f"{comparison.confidence:.0%} of the turns drawn anew, widened by the noise of either run: "
        f"p50 {comparison.noise_p50:.1%}, min {comparison.noise_min:.1%}"
    ]
    for name, each in zip(names, comparison.contenders, strict=True):
        if each.p50 is None or each.min is None:
            lines.append(f"  {name}: {each.error}")
        else:
            lines.append(f"  {name}: p50 {_ratio(each.p50)}; min {_ratio(each.min)}")
    return [*lines, *(f"  differs: {line}" for line in comparison.differences)]


def _ratio(found: Ratio) -> str:
    if found.low is None or found.high is None:
        return f"{found.ratio:.3f} ({found.verdict} to tell: {MIN_TURNS} at least)"
    return f"{found.ratio:.3f} ({found.low:.3f} to {found.high:.3f}), {found.verdict}"


def _cells(summary: Summary) -> list[str]:
    tail = (summary.p90, summary.p99, summary.p99_9, summary.max)
    values = (summary.min, summary.mean, summary.p50, *tail)
    return [str(summary.n), *map(_short, values)]


def _short(value: float | None) -> str:
    """At most six characters up to 10 seconds, and never fewer than three digits."""
    if value is None:
        return NONE
    return f"{value:.3f}" if value < 10 else f"{value:.2f}" if value < 100 else f"{value:.1f}"


def _notes(result: BenchResult) -> list[str]:
    placed = result.placement or {}
    notes = [str(placed[key]) for key in ("version", "engine", "precision") if placed.get(key)]
    if result.load_ms is not None:
        kept = " (plan from the cache)" if result.plan_from_cache else ""
        notes.append(f"load {result.load_ms:.0f} ms{kept}")
    if result.first_frame_ms is not None:
        what = "frame" if result.batch == 1 else "batch"
        notes.append(f"first {what} {result.first_frame_ms:.0f} ms")
    if result.peak_rss_bytes is not None:
        notes.append(f"peak {result.peak_rss_bytes / 2**20:.0f} MiB")
    if result.cpu_ms_per_frame is not None:
        notes.append(f"CPU {result.cpu_ms_per_frame:.2f} ms/frame")
    if result.frames_per_s is not None:
        notes.append(f"{result.frames_per_s:.1f} frames/s")
    return notes

"""The demo's report: a table for the terminal, and a page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from edgecv.bench import END_TO_END, BenchResult
from edgecv.bench import page as bench_page
from edgecv.demo.cell import BackendOutcome, Demo, DemoReport
from edgecv.report import Block, Chart, Column, Failure, Failures, Page, Picture, Section, Status, Table, Text

if TYPE_CHECKING:
    from rich.table import Table as RichTable

PICTURES = 6


def to_page(demo: Demo, *, command: str) -> Page:
    """Pictures, accuracy against the truth, and latency as `edgecv bench` shows it."""
    report = demo.report
    latency = bench_page.to_page(report.latency, command=command, samples_ms=demo.measurement.samples_ms)
    sections = [
        Section("Backends", _backends(report), note="Over the whole belt, against the generator's truth."),
        *_failures(report),
        Section(
            "What was found",
            [*_pictures(report)],
            note="At the model's thresholds. Parts of which less than 40 % is seen are not asked for.",
        ),
        *(section for section in latency.sections if section.title != "Failures"),
    ]
    return Page(
        title="edgecv demo",
        lead=(
            f"A generated belt of nuts, bolts and washers, {report.frames} frames, detected by "
            f"{report.model}, the model that comes with edgecv. {latency.lead}"
        ),
        command=command,
        sections=sections,
        machine=report.latency.machine,
    )


def latency_chart(demo: Demo) -> Chart | None:
    """The latency of every backend, with whiskers; None where nothing could be measured."""
    page = bench_page.to_page(demo.report.latency, command="")
    charts = (block for section in page.sections for block in section.blocks if isinstance(block, Chart))
    return next(charts, None)


def to_table(report: DemoReport) -> RichTable:
    """A row a backend, 80 columns wide."""
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table as RichTable

    table = RichTable(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("backend", no_wrap=True)
    for name in ("found", "missed", "false", "AP", "AP50", "min", "p50", "p99", "MiB"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for outcome, result in _rows(report):
        cells = ("-" if value is None else f"{value:{spec}}" for value, spec in _values(outcome, result))
        good = not (outcome.problem or result.error)
        verdict = "[green]ok[/green]" if good else "[red]failed[/red]"
        table.add_row(escape(outcome.backend), *cells, verdict)
    return table


def to_lines(report: DemoReport) -> list[str]:
    """What stands below the table: problems, and backends that are not usable here."""
    lines = ["min, p50, p99: milliseconds of a frame, end to end"]
    lines += [f"{what}: {error}" for what, error in _problems(report)]
    if report.no_AP:
        lines.append(f"no AP: {report.no_AP}")
    lines += [f"{name}: not usable here: {reason}" for name, reason in report.unusable.items()]
    return lines


def _rows(report: DemoReport) -> Iterator[tuple[BackendOutcome, BenchResult]]:
    return zip(report.outcomes, report.latency.results, strict=True)


def _values(outcome: BackendOutcome, result: BenchResult) -> list[tuple[float | None, str]]:
    """The figures of a row, and how they are written."""
    accuracy = outcome.evaluation
    total = None if result.latency_ms is None else result.latency_ms[END_TO_END]
    memory = result.peak_rss_bytes
    return [
        (outcome.found, "d"),
        (outcome.missed, "d"),
        (outcome.false, "d"),
        (None if accuracy is None else accuracy.AP, ".3f"),
        (None if accuracy is None else accuracy.AP50, ".3f"),
        *((None if total is None else getattr(total, name), ".1f") for name in ("min", "p50", "p99")),
        (None if memory is None else memory / 2**20, ".0f"),
    ]


def _problems(report: DemoReport) -> list[tuple[str, str]]:
    found = []
    for outcome, result in _rows(report):
        found += [(outcome.backend, text) for text in (outcome.problem, result.error) if text]
    # The names stand in front.
    return list(dict.fromkeys((name, text.removeprefix(f"{name}: ")) for name, text in found))


def _table(report: DemoReport) -> Table:
    rows = [
        (
            outcome.backend,
            Status("failed", "bad") if outcome.problem or result.error else Status("ok", "good"),
            *(value for value, _ in _values(outcome, result)),
        )
        for outcome, result in _rows(report)
    ]
    latency = ("min, ms", "p50, ms", "p99, ms")
    figures = [Column(name, ".4f") for name in ("AP", "AP50")]
    figures += [Column(name, ".2f") for name in latency]
    return Table(
        ["Backend", "Verdict", "Found", "Missed", "False", *figures, Column("Memory, MiB", ".0f")],
        rows,
        best=dict.fromkeys(latency, "min"),
    )


def _backends(report: DemoReport) -> list[Block]:
    blocks: list[Block] = [_table(report)]
    absent = [f"{name} is not usable here: {reason}" for name, reason in report.unusable.items()]
    if report.no_AP:
        absent.append(f"No AP: {report.no_AP}")
    if absent:
        blocks.append(Text("\n\n".join(absent)))
    return blocks


def _failures(report: DemoReport) -> Iterator[Section]:
    items = [Failure(what, error) for what, error in _problems(report)]
    if items:
        yield Section("Failures", [Failures(items)])


def _pictures(report: DemoReport) -> Iterator[Block]:
    """Frames spread over the whole belt."""
    paths = sorted(Path(report.files["annotated"]).glob("*.png"))
    count = min(PICTURES, len(paths))
    chosen = [paths[i * (len(paths) - 1) // max(1, count - 1)] for i in range(count)]
    if not chosen:
        yield Text("No backend ran, so nothing was drawn.")
    for path in chosen:
        from edgecv.media import read_image

        yield Picture(read_image(path), caption=f"frame {path.stem}", alt="annotated frame of the belt")

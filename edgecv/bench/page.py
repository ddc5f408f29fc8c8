"""A benchmark's report as a page."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from edgecv.bench.ratios import Comparison, Ratio
from edgecv.bench.report import END_TO_END, BenchConfig, BenchReport, BenchResult
from edgecv.bench.statistics import Summary
from edgecv.bench.tables import failures, load_line, names_of, noise_line, short_names
from edgecv.options import LoadOptions
from edgecv.report import Block, Chart, Column, Facts, Failure, Failures, Page, Section, Table, Text, charts

# Not the colors of the first backends, which other charts use, as far as there are others.
PART_COLORS = (4, 6, 7, 3, 5, 2, 1, 0)

# Stages that run the same code whatever the backend is: their differences are noise.
SHARED_STAGES = ("preprocess", "proposals", "postprocess")

# A result that has figures, its name, and the place that gives its color.
Case = tuple[int, str, BenchResult, dict[str, Summary]]


def to_page(report: BenchReport, *, command: str, samples_ms: Sequence[Sequence[float]] = ()) -> Page:
    """The report with its charts, and every failure.

    command: what one types to do it again. samples_ms: of `Measurement`; without it the page has no
    distributions.
    """
    cases = [
        (i, name, result, result.latency_ms)
        for i, (name, result) in enumerate(zip(names_of(report), report.results, strict=True))
        if result.latency_ms is not None
    ]
    sections = [
        *_failures(report),
        *_comparison(report),
        *_latency(cases, _is_race(report)),
        *_distribution(cases, samples_ms, report.config.turn),
        *_stages(cases, _is_race(report)),
        *_resources(cases, _is_race(report)),
        *_placements(report),
        Section("Conditions", [Facts(_conditions(report))]),
    ]
    models = report.config.models
    return Page(
        title=f"Latency of {', '.join(models if len(models) == 1 else short_names(models).values())}",
        lead=_lead(report, cases),
        command=command,
        sections=sections,
        machine=report.machine,
    )


def _is_race(report: BenchReport) -> bool:
    """Whether all do the same work, so that one of them is the best."""
    return len(report.config.models) == 1 and len(report.config.batches) == 1


def _lead(report: BenchReport, cases: Sequence[Case]) -> str:
    failed = sum(result.error is not None for result in report.results)
    parts = []
    if len(cases) > 1 and not _is_race(report):
        parts.append(f"{len(cases)} were measured, which do not all do the same work.")
    elif cases:
        _, name, result, latency = min(cases, key=lambda case: case[3][END_TO_END].p50)
        total = latency[END_TO_END]
        p99 = "" if total.p99 is None else f" and {total.p99:.2f} ms at p99"
        what = "frames" if result.batch == 1 else "batches"
        parts.append(
            f"{name}: {total.p50:.2f} ms in the median{p99}, over {total.n} {what}"
            + (f"; the fastest of {len(cases)} by its median." if len(cases) > 1 else ".")
        )
    if failed:
        parts.append(f"Could not be measured: {failed} of {len(report.results)}.")
    if report.load is not None and report.load.is_busy:
        parts.append("The machine was busy with other work.")
    return " ".join(parts)


def _failures(report: BenchReport) -> Iterator[Section]:
    items = [Failure(*each) for each in failures(report)]
    if items:
        yield Section("Failures", [Failures(items)])


def _latency(cases: Sequence[Case], is_race: bool) -> Iterator[Section]:
    if not cases:
        return
    parts = _parts(cases)
    totals = ("p50", "p99", "min", "max")
    table = Table(
        ["Backend", *(Column(name, ".2f") for name in (*totals, *(_title(stage) for stage in parts)))],
        [
            (
                name,
                *(getattr(latency[END_TO_END], figure) for figure in totals),
                *(_median(latency, stage) for stage in parts),
            )
            for _, name, _, latency in cases
        ],
        caption="Milliseconds of a frame, end to end, and the median of each stage",
        best=dict.fromkeys(totals, "min") if is_race else {},
    )
    whiskers = charts.bars(
        [
            charts.Bar(name, total.p50, total.min, _high(total), color, f"{_p50_p99(total)} ms")
            for color, name, _, latency in cases
            for total in (latency[END_TO_END],)
        ],
        unit="ms",
        spec=".2f",
    )
    stages = charts.stacked_bars(
        parts,
        [
            charts.Stack(name, [_median(latency, stage) or 0.0 for stage in parts])
            for _, name, _, latency in cases
        ],
        unit="ms",
        spec=".2f",
        colors=[PART_COLORS[i % len(PART_COLORS)] for i in range(len(parts))],
    )
    yield Section(
        "Latency",
        [
            table,
            Chart(whiskers, "End to end: the median, and from the fastest frame to p99, or to p90 of few"),
            Chart(stages, "Where the time goes: the median of each stage"),
        ],
    )


def _distribution(
    cases: Sequence[Case], samples_ms: Sequence[Sequence[float]], turn: int
) -> Iterator[Section]:
    known = [(color, name, latency, samples_ms[color]) for color, name, _, latency in cases if samples_ms]
    if not known:
        return
    rows = [
        charts.Samples(
            name,
            samples,
            mark=latency[END_TO_END].p50,
            note=_p50_p99(latency[END_TO_END]),
            color=color,
        )
        for color, name, latency, samples in known
    ]
    blocks: list[Block] = [
        Chart(
            charts.histogram(rows, x_label="ms, end to end", spec=".2f"),
            "How the frames spread, each row to its own height; the line is the median",
        )
    ]
    turns = [
        charts.Series(name, range(1, len(medians) + 1), medians, color)
        for color, name, _, samples in known
        for medians in (_turn_medians(samples, turn),)
    ]
    if any(len(series.x) > 1 for series in turns):
        blocks.append(
            Chart(
                charts.lines(turns, x_label=f"turn of {turn} frames", y_label="ms", y_at_least=(0,)),
                "How it held over the run: the median of each turn",
            )
        )
    yield Section("Distribution", blocks)


def _p50_p99(total: Summary) -> str:
    name = "p90" if total.p99 is None else "p99"
    return f"p50 {total.p50:.2f}, {name} {_high(total):.2f}"


def _high(total: Summary) -> float:
    """Where whiskers end: p99, or of few samples p90."""
    return total.p90 if total.p99 is None else total.p99


def _comparison(report: BenchReport) -> Iterator[Section]:
    found = report.comparison
    if found is None:
        return
    rows = [
        (name, *_ratio(each.p50, each.error), *_ratio(each.min))
        for name, each in zip(names_of(report), found.contenders, strict=True)
    ]
    figures = [
        Column(f"{name} {what}".rstrip(), align="left")
        for name in ("p50", "min")
        for what in ("", "interval", "verdict")
    ]
    yield Section(
        f"Against {Path(found.before).name}",
        [Table(["Backend", *figures], rows), *(Text(f"Differs: {line}") for line in found.differences)],
        note=_how_compared(found),
    )


def _how_compared(found: Comparison) -> str:
    return (
        "This run over that one: below 1 is faster. The interval holds "
        f"{found.confidence:.0%} of the turns drawn anew, widened by the noise of either run: "
        f"p50 {found.noise_p50:.1%}, min {found.noise_min:.1%}."
    )


def _ratio(found: Ratio | None, error: str | None = None) -> tuple[object, object, object]:
    if found is None:
        return None, None, error
    between = None if found.low is None else f"{found.low:.3f} to {found.high:.3f}"
    return f"{found.ratio:.3f}", between, found.verdict


def _turn_medians(samples: Sequence[float], turn: int) -> list[float]:
    return [statistics.median_low(samples[i : i + turn]) for i in range(0, len(samples), turn)]


def _stages(cases: Sequence[Case], is_race: bool) -> Iterator[Section]:
    if not cases:
        return
    names = ("min", "mean", "p50", "p90", "p99", "p99.9", "max")
    tables = [
        Table(
            ["Backend", "n", *(Column(name, ".3f") for name in names)],
            [(name, *_cells(latency[stage])) for _, name, _, latency in cases if stage in latency],
            caption=f"{_title(stage)}, milliseconds",
            best=dict.fromkeys(names, "min") if is_race and stage not in SHARED_STAGES else {},
        )
        for stage in (*_parts(cases), END_TO_END)
    ]
    yield Section("Stages", tables)


def _parts(cases: Sequence[Case]) -> list[str]:
    """The stages of all cases, each once, in order."""
    stages = dict.fromkeys(stage for _, _, _, latency in cases for stage in latency)
    return [stage for stage in stages if stage != END_TO_END]


def _title(stage: str) -> str:
    return stage.replace("_", " ").capitalize()


def _median(latency: dict[str, Summary], stage: str) -> float | None:
    return latency[stage].p50 if stage in latency else None


def _cells(summary: Summary) -> tuple[float | None, ...]:
    tail = (summary.p90, summary.p99, summary.p99_9, summary.max)
    return (summary.n, summary.min, summary.mean, summary.p50, *tail)


def _resources(cases: Sequence[Case], is_race: bool) -> Iterator[Section]:
    if not cases:
        return
    load, first, peak, cpu = "Load, ms", "First frame, ms", "Peak memory, MiB", "CPU of a frame, ms"
    rate = "Frames a second"
    table = Table(
        [
            "Backend",
            Column(load, ".0f"),
            "Plan",
            Column(first, ".0f"),
            Column(peak, ".0f"),
            Column(cpu, ".2f"),
            Column(rate, ".1f"),
            Column("CPU while waiting, ms", ".1f"),
        ],
        [
            (
                name,
                result.load_ms,
                "from the cache" if result.plan_from_cache else "",
                result.first_frame_ms,
                None if result.peak_rss_bytes is None else result.peak_rss_bytes / 2**20,
                result.cpu_ms_per_frame,
                result.frames_per_s,
                result.waiting_cpu_ms,
            )
            for _, name, result, _ in cases
        ],
        best={load: "min", first: "min", peak: "min", cpu: "min", rate: "max"} if is_race else {},
    )
    yield Section(
        "Start and memory",
        [table],
        note="Memory is the most that the process ever held; the CPU time is that of all its threads.",
    )


def _placements(report: BenchReport) -> Iterator[Section]:
    placed = [
        (name, result.placement)
        for name, result in zip(names_of(report), report.results, strict=True)
        if result.placement is not None
    ]
    if not placed:
        return
    columns = ["backend", "engine", "version", "device", "stored", "precision", "threads"]
    titles = ["Asked for", *map(str.capitalize, columns)]
    rows = [[name, *(placement.get(key) for key in columns)] for name, placement in placed]
    if any(placement.get("fallbacks") for _, placement in placed):
        titles.append("Fell back from")
        for row, (_, placement) in zip(rows, placed, strict=True):
            row.append("; ".join(f"{each['backend']}: {each['reason']}" for each in placement["fallbacks"]))
    if any(placement.get("check") for _, placement in placed):
        titles.append("Check")
        for row, (_, placement) in zip(rows, placed, strict=True):
            row.append(placement.get("check", ""))
    yield Section("What ran", [Table(titles, rows)], note="As read back from each backend.")


def _asked(config: BenchConfig) -> dict[str, object]:
    """Options and settings that are not the default."""
    options, plain = msgspec.structs.asdict(config.options), msgspec.structs.asdict(LoadOptions())
    return {**{name: value for name, value in options.items() if value != plain[name]}, **config.settings}


def _conditions(report: BenchReport) -> dict[str, object]:
    config = report.config
    facts: dict[str, object] = {"Model": ", ".join(config.models)}
    facts |= {option.capitalize(): value for option, value in _asked(config).items()}
    if report.frame is not None:
        frame = report.frame
        facts["Frame"] = f"{frame.source or 'synthetic'}, {frame.width} x {frame.height}" + (
            f", {frame.count} frames" if frame.count > 1 else ""
        )
    facts["Frames of each"] = f"{config.frames}, fewer after {config.seconds:g} s"
    facts["Turns"] = (
        f"{config.turn} frames, the first {config.settle} more not counted; one at a time, "
        "each in a process of its own"
    )
    facts["Threads are for"] = "one frame" if config.hint == "latency" else "a frame each"
    facts["Warm-up"] = f"{config.warmup} frames, fewer after {config.warmup_seconds:g} s"
    if config.pin is not None:
        facts["Processors"] = ", ".join(map(str, config.pin))
    if report.load is not None:
        facts["Other work"] = load_line(report.load)
    if report.noise is not None:
        facts["Noise"] = noise_line(report.noise, names_of(report))
    facts["Percentiles"] = report.percentiles
    return facts

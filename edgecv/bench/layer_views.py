"""Layers as a table for a terminal, as a chart and as a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgecv.bench.layers import Layer, LayersReport, NetworkLayers
from edgecv.report import Block, Chart, Column, Facts, Page, Section, charts
from edgecv.report import Table as PageTable

if TYPE_CHECKING:
    from rich.table import Table

# Bars of a chart; what is faster is summed up in one more.
MOST_BARS = 40
LEAST_NODE = 12
PARTS = ("multiply-adds at the peak", "the rest")
COLORS = (0, 4)


def layers_table(network: NetworkLayers, width: int) -> Table:
    """A row for each layer, in so many columns; names of nodes are cut at their front to fit."""
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    heads = ("#", "node", "step", "result", "us", "of time", "GFLOP/s", "GB/s", "of peak")
    rows = [_row(i, layer) for i, layer in enumerate(network.layers)]
    used = [max(len(head), *(len(row[c]) for row in rows)) for c, head in enumerate(heads)]
    room = max(width - sum(used) + used[1] - 2 * len(heads), LEAST_NODE)
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for head in heads:
        is_text = head in ("node", "step", "result")
        table.add_column(head, justify="left" if is_text else "right", no_wrap=head != "step")
    for row in rows:
        row[1] = row[1] if len(row[1]) <= room else f"…{row[1][1 - room :]}"
        table.add_row(*map(escape, row))
    return table


def layers_lines(report: LayersReport, network: NetworkLayers) -> list[str]:
    """What stands below a network's table."""
    return [
        f"{name_of(report, network)}: {network.isa}, {_threads(network)}, the least of "
        f"{report.runs} runs of each layer",
        f"together {network.ms:.3f} ms, {network.flops / network.ms / 1e6:.1f} GFLOP/s; at the measured "
        f"peak of {network.peak_gflops_per_s:.1f} GFLOP/s its {network.flops / 1e9:.3f} GFLOP take "
        f"{network.floor_ms:.3f} ms: {network.floor_ms / network.ms:.0%}",
    ]


def layers_chart(report: LayersReport, network: NetworkLayers) -> Chart:
    """A bar for each layer that counts, slowest first: the time that it takes, and that it has to take."""
    ordered = sorted(enumerate(network.layers), key=lambda item: -item[1].ms)
    stacks = [
        charts.Stack(f"{i} {layer.op} {layer.how}".rstrip(), _parts(layer))
        for i, layer in ordered[:MOST_BARS]
    ]
    if rest := [layer for _, layer in ordered[MOST_BARS:]]:
        sums = [sum(parts) for parts in zip(*map(_parts, rest), strict=True)]
        stacks.append(charts.Stack(f"{len(rest)} more", sums))
    caption = (
        f"{name_of(report, network)}: least time of each layer, microseconds, slowest first, on "
        f"{_threads(network)}; peak {network.peak_gflops_per_s:.1f} GFLOP/s"
    )
    return Chart(charts.stacked_bars(PARTS, stacks, unit="µs", spec=".1f", colors=COLORS), caption)


def layers_page(report: LayersReport, *, command: str) -> Page:
    """All of it. command: what one types to do it again."""
    sections = []
    for network in report.networks:
        rows = [
            (
                i,
                layer.label,
                f"{layer.op} {layer.how}".rstrip(),
                _times(layer.result),
                layer.ms * 1e3,
                100 * layer.of_time,
                layer.gflops_per_s,
                layer.gbytes_per_s,
                100 * layer.of_peak,
            )
            for i, layer in enumerate(network.layers)
        ]
        numbers = (
            ("µs", ".1f"),
            ("% of time", ".1f"),
            ("GFLOP/s", ".1f"),
            ("GB/s", ".1f"),
            ("% of peak", ".1f"),
        )
        columns = [
            Column("Step", align="right"),
            Column("Node", align="left", wrap="anywhere"),
            Column("Kernel", align="left"),
            Column("Result", align="left", wrap="never"),
            *(Column(name, spec) for name, spec in numbers),
        ]
        facts = {
            "All layers": f"{network.ms:.3f} ms",
            "At the peak": f"{network.floor_ms:.3f} ms",
            "Peak": f"{network.peak_gflops_per_s:.1f} GFLOP/s",
            "Work": f"{network.flops / 1e9:.3f} GFLOP",
        }
        title = f"{name_of(report, network)}, {_threads(network)}"
        blocks: list[Block] = [
            Facts(facts, large=True),
            layers_chart(report, network),
            PageTable(columns, rows),
        ]
        sections.append(Section(title, blocks, note=f"The least of {report.runs} runs, on {network.isa}."))
    first = report.networks[0]
    return Page(
        title=f"Layers of {report.model}",
        lead=f"{name_of(report, first)}: {first.ms:.2f} ms, {first.floor_ms / first.ms:.0%} of the peak.",
        command=command,
        sections=sections,
        machine=report.machine,
    )


def name_of(report: LayersReport, network: NetworkLayers) -> str:
    """The model, and which of its networks where it has several."""
    stages = {each.stage for each in report.networks}
    return report.model if len(stages) == 1 else f"{report.model}, {network.stage}"


def _threads(network: NetworkLayers) -> str:
    return f"{network.threads} thread{'' if network.threads == 1 else 's'}"


def _parts(layer: Layer) -> list[float]:
    # Above the peak only by noise.
    best = min(layer.of_peak, 1.0) * layer.ms * 1e3
    return [best, layer.ms * 1e3 - best]


def _row(number: int, layer: Layer) -> list[str]:
    return [
        str(number),
        layer.label,
        f"{layer.op} {layer.how}".rstrip(),
        _times(layer.result),
        f"{layer.ms * 1e3:.1f}",
        f"{layer.of_time:.1%}",
        f"{layer.gflops_per_s:.1f}",
        f"{layer.gbytes_per_s:.1f}",
        f"{layer.of_peak:.0%}",
    ]


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape[1:] if shape[:1] == (1,) else shape))

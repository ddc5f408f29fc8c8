"""edgecv bench: latency of every stage, several backends and thread counts side by side."""

from __future__ import annotations

import click

from edgecv.cli import options, output


@click.command(name="bench")
@options.model_argument
@click.option(
    "--backend", metavar="A,B", help="Backends to measure, each by itself. Default: every usable one."
)
@click.option("--threads", metavar="N,M", default="1", show_default=True, help="Thread counts to measure.")
@click.option("--source", metavar="PATH", help="Images or a video. Default: a synthetic 1280x720 frame.")
@click.option("--frames", type=int, default=500, show_default=True, help="Samples of each.")
@click.option(
    "--seconds", type=float, default=60.0, show_default=True, help="Longest measuring time of each."
)
@click.option("--warmup", type=int, default=50, show_default=True, help="Frames before the first sample.")
@click.option("--pin", metavar="CPUS", help="Processors to stay on, such as 0 or 0-3.")
@options.placement_options
@options.json_option
@options.html_option
def command(
    model: str,
    backend: str | None,
    threads: str,
    source: str | None,
    frames: int,
    seconds: float,
    warmup: int,
    pin: str | None,
    device: str,
    precision: str,
    weights: str | None,
    imgsz: tuple[int, int] | None,
    json_path: str | None,
    html_path: str | None,
) -> int:
    """Measure the latency of MODEL on this machine.

    One child process per backend and thread count; they take turns, so that all meet the same machine.
    """
    from edgecv import bench
    from edgecv.backends import parse_names, usable
    from edgecv.report import write_html

    output.check_html(html_path, inputs=(model, *filter(None, (source,))))
    config = bench.BenchConfig(
        model=model,
        backends=tuple(parse_names(backend) if backend else usable()) or (None,),
        threads=tuple(options.split_counts("--threads", threads)),
        device=device,
        precision=precision,
        imgsz=imgsz,
        weights=weights,
        source=source,
        frames=frames,
        seconds=seconds,
        warmup=warmup,
        pin=bench.parse_cpus(pin) if pin else None,
    )
    with output.progress_bar("measuring") as bar:
        measured = bench.measure(config, progress=bar.update)
    report = measured.report
    if json_path:
        output.write_json(json_path, report.as_dict())
    if html_path:
        page = bench.to_page(report, command=output.command_line(), samples_ms=measured.samples_ms)
        write_html(html_path, page)
    if json_path != "-":
        if any(result.latency_ms for result in report.results):
            output.print_table(bench.to_table(report))
        click.echo("\n".join(bench.to_lines(report)))
        return report.exit_code
    for result in report.results:
        if result.error:
            click.echo(f"edgecv: {result.backend}, threads {result.threads}: {result.error}", err=True)
    return report.exit_code

"""edgecv bench: latency of every stage, several backends and thread counts side by side; or of every
layer.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
import msgspec

from edgecv.cli import completion, output
from edgecv.cli import options as spelled
from edgecv.errors import InputError
from edgecv.options import MAX_THREADS, LoadOptions

if TYPE_CHECKING:
    from edgecv.bench import BenchConfig

FRAMES = 500
# What a whole detector is measured with, and layers are not.
NOT_FOR_LAYERS = {
    "source": None,
    "hint": "latency",
    "seconds": 60.0,
    "warmup": 50,
    "batch": "1",
    "compare": None,
    "shape": (),
    "twin": True,
}
# Of the options of `load`, those that --layers reads.
OF_LAYERS = ("weights", "labels", "mean", "imgsz")


@click.command(name="bench")
@click.argument("models", metavar="MODEL…", nargs=-1, required=True, shell_complete=completion.models)
@click.option(
    "--backend",
    metavar="A,B",
    shell_complete=completion.backends,
    help="Backends to measure, each by itself. Default: every usable one.",
)
@click.option(
    "--threads",
    metavar="N,M",
    help="Thread counts to measure. Default: the smaller of affinity and cgroup quota, as everywhere.",
)
@click.option(
    "--batch", metavar="N,M", default="1", show_default=True, help="Frames that are handed over at once."
)
@click.option(
    "--shape",
    metavar="INPUT=1x3x224x224",
    multiple=True,
    help="Of a network that is measured alone, the shape of an input whose file leaves it open.",
)
@click.option(
    "--compare",
    metavar="BEFORE.json",
    shell_complete=completion.files,
    help="Tell what became of an earlier run, which --json wrote.",
)
@click.option(
    "--twin/--no-twin",
    default=True,
    help="Whether the first contender is measured twice, which tells the noise.",
)
@click.option(
    "--hint",
    type=click.Choice(("latency", "throughput")),
    default="latency",
    show_default=True,
    help="What threads are for: all for one frame, or one for each of several frames at once.",
)
@click.option(
    "--layers", is_flag=True, help="Time every layer of simd instead, beside the processor's measured peak."
)
@click.option(
    "--source",
    metavar="PATH",
    shell_complete=completion.files,
    help="Images or a video. Default: a synthetic 1280x720 frame.",
)
@click.option("--frames", type=int, default=FRAMES, show_default=True, help="Samples of each.")
@click.option(
    "--seconds", type=float, default=60.0, show_default=True, help="Longest measuring time of each."
)
@click.option("--warmup", type=int, default=50, show_default=True, help="Frames before the first sample.")
@click.option("--pin", metavar="CPUS", help="Processors to stay on, such as 0 or 0-3.")
@click.option(
    "--out",
    metavar="FILE.svg",
    shell_complete=completion.files,
    help="With --layers: write the bar chart to a file.",
)
@spelled.settings_options(
    "conf", "iou", "max_det", "classes", "multi_label", "agnostic", "max_per_class", "top"
)
@spelled.load_options(without=("backend", "threads", "warmup"))
@spelled.json_option
@spelled.html_option
@click.pass_context
def command(
    context: click.Context,
    models: tuple[str, ...],
    backend: str | None,
    threads: str | None,
    batch: str,
    shape: tuple[str, ...],
    compare: str | None,
    twin: bool,
    hint: Literal["latency", "throughput"],
    layers: bool,
    source: str | None,
    frames: int,
    seconds: float,
    warmup: int,
    pin: str | None,
    out: str | None,
    settings: dict[str, Any],
    options: LoadOptions,
    json_path: str | None,
    html_path: str | None,
) -> int:
    """Measure the latency of models on this machine.

    One child process for each MODEL, backend, thread count and batch size; they take turns, so that all meet
    the same machine. Of a network whose outputs nothing explains inference alone is measured.

    --layers runs the network alone on simd, on noise, and tells for every step its least time, GFLOP/s, GB/s,
    and what the first is of the peak that simd's kernels reach on this machine in the same run. --frames is
    the number of runs.
    """
    from edgecv import bench
    from edgecv.backends import parse_names, usable

    output.check_outputs(json_path, html_path, inputs=(*models, *filter(None, (source, compare))))
    names = tuple(parse_names(backend)) if backend else ()
    if out is not None and not layers:
        raise InputError("--out: writes the chart of --layers; use --html for a page with charts")
    if layers:
        _check_layers(context.params, options, settings)
        if names not in ((), ("simd",)):
            raise InputError(f"--layers: expected --backend simd, the one that tells them, got {backend}")
    cpus = bench.parse_cpus(pin) if pin else None
    config = bench.BenchConfig(
        models=models,
        backends=names or tuple(usable()) or (None,),
        threads=_threads(threads, hint, cpus),
        batches=tuple(spelled.split_counts("--batch", batch)),
        shapes=spelled.split_shapes("--shape", shape),
        skip_foreign=not names,
        twin=twin,
        options=options,
        settings=settings,
        hint=hint,
        source=source,
        frames=frames,
        seconds=seconds,
        warmup=warmup,
        turn=bench.turn_of(frames),
        pin=cpus,
    )
    if layers:
        return _layers(config, out, json_path, html_path)
    return _latency(config, compare, json_path, html_path)


def _threads(text: str | None, hint: str, cpus: tuple[int, ...] | None) -> tuple[int | None, ...]:
    """None: those that `load` takes; streams have to be counted beforehand."""
    if text is not None:
        return tuple(spelled.split_counts("--threads", text, MAX_THREADS))
    if hint == "latency":
        return (None,)
    from edgecv import machine

    budget = machine.cpu_budget()
    return (budget if cpus is None else min(budget, len(cpus)),)


def _check_layers(parameters: dict[str, Any], options: LoadOptions, settings: dict[str, Any]) -> None:
    plain = msgspec.structs.asdict(LoadOptions())
    asked = msgspec.structs.asdict(options)
    wrong = [name for name, default in NOT_FOR_LAYERS.items() if parameters[name] != default]
    wrong += [name for name in plain if asked[name] != plain[name] and name not in OF_LAYERS]
    for name in (*wrong, *settings):
        option = name.replace("_", "-")
        raise InputError(f"--{option}: does not go with --layers, which runs the network alone on simd")


def _latency(config: BenchConfig, compare: str | None, json_path: str | None, html_path: str | None) -> int:
    from edgecv import bench

    before = None if compare is None else bench.read_report(compare)
    config = bench.prepared(config)
    with output.progress_bar("measuring") as bar:
        measured = bench.measure(config, progress=bar.update)
    report = measured.report
    if before is not None and compare is not None:
        report = bench.with_comparison(report, before, compare)
    if json_path:
        output.write_json(json_path, report.as_dict())
    if html_path:
        from edgecv.bench.page import to_page

        page = to_page(report, command=output.command_line(), samples_ms=measured.samples_ms)
        output.write_page(html_path, page)
    if json_path != "-":
        if any(result.latency_ms for result in report.results):
            output.print_table(bench.to_table(report))
        click.echo("\n".join(bench.to_lines(report)))
        return report.exit_code
    for name, error, _ in bench.failures(report):
        click.echo(f"edgecv: {name}: {error}", err=True)
    return report.exit_code


def _layers(config: BenchConfig, out: str | None, json_path: str | None, html_path: str | None) -> int:
    from edgecv import machine
    from edgecv.bench import layer_views as views
    from edgecv.bench.layers import measure_layers
    from edgecv.media import atomic
    from edgecv.report import write_svg

    if len(config.models) > 1:
        raise InputError(f"--layers: expected one model, got {len(config.models)}")
    (model,) = config.models
    if out is not None:
        if Path(out).suffix != ".svg":
            raise InputError(f"--out: expected the name of an .svg file, got {out!r}")
        if len(config.threads) > 1:
            raise InputError(f"--out: one chart, of one number of threads, got {len(config.threads)}")
        atomic.check_not_input(Path(out), [Path(model)])
        atomic.check_writable(Path(out))
    threads = tuple(count or machine.cpu_budget() for count in config.threads)
    report = measure_layers(model, config.options, threads=threads, runs=config.frames, pin=config.pin)
    if out is not None:
        # Of several stages the one that counts.
        slowest = max(report.networks, key=lambda network: network.ms)
        write_svg(out, views.layers_chart(report, slowest))
        output.tell_written(out)
    if json_path:
        output.write_json(json_path, report.as_dict())
    if html_path:
        output.write_page(html_path, views.layers_page(report, command=output.command_line()))
    if json_path != "-":
        for network in report.networks:
            output.print_table(views.layers_table(network, output.width()))
            click.echo("\n".join(views.layers_lines(report, network)))
    return 0

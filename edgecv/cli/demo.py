"""edgecv demo: everything at once, with nothing brought along."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgecv.cli import completion, options, output
from edgecv.errors import InputError

if TYPE_CHECKING:
    from edgecv.options import LoadOptions


@click.command(name="demo")
@click.option("--out", metavar="FOLDER", default="demo", show_default=True, help="What is written goes here.")
@click.option("--frames", type=int, default=24, show_default=True, help="Frames of the belt, 1 to 1000.")
@click.option("--seed", type=int, default=5, show_default=True, help="Another seed is another belt.")
@click.option(
    "--backend",
    metavar="A,B",
    shell_complete=completion.backends,
    help="Backends to run, each by itself. Default: every usable one.",
)
@options.load_options(only=("device", "threads", "precision", "cache", "check"))
@options.json_option
def command(
    out: str,
    frames: int,
    seed: int,
    backend: str | None,
    options: LoadOptions,
    json_path: str | None,
) -> int:
    """Detect parts on a generated belt, on every usable backend, and report.

    Needs no camera, no network and no model of your own. Writes belt/ (the frames and their truth, a
    COCO data set), annotated/, latency.svg and report.html into the folder, in place of an earlier demo's.
    """
    from edgecv.backends import parse_names
    from edgecv.demo import cell, page
    from edgecv.report import write_html, write_svg

    if out in ("", "-"):
        raise InputError(f"--out: expected the name of a folder, got {out!r}")
    config = cell.DemoConfig(
        out=Path(out),
        frames=frames,
        seed=seed,
        backends=tuple(parse_names(backend)) if backend else (),
        options=options,
    )
    with output.progress_bar("starting") as bar:
        done = cell.run(config, progress=bar.step)
    report = done.report
    write_html(config.out / "report.html", page.to_page(done, command=output.command_line()))
    chart = page.latency_chart(done)
    if chart is not None:
        write_svg(config.out / "latency.svg", chart)
    if json_path:
        output.write_json(json_path, report.as_dict())
    if json_path != "-":
        output.print_table(page.to_table(report))
        click.echo("\n".join([*page.to_lines(report), f"report: {config.out / 'report.html'}"]))
    else:
        for outcome in report.outcomes:
            if outcome.problem:
                click.echo(f"edgecv: {outcome.problem}", err=True)
    return report.exit_code

"""edgecv verify: which stage diverges first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import msgspec

from edgecv.cli import completion, options, output

if TYPE_CHECKING:
    from edgecv.options import LoadOptions

_STYLES = {"ok": "green", "diverged": "bold red", "error": "bold red", "skipped": "dim"}


@click.command(name="verify")
@options.model_argument
@click.argument("source", required=False, shell_complete=completion.files)
@click.option("--backend", metavar="NAME[,NAME]", help="Backends to compare. Default: every usable one.")
@click.option(
    "--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Threads of one run."
)
@options.load_options(without=("backend", "threads", "cache", "check", "warmup"))
@options.json_option
def command(
    model: str,
    source: str | None,
    backend: str | None,
    threads: int,
    options: LoadOptions,
    json_path: str | None,
) -> int:
    """Compare MODEL's blob with a plain NumPy reference and the card's golden hash, then raw outputs,
    candidates and detections, or classes, across backends, and name the first stage that diverges.

    SOURCE: an image in place of the card's golden frame. What is compared is compiled anew, and not
    warmed up; onnxruntime and opencv run in processes of their own.
    """
    from edgecv.verify import verify

    frame = None
    if source is not None:
        from edgecv.media import read_image

        frame = read_image(source)
    with output.stderr().status("verifying …") as status:
        report = verify(
            model,
            msgspec.structs.replace(options, backend=backend, threads=threads),
            frame=frame,
            frame_name=source or "",
            progress=lambda step: status.update(f"verifying … {step}"),
        )
    first = report.first_divergence
    if json_path:
        output.write_json(json_path, report.as_dict())
        return 1 if first else 0

    from rich.table import Table

    click.echo(f"{report.model} on {report.frame}")
    table = Table()
    for column in ("stage", "of", "against", "result", "difference"):
        table.add_column(column, no_wrap=True)
    for check in report.checks:
        table.add_row(
            check.stage,
            check.subject,
            check.against,
            f"[{_STYLES[check.status]}]{check.status}[/]",
            "" if check.difference is None else f"{check.difference:.1g} of {check.tolerance:g}",
        )
    output.print_table(table)
    for check in report.checks:
        if check.status != "ok":
            detail = check.detail.removeprefix(f"{check.subject}: ")
            click.echo(f"{check.status}: {check.stage} of {check.subject}: {detail}")
    if first:
        against = f" against {first.against}" if first.against else ""
        click.echo(f"first divergence: {first.stage} of {first.subject}{against}")
        return 1
    click.echo("no stage diverges")
    return 0

"""edgecv classify: frames in, their likeliest classes out, as pictures, a table or JSON lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from edgecv.cli import frames, options

if TYPE_CHECKING:
    from rich.table import Table

    from edgecv.media import RawFormat
    from edgecv.options import LoadOptions
    from edgecv.types import Classification


@click.command(name="classify")
@options.model_argument
@options.source_argument
@options.raw_option
@options.output_options
@options.settings_options("top")
@options.load_options()
def command(
    model: str,
    source: str,
    raw: RawFormat | None,
    out: str | None,
    json_path: str | None,
    show: bool,
    limit: int | None,
    quiet: bool,
    settings: dict[str, Any],
    options: LoadOptions,
) -> int:
    """Say what each frame of SOURCE shows, with MODEL.

    MODEL: net.prototxt of Caffe or net.cfg of Darknet, with net.caffemodel or net.weights beside it or
    given; the folder of a DIGITS job; ONNX; or a card. SOURCE: a file, a folder, a glob, a video, a camera's
    index, rtsp://, csi://0, v4l2:///dev/video0, or - for images on stdin, or raw frames with --raw.
    """
    from edgecv import media
    from edgecv.api import load_with

    view = frames.View(doing="classifying", headline=_headline, table=_table, draw=media.draw_classes)
    return frames.run(
        lambda: load_with(model, options, task="classify", settings=settings),
        source,
        frames.Targets(out, json_path, show, limit, quiet, reads=(model, *options.files)),
        view,
        title=f"edgecv: {model}",
        raw=raw,
    )


def _headline(found: Classification) -> str:
    return next((found.class_name(class_id) for _, class_id in found), "no class")


def _table(found: Classification) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table()
    table.add_column("class")
    table.add_column("confidence", justify="right")
    for confidence, class_id in found:
        table.add_row(escape(found.class_name(class_id)), f"{confidence:.3f}")
    return table

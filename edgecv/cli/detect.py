"""edgecv detect: frames in, boxes out, as pictures, a table or JSON lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from edgecv.cli import frames, options

if TYPE_CHECKING:
    from rich.table import Table

    from edgecv.media import RawFormat
    from edgecv.options import LoadOptions
    from edgecv.types import Detections


@click.command(name="detect")
@options.model_argument
@options.source_argument
@options.raw_option
@options.output_options
@options.settings_options("conf", "iou", "max_det", "classes", "multi_label", "agnostic", "max_per_class")
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
    """Find objects in SOURCE with MODEL.

    MODEL: a card's name (see `edgecv models list`), a card's path, or a model file: ONNX; net.prototxt of
    Caffe or net.cfg of Darknet, with net.caffemodel or net.weights beside it or given; or the folder of a
    DIGITS job. SOURCE: a file, a folder, a glob, a video, a camera's index, rtsp://, csi://0,
    v4l2:///dev/video0, or - for images on stdin, or
    raw frames with --raw.
    """
    from edgecv import media
    from edgecv.api import load_with

    view = frames.View(doing="detecting", headline=_headline, table=_table, draw=media.draw, counted="object")
    return frames.run(
        lambda: load_with(model, options, task="detect", settings=settings),
        source,
        frames.Targets(out, json_path, show, limit, quiet, reads=(model, *options.files)),
        view,
        title=f"edgecv: {model}",
        raw=raw,
    )


def _headline(found: Detections) -> str:
    return frames.count(len(found), "object")


def _table(found: Detections) -> Table | None:
    from rich.markup import escape
    from rich.table import Table

    table = Table()
    table.add_column("class")
    for column in ("confidence", "left", "top", "right", "bottom"):
        table.add_column(column, justify="right")
    for box, confidence, class_id in found:
        numbers = (f"{confidence:.3f}", *(f"{value:.1f}" for value in box))
        table.add_row(escape(found.class_name(class_id)), *numbers)
    return table if len(found) else None

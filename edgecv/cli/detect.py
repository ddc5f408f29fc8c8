"""edgecv detect: frames in, boxes out, as pictures, a table or JSON lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from edgecv.cli import frames, options

if TYPE_CHECKING:
    from pathlib import Path

    from rich.table import Table

    from edgecv.types import Detections


@click.command(name="detect")
@options.model_argument
@options.source_argument
@options.output_options
@click.option("--conf", type=float, help="Least confidence. Default: the card's.")
@click.option("--iou", type=float, help="Overlap beyond which boxes are duplicates. Default: the card's.")
@click.option("--max-det", type=int, help="Most detections a frame. Default: the card's.")
@click.option("--classes", metavar="ID|NAME,…", help="Classes to keep.")
@options.backend_option
@options.threads_option
@options.placement_options
@options.import_options
def command(
    model: str,
    source: str,
    out: str | None,
    json_path: str | None,
    show: bool,
    conf: float | None,
    iou: float | None,
    max_det: int | None,
    classes: str | None,
    limit: int | None,
    backend: str | None,
    threads: int | None,
    device: str,
    precision: str,
    weights: str | None,
    imgsz: tuple[int, int] | None,
    labels: str | None,
    mean: Path | tuple[float, ...] | None,
) -> int:
    """Find objects in SOURCE with MODEL.

    MODEL: a card's name (see `edgecv models list`), a card's path, or a model file: ONNX; net.prototxt of
    Caffe or net.cfg of Darknet, with net.caffemodel or net.weights beside it or given; or the folder of a
    DIGITS job. SOURCE: a file, a folder, a glob, a video, a camera's index, rtsp://, csi://0,
    v4l2:///dev/video0, or - for images on stdin.
    """
    from edgecv import media
    from edgecv.api import load

    view = frames.View(
        doing="detecting", record=_record, headline=_headline, table=_table, draw=media.draw, counted="object"
    )
    return frames.run(
        lambda: load(
            model,
            task="detect",
            backend=backend,
            device=device,
            threads=threads,
            precision=precision,
            weights=weights,
            labels=labels,
            mean=mean,
            conf=conf,
            iou=iou,
            max_det=max_det,
            classes=options.split_classes(classes),
            imgsz=imgsz,
        ),
        source,
        frames.Targets(out, json_path, show, limit),
        view,
        title=f"edgecv: {model}",
    )


def _record(found: Detections) -> dict[str, Any]:
    detections: list[dict[str, Any]] = []
    for i, (box, confidence, class_id) in enumerate(found):
        detection: dict[str, Any] = {
            "xyxy": [round(float(v), 2) for v in box],
            "confidence": round(confidence, 5),
            "class_id": class_id,
            "class_name": found.class_name(class_id),
        }
        if found.keypoints is not None:
            detection["keypoints"] = [[round(float(v), 2) for v in p] for p in found.keypoints[i]]
        detections.append(detection)
    return {"detections": detections}


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

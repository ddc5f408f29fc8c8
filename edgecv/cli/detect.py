"""edgecv detect: frames in, boxes out, as pictures, a table or JSON lines."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from edgecv.cli import INTERRUPTED, options, output

if TYPE_CHECKING:
    from edgecv.media import Frame, JsonLinesSink, Sink, Source, Window
    from edgecv.pipelines.detector import Detector
    from edgecv.types import Detections

# A table of a whole video helps nobody: beyond this many frames only the summary is shown.
MAX_TABLES = 20


@click.command(name="detect")
@options.model_argument
@click.argument("source")
@click.option("--out", metavar="PATH", help="Annotated output: an image, a video, or a folder.")
@options.json_option
@click.option("--show", is_flag=True, help="Show the frames in a window; q or Esc ends, any key goes on.")
@click.option("--conf", type=float, help="Least confidence. Default: the card's.")
@click.option("--iou", type=float, help="Overlap beyond which boxes are duplicates. Default: the card's.")
@click.option("--max-det", type=int, help="Most detections a frame. Default: the card's.")
@click.option("--classes", metavar="ID|NAME,…", help="Classes to keep.")
@click.option("--limit", type=click.IntRange(min=1), help="Stop after this many frames.")
@options.backend_option
@options.threads_option
@options.placement_options
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
) -> int:
    """Find objects in SOURCE with MODEL.

    MODEL: a card's name (see `edgecv models list`), a card's path, or a model file. SOURCE: a file, a
    folder, a glob, a video, a camera's index, rtsp://, csi://0, v4l2:///dev/video0, or - for images
    on stdin.
    """
    from edgecv import media
    from edgecv.api import load

    with ExitStack() as stack:
        frames = stack.enter_context(media.open_source(source, limit=limit))
        outputs = _Outputs()
        if json_path:
            outputs.json = stack.enter_context(media.JsonLinesSink(json_path, inputs=frames.paths))
        if out:
            outputs.pictures = stack.enter_context(
                media.open_sink(
                    out, kind=frames.kind, fps=frames.fps, live=frames.is_live, inputs=frames.paths
                )
            )
        if show:
            outputs.window = stack.enter_context(media.Window(f"edgecv: {model}"))
        detector = stack.enter_context(
            load(
                model,
                backend=backend,
                device=device,
                threads=threads,
                precision=precision,
                weights=weights,
                conf=conf,
                iou=iou,
                max_det=max_det,
                classes=options.split_classes(classes),
                imgsz=imgsz,
            )
        )
        outputs.tables = not (json_path == "-" or show)
        interrupted = stack.enter_context(_interruptible(frames))
        if frames.kind != "image":
            outputs.progress = stack.enter_context(output.progress_bar("detecting"))
        _run(detector, frames, outputs, interrupted)
    outputs.summarize(detector)
    if interrupted:
        done = _count(outputs.frames, "frame")
        click.echo(f"edgecv: interrupted after {done}; the outputs are complete", err=True)
        return INTERRUPTED
    return 1 if outputs.failures else 0


@dataclass
class _Outputs:
    """Where results go, and what has gone there."""

    json: JsonLinesSink | None = None
    pictures: Sink | None = None
    window: Window | None = None
    progress: output.ProgressBar | None = None
    tables: bool = True
    frames: int = 0
    objects: int = 0
    failures: int = 0
    totals_ms: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])

    def summarize(self, detector: Detector) -> None:
        """One line on stderr: how much, where to, how fast, on what."""
        if not self.frames:
            return
        means = ", ".join(
            f"{name} {total / self.frames:.2f} ms"
            for name, total in zip(("preprocess", "inference", "postprocess"), self.totals_ms, strict=True)
        )
        wrote = f"; wrote {self.pictures.target}" if self.pictures else ""
        failed = f", {self.failures} failed" if self.failures else ""
        click.echo(
            f"{_count(self.frames, 'frame')}{failed}, {_count(self.objects, 'object')}{wrote}\n"
            f"mean {means}\n{detector.placement}",
            err=True,
        )


def _run(detector: Detector, frames: Source, outputs: _Outputs, interrupted: list[int]) -> None:
    from edgecv import media

    for item in frames:
        if isinstance(item, media.Failure):
            outputs.failures += 1
            click.echo(f"edgecv: {item.error}", err=True)
            if outputs.json:
                outputs.json.write({"source": item.source, "frame": item.index, "error": str(item.error)})
            continue
        found = detector(item.image, captured_ns=item.captured_ns)
        outputs.frames += 1
        outputs.objects += len(found)
        _add(outputs.totals_ms, found)
        if outputs.json:
            outputs.json.write(_record(item, found))
            if outputs.json.is_broken and not (outputs.pictures or outputs.window):
                frames.stop()
        if outputs.tables and outputs.frames <= MAX_TABLES and frames.kind in ("image", "images"):
            _print_table(item, found)
        if outputs.pictures or outputs.window:
            picture = media.draw(item.image, found)
            if outputs.pictures:
                outputs.pictures.write(item, picture)
            # A still picture stays until a key is pressed.
            wait_ms = 0 if frames.kind in ("image", "images") else 1
            if outputs.window and not outputs.window.show(
                picture, wait_ms=wait_ms, stop=lambda: bool(interrupted)
            ):
                frames.stop()
        if outputs.progress:
            outputs.progress.update(outputs.frames + outputs.failures, frames.length)


def _add(totals_ms: list[float], found: Detections) -> None:
    assert found.timing is not None
    totals_ms[0] += found.timing.preprocess_ms
    totals_ms[1] += found.timing.inference_ms
    totals_ms[2] += found.timing.postprocess_ms


@contextmanager
def _interruptible(frames: Source) -> Iterator[list[int]]:
    """Ctrl-C ends the run after the frame in hand, so that outputs are closed properly; a second one
    ends it at once. Yields a list that holds the signal once it came."""
    caught: list[int] = []

    def stop(number: int, _: Any) -> None:
        if caught:
            raise KeyboardInterrupt
        caught.append(number)
        frames.stop()

    previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _record(frame: Frame, found: Detections) -> dict[str, Any]:
    timing, placement = found.timing, found.placement
    assert timing is not None
    assert placement is not None
    width, height = frame.size_wh
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
    return {
        "source": frame.source,
        "frame": frame.index,
        "width": width,
        "height": height,
        "detections": detections,
        "timing_ms": {
            "preprocess": round(timing.preprocess_ms, 4),
            "inference": round(timing.inference_ms, 4),
            "postprocess": round(timing.postprocess_ms, 4),
        },
        "age_ms": None if found.age_ms is None else round(found.age_ms, 3),
        "placement": placement.as_dict(),
    }


def _print_table(frame: Frame, found: Detections) -> None:
    from rich.markup import escape
    from rich.table import Table

    width, height = frame.size_wh
    timing = found.timing
    assert timing is not None
    click.echo(
        f"{frame.source}, {width}x{height}: {_count(len(found), 'object')}; preprocess "
        f"{timing.preprocess_ms:.2f} ms, inference {timing.inference_ms:.2f} ms, "
        f"postprocess {timing.postprocess_ms:.2f} ms"
    )
    table = Table()
    table.add_column("class")
    for column in ("confidence", "left", "top", "right", "bottom"):
        table.add_column(column, justify="right")
    for box, confidence, class_id in found:
        numbers = (f"{confidence:.3f}", *(f"{value:.1f}" for value in box))
        table.add_row(escape(found.class_name(class_id)), *numbers)
    if len(found):
        output.print_table(table)


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"

"""What `detect` and `classify` share: the run over a source's frames, and where its results go."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import click

from edgecv.cli import INTERRUPTED, output

if TYPE_CHECKING:
    from rich.table import Table

    from edgecv.media import Frame, JsonLinesSink, Picture, Sink, Source, Window
    from edgecv.pipelines.base import Pipeline
    from edgecv.types import Classification, Detections

R = TypeVar("R", bound="Detections | Classification")

# A table of a whole video helps nobody: beyond this many frames only the summary is shown.
MAX_TABLES = 20


@dataclass(frozen=True)
class View(Generic[R]):
    """How a task's results are shown.

    doing: for the progress bar. record: the result's own part of a frame's JSON line. headline: the
    result in a few words. table: the rest of it, None for nothing. draw: the result into a picture.
    counted: what the summary counts, the length of each result; None for nothing.
    """

    doing: str
    record: Callable[[R], dict[str, Any]]
    headline: Callable[[R], str]
    table: Callable[[R], Table | None]
    draw: Callable[[Picture, R], Picture]
    counted: str | None = None


@dataclass(frozen=True)
class Targets:
    """Where the user wants the results, as typed. limit: of frames."""

    out: str | None
    json_path: str | None
    show: bool
    limit: int | None


def run(
    open_pipeline: Callable[[], Pipeline[R]], source: str, targets: Targets, view: View[R], *, title: str
) -> int:
    """Every frame of a source through a pipeline. Returns the exit code.

    open_pipeline: called when the source and the outputs are open. title: of the window.
    """
    from edgecv import media

    with ExitStack() as stack:
        frames = stack.enter_context(media.open_source(source, limit=targets.limit))
        outputs = _Outputs(view)
        if targets.json_path:
            outputs.json = stack.enter_context(media.JsonLinesSink(targets.json_path, inputs=frames.paths))
        if targets.out:
            outputs.pictures = stack.enter_context(
                media.open_sink(
                    targets.out, kind=frames.kind, fps=frames.fps, live=frames.is_live, inputs=frames.paths
                )
            )
        if targets.show:
            outputs.window = stack.enter_context(media.Window(title))
        pipeline = stack.enter_context(open_pipeline())
        outputs.tables = not (targets.json_path == "-" or targets.show)
        interrupted = stack.enter_context(_interruptible(frames))
        if frames.kind != "image":
            outputs.progress = stack.enter_context(output.progress_bar(view.doing))
        _run(pipeline, frames, outputs, interrupted)
    outputs.summarize(pipeline)
    if interrupted:
        done = count(outputs.frames, "frame")
        click.echo(f"edgecv: interrupted after {done}; the outputs are complete", err=True)
        return INTERRUPTED
    return 1 if outputs.failures else 0


@dataclass
class _Outputs(Generic[R]):
    """Where results go, and what has gone there."""

    view: View[R]
    json: JsonLinesSink | None = None
    pictures: Sink | None = None
    window: Window | None = None
    progress: output.ProgressBar | None = None
    tables: bool = True
    frames: int = 0
    counted: int = 0
    failures: int = 0
    totals_ms: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])

    def summarize(self, pipeline: Pipeline[R]) -> None:
        """One line on stderr: how much, where to, how fast, on what."""
        if not self.frames:
            return
        means = ", ".join(
            f"{name} {total / self.frames:.2f} ms"
            for name, total in zip(("preprocess", "inference", "postprocess"), self.totals_ms, strict=True)
        )
        wrote = f"; wrote {self.pictures.target}" if self.pictures else ""
        failed = f", {self.failures} failed" if self.failures else ""
        counted = f", {count(self.counted, self.view.counted)}" if self.view.counted else ""
        click.echo(
            f"{count(self.frames, 'frame')}{failed}{counted}{wrote}\nmean {means}\n{pipeline.placement}",
            err=True,
        )


def _run(pipeline: Pipeline[R], frames: Source, outputs: _Outputs[R], interrupted: list[int]) -> None:
    from edgecv import media

    for item in frames:
        if isinstance(item, media.Failure):
            outputs.failures += 1
            click.echo(f"edgecv: {item.error}", err=True)
            if outputs.json:
                outputs.json.write({"source": item.source, "frame": item.index, "error": str(item.error)})
            continue
        found = pipeline(item.image, captured_ns=item.captured_ns)
        outputs.frames += 1
        outputs.counted += len(found)
        _add(outputs.totals_ms, found)
        if outputs.json:
            outputs.json.write(_record(item, found, outputs.view))
            if outputs.json.is_broken and not (outputs.pictures or outputs.window):
                frames.stop()
        if outputs.tables and outputs.frames <= MAX_TABLES and frames.kind in ("image", "images"):
            _print(item, found, outputs.view)
        if outputs.pictures or outputs.window:
            picture = outputs.view.draw(item.image, found)
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


def _add(totals_ms: list[float], found: Detections | Classification) -> None:
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


def _record(frame: Frame, found: R, view: View[R]) -> dict[str, Any]:
    timing, placement = found.timing, found.placement
    assert timing is not None
    assert placement is not None
    width, height = frame.size_wh
    return {
        "source": frame.source,
        "frame": frame.index,
        "width": width,
        "height": height,
        **view.record(found),
        "timing_ms": {
            "preprocess": round(timing.preprocess_ms, 4),
            "inference": round(timing.inference_ms, 4),
            "postprocess": round(timing.postprocess_ms, 4),
        },
        "age_ms": None if found.age_ms is None else round(found.age_ms, 3),
        "placement": placement.as_dict(),
    }


def _print(frame: Frame, found: R, view: View[R]) -> None:
    width, height = frame.size_wh
    timing = found.timing
    assert timing is not None
    click.echo(
        f"{frame.source}, {width}x{height}: {view.headline(found)}; preprocess "
        f"{timing.preprocess_ms:.2f} ms, inference {timing.inference_ms:.2f} ms, "
        f"postprocess {timing.postprocess_ms:.2f} ms"
    )
    table = view.table(found)
    if table is not None:
        output.print_table(table)


def count(n: int, noun: str) -> str:
    """The number with its noun, in the plural where it takes one."""
    return f"{n} {noun}{'' if n == 1 else 's'}"

"""What `detect` and `classify` share: where the results of a source's frames go, as typed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import click

from edgecv.cli import INTERRUPTED, output

if TYPE_CHECKING:
    from rich.table import Table

    from edgecv.loop import Tally
    from edgecv.media import Failure, Frame, Gap, Picture, RawFormat
    from edgecv.pipelines.base import Pipeline
    from edgecv.types import Result

# As of `edgecv.types`, which takes long to import.
R = TypeVar("R", bound="Result")

# A table of a whole video helps nobody: beyond this many frames only the summary is shown.
MAX_TABLES = 20


@dataclass(frozen=True)
class View(Generic[R]):
    """How a task's results are shown.

    doing: for the progress bar. headline: the result in a few words. table: the rest of it, None for nothing.
    draw: the result into a picture. counted: what the summary counts, the length of each result; None for
    nothing.
    """

    doing: str
    headline: Callable[[R], str]
    table: Callable[[R], Table | None]
    draw: Callable[[Picture, R], Picture]
    counted: str | None = None


@dataclass(frozen=True)
class Targets:
    """Where the user wants the results, as typed.

    limit: of frames. quiet: whether stderr gets errors only. reads: other files that are read.
    """

    out: str | None
    json_path: str | None
    show: bool
    limit: int | None
    quiet: bool = False
    reads: tuple[str, ...] = ()


def run(
    open_pipeline: Callable[[], Pipeline[R]],
    source: str,
    targets: Targets,
    view: View[R],
    *,
    title: str,
    raw: RawFormat | None = None,
) -> int:
    """Every frame of a source through a pipeline. Returns the exit code.

    open_pipeline: called when the source and the outputs are open. title: of the window. raw: of frames
    without a header on stdin.
    """
    from edgecv import loop, media

    with ExitStack() as stack:
        if targets.quiet:
            log = logging.getLogger()
            stack.callback(log.setLevel, log.level)
            log.setLevel(logging.ERROR)
        frames = stack.enter_context(media.open_source(source, limit=targets.limit, raw=raw))
        # Where lines alone are wanted, the run ends with their reader.
        wants_lines = targets.json_path is not None
        receivers: list[Any] = [_Failures(wants_lines, targets.quiet)]
        pictures = window = None
        if targets.out:
            lines = [Path(targets.json_path)] if targets.json_path not in (None, "", "-") else []
            pictures = stack.enter_context(
                media.open_sink(
                    targets.out,
                    kind=frames.kind,
                    fps=frames.fps,
                    live=frames.is_live,
                    inputs=frames.paths,
                    beside=lines,
                )
            )
        if targets.json_path:
            read = (*frames.paths, *map(Path, targets.reads))
            sink = stack.enter_context(media.JsonLinesSink(targets.json_path, inputs=read))
            receivers.append(loop.ToJson(sink))
        if targets.show:
            window = stack.enter_context(media.Window(title))
        pipeline = stack.enter_context(open_pipeline())
        if frames.kind in ("image", "images") and not (targets.json_path == "-" or targets.show):
            receivers.append(_Printer(view, wants_lines))
        interrupt = stack.enter_context(loop.interruptible(frames))
        if pictures or window:
            receivers.append(
                loop.ToPictures(view.draw, frames, sink=pictures, window=window, interrupt=interrupt)
            )
        progress = None
        if frames.kind != "image" and not targets.quiet:
            progress = stack.enter_context(output.progress_bar(view.doing)).update
        tally = loop.run(pipeline, frames, receivers, progress=progress, interrupt=interrupt)
    if not targets.quiet:
        _summarize(tally, pipeline, view, wrote=str(pictures.target) if pictures else None)
    if tally.is_interrupted:
        if not targets.quiet:
            done = count(tally.frames, "frame")
            click.echo(f"edgecv: interrupted after {done}; the outputs are complete", err=True)
        return INTERRUPTED
    return 1 if tally.failures else 0


class _Failures:
    """Tells on stderr which frames could not be read, and of times without frames."""

    def __init__(self, is_done: bool, is_quiet: bool) -> None:
        self.is_done = is_done
        self._is_quiet = is_quiet

    def result(self, frame: Frame, found: Any) -> None:
        pass

    def failure(self, failure: Failure) -> None:
        click.echo(f"edgecv: {failure.error}", err=True)

    def gap(self, gap: Gap) -> None:
        if not self._is_quiet:
            what = f"frames again after {gap.seconds:.1f} s" if gap.is_over else "no frames"
            click.echo(f"edgecv: {gap.source}: {what}: {gap.reason}", err=True)


class _Printer(Generic[R]):
    """The first results as text on stdout."""

    def __init__(self, view: View[R], is_done: bool) -> None:
        self.is_done = is_done
        self._view = view
        self._left = MAX_TABLES

    def result(self, frame: Frame, found: R) -> None:
        if not self._left:
            return
        self._left -= 1
        width, height = frame.size_wh
        click.echo(f"{frame.source}, {width}x{height}: {self._view.headline(found)}; {found.timing}")
        table = self._view.table(found)
        if table is not None:
            output.print_table(table)

    def failure(self, failure: Failure) -> None:
        pass


def _summarize(tally: Tally, pipeline: Pipeline[Any], view: View[Any], wrote: str | None) -> None:
    """A few lines on stderr: how much, where to, how fast, on what."""
    if not tally.frames:
        return
    means = ", ".join(f"{stage} {ms:.2f} ms" for stage, ms in tally.means_ms.items())
    parts = [count(tally.frames, "frame")]
    if tally.failures:
        parts.append(f"{tally.failures} failed")
    if tally.gaps:
        parts.append(count(tally.gaps, "gap"))
    if view.counted:
        parts.append(count(tally.counted, view.counted))
    written = f"; wrote {wrote}" if wrote else ""
    click.echo(f"{', '.join(parts)}{written}\nmean {means}\n{pipeline.placement}", err=True)


def count(n: int, noun: str) -> str:
    """The number with its noun, in the plural where it takes one."""
    return f"{n} {noun}{'' if n == 1 else 's'}"

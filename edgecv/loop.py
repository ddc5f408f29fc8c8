"""The loop: a pipeline over a source, its results into receivers, interruptible."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from edgecv.frame import Pixels
from edgecv.media.base import Source
from edgecv.media.items import Failure, Frame, Gap, Picture
from edgecv.media.jsonlines import JsonLinesSink
from edgecv.media.sinks import Sink
from edgecv.media.window import Window
from edgecv.types import R, Result

Progress = Callable[[int, int | None], None]
R_contra = TypeVar("R_contra", bound=Result, contravariant=True)
R_co = TypeVar("R_co", bound=Result, covariant=True)


class Look(Protocol[R_co]):
    """What the loop asks of a pipeline."""

    def __call__(self, frame: Pixels, captured_ns: int | None = None) -> R_co: ...


class Receiver(Protocol[R_contra]):
    """Where results go. is_done: whether no more of them are wanted; the loop ends when nobody wants any."""

    @property
    def is_done(self) -> bool: ...

    def result(self, frame: Frame, found: R_contra) -> None:
        """A frame and what was found in it."""

    def failure(self, failure: Failure) -> None:
        """A frame that could not be read."""


@runtime_checkable
class GapReceiver(Protocol):
    """What a receiver has besides that wants to know of times without frames."""

    def gap(self, gap: Gap) -> None:
        """A live source gives no frames, or gives frames again."""


@dataclass
class Tally:
    """What a run came to.

    gaps: times without frames of a live source. counted: results' lengths together. stages_ms: sums over all
    frames, in order.
    """

    frames: int = 0
    failures: int = 0
    gaps: int = 0
    counted: int = 0
    stages_ms: dict[str, float] = field(default_factory=dict)
    is_interrupted: bool = False

    @property
    def means_ms(self) -> dict[str, float]:
        """Milliseconds of each stage, a frame."""
        return {stage: ms / self.frames for stage, ms in self.stages_ms.items()}

    def add(self, found: Result) -> None:
        """Count one more result."""
        self.frames += 1
        self.counted += len(found) if hasattr(found, "__len__") else 0
        for stage, ms in found.timing.stages if found.timing is not None else ():
            self.stages_ms[stage] = self.stages_ms.get(stage, 0.0) + ms


def run(
    look: Look[R],
    source: Source,
    receivers: Sequence[Receiver[R]],
    *,
    progress: Progress | None = None,
    interrupt: Interrupt | None = None,
) -> Tally:
    """Every frame of a source through a pipeline, and on to the receivers in their order.

    progress: called after each frame with the number done and of all, None where nobody knows, or more came
    than the source had stated. interrupt: of `interruptible`, for the tally to say whether it came.
    """
    tally = Tally()
    for item in source:
        if isinstance(item, Gap):
            tally.gaps += item.is_over
            for receiver in receivers:
                if isinstance(receiver, GapReceiver):
                    receiver.gap(item)
            continue
        if isinstance(item, Failure):
            tally.failures += 1
            for receiver in receivers:
                receiver.failure(item)
        else:
            found = look(item.image, captured_ns=item.captured_ns)
            tally.add(found)
            for receiver in receivers:
                receiver.result(item, found)
        if progress is not None:
            done, length = tally.frames + tally.failures, source.length
            progress(done, None if length is not None and done > length else length)
        if receivers and all(receiver.is_done for receiver in receivers):
            source.stop()
    tally.is_interrupted = interrupt is not None and interrupt.came
    return tally


class Interrupt:
    """Whether the user wants the run to end."""

    def __init__(self) -> None:
        self.came = False


@contextmanager
def interruptible(source: Source) -> Iterator[Interrupt]:
    """Ctrl-C ends the run after the frame in hand, so that outputs are closed properly; a second one ends it
    at once, as KeyboardInterrupt."""
    interrupt = Interrupt()

    def stop(number: int, _: Any) -> None:
        if interrupt.came:
            raise KeyboardInterrupt
        interrupt.came = True
        source.stop()

    previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupt
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def record(frame: Frame, found: Result) -> dict[str, Any]:
    """A frame and its result, as JSON outputs have them."""
    width, height = frame.size_wh
    return {
        "source": _printable(frame.source),
        "frame": frame.index,
        "width": width,
        "height": height,
        **found.as_dict(),
    }


def _printable(text: str) -> str:
    """With backslash escapes for what is not UTF-8 in a file's name."""
    return os.fsencode(text).decode("utf-8", "backslashreplace")


class ToJson:
    """A receiver that writes a line a frame, and one for each event of a live source."""

    def __init__(self, sink: JsonLinesSink) -> None:
        self._sink = sink

    @property
    def is_done(self) -> bool:
        """Whether the reader of the lines has left."""
        return self._sink.is_broken

    def result(self, frame: Frame, found: Result) -> None:
        """Writes `record`."""
        self._sink.write(record(frame, found))

    def failure(self, failure: Failure) -> None:
        """Writes the error."""
        self._sink.write(
            {
                "source": _printable(failure.source),
                "frame": failure.index,
                "error": _printable(str(failure.error)),
            }
        )

    def gap(self, gap: Gap) -> None:
        """Writes the event: a stall as it begins, a gap as it is over."""
        self._sink.write(
            {
                "event": "gap" if gap.is_over else "stall",
                "source": _printable(gap.source),
                "frame": gap.index,
                "seconds": round(gap.seconds, 3),
                "reason": gap.reason,
            }
        )


class ToPictures(Generic[R]):
    """A receiver that writes each frame with its result drawn in, and shows it.

    draw: the result into a picture. sink, window: None for none. source: ended with the window.
    """

    def __init__(
        self,
        draw: Callable[[Picture, R], Picture],
        source: Source,
        *,
        sink: Sink | None = None,
        window: Window | None = None,
        interrupt: Interrupt | None = None,
    ) -> None:
        self._draw, self._source = draw, source
        self._sink, self._window = sink, window
        self._interrupt = interrupt or Interrupt()
        self.is_done = False

    def result(self, frame: Frame, found: R) -> None:
        """Draws, writes and shows."""
        picture = self._draw(frame.picture(), found)
        if self._sink is not None:
            self._sink.write(frame, picture)
        if self._window is None:
            return
        # A still picture stays until a key is pressed.
        wait_ms = 0 if self._source.kind in ("image", "images") else 1
        if not self._window.show(picture, wait_ms=wait_ms, stop=lambda: self._interrupt.came):
            self._source.stop()

    def failure(self, failure: Failure) -> None:
        """There is nothing to draw."""

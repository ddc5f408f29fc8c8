"""A camera or stream that sets the pace: the newest frame, and an event for every time without one."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np

from edgecv import settings
from edgecv.errors import MediaError
from edgecv.media._cv2 import error_line, quiet_cv2, require_cv2
from edgecv.media.base import Source
from edgecv.media.images import as_bgr, decode_image
from edgecv.media.items import Failure, Frame, Gap, Item, Picture
from edgecv.media.video import frames_per_second

FIRST_FRAME_S = 15.0
"""How long a stream that was opened may take to its first frame."""

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 8.0
"""Before a lost stream is opened anew: the first pause, each of the next twice as long, up to the longest."""

_POLL_S = 0.2
_JOIN_S = 0.5
# A stream that has ended fails at once, any number of times; behind a damaged frame there is a next one.
_ATTEMPTS = 4
_OLDEST_STAMP_NS = 5 * 10**9
_MJPEG = int.from_bytes(b"MJPG", "little")


class LiveStream(Source):
    """A camera or a stream that sets the pace.

    A thread reads every frame and keeps the newest, so that a slow receiver gets fresh frames instead
    of a growing backlog: `Frame.index` counts what arrived, and its gaps what was skipped.

    A stream that ends, breaks, or gives no frame for `settings.STREAM_TIMEOUT` is opened anew, after pauses
    that grow from 0.5 s to 8 s, until `settings.STREAM_PATIENCE` has passed since its last frame; then a
    Failure says so. Every time without frames is a `Gap`: one as it begins, and one that tells its length.

    No frame is made up, repeated or decoded from a part of its data, as far as that can be told: each JPEG of
    a motion JPEG stream is looked at; damage that FFmpeg conceals in other codecs is not noticed.

    capture: an opened cv2.VideoCapture, which now belongs to the stream. reopen: opens it anew, None where
    that fails; without it the stream is not opened anew.
    """

    kind = "stream"
    is_live = True

    def __init__(
        self,
        capture: Any,
        name: str,
        *,
        limit: int | None = None,
        reopen: Callable[[], Any] | None = None,
    ) -> None:
        super().__init__(name, limit=limit, fps=frames_per_second(capture))
        self._timeout_s = settings.STREAM_TIMEOUT.get()
        self._patience_s = settings.STREAM_PATIENCE.get()
        self._slot = _Slot(name, self._timeout_s)
        self._capture = capture
        self._reopen = reopen if self._patience_s else None
        self._pause_s = FIRST_PAUSE_S
        self._is_given_up = False
        self._thread: threading.Thread | None = None

    def close(self) -> None:
        super().close()
        if self._thread is None:
            self._capture.release()
        else:
            # The thread may sit in a call that OpenCV ends in its own time; it releases the capture.
            self._thread.join(timeout=_JOIN_S)

    def _items(self) -> Iterator[Item]:
        self._thread = threading.Thread(target=self._run, name=f"edgecv {self.name}", daemon=True)
        self._thread.start()
        while not self._stopped:
            item = self._slot.take(_POLL_S)
            if item is not None:
                yield item
            elif (reason := self._slot.why_over(self._patience_s)) and not self._stopped:
                self._is_given_up = True
                if not self._slot.has_frames:
                    raise self._lost(reason)
                if self._reopen is not None:
                    yield self._slot.last_gap(reason)
                yield Failure(self.name, self._slot.arrived, self._lost(reason))
                return

    @property
    def _is_over(self) -> bool:
        return self._stopped or self._is_given_up

    def _lost(self, reason: str) -> MediaError:
        return MediaError(
            f"{self.name}: {reason}, after {self._slot.arrived} frames; check the camera or the connection"
        )

    def _run(self) -> None:
        capture: Any = self._capture
        try:
            with quiet_cv2():
                while capture is not None:
                    reason = self._read(capture)
                    capture.release()
                    if self._is_over:
                        return
                    if self._reopen is None or not self._slot.has_frames:
                        self._slot.end(reason)
                        return
                    self._slot.broke(reason)
                    capture = self._open_again()
        except MediaError as error:
            self._slot.end(str(error))
        except Exception as error:
            # Nobody else would see it, and the receiver would wait.
            self._slot.end(f"the stream broke ({error})")
        finally:
            if capture is not None:
                capture.release()
            self._slot.end("the stream ended")

    def _read(self, capture: Any) -> str:
        """Puts frames into the slot until it is stopped, or the stream breaks. Returns the reason."""
        cv2 = require_cv2()
        is_v4l2 = _backend_name(capture) == "V4L2"
        is_mjpeg = _takes_packets(capture)
        failed = 0
        while not self._is_over:
            began = time.monotonic()
            try:
                if not capture.grab():
                    waited = time.monotonic() - began
                    failed += 1
                    if waited > 0.9 * self._timeout_s:
                        return f"no frame for {waited:.3g} s"
                    if failed >= _ATTEMPTS:
                        return "the stream ended"
                    continue
                captured_ns = time.monotonic_ns()
                if is_v4l2:
                    stated_ms = float(capture.get(cv2.CAP_PROP_POS_MSEC))
                    captured_ns = driver_time_ns(stated_ms, captured_ns)
                ok, data = capture.retrieve()
                # An empty packet is no array.
                image = self._picture(data, is_mjpeg) if ok and data is not None else None
            except cv2.error as error:
                return f"the stream broke ({error_line(error)})"
            if failed or image is None:
                self._slot.skip("a damaged frame", missed=failed + (image is None))
                failed = 0
            if image is not None:
                self._pause_s = FIRST_PAUSE_S
                self._slot.put(image, captured_ns)
        return "stopped"

    def _picture(self, data: np.ndarray, is_mjpeg: bool) -> Picture | None:
        """The frame as BGR, or None for a damaged one."""
        if not is_mjpeg:
            return as_bgr(data, self.name)
        with suppress(MediaError):
            return decode_image(data.tobytes(), self.name)
        return None

    def _open_again(self) -> Any:
        """The stream anew, after a pause; None when it is stopped."""
        assert self._reopen is not None
        while not self._is_over:
            until = time.monotonic() + self._pause_s
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
            while not self._is_over and (left := until - time.monotonic()) > 0:
                time.sleep(min(left, _POLL_S))
            if not self._is_over and (capture := self._reopen()) is not None:
                return capture
        return None


class _Slot:
    """Where the thread that reads meets the receiver: the newest frame, and what happened meanwhile.

    arrived: frames that came, whole or damaged. has_frames: whether one was whole.
    """

    def __init__(self, name: str, timeout_s: float) -> None:
        self.arrived = 0
        self.has_frames = False
        self._name = name
        self._timeout_s = timeout_s
        self._condition = threading.Condition()
        self._newest: Frame | None = None
        self._gaps: deque[Gap] = deque()
        self._since = time.monotonic()
        self._reason = ""
        self._is_told = False
        self._ended = ""

    def put(self, image: Picture, captured_ns: int) -> None:
        """A frame has arrived."""
        with self._condition:
            now = time.monotonic()
            if not self._reason and self.has_frames and now - self._since > self._timeout_s:
                self._reason = f"no frame for {self._timeout_s:g} s"
            if self._reason and self.has_frames:
                self._gaps.append(self._gap(self._reason, is_over=True))
            self._newest = Frame(image, self._name, self.arrived, captured_ns)
            self.arrived += 1
            self.has_frames = True
            self._since = now
            self._reason, self._is_told = "", False
            self._condition.notify()

    def skip(self, reason: str, *, missed: int) -> None:
        """So many frames came that cannot be used."""
        with self._condition:
            self._reason = self._reason or reason
            self.arrived += missed

    def broke(self, reason: str) -> None:
        """The stream gives no more frames for now."""
        with self._condition:
            self._reason = reason
            self._tell(reason)

    def end(self, reason: str) -> None:
        """Nobody reads any more; what came first counts."""
        with self._condition:
            self._ended = self._ended or reason
            self._condition.notify()

    def take(self, wait_s: float) -> Item | None:
        """What is next, in order; None where nothing came meanwhile."""
        with self._condition:
            if self._newest is None and not self._gaps and not self._ended:
                self._condition.wait(wait_s)
            if self.has_frames and not self._reason and self._newest is None and not self._gaps:
                silent_s = time.monotonic() - self._since
                if silent_s > self._timeout_s and not self._ended:
                    self._tell(f"no frame for {self._timeout_s:g} s")
            frame = self._newest
            if self._gaps and (frame is None or self._gaps[0].index <= frame.index):
                return self._gaps.popleft()
            self._newest = None
            return frame

    def why_over(self, patience_s: float) -> str:
        """Why no more frames are to be expected; empty as long as they are."""
        with self._condition:
            silent_s = time.monotonic() - self._since
            if self._ended:
                return self._ended
            if not self.has_frames:
                return f"no frame for {FIRST_FRAME_S:g} s" if silent_s > FIRST_FRAME_S else ""
            return self._reason if silent_s > max(patience_s, self._timeout_s) else ""

    def last_gap(self, reason: str) -> Gap:
        """The gap that nothing has ended."""
        with self._condition:
            return self._gap(reason, is_over=True)

    def _tell(self, reason: str) -> None:
        if not self._is_told:
            self._is_told = True
            self._reason = reason
            self._gaps.append(self._gap(reason, is_over=False))
            self._condition.notify()

    def _gap(self, reason: str, *, is_over: bool) -> Gap:
        return Gap(self._name, self.arrived, time.monotonic() - self._since, reason, is_over)


def driver_time_ns(stated_ms: float, now_ns: int) -> int:
    """The capture time that V4L2 states for a frame, on the monotonic clock.

    now_ns is returned for a time that cannot be it: in the future, or more than 5 s ago, as from a
    driver that stamps with another clock.
    """
    stated_ns = round(stated_ms * 1e6) if 0 < stated_ms < 1e13 else 0
    return stated_ns if 0 <= now_ns - stated_ns <= _OLDEST_STAMP_NS else now_ns


def _takes_packets(capture: Any) -> bool:
    """Whether the capture hands out a motion JPEG stream's images as they came, from now on.

    FFmpeg fills up what is missing in one with the frame before it.
    """
    cv2 = require_cv2()
    if _backend_name(capture) != "FFMPEG":
        return False
    return int(capture.get(cv2.CAP_PROP_FOURCC)) == _MJPEG and bool(capture.set(cv2.CAP_PROP_FORMAT, -1))


def _backend_name(capture: Any) -> str:
    try:
        return str(capture.getBackendName())
    except require_cv2().error:
        return ""

"""Videos, and what there is to say about one that ends too early."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgecv.errors import MediaError, UnavailableError
from edgecv.media._cv2 import quiet_cv2, require_cv2
from edgecv.media.base import Source
from edgecv.media.containers import Extent, video_extent
from edgecv.media.images import as_bgr
from edgecv.media.items import Failure, Frame, Item

_MAX_FPS = 1000.0
_MAX_FRAMES = 10**9


def open_video(path: Path, *, limit: int | None = None) -> Video:
    """Opens a video file. Raises MediaError for one that cannot be read."""
    try:
        extent = video_extent(path)
    except OSError as error:
        raise MediaError(f"{path}: cannot be read: {error.strerror or error}") from error
    if extent is Extent.NO_INDEX:
        raise MediaError(
            f"{path}: not a readable video: its index (moov) is missing, so it is cut off or its "
            "recording was never finished; copy or record it again"
        )
    # A name that starts with a slash cannot be taken for a protocol.
    capture = open_capture(str(path.absolute()))
    if capture is None:
        raise MediaError(
            f"{path}: not a readable video: OpenCV finds no video stream in it that it can decode; "
            "check that it plays, or convert it to MP4 (H.264)"
        )
    return Video(capture, str(path), extent=extent, paths=(path,), limit=limit)


class Video(Source):
    """A video of finite length, frame by frame; the rotation that phones note in it is applied.

    A video that is cut off gives the frames before the one in which it ends, then a Failure that
    counts them. MP4 and AVI state the size of their media data, which proves a cut; elsewhere a cut
    shows where frames are missing both by their number and by their time. An MPEG program or transport
    stream does not tell.

    capture: an opened cv2.VideoCapture, which now belongs to the video.
    """

    kind = "video"

    def __init__(
        self,
        capture: Any,
        name: str,
        *,
        extent: Extent = Extent.UNKNOWN,
        paths: tuple[Path, ...] = (),
        limit: int | None = None,
    ) -> None:
        self._capture = capture
        self._extent = extent
        self._frames_stated = frame_count(capture)
        super().__init__(
            name, limit=limit, length=self._frames_stated, fps=frames_per_second(capture), paths=paths
        )

    def close(self) -> None:
        super().close()
        self._capture.release()

    def _items(self) -> Iterator[Item]:
        # One frame is held back: the last frame of a cut video is decoded from a part of its data.
        held: Frame | None = None
        while not self._stopped:
            frame = self._read(0 if held is None else held.index + 1)
            if frame is None:
                break
            if held is not None:
                yield self._stamp(held)
            held = frame
        if self._stopped:
            return
        if held is None:
            raise MediaError(f"{self.name}: not a readable video: no frame of it can be decoded")
        if self._ended_early(held):
            stated = f" of {self._frames_stated}" if self._frames_stated else ""
            error = MediaError(
                f"{self.name}: the video is cut off or damaged: {held.index}{stated} frames could be "
                "read whole; copy or record it again"
            )
            yield Failure(self.name, held.index, error)
        else:
            yield self._stamp(held)

    def _read(self, index: int) -> Frame | None:
        cv2 = require_cv2()
        try:
            ok, image = self._capture.read()
        except cv2.error:
            return None
        if not ok:
            return None
        pts_ms = float(self._capture.get(cv2.CAP_PROP_POS_MSEC))
        return Frame(as_bgr(image, self.name), self.name, index, 0, pts_ms)

    def _stamp(self, frame: Frame) -> Frame:
        return Frame(frame.image, frame.source, frame.index, time.monotonic_ns(), frame.pts_ms)

    def _ended_early(self, last: Frame) -> bool:
        if self._extent is not Extent.UNKNOWN:
            return self._extent is Extent.CUT
        stated = self._frames_stated
        if stated is None:
            return False
        tolerance = max(2.0, 0.02 * stated)
        if stated - (last.index + 1) <= tolerance:
            return False
        if self.fps is None or not last.pts_ms:
            return True
        return stated - (last.pts_ms * self.fps / 1000 + 1) > tolerance


def open_capture(source: str | int, backend: int | None = None, params: tuple[int, ...] = ()) -> Any:
    """An opened cv2.VideoCapture, or None when it cannot be opened.

    backend: a cv2.CAP_ value, None for any. params: pairs of property and value, which need a backend.
    """
    with quiet_cv2() as cv2:
        if not hasattr(cv2, "VideoCapture"):
            raise UnavailableError(
                "this OpenCV was built without video; use images, or install another: "
                "pip install 'edgecv[opencv]'"
            )
        try:
            if params:
                capture = cv2.VideoCapture(source, backend, list(params))
            else:
                capture = cv2.VideoCapture(source, cv2.CAP_ANY if backend is None else backend)
        except cv2.error:
            return None
    if capture.isOpened():
        return capture
    capture.release()
    return None


def frames_per_second(capture: Any) -> float | None:
    """What a capture states, or None where that cannot be true."""
    fps = float(capture.get(require_cv2().CAP_PROP_FPS))
    return fps if math.isfinite(fps) and 0 < fps <= _MAX_FPS else None


def frame_count(capture: Any) -> int | None:
    """What a capture states, or None where that cannot be true."""
    count = float(capture.get(require_cv2().CAP_PROP_FRAME_COUNT))
    return round(count) if math.isfinite(count) and 1 <= count <= _MAX_FRAMES else None

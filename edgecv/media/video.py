"""Videos, and what there is to say about one that ends too early."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgecv.errors import MediaError, UnavailableError
from edgecv.media import mp4
from edgecv.media._cv2 import capture_options, quiet_cv2, require_cv2
from edgecv.media.base import Source
from edgecv.media.containers import EBML_START, Extent, video_extent
from edgecv.media.images import as_bgr
from edgecv.media.items import Failure, Frame, Item

LEAST_FPS, MOST_FPS = 0.01, 1000.0
"""Rates that are believed."""

_MAX_FRAMES = 10**9
# A packet that is empty or cannot be decoded ends a read, but the next one may go on behind it.
_ATTEMPTS = 64


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
    with path.open("rb") as file:
        is_matroska = file.read(4) == EBML_START
        all_frames = mp4.hides_frames_by_mistake(file, path.stat().st_size)
    # A name that starts with a slash cannot be taken for a protocol.
    with capture_options("ignore_editlist;1" if all_frames else ""):
        capture = open_capture(str(path.absolute()))
    if capture is None:
        raise MediaError(
            f"{path}: not a readable video: OpenCV finds no video stream in it that it can decode; "
            "check that it plays, or convert it to MP4 (H.264)"
        )
    return Video(capture, str(path), extent=extent, paths=(path,), limit=limit, is_matroska=is_matroska)


class Video(Source):
    """A video of finite length, frame by frame; the rotation that phones note in it is applied.

    Frames come as they are in the file, whatever its durations, rates and counts say, but for those that the
    edit list of an MP4 hides. A video that is cut off gives the frames before the one in which it ends, then
    a Failure that counts them; one with frames that cannot be decoded gives all others, then the same. MP4,
    AVI, Matroska and FLV state the size of their media data, which proves a cut; from a web server, a cut
    shows where frames are missing both by their number and by their time. Other files do not tell.

    capture: an opened cv2.VideoCapture, which now belongs to the video. paths: the file. is_matroska: whether
    it is one, whose rate of 1000 a second stands for none.
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
        is_matroska: bool = False,
    ) -> None:
        self._capture = capture
        self._extent = extent
        self._stumbled = False
        fps, self._frames_stated = frames_per_second(capture), frame_count(capture)
        if is_matroska and fps is not None and fps >= MOST_FPS:
            # Its clock runs in milliseconds, and the count is its duration in them.
            fps, self._frames_stated = None, None
        super().__init__(name, limit=limit, length=self._frames_stated, fps=fps, paths=paths)

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
            yield self._failure(held.index, self._frames_stated)
            return
        yield self._stamp(held)
        there = self._frames_there(held.index + 1)
        if there > held.index + 1:
            yield self._failure(held.index + 1, there)

    def _failure(self, whole: int, there: int | None) -> Failure:
        of_all = f" of {there}" if there is not None and there > whole else ""
        error = MediaError(
            f"{self.name}: the video is cut off or damaged: {whole}{of_all} frames could be read whole; "
            "copy or record it again"
        )
        return Failure(self.name, whole, error)

    def _frames_there(self, read: int) -> int:
        """Frames that the file holds, where fewer than it states were read, or reading was not smooth."""
        stated = self._frames_stated or 0
        is_in_doubt = self._stumbled or (self._extent is Extent.WHOLE and read < stated)
        return count_packets(self.paths[0]) if self.paths and is_in_doubt else read

    def _read(self, index: int) -> Frame | None:
        cv2 = require_cv2()
        # Each attempt on a web server would wait for it.
        for attempt in range(_ATTEMPTS if self.paths else 1):
            try:
                ok, image = self._capture.read()
            except cv2.error:
                return None
            if ok:
                self._stumbled = self._stumbled or attempt > 0
                break
            if self._stopped:
                return None
        else:
            return None
        pts_ms = float(self._capture.get(cv2.CAP_PROP_POS_MSEC))
        return Frame(as_bgr(image, self.name), self.name, index, 0, pts_ms)

    def _stamp(self, frame: Frame) -> Frame:
        return Frame(frame.image, frame.source, frame.index, time.monotonic_ns(), frame.pts_ms)

    def _ended_early(self, last: Frame) -> bool:
        if self.paths or self._extent is not Extent.UNKNOWN:
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


def count_packets(path: Path) -> int:
    """Frames in a video file, by going through it without decoding; 0 where it cannot be gone through."""
    cv2 = require_cv2()
    capture = open_capture(str(path.absolute()))
    if capture is None:
        return 0
    count = failed = 0
    try:
        with quiet_cv2():
            if not capture.set(cv2.CAP_PROP_FORMAT, -1):
                return 0
            while failed < _ATTEMPTS:
                if not capture.grab():
                    failed += 1
                    continue
                failed = 0
                ok, packet = capture.retrieve()
                # An empty packet is no array.
                count += bool(ok and packet is not None)
    except cv2.error:
        return count
    finally:
        capture.release()
    return count


def frames_per_second(capture: Any) -> float | None:
    """What a capture states, or None where that cannot be true."""
    fps = float(capture.get(require_cv2().CAP_PROP_FPS))
    return fps if LEAST_FPS <= fps <= MOST_FPS else None


def frame_count(capture: Any) -> int | None:
    """What a capture states, or None where that cannot be true."""
    count = float(capture.get(require_cv2().CAP_PROP_FRAME_COUNT))
    return round(count) if math.isfinite(count) and 1 <= count <= _MAX_FRAMES else None

"""What a source hands out: a frame, or the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgecv.errors import EdgeCVError
from edgecv.frame import Frame as YuvFrame
from edgecv.frame import Pixels

Picture = NDArray[np.uint8]
"""uint8 (H, W, 3), BGR."""

Kind = Literal["image", "images", "video", "stream"]
"""One picture; several pictures in files; a video file; frames of unknown number."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a source.

    image: uint8 (H, W, 3), BGR, C-contiguous, owned by the receiver; of raw frames as they came, which
    pipelines take too: `edgecv.Frame`, uint8 or uint16 (H, W), or a view of RGB.
    source: the file it comes from, or the name of the camera or stream, without a password.
    index: its place in the source, from 0. In a live source, skipped frames leave gaps.
    captured_ns: time.monotonic_ns() of the capture. In a live source that of the driver where it tells
    (V4L2), else when the frame arrived; for files, when the frame was handed out.
    pts_ms: its time in a video file, milliseconds; None elsewhere.
    """

    image: Pixels
    source: str
    index: int
    captured_ns: int
    pts_ms: float | None = None

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height, pixels."""
        if isinstance(self.image, YuvFrame):
            return self.image.size_wh
        return self.image.shape[1], self.image.shape[0]

    def picture(self) -> Picture:
        """The image for drawing and showing: itself where it is one, else converted, at each call.

        Of 16 bits the upper 8.
        """
        if isinstance(self.image, YuvFrame):
            return self.image.bgr()
        image: NDArray[Any] = self.image
        if image.dtype == np.uint16:
            image = (image >> 8).astype(np.uint8)
        if image.ndim == 2:
            image = np.repeat(image[..., None], 3, axis=2)
        return np.ascontiguousarray(image, np.uint8)


@dataclass(frozen=True)
class Failure:
    """A frame that could not be read; the source goes on with the next, where there is one.

    source, index: as in `Frame`. error: its text is one line that starts with the source.
    """

    source: str
    index: int
    error: EdgeCVError


@dataclass(frozen=True)
class Gap:
    """A time in which a live source gave no frames.

    One that lasts is told twice: as it begins, and when it is over. A damaged frame is a gap that is over.

    source: as in `Frame`. index: of the frame after it. seconds: since the last frame, up to now or to the
    frame after it. reason: why there was none, in a few words. is_over: whether it has ended, with a frame or
    by giving up.
    """

    source: str
    index: int
    seconds: float
    reason: str
    is_over: bool


Item = Frame | Failure | Gap

"""YUV frames of noise, and what the reference makes of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecv import image_reference
from edgecv.frame import Frame
from edgecv.image import BlobSpec

Bytes = NDArray[np.uint8]


def noise_frame(format: str, width: int, height: int, *, seed: int = 0, **fields: Any) -> Frame:
    """A frame of noise, packed, with the extremes of every sample in it."""
    shape = (height, width, 2) if format in ("yuyv", "uyvy") else (height * 3 // 2, width)
    data = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    data[::5] = np.where(data[::5] > 127, 255, 0)
    return Frame(data, format, **fields)


def samples(frame: Frame) -> tuple[Bytes, Bytes, Bytes]:
    """(H, W) of Y; (H / 2, W / 2), or (H, W / 2) where rows do not share them, of Cb and of Cr."""
    first, *others = (np.asarray(plane) for plane in frame.planes)
    if frame.format == "i420":
        return first, others[0], others[1]
    if frame.format == "nv12":
        return first, others[0][:, 0::2], others[0][:, 1::2]
    luma, cb, cr = {"yuyv": (0, 1, 3), "uyvy": (1, 0, 2)}[frame.format]
    return first[:, luma::2], first[:, cb::4], first[:, cr::4]


def pixels(frame: Frame, matrix: str = "bt601", range_: str = "limited") -> Bytes:
    """The frame as BGR, by the reference; matrix, range_: where it does not say."""
    return image_reference.yuv_to_bgr(*samples(frame), frame.matrix or matrix, frame.range or range_)


def expected_blob(frame: Frame, spec: BlobSpec) -> NDArray[Any]:
    """The blob of the reference's pixels; of the luma for a gray one."""
    if spec.color == "gray":
        gray = image_reference.luma_to_gray(samples(frame)[0], frame.range or spec.yuv_range)
        return image_reference.to_blob(gray, spec)
    return image_reference.to_blob(pixels(frame, spec.yuv_matrix, spec.yuv_range), spec)

"""Pictures inside a page."""

from __future__ import annotations

import base64

import numpy as np

from edgecv.errors import InputError
from edgecv.media._cv2 import error_line, quiet_cv2
from edgecv.media.formats import picture_size_wh
from edgecv.report.blocks import Picture

JPEG_QUALITY = 85


def to_data_uri(picture: Picture) -> tuple[str, tuple[int, int] | None]:
    """The picture as a data URI, and its width and height in pixels where they are known.

    Raises MissingExtraError without OpenCV, for a frame only.
    """
    if isinstance(picture.data, bytes):
        data, size_wh = picture.data, picture_size_wh(picture.data)
    else:
        data, size_wh = _encode(picture)
    return f"data:{picture.mime};base64,{base64.b64encode(data).decode('ascii')}", size_wh


def _encode(picture: Picture) -> tuple[bytes, tuple[int, int]]:
    frame = np.ascontiguousarray(picture.data)
    with quiet_cv2() as cv2:
        height, width = frame.shape[:2]
        if width > picture.max_width:
            size_wh = (picture.max_width, max(1, round(height * picture.max_width / width)))
            frame = cv2.resize(frame, size_wh, interpolation=cv2.INTER_AREA)
        try:
            if picture.mime == "image/png":
                _, data = cv2.imencode(".png", frame)
            else:
                _, data = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        except cv2.error as error:
            raise InputError(f"picture: cannot be encoded: {error_line(error)}") from error
    return data.tobytes(), (frame.shape[1], frame.shape[0])

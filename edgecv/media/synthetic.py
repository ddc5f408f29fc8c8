"""A frame that every machine makes alike: for warm-up, golden tensors and checks without a photo."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Rows made at a time: a benchmark's peak memory must not be that of its picture.
_ROWS = 16


def synthetic_frame(width: int = 1280, height: int = 720) -> NDArray[np.uint8]:
    """Gradients, discs, stripes and texture, by integer arithmetic alone.

    width, height: pixels, at least 1. Returns uint8 (height, width, 3) BGR, the same bits everywhere.
    """
    frame = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, _ROWS):
        bottom = min(top + _ROWS, height)
        frame[top:bottom] = _rows(top, bottom, width, height)
    return frame


def synthetic_gray16(width: int = 1280, height: int = 720) -> NDArray[np.uint16]:
    """The same for models of 16 bits: uint16 (height, width), gradients in the upper and lower byte."""
    blue, green, _ = np.moveaxis(synthetic_frame(width, height).astype(np.uint16), -1, 0)
    frame: NDArray[np.uint16] = green << 8 | blue
    return frame


def _rows(top: int, bottom: int, width: int, height: int) -> NDArray[np.int64]:
    y, x = np.mgrid[top:bottom, 0:width].astype(np.int64)
    rows = np.stack(
        [x * 255 // max(width - 1, 1), y * 255 // max(height - 1, 1), (x + y) * 255 // (width + height)],
        axis=-1,
    )
    unit = max(min(width, height) // 12, 1)
    for i in range(10):
        center_x = (i * 2654435761 >> 7) % width
        center_y = (i * 2246822519 >> 9) % height
        inside = (x - center_x) ** 2 + (y - center_y) ** 2 <= (unit * (1 + i % 4)) ** 2
        rows[inside] = [(i * 97) % 256, (i * 57 + 80) % 256, (i * 151 + 30) % 256]
    stripes = ((x // max(unit // 3, 1) + y // max(unit // 3, 1)) % 2 == 0) & (x > width * 2 // 3)
    rows[stripes] = 255 - rows[stripes]
    texture = ((x * 374761393 + y * 668265263) >> 5) % 17 - 8
    textured = y > height * 3 // 4
    rows[textured] = np.clip(rows + texture[..., None], 0, 255)[textured]
    return rows

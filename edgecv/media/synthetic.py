"""A frame that every machine makes alike: for warm-up figures, golden tensors and checks without a photo."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def synthetic_frame(width: int = 1280, height: int = 720) -> NDArray[np.uint8]:
    """Gradients, discs, stripes and texture, by integer arithmetic alone.

    width, height: pixels, at least 1. Returns uint8 (height, width, 3) BGR, the same bits everywhere.
    """
    y, x = np.mgrid[0:height, 0:width].astype(np.int64)
    frame = np.stack(
        [x * 255 // max(width - 1, 1), y * 255 // max(height - 1, 1), (x + y) * 255 // (width + height)],
        axis=-1,
    )
    unit = max(min(width, height) // 12, 1)
    for i in range(10):
        center_x = (i * 2654435761 >> 7) % width
        center_y = (i * 2246822519 >> 9) % height
        inside = (x - center_x) ** 2 + (y - center_y) ** 2 <= (unit * (1 + i % 4)) ** 2
        frame[inside] = [(i * 97) % 256, (i * 57 + 80) % 256, (i * 151 + 30) % 256]
    stripes = ((x // max(unit // 3, 1) + y // max(unit // 3, 1)) % 2 == 0) & (x > width * 2 // 3)
    frame[stripes] = 255 - frame[stripes]
    texture = ((x * 374761393 + y * 668265263) >> 5) % 17 - 8
    textured = y > height * 3 // 4
    frame[textured] = np.clip(frame + texture[..., None], 0, 255)[textured]
    return frame.astype(np.uint8)

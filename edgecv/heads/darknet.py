"""What the heads of Darknet share: how Darknet feeds a network, and its raw maps of anchors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgecv.heads.base import softmax, take
from edgecv.types import FloatArray

# As `detector` of AlexeyAB/darknet does unless it is told to keep the aspect ratio.
DARKNET_INPUT: Mapping[str, Any] = {"color": "rgb", "resize": "stretch", "std": (255.0,) * 3}

PositiveFloat = Annotated[float, msgspec.Meta(gt=0)]
Anchors = Annotated[tuple[tuple[PositiveFloat, PositiveFloat], ...], msgspec.Meta(min_length=1)]
Places = NDArray[np.intp]

__all__ = ["DARKNET_INPUT", "AnchorMap", "Anchors", "Places", "PositiveFloat", "softmax"]


class AnchorMap:
    """A raw map, (anchors * channels, H, W), whose rows are the channels of one anchor at one cell.

    values: float32 (anchors, channels, cells), cells row by row. cell_wh: float32 (2,), pixels.
    """

    def __init__(
        self,
        outputs: Mapping[str, FloatArray],
        name: str,
        anchors: Anchors,
        channels: int,
        blob_wh: tuple[int, int],
        head: str,
    ) -> None:
        """Raises HeadError where the output is missing or does not have these channels."""
        raw = take(outputs, name, (len(anchors) * channels, None, None), head)
        rows, self._columns = raw.shape[1:]
        self._anchors = np.array(anchors, np.float32)
        self.values: FloatArray = raw.reshape(len(anchors), channels, rows * self._columns)
        self.cell_wh: FloatArray = np.divide(blob_wh, (max(self._columns, 1), max(rows, 1)), dtype=np.float32)

    def rows(self, anchor: Places, cell: Places) -> FloatArray:
        """The channels of some anchors at some cells, float32 (n, channels)."""
        return self.values[anchor, :, cell]

    def corners(self, cell: Places) -> FloatArray:
        """Column and row of some cells, float32 (n, 2)."""
        return np.stack([cell % self._columns, cell // self._columns], axis=1).astype(np.float32)

    def sizes(self, anchor: Places) -> FloatArray:
        """Width and height of some anchors, float32 (n, 2), in the anchors' unit."""
        return self._anchors[anchor]

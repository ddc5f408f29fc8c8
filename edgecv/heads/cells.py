"""The cells that a detector with strides predicts from: one for each stride x stride pixels."""

from __future__ import annotations

from functools import lru_cache

import msgspec
import numpy as np

from edgecv.types import FloatArray

# A detector runs at one size; a cache of a few serves those that alternate, and stays small.
_CACHED_SIZES = 16


class Grid(msgspec.Struct, frozen=True):
    """The cells of every stride, stride by stride, each row by row; read-only.

    cell_xy: float32 (n, 2), column and row. stride: float32 (n, 1), pixels.
    """

    cell_xy: FloatArray
    stride: FloatArray

    def __len__(self) -> int:
        return len(self.stride)


def cells_wh(blob_wh: tuple[int, int], stride: int) -> tuple[int, int]:
    """Columns and rows of one stride; a partial cell at the edge counts, as padded convolutions do."""
    width, height = blob_wh
    return -(-width // stride), -(-height // stride)


def cell_count(blob_wh: tuple[int, int], strides: tuple[int, ...]) -> int:
    """The cells of all strides together."""
    sizes = [cells_wh(blob_wh, stride) for stride in strides]
    return sum(columns * rows for columns, rows in sizes)


@lru_cache(maxsize=_CACHED_SIZES)
def grid(blob_wh: tuple[int, int], strides: tuple[int, ...]) -> Grid:
    """The cells of a blob."""
    cells, steps = [], []
    for stride in strides:
        columns, rows = cells_wh(blob_wh, stride)
        y, x = np.indices((rows, columns), np.float32)
        cells.append(np.stack([x.ravel(), y.ravel()], axis=1))
        steps.append(np.full((rows * columns, 1), stride, np.float32))
    result = Grid(np.concatenate(cells), np.concatenate(steps))
    for array in (result.cell_xy, result.stride):
        array.flags.writeable = False
    return result

"""Boxes and points as networks write them, to pixels of the blob."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np

from edgecv import boxes
from edgecv.heads.base import sigmoid
from edgecv.types import FloatArray, IntArray

# The order of a box's four numbers: corners, center and size, left top corner and size, corners with y first.
Format = Literal["xyxy", "cxcywh", "xywh", "yxyx"]
# What they count: pixels of the blob, or parts of its width and height.
Unit = Literal["pixels", "fractions"]


def to_xyxy(box: FloatArray, format: str, rows: IntArray | None = None) -> FloatArray:
    """float32 (k, 4) in the unit of the boxes, a new array. box: float32 (n, 4). rows: of these alone."""
    if format == "cxcywh":
        return boxes.cxcywh_to_xyxy(box, rows)
    if format == "xywh":
        return boxes.xywh_to_xyxy(box, rows)
    if rows is None:
        picked = np.array(box)
    else:
        # `take` is the faster of the two, and copies all of an array that is not contiguous first.
        picked = box.take(rows, axis=0) if box.flags.c_contiguous else box[rows]
    return picked[:, [1, 0, 3, 2]] if format == "yxyx" else picked


def to_pixels(values: FloatArray, unit: str, blob_wh: tuple[int, int]) -> FloatArray:
    """values: float32 (..., 2 m), x and y in turn. Returns the same in pixels of the blob."""
    if unit == "pixels":
        return values
    scale = _scale(blob_wh, values.shape[-1])
    with np.errstate(over="ignore"):
        return values * scale


@lru_cache(maxsize=64)
def _scale(blob_wh: tuple[int, int], numbers: int) -> FloatArray:
    """Width and height in turn, float32 (numbers,), read-only."""
    scale = np.array(blob_wh * (numbers // 2), np.float32)
    scale.flags.writeable = False
    return scale


def around(xywhr: FloatArray) -> FloatArray:
    """The upright boxes around oriented ones, float32 (n, 4) xyxy; empty ones around those without an area.

    xywhr: float32 (n, 5), center, width, height, and the angle from the x axis to the width, radians.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        cosine, sine = np.abs(np.cos(xywhr[:, 4])), np.abs(np.sin(xywhr[:, 4]))
        width, height = xywhr[:, 2], xywhr[:, 3]
        half = np.stack([width * cosine + height * sine, width * sine + height * cosine], axis=1) / 2
        half[~((width > 0) & (height > 0))] = 0
        center = xywhr[:, :2]
        return np.concatenate([center - half, center + half], axis=1)


def to_keypoints(
    values: FloatArray, size: int, unit: str, blob_wh: tuple[int, int], *, logits: bool = False
) -> FloatArray:
    """float32 (n, k, 3): x and y in blob pixels, and confidence, which is 1 where there is none.

    values: float32 (n, k * size), x, y and with a size of 3 a confidence. logits: whether it still needs its
    sigmoid.
    """
    given = values.reshape(len(values), values.shape[1] // size, size)
    keypoints = np.ones((*given.shape[:2], 3), np.float32)
    keypoints[..., :2] = to_pixels(given[..., :2], unit, blob_wh)
    if size == 3:
        keypoints[..., 2] = sigmoid(given[..., 2]) if logits else given[..., 2]
    return keypoints

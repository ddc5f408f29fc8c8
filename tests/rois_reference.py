"""Regions of interest by brute force: the definitions, in NumPy float32, one box and one bin at a time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecv.types import FloatArray

F32 = np.float32


def anchors(base_size: int, ratios: Any, scales: Any) -> FloatArray:
    """As py-faster-rcnn describes them: the first cell, at each ratio of nearly its area, then scaled."""
    rows = []
    for ratio in ratios:
        width = np.round(np.sqrt(base_size**2 / ratio))
        height = np.round(width * ratio)
        for scale in scales:
            half_w, half_h, middle = (width * scale - 1) / 2, (height * scale - 1) / 2, (base_size - 1) / 2
            rows.append([middle - half_w, middle - half_h, middle + half_w, middle + half_h])
    return np.array(rows, F32)


def decoded(box: FloatArray, delta: FloatArray, extent: float) -> FloatArray:
    """Boxes and their deltas, (n, 4) both, to boxes; not clipped."""
    with np.errstate(all="ignore"):
        size = box[:, 2:] - box[:, :2] + F32(extent)
        center = box[:, :2] + F32(0.5) * size
        moved = delta[:, :2] * size + center
        half = F32(0.5) * (np.exp(delta[:, 2:]) * size)
        result: FloatArray = np.concatenate([moved - half, moved + half], axis=1)
    return result


def clipped(box: FloatArray, image_xyxy: Any, extent: float) -> FloatArray:
    left, top, right, bottom = (F32(edge) for edge in image_xyxy)
    low, high = np.array([left, top] * 2), np.array([right, bottom] * 2) - F32(extent)
    return np.maximum(np.minimum(box, high), low)


def propose(
    scores: FloatArray,
    deltas: FloatArray,
    anchors: FloatArray,
    *,
    image_xyxy: Any,
    stride: float = 16,
    min_wh: tuple[float, float] = (16.0, 16.0),
    pre_nms: int = 6000,
    post_nms: int = 300,
    iou: float = 0.7,
    inclusive: bool = True,
) -> tuple[FloatArray, FloatArray]:
    """As `edgecv.rois.propose` defines them."""
    count, height, width = scores.shape
    extent = 1.0 if inclusive else 0.0
    y, x = np.mgrid[:height, :width]
    shifts = np.stack([x, y, x, y], axis=-1).reshape(-1, 1, 4).astype(F32) * F32(stride)
    boxes = (shifts + anchors[None]).reshape(-1, 4)
    delta = deltas.reshape(count, 4, height, width).transpose(2, 3, 0, 1).reshape(-1, 4)
    score = scores.transpose(1, 2, 0).reshape(-1)
    finite = np.isfinite(delta).all(axis=1) & np.isfinite(score)
    boxes = clipped(decoded(boxes, np.where(finite[:, None], delta, F32(0)), extent), image_xyxy, extent)
    side = boxes[:, 2:] - boxes[:, :2] + F32(extent)
    usable = np.flatnonzero(finite & (side >= np.array(min_wh, F32)).all(axis=1) & (side > 0).all(axis=1))
    order = usable[np.argsort(-score[usable], kind="stable")][:pre_nms]
    kept = suppress(boxes[order], iou, extent, post_nms)
    return boxes[order[kept]], score[order[kept]]


def suppress(boxes: FloatArray, iou: float, extent: float, most: int) -> list[int]:
    """Greedy suppression of boxes in their order, until `most` are kept."""
    edges = boxes + np.array([0, 0, extent, extent], F32)
    better, areas = np.zeros((len(edges), 4), F32), np.zeros(len(edges), F32)
    kept: list[int] = []
    for i, box in enumerate(edges):
        n = len(kept)
        if n == most:
            break
        sides = np.minimum(better[:n, 2:], box[2:]) - np.maximum(better[:n, :2], box[:2])
        shared = np.maximum(sides, F32(0)).prod(axis=1)
        area = (box[2] - box[0]) * (box[3] - box[1])
        if not (shared > F32(iou) * (areas[:n] + area - shared)).any():
            better[n], areas[n] = box, area
            kept.append(i)
    return kept


def pool(features: FloatArray, xyxy: FloatArray, size_wh: tuple[int, int], scale: float) -> FloatArray:
    """As `edgecv.rois.pool` defines it."""
    channels, height, width = features.shape
    across, down = size_wh
    result = np.zeros((len(xyxy), channels, down, across), F32)
    for i, box in enumerate(xyxy):
        left, top, right, bottom = (away_from_zero(F32(v) * F32(scale)) for v in box)
        columns, rows = parts(left, right, across, width), parts(top, bottom, down, height)
        for j, (y0, y1) in enumerate(rows):
            for k, (x0, x1) in enumerate(columns):
                if y0 < y1 and x0 < x1:
                    result[i, :, j, k] = largest(features[:, y0:y1, x0:x1].reshape(channels, -1))
    return result


def away_from_zero(x: float) -> int:
    return int(math.copysign(math.floor(abs(float(x)) + 0.5), x))


def parts(first: int, last: int, bins: int, cells: int) -> list[tuple[int, int]]:
    """Cells from the first to one past the last of each bin."""
    length = F32(max(last - first + 1, 1)) / F32(bins)
    edges = [
        (first + math.floor(F32(i) * length), first + math.ceil(F32(i + 1) * length)) for i in range(bins)
    ]
    return [(min(max(a, 0), cells), min(max(b, 0), cells)) for a, b in edges]


def largest(values: FloatArray) -> NDArray[Any]:
    """Of each row, from the least float up; NaN is passed over."""
    lowest = np.finfo(F32).min
    return np.maximum(np.where(np.isnan(values), lowest, values).max(axis=1), lowest)


def trunk_outputs(
    rng: np.random.Generator, shape: tuple[int, int, int], spread: float = 0.3
) -> tuple[FloatArray, FloatArray]:
    """Scores and deltas as a region proposal network gives them: shape is anchors, height, width."""
    count, height, width = shape
    scores = rng.random((count, height, width)) ** 4
    deltas = rng.normal(0, spread, (4 * count, height, width))
    return scores.astype(F32), deltas.astype(F32)

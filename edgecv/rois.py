"""Regions of interest: anchors, proposals of a region proposal network, ROI pooling.

Proposals and pooling run in native code on the calling thread, which keeps the GIL for short calls, as it
does for those of `edgecv.boxes`. Each thread keeps its own working memory between calls, so that after
warm-up a call allocates only the arrays that it returns: at most 80 bytes for each anchor of each cell and 96
for each proposal kept for `propose`; for `pool` 1 MiB or, of features with more than 4096 cells, 256 bytes a
cell, 512 bytes for each bin of one box, and 16 for each column and row of bins of all boxes. Results are the
same bits on every instruction set.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from edgecv import _rois
from edgecv.types import FloatArray


def anchors(
    base_size: int = 16,
    ratios: Sequence[float] = (0.5, 1.0, 2.0),
    scales: Sequence[float] = (8.0, 16.0, 32.0),
    *,
    rounding: Literal["half-even", "half-up"] = "half-even",
) -> FloatArray:
    """The anchors of a region proposal network at the first cell, as `generate_anchors` of py-faster-rcnn.

    base_size: side of the first cell, pixels. ratios: height over width. scales: of a side of the cell.
    rounding: of the sides at scale 1, where they lie between two pixels: NumPy's, as in the Python layer
    of py-faster-rcnn, or that of the layers written in C++.

    Returns float32 (ratios * scales, 4): left, top, right, bottom, each the center of a pixel, so that a
    width is right - left + 1; ratio by ratio.
    """
    rows = []
    center = (base_size - 1) / 2
    for ratio in ratios:
        width = _rounded(math.sqrt(base_size * base_size / ratio), rounding)
        height = _rounded(width * ratio, rounding)
        for scale in scales:
            dx, dy = (width * scale - 1) / 2, (height * scale - 1) / 2
            rows.append((center - dx, center - dy, center + dx, center + dy))
    return np.array(rows, np.float32).reshape(-1, 4)


def _rounded(x: float, rounding: str) -> float:
    return float(round(x)) if rounding == "half-even" else math.floor(x + 0.5)


def propose(
    scores: FloatArray,
    deltas: FloatArray,
    anchors: FloatArray,
    *,
    image_xyxy: tuple[float, float, float, float],
    stride: float = 16,
    min_wh: tuple[float, float] = (16.0, 16.0),
    pre_nms: int = 6000,
    post_nms: int = 300,
    iou: float = 0.7,
    inclusive: bool = True,
) -> tuple[FloatArray, FloatArray]:
    """Where objects may be: the proposals of a region proposal network (Ren et al. 2015, Faster R-CNN).

    scores: float32 (A, H, W), C-contiguous: how likely anchor A of a cell holds an object.
    deltas: float32 (4 A, H, W), C-contiguous: dx, dy, dw, dh of each anchor. Its width w and center x
        become w exp(dw) and x + dx w; so the height. Exponents are held to -87 to 88.
    anchors: float32 (A, 4), C-contiguous: left, top, right, bottom at the first cell, pixels of the blob.
    image_xyxy: where the picture lies in the blob, its edges in pixels; boxes are cut there.
    stride: of the cells, pixels.
    min_wh: the smallest width and height of a proposal, pixels.
    pre_nms: proposals that NMS sees, the most confident ones; ties go to the earlier cell, row by row,
        then the earlier anchor.
    post_nms: the most proposals that it keeps.
    iou: 0 to 1; a proposal is dropped when its IoU with a better one is strictly over it.
    inclusive: whether a box names its last pixel, as in Caffe: a width is right - left + 1, and boxes are
        cut at the picture's last pixel.

    Returns xyxy float32 (k, 4), pixels of the blob, and scores float32 (k,), most confident first. An
    anchor with a score or a delta that is not finite is no proposal. Raises InputError.
    """
    return _rois.propose(
        scores, deltas, anchors, image_xyxy, stride, min_wh, pre_nms, post_nms, iou, inclusive
    )


def pool(
    features: FloatArray,
    xyxy: FloatArray,
    *,
    size_wh: tuple[int, int] = (7, 7),
    scale: float = 0.0625,
    out: FloatArray | None = None,
) -> FloatArray:
    """ROI max pooling (Girshick 2015, Fast R-CNN), with the rounding of Caffe's ROIPooling layer.

    features: float32 (C, H, W), C-contiguous.
    xyxy: float32 (n, 4), any strides, finite: left, top, right, bottom, pixels of the blob. Times `scale`
        they are rounded, halves away from zero, to the first and the last cell of the box, which is at
        least one cell wide and high.
    size_wh: bins across and down, 1 to 256. Bin i of B in a box of w cells goes from floor(i w / B) to
        ceil((i + 1) w / B), float32; what lies outside of the features does not count.
    scale: cells a pixel.
    out: float32 (n, C, bins down, bins across), C-contiguous and writable, or None for a new array.

    Returns `out`: the largest feature of each bin; NaN is passed over. 0 where a bin has no cell, and
    -3.4e38 where it has nothing larger. Raises InputError.
    """
    return _rois.pool(features, xyxy, size_wh, scale, out)

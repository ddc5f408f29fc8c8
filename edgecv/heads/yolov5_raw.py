"""YOLOv5's raw outputs, (anchors, H, W, 5 + classes) a stride: logits; `Detect.forward` of yolov5."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgecv import boxes
from edgecv.heads.base import AtLeast, HeadParams, Query, Strides, join, sigmoid, take
from edgecv.heads.cells import cells_wh, grid
from edgecv.heads.recognition import P5
from edgecv.types import Candidates, FloatArray

TYPE = "yolov5_raw"
TASK = "detect"


class Params(HeadParams, frozen=True, omit_defaults=True):
    """raw: names of the outputs, one a stride. strides: pixels. anchors: of each stride, pixels."""

    raw: tuple[str, ...]
    strides: Strides = P5
    anchors: tuple[tuple[tuple[float, float], ...], ...] = ()


def decode(outputs: Mapping[str, FloatArray], params: Params, query: Query) -> Candidates:
    """See `base.Head`."""
    # A confidence is at most its objectness, so rows below it need no sigmoid of their classes.
    lowest = max(query.lowest_confidence, 0)
    parts = []
    for name, stride, sizes in zip(params.raw, params.strides, params.anchors, strict=True):
        columns, rows = cells_wh(query.blob_wh, stride)
        raw = take(outputs, name, (len(sizes), rows, columns, AtLeast(6)), TYPE)
        raw = raw.reshape(-1, raw.shape[-1])
        likely = np.flatnonzero(sigmoid(raw[:, 4]) > lowest)
        pred = sigmoid(raw[likely])
        index, class_id, confidence = query.select(pred[:, 5:], objectness=pred[:, 4])
        anchor, cell = np.divmod(likely[index], rows * columns)
        box = 2 * pred[index, :4]
        box[:, :2] = (box[:, :2] - 0.5 + grid(query.blob_wh, (stride,)).cell_xy[cell]) * stride
        box[:, 2:] = box[:, 2:] ** 2 * np.array(sizes, np.float32)[anchor]
        parts.append((confidence, class_id, box))
    confidence, class_id, box = join(parts, query.max_candidates)
    return Candidates(boxes.cxcywh_to_xyxy(box), confidence, class_id)

"""YuNet: faces with five landmarks, as four outputs a stride.

cls and obj (N, 1), bbox (N, 4), kps (N, 10): confidence is sqrt(cls * obj), the center (cell + d) *
stride, the size exp(d) * stride, a landmark (cell + k) * stride. Formulas: `FaceDetectorYN` of OpenCV
and ShiqiYu/libfacedetection.train.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgecv import boxes
from edgecv.heads.base import HeadParams, Query, Strides, join, take
from edgecv.heads.cells import cell_count, grid
from edgecv.heads.recognition import P5, is_cells
from edgecv.types import Candidates, FloatArray, ModelFacts

TYPE = "yunet"
TASK = "detect"
CONVENTIONAL_INPUT: Mapping[str, Any] | None = {
    "color": "bgr",
    "resize": "letterbox",
    "anchor": "top-left",
    "pad_value": 0.0,
}

LANDMARKS = 5
_COLUMNS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 2 * LANDMARKS}


class Params(HeadParams, frozen=True):
    """cls, obj, bbox, kps: names of the outputs, one of each a stride. strides: pixels.

    Landmarks: right eye, left eye, nose, right and left corner of the mouth.
    """

    cls: tuple[str, ...] = tuple(f"cls_{stride}" for stride in P5)
    obj: tuple[str, ...] = tuple(f"obj_{stride}" for stride in P5)
    bbox: tuple[str, ...] = tuple(f"bbox_{stride}" for stride in P5)
    kps: tuple[str, ...] = tuple(f"kps_{stride}" for stride in P5)
    strides: Strides = P5

    def __post_init__(self) -> None:
        for role in _COLUMNS:
            given = len(getattr(self, role))
            if given != len(self.strides):
                raise ValueError(f"`{role}` has {given} names for {len(self.strides)} strides")


def recognize(facts: ModelFacts) -> Params | None:
    """Outputs by the exporter's names, with the right columns and one row a cell."""
    shapes = {spec.name: spec.shape for spec in facts.outputs}
    roles = {(role, stride): f"{role}_{stride}" for role in _COLUMNS for stride in P5}
    if set(shapes) != set(roles.values()):
        return None
    for (role, stride), name in roles.items():
        shape = shapes[name]
        if len(shape) != 3 or shape[2] != _COLUMNS[role] or not is_cells(shape[1], facts, (stride,)):
            return None
    return Params()


def decode(outputs: Mapping[str, FloatArray], params: Params, query: Query) -> Candidates:
    """See `base.Head`."""
    parts, first = [], 0
    for level, stride in enumerate(params.strides):
        rows = cell_count(query.blob_wh, (stride,))
        cls, obj, bbox, kps = (
            take(outputs, getattr(params, role)[level], (rows, columns), TYPE)
            for role, columns in _COLUMNS.items()
        )
        # The product alone finds every candidate; it orders them otherwise than the clamped one.
        threshold = query.confidence * query.confidence
        row, class_id, _ = boxes.select(cls, threshold, objectness=obj[:, 0], max_candidates=rows)
        score = np.sqrt(np.clip(cls[row, 0], 0, 1) * np.clip(obj[row, 0], 0, 1))
        over = score > query.confidence
        row = row[over]
        parts.append((score[over], class_id[over], row + first, bbox[row], kps[row]))
        first += rows
    confidence, class_id, index, box, points = join(parts, query.max_candidates)

    cells = grid(query.blob_wh, params.strides)
    cell_xy, stride = cells.cell_xy[index], cells.stride[index]
    with np.errstate(over="ignore", invalid="ignore"):
        box[:, :2] = (box[:, :2] + cell_xy) * stride
        box[:, 2:] = np.exp(box[:, 2:]) * stride
        points = (points.reshape(-1, LANDMARKS, 2) + cell_xy[:, None]) * stride[:, None]
    keypoints = np.concatenate([points, np.ones_like(points[..., :1])], axis=-1)
    return Candidates(boxes.cxcywh_to_xyxy(box), confidence, class_id, keypoints=keypoints)

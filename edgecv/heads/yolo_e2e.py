"""YOLOv10, YOLO26 and Ultralytics exports with NMS inside: (N, 6), one row an object.

A row is x1, y1, x2, y2 in blob pixels, confidence, class number; unused rows have a low confidence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgecv.heads.base import HeadParams, Query, join, take
from edgecv.heads.recognition import P2, P5, P6, is_cells, sole_output
from edgecv.heads.ultralytics import ULTRALYTICS_INPUT, parse_metadata
from edgecv.types import Candidates, FloatArray, ModelFacts

TYPE = "yolo_e2e"
TASK = "detect"
CONVENTIONAL_INPUT: Mapping[str, Any] | None = ULTRALYTICS_INPUT

# Whole numbers are exact in float32 up to here.
_MAX_CLASSES = 1 << 24


class Params(HeadParams, frozen=True):
    """output: its name."""

    output: str = "output0"


def recognize(facts: ModelFacts) -> Params | None:
    """(1, N, 6), where N does not count cells, and metadata, where there is any, allows it.

    Two classes and no word of `end2end` could also be an RT-DETR: 4 + classes columns.
    """
    output = sole_output(facts, rank=3)
    if output is None or output.shape[2] != 6:
        return None
    about = parse_metadata(facts.metadata)
    if about and not about.end2end and (about.task is None or len(about.names) == 2):
        return None
    if about and about.task not in (None, "detect"):
        return None
    rows = output.shape[1]
    counts_cells = isinstance(rows, int) and (
        is_cells(rows, facts, P5, P2, P6) or is_cells(rows, facts, P5, P6, anchors=3)
    )
    if counts_cells and not (about and about.end2end):
        return None
    return Params(output=output.name)


def decode(outputs: Mapping[str, FloatArray], params: Params, query: Query) -> Candidates:
    """See `base.Head`. A row has one class, so `multi_label` changes nothing.

    Rows with a NaN, infinite or empty box, or a class without a threshold, are dropped: no NMS follows.
    """
    pred = take(outputs, params.output, (None, 6), TYPE)
    pred = pred[np.isfinite(pred).all(axis=1)]
    x1, y1, x2, y2, _, number = pred.T
    thresholds = np.asarray(query.confidence, np.float32)
    classes = thresholds.size if thresholds.ndim else _MAX_CLASSES
    pred = pred[(x1 < x2) & (y1 < y2) & (number >= 0) & (number < classes)]
    class_id = pred[:, 5].astype(np.int32)
    over = pred[:, 4] > (thresholds[class_id] if thresholds.ndim else thresholds)
    columns = (pred[over, 4], class_id[over], pred[over, :4])
    confidence, class_id, xyxy = join([columns], query.max_candidates)
    return Candidates(xyxy, confidence, class_id, needs_nms=False)

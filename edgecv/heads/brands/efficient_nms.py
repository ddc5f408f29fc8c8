"""Networks that end in TensorRT's EfficientNMS, or in the same outputs made of standard operators.

`num_dets` (1,), `det_boxes` (n, 4) x1, y1, x2, y2 in blob pixels, `det_scores` (n,), `det_classes` (n,), as
the export scripts of YOLOv6, YOLOv7 and DAMO-YOLO name them; networks of all of them are fed differently.
"""

from __future__ import annotations

from edgecv.heads.base import Reading
from edgecv.heads.recognition import shapes
from edgecv.heads.rows import Params as Rows
from edgecv.heads.ultralytics import ULTRALYTICS_INPUT, parse_metadata
from edgecv.types import ModelFacts

NAME = "efficient_nms"

_NAMES = (
    ("num_dets", "det_boxes", "det_scores", "det_classes"),
    ("num_dets", "bboxes", "scores", "labels"),
)


def recognize(facts: ModelFacts) -> Reading | None:
    """By the names of the four."""
    found = shapes(facts)
    for count, boxes, scores, labels in _NAMES:
        if set(found) == {count, boxes, scores, labels} and found[boxes][2:] == (4,):
            params = Rows(boxes=boxes, scores=scores, labels=labels, count=count)
            return Reading(
                NAME, "rows", params, ULTRALYTICS_INPUT if parse_metadata(facts.metadata) else None
            )
    return None

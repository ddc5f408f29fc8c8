"""RF-DETR of Roboflow: `dets` (queries, 4), cx, cy, w, h as parts of the blob, and `labels` (queries,
classes), logits.

Names: its `export()`. Classes are counted as COCO's ids are, the first one unused.
"""

from __future__ import annotations

from edgecv.heads.base import Reading
from edgecv.heads.queries import Params as Queries
from edgecv.heads.recognition import shapes
from edgecv.types import ModelFacts

NAME = "rfdetr"

_INPUT = {
    "color": "rgb",
    "resize": "stretch",
    "mean": (123.675, 116.28, 103.53),
    "std": (58.395, 57.12, 57.375),
}


def recognize(facts: ModelFacts) -> Reading | None:
    """By the two names and their shapes."""
    found = shapes(facts)
    if set(found) != {"dets", "labels"} or found["dets"][2:] != (4,) or len(found["labels"]) != 3:
        return None
    return Reading(NAME, "queries", Queries(boxes="dets", scores="labels"), _INPUT)

"""RF-DETR of Roboflow: `dets` (queries, 4), cx, cy, w, h as parts of the blob, and `labels` (queries,
classes), logits; of a network that segments `masks` (queries, h, w), logits over the whole blob.

Names: its `export()`. Classes are counted as COCO's ids are, the first one unused.
"""

from __future__ import annotations

from edgecv.heads.base import Reading
from edgecv.heads.queries import Params as Queries
from edgecv.heads.recognition import shapes
from edgecv.types import ModelFacts

NAME = "rfdetr"

INPUT = {
    "color": "rgb",
    "resize": "stretch",
    "mean": (123.675, 116.28, 103.53),
    "std": (58.395, 57.12, 57.375),
}


def recognize(facts: ModelFacts) -> Reading | None:
    """By the two names and their shapes."""
    found = shapes(facts)
    if set(found) - {"masks"} != {"dets", "labels"} or found["dets"][2:] != (4,):
        return None
    if len(found["labels"]) != 3 or len(found.get("masks", (None,) * 4)) != 4:
        return None
    params = Queries(boxes="dets", scores="labels", masks="masks" if "masks" in found else None)
    return Reading(NAME, "queries", params, INPUT)

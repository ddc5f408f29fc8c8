"""YOLO-NAS of super-gradients: boxes x1, y1, x2, y2 in blob pixels and scores; or final rows, by its
`export()`.

How a network is fed depends on what its export put into the graph.
"""

from __future__ import annotations

from typing import Any

from edgecv.heads.base import Reading
from edgecv.heads.boxes import Params as Boxes
from edgecv.heads.recognition import shapes
from edgecv.heads.rows import Column
from edgecv.heads.rows import Params as Rows
from edgecv.types import ModelFacts

NAME = "yolo-nas"

_FLAT: tuple[Column, ...] = ("batch", "x1", "y1", "x2", "y2", "confidence", "class")
_APART = {
    "boxes": "pred_boxes",
    "scores": "pred_scores",
    "labels": "pred_classes",
    "count": "num_predictions",
}


def recognize(facts: ModelFacts) -> Reading | None:
    """By the names that super-gradients gives; in its final formats `graph2_` may stand before them."""
    found = shapes(facts)
    if set(found) == {"pred_bboxes", "pred_scores"}:
        boxes, scores = found["pred_bboxes"], found["pred_scores"]
        if len(boxes) == len(scores) == 3 and boxes[2] == 4:
            return Reading(NAME, "boxes", Boxes(boxes="pred_bboxes", scores="pred_scores", format="xyxy"))
    bare = {name.removeprefix("graph2_"): name for name in found}
    if set(bare) == {"flat_predictions"} and found[bare["flat_predictions"]][-1:] == (7,):
        return Reading(NAME, "rows", Rows(output=bare["flat_predictions"], columns=_FLAT))
    if set(bare) == set(_APART.values()) and found[bare["pred_boxes"]][-1:] == (4,):
        roles: dict[str, Any] = {role: bare[name] for role, name in _APART.items()}
        return Reading(NAME, "rows", Rows(**roles))
    return None

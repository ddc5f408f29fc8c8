"""TensorFlow's object detection API: `detection_boxes` (n, 4) y1, x1, y2, x2 as parts of the picture,
`detection_classes` (n,) from 1, `detection_scores` (n,) and `num_detections`.

The networks take bytes of RGB and resize them in the graph.
"""

from __future__ import annotations

from typing import Any

from edgecv.heads.base import Reading
from edgecv.heads.recognition import shapes
from edgecv.heads.rows import Params as Rows
from edgecv.types import ModelFacts

NAME = "tensorflow"

_ROLES = {
    "boxes": "detection_boxes",
    "labels": "detection_classes",
    "scores": "detection_scores",
    "count": "num_detections",
}
INPUT = {"color": "rgb", "resize": "stretch", "dtype": "uint8"}


def recognize(facts: ModelFacts) -> Reading | None:
    """By the names of the four; `:0` may stand after them. TensorRT's plugin has other boxes under them."""
    found = {name.split(":")[0]: name for name in shapes(facts)}
    if not set(_ROLES.values()) <= set(found) or "EfficientNMS_TRT" in facts.operators:
        return None
    if shapes(facts)[found["detection_boxes"]][2:] != (4,):
        return None
    roles: dict[str, Any] = {role: found[name] for role, name in _ROLES.items()}
    params = Rows(**roles, format="yxyx", unit="fractions", first_class=1)
    takes_bytes = bool(facts.inputs) and facts.inputs[0].dtype == "uint8"
    return Reading(NAME, "rows", params, INPUT if takes_bytes else None)

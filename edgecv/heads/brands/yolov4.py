"""Tianxiaomo/pytorch-YOLOv4: `boxes` (N, 1, 4), corners as parts of the blob, `confs` (N, classes)."""

from __future__ import annotations

from edgecv.heads.base import Reading
from edgecv.heads.boxes import Params as Boxes
from edgecv.heads.recognition import shapes
from edgecv.types import ModelFacts

NAME = "yolov4"

INPUT = {"color": "rgb", "resize": "stretch", "std": (255.0,) * 3}


def recognize(facts: ModelFacts) -> Reading | None:
    """By its names and the axis of one in `boxes`."""
    found = shapes(facts)
    if set(found) != {"boxes", "confs"} or len(found["confs"]) != 3 or len(found["boxes"]) != 4:
        return None
    if found["boxes"][2:] != (1, 4):
        return None
    params = Boxes(boxes="boxes", scores="confs", format="xyxy", unit="fractions")
    return Reading(NAME, "boxes", params, INPUT)

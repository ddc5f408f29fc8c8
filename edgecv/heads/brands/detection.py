"""YOLOv1 as Darknet makes it: the vector that its [detection] layer reads."""

from __future__ import annotations

from edgecv.heads import vector
from edgecv.heads.base import Reading
from edgecv.heads.brands.yolo import INPUT
from edgecv.types import ModelFacts

NAME = "detection"
Params = vector.Params


def recognize(facts: ModelFacts) -> Reading | None:
    """Never: a vector may be anything."""
    return None


def reading(params: vector.Params) -> Reading:
    """The vector as it is."""
    return Reading(NAME, vector.TYPE, params, INPUT)

"""YuNet: faces with five landmarks, as four outputs a stride: cls and obj (N, 1), bbox (N, 4), kps (N, 10).

Confidence is sqrt(cls * obj), of both cut to 0 to 1. `FaceDetectorYN` of OpenCV and
ShiqiYu/libfacedetection.train.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgecv.heads import distances
from edgecv.heads.base import HeadParams, Reading, Strides
from edgecv.heads.recognition import P5, is_cells
from edgecv.types import ModelFacts

NAME = "yunet"

INPUT: Mapping[str, Any] = {"color": "bgr", "resize": "letterbox", "anchor": "top-left", "pad_value": 0.0}

_COLUMNS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}


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


def recognize(facts: ModelFacts) -> Reading | None:
    """Outputs by the exporter's names, with the right columns and one row a cell."""
    shapes = {spec.name: spec.shape for spec in facts.outputs}
    roles = {(role, stride): f"{role}_{stride}" for role in _COLUMNS for stride in P5}
    if set(shapes) != set(roles.values()):
        return None
    for (role, stride), name in roles.items():
        shape = shapes[name]
        if len(shape) != 3 or shape[2] != _COLUMNS[role] or not is_cells(shape[1], facts, (stride,)):
            return None
    return reading(Params())


def reading(params: Params) -> Reading:
    """The head that a card's fields stand for."""
    read = distances.Params(
        scores=params.cls,
        boxes=params.bbox,
        objectness=params.obj,
        keypoints=params.kps,
        strides=params.strides,
        layout="rows",
        code="center",
        cell_offset=0.0,
        powers=(0.5, 0.5),
        clip=True,
    )
    return Reading(NAME, distances.TYPE, read, INPUT)

"""RetinaFace of deepinsight/insightface, on MXNet: maps of scores, boxes and landmarks of each stride.

Scores have passed their softmax; their channels are the background of both priors of a cell, then the face of
both. `RetinaFace.detect` of its repository.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgecv.heads import anchors
from edgecv.heads.base import Reading
from edgecv.heads.priors import RETINAFACE_MXNET
from edgecv.heads.recognition import shapes
from edgecv.types import ModelFacts

NAME = "retinaface_mxnet"

# 0 to 255, as they are.
INPUT: Mapping[str, Any] = {"color": "rgb", "resize": "letterbox"}

# Of each role what names end in, but for an `_output` behind it, and channels.
_ROLES = {"scores": ("cls_prob_reshape", 4), "boxes": ("bbox_pred", 8), "keypoints": ("landmark_pred", 20)}
_STRIDES = (32, 16, 8)


def recognize(facts: ModelFacts) -> Reading | None:
    """By the names that MXNet's symbols have, and their channels."""
    found = shapes(facts)
    names: dict[str, tuple[str, ...]] = {}
    for role, (end, channels) in _ROLES.items():
        names[role] = tuple(
            name
            for stride in _STRIDES
            for name, shape in found.items()
            if name.removesuffix("_output").endswith(f"{end}_stride{stride}")
            and len(shape) == 4
            and shape[1] == channels
        )
    if any(len(of_role) != len(_STRIDES) for of_role in names.values()) or len(found) != 9:
        return None
    params = anchors.Params(
        boxes=names["boxes"],
        scores=names["scores"],
        keypoints=names["keypoints"],
        priors=RETINAFACE_MXNET,
        class_major=True,
        background="first",
        classes=1,
        variances=(1.0, 1.0),
    )
    return Reading(NAME, anchors.TYPE, params, INPUT)

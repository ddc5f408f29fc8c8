"""RetinaFace of biubug6/Pytorch_Retinaface: loc (N, 4), conf (N, 2), landms (N, 10), two priors a cell.

Its MXNet original is `retinaface_mxnet`. Exports differ in the names of outputs
and in whether the scores have passed their softmax; their columns and the number of priors tell them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgecv.heads import anchors
from edgecv.heads.base import Reading
from edgecv.heads.priors import RETINAFACE, count
from edgecv.heads.scores import Logits
from edgecv.types import ModelFacts

NAME = "retinaface"

# `detect.py`: the mean of ImageNet, blue first, subtracted from 0 to 255.
INPUT: Mapping[str, Any] = {"color": "bgr", "resize": "letterbox", "mean": (104.0, 117.0, 123.0)}

_ROLES = {4: "boxes", 2: "scores", 10: "keypoints"}


def recognize(facts: ModelFacts) -> Reading | None:
    """Three tables of these columns, a row for each prior; boxes that the graph has decoded are another's."""
    if facts.image_wh is None or len(facts.outputs) != len(_ROLES) or not facts.operators:
        return None
    rows = count(RETINAFACE, facts.image_wh)
    shapes = {spec.shape[1:]: spec.name for spec in facts.outputs}
    if set(shapes) != {(rows, columns) for columns in _ROLES} or "Exp" in facts.operators:
        return None
    names = {role: shapes[rows, columns] for columns, role in _ROLES.items()}
    has_softmax = "Softmax" in (facts.ends.get(names["scores"]), *facts.operators)
    logits: Logits = False if has_softmax else "softmax"
    params = anchors.Params(
        boxes=names["boxes"],
        scores=names["scores"],
        keypoints=names["keypoints"],
        priors=RETINAFACE,
        logits=logits,
        background="first",
    )
    return Reading(NAME, anchors.TYPE, params, INPUT)

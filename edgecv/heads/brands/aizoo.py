"""Face masks of AIZOOTech/FaceMaskDetection: SSD with priors on five maps, scores of mask and no mask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgecv.heads import anchors
from edgecv.heads.base import Reading
from edgecv.heads.priors import count, face_mask
from edgecv.types import ModelFacts

NAME = "aizoo"

# `caffe_infer.py` and `tensorflow_infer.py`.
INPUT: Mapping[str, Any] = {"color": "rgb", "resize": "stretch", "std": (255.0,) * 3}

_SIZE_WH = (260, 260)


def recognize(facts: ModelFacts) -> Reading | None:
    """By the names of its two branches, its number of priors and its two classes."""
    if facts.image_wh != _SIZE_WH or len(facts.outputs) != 2:
        return None
    priors = face_mask(_SIZE_WH)
    n = count(priors, _SIZE_WH)
    found = {spec.name[:3]: spec for spec in facts.outputs if spec.name[3:].startswith("_branch_concat")}
    if {key: spec.shape[1:] for key, spec in found.items()} != {"loc": (n, 4), "cls": (n, 2)}:
        return None
    params = anchors.Params(boxes=found["loc"].name, scores=found["cls"].name, priors=priors)
    return Reading(NAME, anchors.TYPE, params, INPUT)

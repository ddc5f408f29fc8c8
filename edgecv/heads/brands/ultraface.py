"""UltraFace, Linzaer/Ultra-Light-Fast-Generic-Face-Detector-1MB: `boxes` and `scores`, background first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from edgecv.heads import anchors
from edgecv.heads.base import Reading
from edgecv.heads.brands.ssd import decoded
from edgecv.heads.priors import ULTRAFACE, count
from edgecv.types import ModelFacts

NAME = "ultraface"

INPUT: Mapping[str, Any] = {
    "color": "rgb",
    "resize": "stretch",
    "mean": (127.0,) * 3,
    "std": (128.0,) * 3,
}


def recognize(facts: ModelFacts) -> Reading | None:
    """By its names, its two classes and its number of priors.

    It is exported with and without the decoding of boxes, under the same names and shapes: the
    exponential in the graph tells. Others with boxes and scores are in doubt: pixels or parts,
    background or not.
    """
    shapes = {spec.name: spec.shape[1:] for spec in facts.outputs}
    if set(shapes) != {"boxes", "scores"} or facts.image_wh is None or not facts.operators:
        return None
    n = count(ULTRAFACE, facts.image_wh)
    if shapes != {"boxes": (n, 4), "scores": (n, 2)}:
        return None
    if "Exp" in facts.operators:
        return replace(decoded(NAME, "boxes", "scores", "first"), input=INPUT)
    return Reading(NAME, anchors.TYPE, anchors.Params(priors=ULTRAFACE, background="first"), INPUT)

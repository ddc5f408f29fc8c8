"""SSD and UltraFace, priors applied in the graph: boxes (N, 4) and class scores (N, classes).

A box is x1, y1, x2, y2 as parts of the blob's width and height; scores are probabilities.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgecv.heads.base import AtLeast, HeadParams, Query, take
from edgecv.heads.grid import cell_count
from edgecv.types import Candidates, FloatArray, ModelFacts

TYPE = "ssd"
CONVENTIONAL_INPUT: Mapping[str, Any] | None = {
    "color": "rgb",
    "resize": "stretch",
    "mean": (127.0,) * 3,
    "std": (128.0,) * 3,
}

# Priors a cell of UltraFace, by stride (Linzaer/Ultra-Light-Fast-Generic-Face-Detector-1MB).
_ULTRAFACE_PRIORS = {8: 3, 16: 2, 32: 2, 64: 3}


class Params(HeadParams, frozen=True):
    """boxes, scores: names of the outputs.

    background: whether class 0 of the scores is the background; it is dropped, and classes count from
    the one after it.
    """

    boxes: str = "boxes"
    scores: str = "scores"
    background: bool = True


def recognise(facts: ModelFacts) -> Params | None:
    """UltraFace by its names, its two classes and its number of priors.

    Others with boxes and scores are in doubt: pixels or parts, background or not.
    """
    shapes = {spec.name: spec.shape[1:] for spec in facts.outputs}
    if set(shapes) != {"boxes", "scores"} or facts.image_wh is None:
        return None
    priors = sum(n * cell_count(facts.image_wh, (stride,)) for stride, n in _ULTRAFACE_PRIORS.items())
    return Params() if shapes == {"boxes": (priors, 4), "scores": (priors, 2)} else None


def decode(outputs: Mapping[str, FloatArray], params: Params, query: Query) -> Candidates:
    """See `base.Head`."""
    first = 1 if params.background else 0
    scores = take(outputs, params.scores, (None, AtLeast(first + 1)), TYPE)
    corners = take(outputs, params.boxes, (len(scores), 4), TYPE)
    index, class_id, confidence = query.select(scores[:, first:])
    with np.errstate(over="ignore"):
        xyxy = corners[index] * np.array(query.blob_wh * 2, np.float32)
    return Candidates(xyxy, confidence, class_id)

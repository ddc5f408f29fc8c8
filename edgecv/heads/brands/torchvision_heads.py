"""torchvision's SSDlite320, SSD300 and RetinaNet, exported as body and head, without their post-processing.

The outputs are those of the head, `cls_logits` and `bbox_regression`, maps joined (`SSDLiteHead`, `SSDHead`,
`RetinaNetHead`). Offsets grow a box by at most 1000 / 16 (`BoxCoder`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgecv.heads import anchors
from edgecv.heads.base import Reading
from edgecv.heads.priors import FAMILIES, count
from edgecv.types import ModelFacts

NAME = "torchvision_heads"

_GROWTH = 1000 / 16
_IMAGENET: Mapping[str, Any] = {
    "color": "rgb",
    "resize": "stretch",
    "mean": (123.675, 116.28, 103.53),
    "std": (58.395, 57.12, 57.375),
}
# Family of priors -> the size that it is for, how it reads offsets and scores, and how it is fed.
_FAMILIES: Mapping[str, tuple[tuple[int, int] | None, Mapping[str, Any], Mapping[str, Any]]] = {
    "ssdlite320": (
        (320, 320),
        {"logits": "softmax", "background": "first"},
        {**_IMAGENET, "mean": (127.5,) * 3, "std": (127.5,) * 3},
    ),
    "ssd300": (
        (300, 300),
        {"logits": "softmax", "background": "first"},
        {"color": "rgb", "resize": "stretch", "mean": (123.0, 117.0, 104.0)},
    ),
    "retinanet": (None, {"logits": True, "variances": (1.0, 1.0)}, _IMAGENET),
}


def recognize(facts: ModelFacts) -> Reading | None:
    """By the two names, and by as many rows as one of these families has priors."""
    shapes = {spec.name: spec.shape[1:] for spec in facts.outputs}
    if set(shapes) != {"cls_logits", "bbox_regression"} or facts.image_wh is None:
        return None
    for family, (size_wh, read, fed) in _FAMILIES.items():
        if size_wh not in (None, facts.image_wh):
            continue
        priors = FAMILIES[family](facts.image_wh)
        n = count(priors, facts.image_wh)
        scores = shapes["cls_logits"]
        if shapes["bbox_regression"] == (n, 4) and len(scores) == 2 and scores[0] == n:
            params = anchors.Params(
                boxes="bbox_regression", scores="cls_logits", priors=priors, max_growth=_GROWTH, **read
            )
            return Reading(NAME, anchors.TYPE, params, fed)
    return None

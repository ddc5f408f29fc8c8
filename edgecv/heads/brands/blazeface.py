"""MediaPipe's detectors of faces, palms and persons: a box and keypoints in one table, logits in another.

Offsets are pixels from the cells' centers, x before y (`reverse_output_order`); fed at its aspect ratio with
black around it. Graph configurations `face_detection_*`, `palm_detection_*` and `pose_detection_*`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgecv.heads import anchors
from edgecv.heads.base import Reading
from edgecv.heads.priors import FAMILIES, count
from edgecv.types import ModelFacts

NAME = "blazeface"

_SIGNED: Mapping[str, Any] = {
    "color": "rgb",
    "resize": "letterbox",
    "mean": (127.5,) * 3,
    "std": (127.5,) * 3,
}
_UNSIGNED: Mapping[str, Any] = {"color": "rgb", "resize": "letterbox", "std": (255.0,) * 3}

# Size of the input, family of priors, columns of box and keypoints, how it is fed.
_NETWORKS: tuple[tuple[tuple[int, int], str, int, Mapping[str, Any]], ...] = (
    ((128, 128), "blazeface", 16, _SIGNED),
    ((256, 256), "blazeface-back", 16, _SIGNED),
    ((192, 192), "blazeface", 18, _UNSIGNED),
    ((224, 224), "blazepose", 12, _SIGNED),
)


def recognize(facts: ModelFacts) -> Reading | None:
    """By the size of its input, the number of priors, and the columns: no other network has these."""
    shapes = {spec.shape[1:]: spec.name for spec in facts.outputs}
    for size_wh, family, columns, fed in _NETWORKS:
        priors = FAMILIES[family](size_wh)
        n = count(priors, size_wh)
        if size_wh != facts.image_wh or len(facts.outputs) != 2 or set(shapes) != {(n, columns), (n, 1)}:
            continue
        regressors = shapes[n, columns]
        params = anchors.Params(
            boxes=regressors,
            scores=shapes[n, 1],
            keypoints=regressors,
            priors=priors,
            logits=facts.ends.get(shapes[n, 1]) not in ("Sigmoid",),
            code="linear",
            variances=(1.0, 1.0),
        )
        return Reading(NAME, anchors.TYPE, params, fed)
    return None

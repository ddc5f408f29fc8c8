"""RTMDet without its post-processing, as mmdet's own head ends: scores and distances, two maps a stride.

Scores are logits, and distances, from the cell's left top corner, are multiplied by the stride in the
network. `RTMDetSepBNHead` of open-mmlab/mmdetection.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgecv.heads import distances, levels
from edgecv.heads.base import Reading
from edgecv.heads.recognition import P5
from edgecv.types import ModelFacts

NAME = "rtmdet"

INPUT: Mapping[str, Any] = {
    "color": "bgr",
    "resize": "letterbox",
    "anchor": "top-left",
    "pad_value": 114.0,
    "mean": (103.53, 116.28, 123.675),
    "std": (57.375, 57.12, 58.395),
}


def recognize(facts: ModelFacts) -> Reading | None:
    """Maps of classes that a convolution makes, and of four channels that end in the stride's product.

    Without that product the same shapes are YOLOv6's, and others', whose cells have their centers elsewhere.
    """
    pair = levels.beside(levels.by_width(facts, P5, maps=True), 4)
    if pair is None or {facts.ends.get(name) for name in pair.boxes} != {"Mul"}:
        return None
    if {facts.ends.get(name) for name in pair.scores} != {"Conv"}:
        return None
    params = distances.Params(
        scores=pair.scores, boxes=pair.boxes, cell_offset=0.0, unit="pixels", logits=True
    )
    return Reading(NAME, distances.TYPE, params, INPUT)

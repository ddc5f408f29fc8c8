"""Faster R-CNN as py-faster-rcnn makes it, cut in two before the ROI pooling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgecv.heads import two_stages
from edgecv.heads.base import Reading
from edgecv.types import ModelFacts

NAME = "faster_rcnn"
Params = two_stages.Params

# `PIXEL_MEANS` of rbgirshick/py-faster-rcnn.
INPUT: Mapping[str, Any] = {
    "color": "bgr",
    "resize": "stretch",
    "mean": (102.9801, 115.9465, 122.7717),
}


def recognize(facts: ModelFacts) -> Reading | None:
    """Never: anchors and the pooling stand in no file of the network."""
    return None


def reading(params: two_stages.Params) -> Reading:
    """The two stages as they are."""
    return Reading(NAME, two_stages.TYPE, params, INPUT)

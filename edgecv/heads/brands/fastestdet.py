"""FastestDet: one map, (5 + classes, H, W), of one stride: objectness, tx, ty, tw, th, class probabilities.

Confidence is objectness^0.6 * class^0.4. `handle_preds` of dog-qiuqiu/FastestDet.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgecv.heads import distances
from edgecv.heads.base import HeadParams, PositiveInt, Reading
from edgecv.heads.cells import cells_wh
from edgecv.heads.recognition import sole_output
from edgecv.types import ModelFacts

NAME = "fastestdet"

INPUT: Mapping[str, Any] = {"color": "bgr", "resize": "stretch", "std": (255.0,) * 3}

_STRIDE = 16
_COCO_CHANNELS = 85


class Params(HeadParams, frozen=True):
    """output: its name. stride: pixels."""

    output: str
    stride: PositiveInt = _STRIDE


def recognize(facts: ModelFacts) -> Reading | None:
    """(1, 85, H, W) at stride 16; with another number of classes it could be a segmentation network."""
    output = sole_output(facts, rank=4)
    if output is None or facts.image_wh is None:
        return None
    columns, rows = cells_wh(facts.image_wh, _STRIDE)
    if output.shape[1:] != (_COCO_CHANNELS, rows, columns):
        return None
    return reading(Params(output=output.name))


def reading(params: Params) -> Reading:
    """The head that a card's fields stand for."""
    read = distances.Params(
        output=(params.output,),
        columns=("objectness", "box", "classes"),
        strides=(params.stride,),
        layout="channels-first",
        code="center-sigmoid",
        cell_offset=0.0,
        powers=(0.6, 0.4),
    )
    return Reading(NAME, distances.TYPE, read, INPUT)

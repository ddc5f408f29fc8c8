"""YOLOv2 as Darknet makes it: the values that its [region] layer reads.

`forward_region_layer` and `get_region_detections` of pjreddie/darknet.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from edgecv.heads import grid
from edgecv.heads.base import HeadParams, PositiveInt, Reading
from edgecv.heads.brands.yolo import INPUT
from edgecv.heads.grid import Anchors
from edgecv.types import ModelFacts

NAME = "region"


class Params(HeadParams, frozen=True):
    """output: name of the raw map. anchors: (width, height) of each, cells. classes: how many.

    coords: numbers of an anchor before its objectness, of which the first four are the box. softmax:
    whether classes exclude one another; else each is a sigmoid. background: whether the objectness is
    the logit of a class of its own, the background, so that a confidence is the class probability alone.
    """

    output: str
    anchors: Anchors
    classes: PositiveInt
    coords: Annotated[int, msgspec.Meta(ge=4)] = 4
    softmax: bool = True
    background: bool = False


def recognize(facts: ModelFacts) -> Reading | None:
    """Never: anchors are in the cfg alone."""
    return None


def reading(params: Params) -> Reading:
    """As maps of anchors in cells."""
    return Reading(
        NAME,
        grid.TYPE,
        grid.Params(
            layers=(grid.Layer(params.output, params.anchors),),
            classes=params.classes,
            unit="cells",
            coords=params.coords,
            softmax=params.softmax,
            background=params.background,
        ),
        INPUT,
    )

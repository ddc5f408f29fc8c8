"""DetectNet: how much an object covers each cell, and the object's sides from there.

Of NVIDIA DIGITS: coverage (classes, H, W), 0 to 1; boxes (4, H, W): left, top, right and bottom from the
cell's left top corner, pixels of the blob; all classes share them. NVIDIA's own layer, `ClusterDetections`,
joins the cells of one object by OpenCV's groupRectangles; here NMS keeps the best of them.
Of NVIDIA TAO, DetectNet_v2 (PeopleNet, TrafficCamNet): each class has boxes of its own, (4 * classes, H, W),
distances of the sides from the cell in units of 35 pixels (`nvdsinfer_customparser` of DeepStream).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from edgecv.heads import anchors
from edgecv.heads.base import HeadParams, PositiveInt, Reading
from edgecv.heads.cells import cells_wh
from edgecv.heads.priors import PriorMap
from edgecv.types import ModelFacts

NAME = "detectnet"

_TAO_STRIDE = 16
_TAO_UNIT = 35.0
_TAO_NAMES = ("output_cov/Sigmoid", "output_bbox/BiasAdd")
# TAO's networks are fed 0 to 1 at the size of the network.
TAO_INPUT: Mapping[str, Any] = {"color": "rgb", "resize": "stretch", "std": (255.0,) * 3}


class Params(HeadParams, frozen=True):
    """coverage, boxes: names of the outputs. stride: of the cells, pixels. classes: how many there are.

    min_height: lower boxes are dropped, pixels of the blob.
    """

    coverage: str = "coverage"
    boxes: str = "bboxes"
    stride: PositiveInt = 16
    classes: PositiveInt = 1
    min_height: Annotated[float, msgspec.Meta(ge=0)] = 0.0


def recognize(facts: ModelFacts) -> Reading | None:
    """TAO's by the names and shapes of its outputs; the names of others are any that an author chose."""
    shapes = {spec.name.removesuffix(":0"): (spec.name, spec.shape[1:]) for spec in facts.outputs}
    if facts.image_wh is None or set(shapes) != set(_TAO_NAMES):
        return None
    columns, rows = cells_wh(facts.image_wh, _TAO_STRIDE)
    (scores, shape), (boxes, box_shape) = (shapes[name] for name in _TAO_NAMES)
    classes = shape[0] if len(shape) == 3 else None
    if not isinstance(classes, int) or (shape, box_shape) != (
        (classes, rows, columns),
        (4 * classes, rows, columns),
    ):
        return None
    params = anchors.Params(
        boxes=boxes,
        scores=scores,
        classes=classes,
        priors=(PriorMap(stride=_TAO_STRIDE, sizes=(1.0,), offset=0.5 / _TAO_STRIDE),),
        code="sides",
        variances=(_TAO_UNIT, _TAO_UNIT),
        shared=False,
    )
    return Reading(NAME, anchors.TYPE, params, TAO_INPUT)


def reading(params: Params) -> Reading:
    """A prior a cell, at its left top corner."""
    return Reading(
        NAME,
        anchors.TYPE,
        anchors.Params(
            boxes=params.boxes,
            scores=params.coverage,
            classes=params.classes,
            priors=(PriorMap(stride=params.stride, sizes=(1.0,), offset=0.0),),
            code="corner-pixels",
            variances=(1.0, 1.0),
            min_height=params.min_height,
        ),
    )

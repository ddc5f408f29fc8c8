"""YOLOv3 and v4 as Darknet makes them: what its [yolo] layers read, (anchors * (5 + classes), H, W).

`new_coords` is of YOLOv4-CSP and Scaled-YOLOv4, whose networks apply the sigmoids themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from edgecv.errors import CardError
from edgecv.heads import grid
from edgecv.heads.base import HeadParams, PositiveInt, Reading
from edgecv.heads.grid import Anchors, PositiveFloat
from edgecv.types import ModelFacts

NAME = "yolo"

# As `detector` of AlexeyAB/darknet does unless it is told to keep the aspect ratio.
INPUT: Mapping[str, Any] = {"color": "rgb", "resize": "stretch", "std": (255.0,) * 3}


class Layer(HeadParams, frozen=True):
    """One [yolo] layer.

    output: name of its raw map. anchors: (width, height) of those that it uses, blob pixels.
    scale_x_y: how far a center can leave its cell: 1, not at all. new_coords: the network has applied the
    sigmoids, and size = (2 t)^2 * anchor.
    """

    output: str
    anchors: Anchors
    scale_x_y: PositiveFloat = 1.0
    new_coords: bool = False


class Params(HeadParams, frozen=True):
    """layers: in the network's order. classes: how many."""

    layers: Annotated[tuple[Layer, ...], msgspec.Meta(min_length=1)]
    classes: PositiveInt


def recognize(facts: ModelFacts) -> Reading | None:
    """Never: anchors are in the cfg alone."""
    return None


def reading(params: Params) -> Reading:
    """Raises CardError where layers differ in `new_coords`."""
    is_new = {layer.new_coords for layer in params.layers}
    if len(is_new) != 1:
        raise CardError(f"head ({NAME}): `new_coords` of some layers: expected the same in all")
    layers = tuple(grid.Layer(one.output, one.anchors, one.scale_x_y) for one in params.layers)
    code: dict[str, Any] = {"size": "square", "activated": True} if is_new == {True} else {}
    return Reading(NAME, grid.TYPE, grid.Params(layers=layers, classes=params.classes, **code), INPUT)

"""YOLOv3 and v4 as Darknet makes them: a raw map for each [yolo] layer, (anchors * (5 + classes), H, W).

An anchor's channels are tx, ty, tw, th, objectness and classes, all logits: center = (cell + s *
sigmoid(t) - (s - 1) / 2) * cell size, size = exp(t) * anchor, confidence = sigmoid(objectness) *
sigmoid(class); s is `scale_x_y`. With `new_coords` the network has applied the sigmoids, and size =
(2 t)^2 * anchor. Formulas: Redmon and Farhadi, YOLOv3 (arXiv:1804.02767), section 2; `get_yolo_box` and
`forward_yolo_layer` of AlexeyAB/darknet.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
import numpy as np

from edgecv import boxes
from edgecv.heads.base import HeadParams, PositiveInt, Query, join, sigmoid
from edgecv.heads.darknet import DARKNET_INPUT, AnchorMap, Anchors, PositiveFloat
from edgecv.types import Candidates, FloatArray, IntArray, ModelFacts

TYPE = "yolo"
TASK = "detect"
CONVENTIONAL_INPUT: Mapping[str, Any] | None = DARKNET_INPUT


class Layer(HeadParams, frozen=True):
    """One [yolo] layer.

    output: name of its raw map. anchors: (width, height) of those that it uses, blob pixels.
    scale_x_y: how far a center can leave its cell: 1, not at all. new_coords: see above.
    """

    output: str
    anchors: Anchors
    scale_x_y: PositiveFloat = 1.0
    new_coords: bool = False


class Params(HeadParams, frozen=True):
    """layers: in the network's order. classes: how many."""

    layers: Annotated[tuple[Layer, ...], msgspec.Meta(min_length=1)]
    classes: PositiveInt


def recognize(facts: ModelFacts) -> Params | None:
    """Never: anchors are in the cfg alone."""
    return None


def decode(outputs: Mapping[str, FloatArray], params: Params, query: Query) -> Candidates:
    """See `base.DetectionHead`."""
    parts = [_decode_layer(outputs, layer, params.classes, query) for layer in params.layers]
    confidence, class_id, box = join(parts, query.max_candidates)
    return Candidates(boxes.cxcywh_to_xyxy(box), confidence, class_id)


def _decode_layer(
    outputs: Mapping[str, FloatArray], layer: Layer, classes: int, query: Query
) -> tuple[FloatArray, IntArray, FloatArray]:
    """Confidence, class and box (center and size) of one layer's candidates."""
    grid = AnchorMap(outputs, layer.output, layer.anchors, 5 + classes, query.blob_wh, TYPE)
    squash = np.asarray if layer.new_coords else sigmoid
    # A confidence is at most its objectness, so what lies under it needs no sigmoid of its classes.
    anchor, cell = np.nonzero(squash(grid.values[:, 4]) > max(query.lowest_confidence, 0))
    pred = grid.rows(anchor, cell)
    index, class_id, confidence = query.select(squash(pred[:, 5:]), objectness=squash(pred[:, 4]))
    anchor, cell, box = anchor[index], cell[index], pred[index, :4]
    scale = np.float32(layer.scale_x_y)
    with np.errstate(over="ignore", invalid="ignore"):
        center = (grid.corners(cell) + scale * squash(box[:, :2]) - (scale - 1) / 2) * grid.cell_wh
        growth = (2 * box[:, 2:]) ** 2 if layer.new_coords else np.exp(box[:, 2:])
        size = growth * grid.sizes(anchor)
    return confidence, class_id, np.concatenate([center, size], axis=1)

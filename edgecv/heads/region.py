"""YOLOv2 as Darknet makes it: the raw map of its [region] layer, (anchors * (coords + 1 + classes), H, W).

An anchor's channels are tx, ty, tw, th (and more where `coords` is over 4), objectness and classes:
center = (cell + sigmoid(t)) * cell size, size = exp(t) * anchor * cell size, confidence =
sigmoid(objectness) * softmax(classes). Formulas: Redmon and Farhadi, YOLO9000 (arXiv:1612.08242),
section 2; `forward_region_layer` and `get_region_detections` of pjreddie/darknet.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
import numpy as np

from edgecv import boxes
from edgecv.heads.base import HeadParams, PositiveInt, Query, sigmoid
from edgecv.heads.darknet import DARKNET_INPUT, AnchorMap, Anchors, softmax
from edgecv.types import Candidates, FloatArray, ModelFacts

TYPE = "region"
TASK = "detect"
CONVENTIONAL_INPUT: Mapping[str, Any] | None = DARKNET_INPUT


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


def recognize(facts: ModelFacts) -> Params | None:
    """Never: anchors are in the cfg alone."""
    return None


def decode(outputs: Mapping[str, FloatArray], params: Params, query: Query) -> Candidates:
    """See `base.DetectionHead`."""
    first, background = params.coords + 1, int(params.background)
    grid = AnchorMap(outputs, params.output, params.anchors, first + params.classes, query.blob_wh, TYPE)
    objectness = grid.values[:, first - 1]
    # A confidence is at most its objectness, so what lies under it needs no softmax of its classes.
    likely = sigmoid(objectness) > max(query.lowest_confidence, 0)
    anchor, cell = np.nonzero(np.ones_like(likely) if params.background else likely)
    pred = grid.rows(anchor, cell)
    # The background is a class of the softmax, and no objectness.
    scores = softmax(pred[:, first - background :]) if params.softmax else sigmoid(pred[:, first:])
    index, class_id, confidence = query.select(
        scores[:, scores.shape[1] - params.classes :],
        objectness=None if params.background else sigmoid(pred[:, first - 1]),
    )
    anchor, cell, box = anchor[index], cell[index], pred[index, :4]
    with np.errstate(over="ignore", invalid="ignore"):
        center = (grid.corners(cell) + sigmoid(box[:, :2])) * grid.cell_wh
        size = np.exp(box[:, 2:]) * grid.sizes(anchor) * grid.cell_wh
    cxcywh = np.concatenate([center, size], axis=1)
    return Candidates(boxes.cxcywh_to_xyxy(cxcywh), confidence, class_id)

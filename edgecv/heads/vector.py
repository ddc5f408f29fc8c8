"""YOLOv1: one vector, side^2 * (classes + boxes * 5), as Darknet's [detection] layer reads it.

First come the class probabilities of every cell, then the objectness of every cell's boxes, then the boxes:
x and y in cells, from the cell's corner, w and h as parts of the picture, their roots with `sqrt`. No anchor
and no map: a class belongs to a cell, whose boxes share it. Formulas: Redmon et al., You Only Look Once
(arXiv:1506.02640), section 2; `get_detection_detections` of AlexeyAB/darknet.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import numpy as np

from edgecv import boxes
from edgecv.errors import HeadError
from edgecv.heads.base import HeadParams, PositiveInt, Query, softmax, take
from edgecv.types import Candidates, FloatArray, ModelFacts

TYPE = "vector"
TASK = "detect"

_SIDE, _BOXES = 7, 2


class Params(HeadParams, frozen=True):
    """output: name of the vector. side: cells in a row and in a column. num: boxes of a cell.

    classes: how many. coords: numbers of a box. sqrt: whether w and h are square roots. softmax: whether
    the class probabilities are logits of a softmax.
    """

    output: str
    side: PositiveInt
    num: PositiveInt
    classes: PositiveInt
    coords: Literal[4] = 4
    sqrt: bool = False
    softmax: bool = False


def draft(facts: ModelFacts) -> Params:
    """A vector of 7 x 7 cells with two boxes each, as the paper has them, or of another square of cells.

    Raises HeadError where no output is a vector of such a length.
    """
    for spec in facts.outputs:
        length = math.prod(size for size in spec.shape[1:] if isinstance(size, int))
        if len(spec.shape) != 2 or spec.shape[1] != length:
            continue
        for side in (_SIDE, *range(2, 40)):
            classes, rest = divmod(length - side**2 * _BOXES * 5, side**2)
            if not rest and classes > 0:
                return Params(spec.name, side=side, num=_BOXES, classes=classes, sqrt=True)
    shapes = "; ".join(map(str, facts.outputs[:8]))
    raise HeadError(
        f"{TYPE} head: outputs {shapes}: expected one of (batch, side^2 * (classes + {_BOXES} boxes * 5))"
    )


def decode(outputs: Mapping[str, FloatArray], params: Params, query: Query) -> Candidates:
    """See `base.DetectionHead`."""
    cells, num, classes = params.side**2, params.num, params.classes
    raw = take(outputs, params.output, (cells * (classes + num * 5),), TYPE)
    objectness_at, boxes_at = cells * classes, cells * (classes + num)
    scores = raw[:objectness_at].reshape(cells, classes)
    if params.softmax:
        scores = softmax(scores)
    index, class_id, confidence = query.select(
        np.repeat(scores, num, axis=0), objectness=raw[objectness_at:boxes_at]
    )
    box = raw[boxes_at:].reshape(-1, 4)[index]
    row, column = np.divmod(index // num, params.side)
    blob_wh = np.array(query.blob_wh, np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        center = (np.stack([column, row], axis=1) + box[:, :2]) * (blob_wh / params.side)
        size = (box[:, 2:] ** 2 if params.sqrt else box[:, 2:]) * blob_wh
        cxcywh = np.concatenate([center, size], axis=1).astype(np.float32, copy=False)
    return Candidates(boxes.cxcywh_to_xyxy(cxcywh), confidence, class_id)

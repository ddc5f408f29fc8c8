"""FastestDet: one output, (5 + classes, H, W), of one stride.

A cell is objectness, tx, ty, tw, th and class probabilities; confidence is objectness^0.6 * class^0.4,
the center (tanh(t) + cell) / cells, the size sigmoid(t), both as parts of the blob. Formulas:
`handle_preds` of dog-qiuqiu/FastestDet.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgecv import boxes
from edgecv.heads.base import AtLeast, HeadParams, PositiveInt, Query, sigmoid, take
from edgecv.heads.cells import cells_wh, grid
from edgecv.heads.recognition import sole_output
from edgecv.types import Candidates, FloatArray, ModelFacts

TYPE = "fastestdet"
TASK = "detect"
CONVENTIONAL_INPUT: Mapping[str, Any] | None = {"color": "bgr", "resize": "stretch", "std": (255.0,) * 3}

_STRIDE = 16
_COCO_CHANNELS = 85


class Params(HeadParams, frozen=True):
    """output: its name. stride: pixels."""

    output: str
    stride: PositiveInt = _STRIDE


def recognize(facts: ModelFacts) -> Params | None:
    """(1, 85, H, W) at stride 16; with another number of classes it could be a segmentation network."""
    output = sole_output(facts, rank=4)
    if output is None or facts.image_wh is None:
        return None
    columns, rows = cells_wh(facts.image_wh, _STRIDE)
    return Params(output=output.name) if output.shape[1:] == (_COCO_CHANNELS, rows, columns) else None


def decode(outputs: Mapping[str, FloatArray], params: Params, query: Query) -> Candidates:
    """See `base.Head`."""
    columns, rows = cells_wh(query.blob_wh, params.stride)
    pred = take(outputs, params.output, (AtLeast(6), rows, columns), TYPE).reshape(-1, rows * columns)
    # Raised to 1 / 0.4 the confidence is a product, so the scores are searched before any power.
    with np.errstate(invalid="ignore", over="ignore"):
        objectness = pred[0] * np.sqrt(pred[0])
    threshold = np.power(np.maximum(query.confidence, 0), 2.5)
    index, class_id, product = query.select(pred[5:].T, objectness=objectness, threshold=threshold)
    box = pred[1:5, index].T
    blob_wh = np.array(query.blob_wh, np.float32)
    cell = blob_wh / np.array([columns, rows], np.float32)
    center = (np.tanh(box[:, :2]) + grid(query.blob_wh, (params.stride,)).cell_xy[index]) * cell
    cxcywh = np.concatenate([center, sigmoid(box[:, 2:]) * blob_wh], axis=1)
    return Candidates(boxes.cxcywh_to_xyxy(cxcywh), product ** np.float32(0.4), class_id)

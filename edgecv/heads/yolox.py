"""YOLOX: one anchor-free output, (N, 5 + classes).

A row is dx, dy, log w, log h in strides from its cell, objectness, class scores; or, exported with
`--decode_in_inference`, cx, cy, w, h in blob pixels. Objectness and scores are probabilities. Formulas:
`YOLOXHead.decode_outputs` of Megvii-BaseDetection/YOLOX.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgecv import boxes
from edgecv.heads.base import AtLeast, HeadParams, Query, Strides, take
from edgecv.heads.cells import grid
from edgecv.heads.recognition import P5, is_cells, is_nanodet_export, sole_output
from edgecv.heads.ultralytics import parse_metadata
from edgecv.types import Candidates, FloatArray, ModelFacts

TYPE = "yolox"
TASK = "detect"
CONVENTIONAL_INPUT: Mapping[str, Any] | None = {
    "color": "bgr",
    "resize": "letterbox",
    "anchor": "top-left",
    "rounding": "floor",
    "pad_value": 114.0,
}


class Params(HeadParams, frozen=True):
    """output: its name. strides: pixels, in the order of the rows. decoded: boxes are in blob pixels."""

    output: str = "output"
    strides: Strides = P5
    decoded: bool = False


def recognize(facts: ModelFacts) -> Params | None:
    """(1, N, 5 + classes) with one row a cell; decoded where the graph has a decoder's exponential."""
    output = sole_output(facts, rank=3)
    if output is None:
        return None
    rows, columns = output.shape[1:]
    if not isinstance(columns, int) or columns < 6 or not is_cells(rows, facts, P5):
        return None
    if parse_metadata(facts.metadata) or is_nanodet_export(facts):
        return None
    return Params(output=output.name, decoded="Exp" in facts.operators)


def decode(outputs: Mapping[str, FloatArray], params: Params, query: Query) -> Candidates:
    """See `base.Head`."""
    cells = grid(query.blob_wh, params.strides)
    pred = take(outputs, params.output, (len(cells), AtLeast(6)), TYPE)
    index, class_id, confidence = query.select(pred[:, 5:], objectness=pred[:, 4])
    box = pred[index, :4]
    if not params.decoded:
        stride = cells.stride[index]
        with np.errstate(over="ignore", invalid="ignore"):
            box[:, :2] = (box[:, :2] + cells.cell_xy[index]) * stride
            box[:, 2:] = np.exp(box[:, 2:]) * stride
    return Candidates(boxes.cxcywh_to_xyxy(box), confidence, class_id)

"""DetectNet: how much an object covers each cell, and the object's corners from there (NVIDIA DIGITS).

coverage (classes, H, W), 0 to 1; boxes (4, H, W): left, top, right and bottom from the cell's left top
corner, pixels of the blob; all classes share them. NVIDIA's own layer, `ClusterDetections`, joins the cells
of one object by OpenCV's groupRectangles; here NMS keeps the best of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
import numpy as np

from edgecv.heads.base import HeadParams, PositiveInt, Query, take
from edgecv.heads.cells import cells_wh, grid
from edgecv.types import Candidates, FloatArray, ModelFacts

TYPE = "detectnet"
TASK = "detect"
CONVENTIONAL_INPUT: Mapping[str, Any] | None = None


class Params(HeadParams, frozen=True):
    """coverage, boxes: names of the outputs. stride: of the cells, pixels. classes: how many there are.

    min_height: lower boxes are dropped, pixels of the blob.
    """

    coverage: str = "coverage"
    boxes: str = "bboxes"
    stride: PositiveInt = 16
    classes: PositiveInt = 1
    min_height: Annotated[float, msgspec.Meta(ge=0)] = 0.0


def recognize(facts: ModelFacts) -> Params | None:
    """Never: the names are any that a network's author chose."""
    return None


def decode(outputs: Mapping[str, FloatArray], params: Params, query: Query) -> Candidates:
    """See `base.DetectionHead`."""
    columns, rows = cells_wh(query.blob_wh, params.stride)
    coverage = take(outputs, params.coverage, (params.classes, rows, columns), TYPE)
    boxes = take(outputs, params.boxes, (4, rows, columns), TYPE)
    with np.errstate(over="ignore", invalid="ignore"):
        if params.min_height:
            coverage = np.where(boxes[3] - boxes[1] >= params.min_height, coverage, np.float32(-1))
        index, class_id, confidence = query.select(coverage.reshape(params.classes, -1).T)
        cells = grid(query.blob_wh, (params.stride,))
        corner = cells.cell_xy[index] * cells.stride[index]
        xyxy = boxes.reshape(4, -1).T[index] + np.tile(corner, 2)
    return Candidates(xyxy, confidence, class_id)

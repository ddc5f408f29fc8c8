"""YOLOv8 to YOLO12, decoded in the graph: one output, (4 + classes, N), or its transpose.

A column is cx, cy, w, h in blob pixels and the class scores, which are probabilities. Layout:
`Detect` of the ultralytics package.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgecv import boxes
from edgecv.heads.base import AtLeast, HeadParams, Query, take
from edgecv.heads.recognition import (
    P2,
    P5,
    P6,
    Size,
    is_cells,
    is_nanodet_export,
    is_yolox_export,
    sole_output,
)
from edgecv.heads.ultralytics import ULTRALYTICS_INPUT, UltralyticsFacts, parse_metadata
from edgecv.types import Candidates, FloatArray, ModelFacts

TYPE = "yolov8"
TASK = "detect"
CONVENTIONAL_INPUT: Mapping[str, Any] | None = ULTRALYTICS_INPUT

# Box, one score and 17 keypoints: a pose network looks like a detector of 52 classes.
_COCO_POSE_ROWS = 56


class Params(HeadParams, frozen=True):
    """output: its name. transposed: (N, 4 + classes), as some converters leave it."""

    output: str = "output0"
    transposed: bool = False


def recognize(facts: ModelFacts) -> Params | None:
    """(1, 4 + classes, N) with one column a cell; metadata must speak of detection.

    The transpose is also the shape of a YOLOX and a NanoDet, whose export scripts' names rule it out.
    """
    output = sole_output(facts, rank=3)
    about = parse_metadata(facts.metadata)
    if output is None or (about and (about.task not in (None, "detect") or about.end2end)):
        return None
    first, last = output.shape[1:]
    straight = _fits(first, last, facts, about)
    transposed = _fits(last, first, facts, about) and (
        about is not None or not (is_yolox_export(facts) or is_nanodet_export(facts))
    )
    if straight == transposed:
        return None
    return Params(output=output.name, transposed=transposed)


def _fits(channels: Size, cells: Size, facts: ModelFacts, about: UltralyticsFacts | None) -> bool:
    if not isinstance(channels, int) or channels < 5 or not is_cells(cells, facts, P5, P2, P6):
        return False
    return channels != _COCO_POSE_ROWS if about is None else len(about.names) == channels - 4


def decode(outputs: Mapping[str, FloatArray], params: Params, query: Query) -> Candidates:
    """See `base.Head`."""
    if params.transposed:
        pred = take(outputs, params.output, (None, AtLeast(5)), TYPE)
    else:
        pred = take(outputs, params.output, (AtLeast(5), None), TYPE).T
    index, class_id, confidence = query.select(pred[:, 4:])
    return Candidates(boxes.cxcywh_to_xyxy(pred[:, :4], index), confidence, class_id)

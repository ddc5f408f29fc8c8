"""PaddleDetection's networks through Paddle2ONNX: PP-YOLOE, PicoDet and others of its inputs.

With NMS a table (n, 6) of class, confidence, x1, y1, x2, y2, and how many rows each image has; without it
boxes (N, 4) and scores (classes, N). Boxes are in pixels of the frame over `scale_factor`: of the blob
where that is fed as 1. Configurations differ in mean and std.
"""

from __future__ import annotations

from edgecv.heads.base import Reading
from edgecv.heads.boxes import Params as Boxes
from edgecv.heads.rows import Column
from edgecv.heads.rows import Params as Rows
from edgecv.types import ModelFacts

NAME = "paddledetection"

_COLUMNS: tuple[Column, ...] = ("class", "confidence", "x1", "y1", "x2", "y2")


def recognize(facts: ModelFacts) -> Reading | None:
    """By the inputs `image` and `scale_factor` and the shapes of two outputs."""
    names = {spec.name for spec in facts.inputs}
    if not {"image", "scale_factor"} <= names <= {"image", "scale_factor", "im_shape"}:
        return None
    tables = [spec for spec in facts.outputs if spec.shape[-1:] == (6,) and len(spec.shape) == 2]
    counts = [spec for spec in facts.outputs if len(spec.shape) == 1 and spec.dtype.kind == "i"]
    if len(tables) == 1 and len(tables) + len(counts) == len(facts.outputs) and len(counts) <= 1:
        count = counts[0].name if counts else None
        return Reading(NAME, "rows", Rows(output=tables[0].name, columns=_COLUMNS, count=count))
    boxes = [spec for spec in facts.outputs if spec.shape[2:] == (4,)]
    scores = [spec for spec in facts.outputs if len(spec.shape) == 3 and spec not in boxes]
    if len(facts.outputs) == 2 and len(boxes) == len(scores) == 1 and boxes[0].shape[1] == scores[0].shape[2]:
        params = Boxes(boxes=boxes[0].name, scores=scores[0].name, format="xyxy", scores_layout="columns")
        return Reading(NAME, "boxes", params)
    return None

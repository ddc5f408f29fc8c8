"""PaddleDetection's networks through Paddle2ONNX: PP-YOLOE, PicoDet and others of its inputs.

With NMS a table (n, 6) of class, confidence, x1, y1, x2, y2, and how many rows each image has; without it
boxes (N, 4) and scores (classes, N). Boxes are in pixels of the frame over `scale_factor`: of the blob
where that is fed as 1. Configurations differ in mean and std.
"""

from __future__ import annotations

from edgecv.heads.base import Reading
from edgecv.heads.boxes import Params as Boxes
from edgecv.heads.recognition import P5, paddle_pair
from edgecv.heads.rows import Column
from edgecv.heads.rows import Params as Rows
from edgecv.types import ModelFacts

NAME = "paddledetection"

_COLUMNS: tuple[Column, ...] = ("class", "confidence", "x1", "y1", "x2", "y2")


def recognize(facts: ModelFacts) -> Reading | None:
    """By the inputs `image` and `scale_factor` and the shapes of two outputs; of boxes and scores, whose
    export needs no `scale_factor`, by the number of cells.
    """
    names = {spec.name for spec in facts.inputs}
    if not {"image"} <= names <= {"image", "scale_factor", "im_shape"}:
        return None
    tables = [spec for spec in facts.outputs if spec.shape[-1:] == (6,) and len(spec.shape) == 2]
    counts = [spec for spec in facts.outputs if len(spec.shape) == 1 and spec.dtype.kind == "i"]
    is_final = len(tables) == 1 and len(tables) + len(counts) == len(facts.outputs) and len(counts) <= 1
    if is_final and "scale_factor" in names:
        count = counts[0].name if counts else None
        return Reading(NAME, "rows", Rows(output=tables[0].name, columns=_COLUMNS, count=count))
    pair = paddle_pair(facts, P5)
    if pair is not None:
        params = Boxes(boxes=pair[0], scores=pair[1], format="xyxy", scores_layout="columns")
        return Reading(NAME, "boxes", params)
    return None

"""YOLOv7 with `--end2end --max-wh`: (n, 7), batch, x1, y1, x2, y2 in blob pixels, class, confidence."""

from __future__ import annotations

from edgecv.heads.base import Reading
from edgecv.heads.recognition import is_yolox_export, sole_output
from edgecv.heads.rows import Column
from edgecv.heads.rows import Params as Rows
from edgecv.heads.ultralytics import ULTRALYTICS_INPUT
from edgecv.types import ModelFacts

NAME = "yolov7"

_COLUMNS: tuple[Column, ...] = ("batch", "x1", "y1", "x2", "y2", "class", "confidence")


def recognize(facts: ModelFacts) -> Reading | None:
    """(n, 7) under the names of its export script, out of a NonMaxSuppression."""
    output = sole_output(facts, rank=2)
    if output is None or output.shape[1] != 7 or not is_yolox_export(facts):
        return None
    if "NonMaxSuppression" not in facts.operators:
        return None
    return Reading(NAME, "rows", Rows(output=output.name, columns=_COLUMNS), ULTRALYTICS_INPUT)

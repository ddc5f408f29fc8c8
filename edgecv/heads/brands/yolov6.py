"""YOLOv6: one output, (N, 5 + classes), a row cx, cy, w, h in blob pixels, objectness, class scores.

The names are those of its export script (meituan/YOLOv6, `deploy/ONNX`); a YOLOX of these names has the
same shape. The objectness is 1 everywhere from version 2 on (`Detect.forward`, `effidehead.py`).
"""

from __future__ import annotations

from edgecv.heads.base import Reading
from edgecv.heads.boxes import Params as Boxes
from edgecv.heads.recognition import P5, P6, has_yolov6_names, is_cells, sole_output
from edgecv.heads.ultralytics import ULTRALYTICS_INPUT, parse_metadata
from edgecv.types import ModelFacts

NAME = "yolov6"


def recognize(facts: ModelFacts) -> Reading | None:
    """(1, N, 5 + classes) with one row a cell, under the names of the export script."""
    output = sole_output(facts, rank=3)
    if output is None or not has_yolov6_names(facts) or parse_metadata(facts.metadata):
        return None
    rows, columns = output.shape[1:]
    if not isinstance(columns, int) or columns < 6 or not is_cells(rows, facts, P5, P6):
        return None
    params = Boxes(output=output.name, columns=("box", "objectness", "classes"))
    return Reading(NAME, "boxes", params, ULTRALYTICS_INPUT)

"""Networks of YOLOv5's and YOLOv7's kind that find one class with keypoints.

yolov5-face (deepcam-cn): box, objectness, 5 landmarks of x and y, the score of a face, 16 columns.
yolov7-face (derronqi) and yolov7-pose (WongKinYiu): box, objectness, score, 5 or 17 keypoints of x, y and
confidence, 21 and 57 columns. All decoded, in blob pixels. As many columns are those of a
YOLOv5 with 11, 16 or 52 classes.
"""

from __future__ import annotations

from edgecv.heads.base import Reading
from edgecv.heads.boxes import Params as Boxes
from edgecv.heads.columns import Roles
from edgecv.heads.recognition import YOLO_STRIDES, could_be_keypoints, is_cells
from edgecv.heads.ultralytics import ULTRALYTICS_INPUT, parse_metadata
from edgecv.types import ModelFacts

NAME = "yolov5-face"

_BRANDS = {(5, 2): NAME, (5, 3): "yolov7-face", (17, 3): "yolov7-pose"}


def recognize(facts: ModelFacts) -> Reading | None:
    """(1, N, columns) with three rows a cell; names of more classes in the metadata speak against it."""
    decoded = [spec for spec in facts.outputs if len(spec.shape) == 3]
    if len(decoded) != 1 or any(len(spec.shape) not in (3, 5) for spec in facts.outputs):
        return None
    rows, columns = decoded[0].shape[1:]
    found = could_be_keypoints(columns, beside=5)
    brand = _BRANDS.get(found) if found is not None else None
    if brand is None or found is None:
        return None
    about = parse_metadata(facts.metadata)
    if about and (len(about.names) != 1 or about.task not in (None, "detect", "pose")):
        return None
    is_said = about is not None and about.task is None
    if not is_said and not is_cells(rows, facts, *YOLO_STRIDES, anchors=3):
        return None
    number, values = found
    landmarks_first: Roles = ("box", "objectness", "keypoints", "classes")
    score_first: Roles = ("box", "objectness", "classes", "keypoints")
    params = Boxes(
        output=decoded[0].name,
        columns=landmarks_first if values == 2 else score_first,
        classes=1,
        keypoints=number,
        keypoint_values=values,
    )
    return Reading(brand, "boxes", params, ULTRALYTICS_INPUT)

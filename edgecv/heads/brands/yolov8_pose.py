"""YOLOv8-pose and YOLOv8-face without metadata: the shape of a detector whose classes could be keypoints."""

from __future__ import annotations

from edgecv.heads.base import Reading
from edgecv.heads.boxes import Params as Boxes
from edgecv.heads.recognition import YOLO_STRIDES, could_be_keypoints, is_cells, sole_output
from edgecv.heads.ultralytics import ULTRALYTICS_INPUT, ULTRALYTICS_THRESHOLDS, parse_metadata
from edgecv.types import ModelFacts

NAME = "yolov8-pose"


def recognize(facts: ModelFacts) -> Reading | None:
    """(1, 5 + keypoints, N) of faces, people or hands, where no metadata tells the classes."""
    output = sole_output(facts, rank=3)
    about = parse_metadata(facts.metadata)
    if output is None or (about is not None and (about.names or not about.is_detector)):
        return None
    if {"Sin", "Cos"} <= facts.operators:
        return None
    channels, cells = output.shape[1:]
    found = could_be_keypoints(channels, beside=4)
    if found is None or not is_cells(cells, facts, *YOLO_STRIDES):
        return None
    number, values = found
    params = Boxes(
        output=output.name,
        columns=("box", "classes", "keypoints"),
        classes=1,
        layout="columns",
        keypoints=number,
        keypoint_values=values,
    )
    return Reading(
        "yolov8-face" if number == 5 else NAME, "boxes", params, ULTRALYTICS_INPUT, ULTRALYTICS_THRESHOLDS
    )

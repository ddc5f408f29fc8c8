"""YOLOv10, YOLO26 and Ultralytics exports with NMS inside: (N, 6 + more), one row an object.

A row is x1, y1, x2, y2 in blob pixels, confidence, class number, then by the task keypoints (pose) or
coefficients of the prototypes in a second output (segment); of oriented boxes (obb) cx, cy, w, h,
confidence, class, angle. Unused rows have a low confidence. Layouts: `Detect.postprocess` and `NMSModel` of
the ultralytics package.
"""

from __future__ import annotations

from msgspec.structs import replace

from edgecv.heads.base import HeadParams, Reading
from edgecv.heads.recognition import MOST_FINAL, P2, P5, P6, YOLO_STRIDES, is_cells, prototypes, table_of
from edgecv.heads.rows import Params as Rows
from edgecv.heads.ultralytics import (
    ULTRALYTICS_INPUT,
    ULTRALYTICS_THRESHOLDS,
    UltralyticsFacts,
    described,
    parse_metadata,
)
from edgecv.types import ModelFacts, TensorSpec

NAME = "yolo_e2e"

_ORIENTED = ("cx", "cy", "w", "h", "confidence", "class", "angle")


class Params(HeadParams, frozen=True):
    """output: its name."""

    output: str = "output0"


def reading(params: Params) -> Reading:
    """What cards that name the brand stand for."""
    return _reading(NAME, Rows(output=params.output))


def recognize(facts: ModelFacts) -> Reading | None:
    """By metadata that says that boxes are final; or (1, N, 6) of few rows, which do not count cells unless
    the network picks the best ones, where no metadata speaks against it.

    Two classes and no word of `end2end` could also be an RT-DETR's 4 + classes columns.
    """
    about = parse_metadata(facts.metadata)
    maps = prototypes(facts)
    output = table_of(facts)
    if output is None:
        return None
    if about and about.end2end:
        return _of_task(about, output, maps)
    if maps is not None or output.shape[2] != 6 or (about and about.task != "detect"):
        return None
    if described(facts.metadata, "rtdetr"):
        return None
    rows = output.shape[1]
    if isinstance(rows, int):
        counts_cells = is_cells(rows, facts, P5, P2, P6) or is_cells(rows, facts, *YOLO_STRIDES, anchors=3)
        if rows > MOST_FINAL or (counts_cells and "TopK" not in facts.operators):
            return None
    return _reading(NAME, Rows(output=output.name))


def _of_task(about: UltralyticsFacts, output: TensorSpec, maps: TensorSpec | None) -> Reading | None:
    params, width = Rows(output=output.name), 6
    brand = NAME
    if about.task == "pose" and about.kpt_shape is not None:
        number, values = about.kpt_shape
        width += number * values
        params = replace(params, columns=(*params.columns, "keypoints"), keypoint_values=values)
        brand = "yolo_e2e-pose"
    elif about.task == "obb":
        width += 1
        params, brand = replace(params, columns=_ORIENTED), "yolo_e2e-obb"
    elif maps is not None and about.task in (None, "segment"):
        masks = maps.shape[1]
        assert isinstance(masks, int)
        width += masks
        params = replace(params, columns=(*params.columns, "masks"), prototypes=maps.name)
        brand = "yolo_e2e-seg"
    elif maps is not None or not about.is_detector:
        return None
    last = output.shape[2]
    return None if isinstance(last, int) and last != width else _reading(brand, params)


def _reading(brand: str, params: Rows) -> Reading:
    return Reading(brand, "rows", params, ULTRALYTICS_INPUT, ULTRALYTICS_THRESHOLDS)

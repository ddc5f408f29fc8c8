"""YOLOv5u and YOLOv8 to YOLO12 of Ultralytics, decoded in the graph: one output, (4 + classes + more, N).

A column is cx, cy, w, h in blob pixels, the class scores, which are probabilities, and then, by the task:
keypoints (pose), coefficients of the prototypes in a second output (segment), an angle (obb). Layouts:
`Detect`, `Pose`, `Segment` and `OBB` of the ultralytics package. Its metadata says the task and the classes.
"""

from __future__ import annotations

from msgspec.structs import replace

from edgecv.heads.base import HeadParams, Reading
from edgecv.heads.boxes import Params as Boxes
from edgecv.heads.recognition import (
    MOST_FINAL,
    P2,
    P5,
    P6,
    YOLO_STRIDES,
    Size,
    is_cells,
    is_nanodet_export,
    is_yolov6_export,
    is_yolox_export,
    prototypes,
    table_of,
)
from edgecv.heads.ultralytics import (
    ULTRALYTICS_INPUT,
    ULTRALYTICS_THRESHOLDS,
    UltralyticsFacts,
    described,
    parse_metadata,
)
from edgecv.types import ModelFacts, TensorSpec

NAME = "yolov8"

# Exporters whose tables have the same shape by rows.
_OTHERS = (is_yolox_export, is_nanodet_export, is_yolov6_export)


class Params(HeadParams, frozen=True):
    """output: its name. transposed: (N, 4 + classes), as some converters leave it."""

    output: str = "output0"
    transposed: bool = False


def reading(params: Params) -> Reading:
    """What cards that name the brand stand for."""
    return _reading(NAME, Boxes(output=params.output, layout="rows" if params.transposed else "columns"))


def recognize(facts: ModelFacts) -> Reading | None:
    """By metadata, whose columns the output has; without it by one column a cell.

    Without metadata the transpose is also the shape of a YOLOX and a NanoDet, whose export scripts' names
    rule it out, a second output of prototypes says that it segments, and an angle's sine and cosine in the
    graph that its boxes are oriented.
    """
    about = parse_metadata(facts.metadata)
    maps = prototypes(facts)
    table = table_of(facts)
    if table is None and about is not None and about.names and about.is_detector:
        table = _beside_maps(facts)
    if table is None or (about and about.end2end) or described(facts.metadata, "rtdetr"):
        return None
    if about is not None and about.names:
        # A detector's one map is what its table was decoded from.
        maps = None if about.task == "detect" else maps
        return _of_metadata(facts, about, table, maps)
    if about is not None and not about.is_detector:
        return None
    return _bare(facts, table, maps, may_be_transposed=about is not None)


def _beside_maps(facts: ModelFacts) -> TensorSpec | None:
    """The one table, where all else are maps: what the network decodes it from."""
    tables = [spec for spec in facts.outputs if len(spec.shape) == 3]
    others = [spec for spec in facts.outputs if len(spec.shape) != 3]
    return tables[0] if len(tables) == 1 and all(len(spec.shape) in (4, 5) for spec in others) else None


def _of_metadata(
    facts: ModelFacts, about: UltralyticsFacts, table: TensorSpec, maps: TensorSpec | None
) -> Reading | None:
    width, params = 4 + len(about.names), Boxes(output=table.name, layout="columns")
    name = NAME
    if about.task == "pose" and about.kpt_shape is not None:
        number, values = about.kpt_shape
        width += number * values
        columns = ("box", "classes", "keypoints")
        params = replace(
            params, columns=columns, classes=len(about.names), keypoints=number, keypoint_values=values
        )
        name = "yolov8-pose"
    elif about.task == "obb":
        width += 1
        params, name = replace(params, columns=("box", "classes", "angle")), "yolov8-obb"
    elif maps is not None and about.task in (None, "segment"):
        masks = maps.shape[1]
        assert isinstance(masks, int)
        width += masks
        params = replace(params, columns=("box", "classes", "masks"), masks=masks, prototypes=maps.name)
        name = "yolov8-seg"
    elif maps is not None or not about.is_detector:
        return None
    first, last = table.shape[1:]
    # The exporter writes columns; it counts cells by strides that the metadata does not tell in full.
    if first == width or (not isinstance(first, int) and last != width and _are_rows(last, facts)):
        return _reading(name, params)
    is_table = isinstance(first, int) and first > MOST_FINAL
    if last == width and (is_table or is_cells(first, facts, *YOLO_STRIDES)):
        return _reading(name, replace(params, layout="rows"))
    return None


def _bare(
    facts: ModelFacts, table: TensorSpec, maps: TensorSpec | None, *, may_be_transposed: bool
) -> Reading | None:
    first, last = table.shape[1:]
    masks = 0
    if maps is not None:
        assert isinstance(maps.shape[1], int)
        masks = maps.shape[1]
    has_angle = maps is None and {"Sin", "Cos"} <= facts.operators
    others = masks + has_angle
    straight = _fits(first, others) and is_cells(last, facts, *YOLO_STRIDES)
    # A row a cell is what others write too, at the strides that most have.
    transposed = (
        _fits(last, others)
        and _are_rows(first, facts)
        and (may_be_transposed or not any(of(facts) for of in _OTHERS))
    )
    if straight == transposed:
        return None
    params = Boxes(output=table.name, layout="columns" if straight else "rows")
    if has_angle:
        return _reading("yolov8-obb", replace(params, columns=("box", "classes", "angle")))
    if maps is None:
        return _reading(NAME, params)
    params = replace(params, columns=("box", "classes", "masks"), masks=masks, prototypes=maps.name)
    return _reading("yolov8-seg", params)


def _fits(channels: Size, others: int) -> bool:
    return isinstance(channels, int) and channels >= 5 + others


def _are_rows(cells: Size, facts: ModelFacts) -> bool:
    return is_cells(cells, facts, P5, P2, P6)


def _reading(brand: str, params: Boxes) -> Reading:
    return Reading(brand, "boxes", params, ULTRALYTICS_INPUT, ULTRALYTICS_THRESHOLDS)

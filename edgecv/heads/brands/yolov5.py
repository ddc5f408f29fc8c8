"""YOLOv5 and YOLOv7: anchor grids, as one decoded output or as the raw output of each stride.

Decoded, (N, 5 + classes): a row is cx, cy, w, h in blob pixels, objectness, class scores, and where a network
segments the coefficients of the prototypes in a second output. Raw, (anchors, H, W, 5 + classes) a stride:
the logits of them. Formulas: `Detect.forward` of ultralytics/yolov5.
"""

from __future__ import annotations

from msgspec.structs import replace

from edgecv.heads import grid
from edgecv.heads.base import HeadParams, Reading, Strides
from edgecv.heads.boxes import Params as Boxes
from edgecv.heads.recognition import P5, YOLO_STRIDES, is_cells, is_nanodet_export, prototypes, table_of
from edgecv.heads.ultralytics import ULTRALYTICS_INPUT, parse_metadata
from edgecv.types import ModelFacts, TensorSpec

NAME = "yolov5"


class Params(HeadParams, frozen=True):
    """Either `output`, or `raw` with `strides` and `anchors`.

    output: name of the decoded output. raw: names of the raw outputs, one a stride. strides: pixels.
    anchors: for each stride, (width, height) of its anchors, pixels; a file does not carry them, and
    YOLOv5, YOLOv7 and retrained networks differ.
    """

    output: str | None = None
    raw: tuple[str, ...] = ()
    strides: Strides = P5
    anchors: tuple[tuple[tuple[float, float], ...], ...] = ()

    def __post_init__(self) -> None:
        if (self.output is None) == (not self.raw):
            raise ValueError("expected either `output` or `raw`")
        if self.raw and not len(self.raw) == len(self.strides) == len(self.anchors):
            raise ValueError(
                f"`raw`, `strides` and `anchors` have {len(self.raw)}, {len(self.strides)} and "
                f"{len(self.anchors)} entries: expected one of each a stride"
            )


def reading(params: Params) -> Reading:
    """What cards that name the brand stand for."""
    if params.output is not None:
        return _decoded(params.output)
    layers = tuple(
        grid.Layer(output=name, anchors=anchors, scale_x_y=2.0, stride=stride)
        for name, stride, anchors in zip(params.raw, params.strides, params.anchors, strict=True)
    )
    raw = grid.Params(layers=layers, layout="channels-last", size="square")
    return Reading(NAME, grid.TYPE, raw, ULTRALYTICS_INPUT)


def recognize(facts: ModelFacts) -> Reading | None:
    """The decoded output, (1, N, 5 + classes), by metadata of as many classes or by three rows a cell; raw
    outputs may lie beside it.

    Raw outputs alone are in doubt: their anchors are not in the file.
    """
    others = replace(facts, outputs=tuple(spec for spec in facts.outputs if len(spec.shape) != 5))
    table, maps = table_of(others), prototypes(others)
    if table is None or is_nanodet_export(facts):
        return None
    masks = 0
    if maps is not None:
        assert isinstance(maps.shape[1], int)
        masks = maps.shape[1]
    return _of_table(facts, table, maps, masks)


def _of_table(facts: ModelFacts, table: TensorSpec, maps: TensorSpec | None, masks: int) -> Reading | None:
    rows, columns = table.shape[1:]
    if not isinstance(columns, int) or columns < 6 + masks:
        return None
    about = parse_metadata(facts.metadata)
    if about and (about.task not in (None, "detect", "segment") or len(about.names) != columns - 5 - masks):
        return None
    # Only the repository's own files say no task; six columns of another may be final rows.
    is_said = about is not None and about.task is None
    if not is_said and not is_cells(rows, facts, *YOLO_STRIDES, anchors=3):
        return None
    found = _decoded(table.name)
    if maps is None:
        return found
    assert isinstance(found.params, Boxes)
    columns_of = (*found.params.columns, "masks")
    params = replace(found.params, columns=columns_of, masks=masks, prototypes=maps.name)
    return Reading("yolov5-seg", found.type, params, found.input)


def _decoded(output: str) -> Reading:
    params = Boxes(output=output, columns=("box", "objectness", "classes"))
    return Reading(NAME, "boxes", params, ULTRALYTICS_INPUT)

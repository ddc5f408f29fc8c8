"""YOLOX: one table of all strides, (N, 5 + classes), or a map of each stride.

Raw, a row is dx, dy, log w, log h in strides from its cell, objectness, class scores (`--decode_in_inference`
left out); decoded, cx, cy, w, h in blob pixels. Objectness and scores are probabilities. Formulas:
`YOLOXHead` of Megvii-BaseDetection/YOLOX.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from edgecv.heads import boxes, distances, levels
from edgecv.heads.base import HeadParams, Reading, Strides
from edgecv.heads.recognition import P2, P5, P6, is_cells, is_nanodet_export, is_yolov6_export, sole_output
from edgecv.heads.ultralytics import parse_metadata
from edgecv.types import ModelFacts

NAME = "yolox"

INPUT: Mapping[str, Any] = {
    "color": "bgr",
    "resize": "letterbox",
    "anchor": "top-left",
    "rounding": "floor",
    "pad_value": 114.0,
}

_COLUMNS: tuple[Literal["box", "objectness", "classes"], ...] = ("box", "objectness", "classes")
_OTHERS = 5
# A map of YOLOv8 with COCO's classes, which ends alike.
_YOLOV8_CHANNELS = 64 + 80


class Params(HeadParams, frozen=True):
    """output: its name. strides: pixels, in the order of the rows. decoded: boxes are in blob pixels."""

    output: str = "output"
    strides: Strides = P5
    decoded: bool = False


def recognize(facts: ModelFacts) -> Reading | None:
    """(1, N, 5 + classes) with one row a cell; decoded where the graph has a decoder's exponential."""
    if parse_metadata(facts.metadata) or is_nanodet_export(facts) or is_yolov6_export(facts):
        return None
    output = sole_output(facts, rank=3)
    if output is None:
        return _recognize_maps(facts)
    rows, columns = output.shape[1:]
    strides = next((each for each in (P5, P2, P6) if is_cells(rows, facts, each)), None)
    if not isinstance(columns, int) or columns <= _OTHERS or strides is None:
        return None
    return reading(Params(output=output.name, strides=strides, decoded="Exp" in facts.operators))


def _recognize_maps(facts: ModelFacts) -> Reading | None:
    """A map of 5 + classes channels for each stride, each joined of box, objectness and classes."""
    widths = levels.by_width(facts, P5, maps=True)
    if widths is None or len(widths) != 1:
        return None
    ((width, names),) = widths.items()
    if width <= _OTHERS or width == _YOLOV8_CHANNELS:
        return None
    if any(facts.ends.get(name) != "Concat" for name in names):
        return None
    return Reading(NAME, distances.TYPE, _raw(names, P5, "channels-first"), INPUT)


def reading(params: Params) -> Reading:
    """The head that a card's fields stand for."""
    if params.decoded:
        read = boxes.Params(output=params.output, columns=_COLUMNS, format="cxcywh")
        return Reading(NAME, boxes.TYPE, read, INPUT)
    return Reading(NAME, distances.TYPE, _raw((params.output,), params.strides, "rows"), INPUT)


def _raw(names: tuple[str, ...], strides: tuple[int, ...], layout: distances.Layout) -> distances.Params:
    return distances.Params(
        output=names, columns=_COLUMNS, strides=strides, layout=layout, code="center", cell_offset=0.0
    )

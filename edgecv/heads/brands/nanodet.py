"""NanoDet and NanoDet-Plus: class scores and distributions of sides, two outputs a stride or one of all.

`NanoDetHead` and `NanoDetPlusHead` of RangiLyu/nanodet; all published networks have 8 bins a side.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from edgecv.heads import distances, levels
from edgecv.heads.base import HeadParams, Reading, Strides
from edgecv.heads.recognition import (
    P5,
    P6,
    is_cells,
    is_nanodet_export,
    is_yolov6_export,
    is_yolox_export,
    sole_output,
)
from edgecv.heads.ultralytics import parse_metadata
from edgecv.types import ModelFacts

NAME = "nanodet"

INPUT: Mapping[str, Any] = {
    "color": "bgr",
    "resize": "stretch",
    "mean": (103.53, 116.28, 123.675),
    "std": (57.375, 57.12, 58.395),
}

# Columns of a box of 8 bins a side.
_BINS = 32


class Params(HeadParams, frozen=True):
    """Either `output`, or `cls` and `reg`.

    output: name of the one output, (N, classes + 4 * (reg_max + 1)). cls, reg: names of the outputs of
    each stride, (N, classes) and (N, 4 * (reg_max + 1)). strides: pixels. reg_max: the last bin.
    cell_offset: where a cell's center lies in it: 0.5 for NanoDet, 0 for NanoDet-Plus.
    logits: whether the scores still need their sigmoid.
    """

    output: str | None = None
    cls: tuple[str, ...] = ()
    reg: tuple[str, ...] = ()
    strides: Strides = P5
    reg_max: Annotated[int, msgspec.Meta(ge=1)] = 7
    cell_offset: float = 0.5
    logits: bool = False

    def __post_init__(self) -> None:
        if (self.output is None) == (not self.cls and not self.reg):
            raise ValueError("expected either `output`, or `cls` and `reg`")
        if self.output is None and not len(self.cls) == len(self.reg) == len(self.strides):
            raise ValueError(
                f"`cls`, `reg` and `strides` have {len(self.cls)}, {len(self.reg)} and "
                f"{len(self.strides)} entries: expected one of each a stride"
            )


def recognize(facts: ModelFacts) -> Reading | None:
    """Two outputs a stride of 8, 16 and 32, or one of strides 8 to 64 (NanoDet-Plus); 8 bins a side.

    One output for strides 8, 16, 32 is in doubt: versions of NanoDet differ in `cell_offset`.
    """
    output = sole_output(facts, rank=3)
    if output is None:
        widths = levels.by_width(facts, P5, maps=False)
        pair = levels.beside(widths, _BINS)
        return None if pair is None else reading(Params(cls=pair.scores, reg=pair.boxes))
    rows, columns = output.shape[1:]
    if not isinstance(columns, int) or columns <= _BINS or not is_cells(rows, facts, P6):
        return None
    if parse_metadata(facts.metadata) or not (isinstance(rows, int) or is_nanodet_export(facts)):
        return None
    if is_yolox_export(facts) or is_yolov6_export(facts):
        return None
    return reading(Params(output=output.name, strides=P6, cell_offset=0.0))


def reading(params: Params) -> Reading:
    """The head that a card's fields stand for."""
    read = distances.Params(
        output=() if params.output is None else (params.output,),
        columns=("classes", "box"),
        scores=params.cls,
        boxes=params.reg,
        strides=params.strides,
        layout="rows",
        bins=params.reg_max + 1,
        cell_offset=params.cell_offset,
        logits=params.logits,
    )
    return Reading(NAME, distances.TYPE, read, INPUT)

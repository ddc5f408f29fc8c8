"""Decoded boxes and scores in one output: the least of it, which decoded YOLOX needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from edgecv import boxes
from edgecv.errors import HeadError
from edgecv.heads.base import AtLeast, HeadParams, Query, take
from edgecv.types import Candidates, FloatArray, ModelFacts

TYPE = "boxes"
TASK = "detect"


class Params(HeadParams, frozen=True):
    """output: its name. columns: roles, in order. format: of a box, in blob pixels."""

    output: str
    columns: tuple[Literal["box", "objectness", "classes"], ...] = ("box", "objectness", "classes")
    format: Literal["cxcywh"] = "cxcywh"


def draft(facts: ModelFacts) -> Params:
    """The sole output's. Raises HeadError."""
    if len(facts.outputs) != 1:
        raise HeadError(f"{TYPE} head: expected one output, got {len(facts.outputs)}")
    return Params(output=facts.outputs[0].name)


def decode(outputs: Mapping[str, FloatArray], params: Params, query: Query) -> Candidates:
    """See `base.Head`."""
    pred = take(outputs, params.output, (None, AtLeast(6)), TYPE)
    index, class_id, confidence = query.select(pred[:, 5:], objectness=pred[:, 4])
    return Candidates(boxes.cxcywh_to_xyxy(pred[:, :4], index), confidence, class_id)

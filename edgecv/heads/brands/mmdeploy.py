"""MMDeploy's networks: `dets` (n, 5), x1, y1, x2, y2 in blob pixels and a confidence, `labels` (n,)."""

from __future__ import annotations

from edgecv.heads.base import Reading
from edgecv.heads.recognition import shapes
from edgecv.heads.rows import Column
from edgecv.heads.rows import Params as Rows
from edgecv.types import ModelFacts

NAME = "mmdeploy"

_COLUMNS: tuple[Column, ...] = ("x1", "y1", "x2", "y2", "confidence")


def recognize(facts: ModelFacts) -> Reading | None:
    """By the two names and their shapes; configurations differ in how they feed it."""
    found = shapes(facts)
    if set(found) != {"dets", "labels"} or found["dets"][2:] != (5,) or len(found["labels"]) != 2:
        return None
    return Reading(NAME, "rows", Rows(output="dets", columns=_COLUMNS, labels="labels"))

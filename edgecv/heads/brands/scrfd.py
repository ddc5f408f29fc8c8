"""SCRFD: faces, with five landmarks or without; three or two outputs a stride, one row an anchor.

Of three strides each cell has two anchors, of five one. A row is a score, or four distances from the cell's
left top corner, or five points; in strides. `SCRFD` of deepinsight/insightface.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgecv.heads import distances, levels
from edgecv.heads.base import Reading
from edgecv.heads.recognition import P5
from edgecv.types import ModelFacts

NAME = "scrfd"

INPUT: Mapping[str, Any] = {
    "color": "rgb",
    "resize": "letterbox",
    "anchor": "top-left",
    "rounding": "floor",
    "pad_value": 0.0,
    "mean": (127.5,) * 3,
    "std": (128.0,) * 3,
}

# Strides, and anchors of a cell.
_KINDS = ((P5, 2), ((8, 16, 32, 64, 128), 1))


def recognize(facts: ModelFacts) -> Reading | None:
    """Of each stride a score, four columns, and perhaps ten, for each anchor."""
    for strides, per_cell in _KINDS:
        widths = levels.by_width(facts, strides, per_cell=per_cell)
        if widths is None or set(widths) not in ({1, 4}, {1, 4, levels.LANDMARKS}):
            continue
        params = distances.Params(
            scores=widths[1],
            boxes=widths[4],
            keypoints=widths.get(levels.LANDMARKS, ()),
            strides=strides,
            cell_offset=0.0,
            logits=levels.are_logits(facts, widths[1]),
            anchors_per_cell=per_cell,
        )
        return Reading(NAME, distances.TYPE, params, INPUT)
    return None

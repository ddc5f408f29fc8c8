"""PicoDet exported without its post-processing: scores and distributions of sides, two outputs a stride.

Strides 8 to 64, 8 bins a side, scores that are probabilities or logits. Exported with its post-processing,
but without NMS, it has the boxes of all cells, x1, y1, x2, y2 in blob pixels, (N, 4), and probabilities
(classes, N). `PicoHead` and the reader of
`picodet_*.yml` of PaddlePaddle/PaddleDetection.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgecv.heads import boxes, distances, levels
from edgecv.heads.base import Reading
from edgecv.heads.recognition import P6, paddle_pair
from edgecv.types import ModelFacts

NAME = "picodet"

INPUT: Mapping[str, Any] = {
    "color": "rgb",
    "resize": "stretch",
    "mean": (123.675, 116.28, 103.53),
    "std": (58.395, 57.12, 57.375),
}

_BINS = 32


def recognize(facts: ModelFacts) -> Reading | None:
    """Tables, or maps, of classes and of 32 columns for each of four strides, and nothing beside them; or the
    boxes and scores of as many cells, by PaddleDetection's name of the input.
    """
    decoded = paddle_pair(facts, P6)
    if decoded is not None:
        of_all, chances = decoded
        read = boxes.Params(boxes=of_all, scores=chances, format="xyxy", scores_layout="columns")
        return Reading(NAME, boxes.TYPE, read, INPUT)
    pair = levels.beside(levels.by_width(facts, P6), _BINS)
    if pair is None:
        return None
    params = distances.Params(
        scores=pair.scores,
        boxes=pair.boxes,
        strides=P6,
        bins=_BINS // 4,
        logits=levels.are_logits(facts, pair.scores),
    )
    return Reading(NAME, distances.TYPE, params, INPUT)

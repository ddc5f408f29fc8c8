"""Class scores in each of their forms, to candidates."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from msgspec.structs import replace

from edgecv import boxes
from edgecv.heads.base import Query, join, sigmoid, softmax
from edgecv.types import FloatArray, IntArray

# Whether scores still need an activation: none, a sigmoid each, or a softmax over the classes of a row.
Logits = bool | Literal["softmax"]
# Which column of the scores is the background's.
Background = Literal["first", "last"] | None

Selected = tuple[IntArray, IntArray, FloatArray]

_LARGEST = float(np.finfo(np.float32).max)
# float32 rounds a sigmoid of the threshold's own logit to either side of the threshold.
_SLACK = 1e-3


def select(
    query: Query,
    scores: FloatArray,
    *,
    logits: Logits = False,
    background: Background = None,
    objectness: FloatArray | None = None,
) -> Selected:
    """The candidates as `Query.select` gives them: index, class, confidence; without the background.

    scores: float32 (n, classes and background), a view of the output. objectness: float32 (n,), a logit
    too where the scores are logits.
    """
    if logits == "softmax":
        scores = softmax(scores)
    wanted = scores[:, _foreground(background)]
    if logits and objectness is not None:
        return _joint(query, wanted, objectness, is_logit=logits is True)
    if logits is True:
        return _of_logits(query, wanted)
    return query.select(wanted, objectness=objectness)


def _foreground(background: Background) -> slice:
    return slice(1 if background == "first" else 0, -1 if background == "last" else None)


def _joint(query: Query, scores: FloatArray, objectness: FloatArray, *, is_logit: bool) -> Selected:
    # A confidence is at most its objectness, so rows below it are not looked at.
    if is_logit:
        likely = (objectness > least_logit(query.lowest_confidence)).nonzero()[0].astype(np.int32)
        row, class_id, confidence = of_logit_pairs(query, scores[likely], objectness[likely])
        confidence, row, class_id = join([(confidence, row, class_id)], query.max_candidates)
    else:
        factor = sigmoid(objectness)
        likely = np.flatnonzero(factor > max(query.lowest_confidence, 0)).astype(np.int32)
        row, class_id, confidence = query.select(scores[likely], objectness=factor[likely])
    return likely[row], class_id, confidence


def of_logit_pairs(query: Query, logits: FloatArray, objectness: FloatArray) -> Selected:
    """Candidates of confidence sigmoid(objectness) * sigmoid(score), whatever their number.

    logits: float32 (n, classes), rows or classes contiguous; an infinite one is no candidate. objectness:
    float32 (n,), a logit.
    """
    # The best logit of a row is its best class, so that no other one needs a sigmoid.
    row, class_id, logit = all_over(query, logits, _least_logits(query.confidence))
    confidence = sigmoid(objectness[row]) * sigmoid(logit)
    over = confidence > _own(query.confidence, class_id)
    return row[over], class_id[over], confidence[over]


def _of_logits(query: Query, logits: FloatArray) -> Selected:
    """A sigmoid rises, so the logits are searched and only those that pass are made confidences."""
    index, class_id, logit = query.select(logits, threshold=_least_logits(query.confidence))
    confidence = sigmoid(logit)
    over = confidence > _own(query.confidence, class_id)
    return (index, class_id, confidence) if over.all() else (index[over], class_id[over], confidence[over])


def all_over(
    query: Query, scores: FloatArray, threshold: float | FloatArray, *, objectness: FloatArray | None = None
) -> Selected:
    """As `Query.select`, with no limit to their number."""
    most = max(1, scores.size if query.multi_label else len(scores))
    return boxes.select(
        scores, threshold, objectness=objectness, multi_label=query.multi_label, max_candidates=most
    )


def logit(confidence: float | FloatArray) -> float | FloatArray:
    """The number whose sigmoid is the confidence; finite, also for 0 and 1."""
    if not isinstance(confidence, np.ndarray):
        # NumPy takes ten times as long for one number.
        chance = min(max(confidence, 1e-30), 1 - 1e-7)
        return math.log(chance) - math.log1p(-chance)
    p = np.clip(confidence, 1e-30, 1 - 1e-7)
    x: float | FloatArray = np.log(p) - np.log1p(-p)
    return x


def least_logit(confidence: float) -> float:
    """A finite number that each logit is over whose sigmoid, in float32, is over the confidence."""
    if 0 < confidence < 1:
        return math.log(confidence) - math.log1p(-confidence) - _SLACK
    return _LARGEST if confidence > 0 else -_LARGEST


def _least_logits(confidence: float | FloatArray) -> float | FloatArray:
    if isinstance(confidence, np.ndarray):
        return np.array([least_logit(one) for one in confidence.tolist()], np.float32)
    return least_logit(confidence)


def _own(confidence: float | FloatArray, class_id: IntArray) -> FloatArray | np.float32:
    """The threshold of each candidate's class, or the one of all."""
    return confidence[class_id] if isinstance(confidence, np.ndarray) else np.float32(confidence)


def every_class(query: Query, most: int) -> Query:
    """The query for networks whose best `most` pairs of row and class count, several of one row too."""
    return replace(query, multi_label=True, max_candidates=min(most, query.max_candidates))

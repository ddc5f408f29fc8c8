"""Class scores in each of their forms, to candidates."""

from __future__ import annotations

from typing import Literal

import numpy as np
from msgspec.structs import replace

from edgecv.heads.base import Query, sigmoid, softmax
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
    # A confidence is at most its objectness, so rows below it need no sigmoid of their classes.
    factor = sigmoid(objectness)
    likely = np.flatnonzero(factor > max(query.lowest_confidence, 0)).astype(np.int32)
    chances = sigmoid(scores[likely]) if is_logit else scores[likely]
    index, class_id, confidence = query.select(chances, objectness=factor[likely])
    return likely[index], class_id, confidence


def _of_logits(query: Query, logits: FloatArray) -> Selected:
    """A sigmoid rises, so the logits are searched and only those that pass are made confidences."""
    threshold = np.asarray(query.confidence, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        least = np.log(threshold) - np.log1p(-threshold) - _SLACK
    # Not a number for thresholds that no sigmoid reaches, or that each does.
    least = np.where(threshold >= 1, _LARGEST, np.where(threshold <= 0, -_LARGEST, least))
    limit = float(least) if least.ndim == 0 else least.astype(np.float32)
    index, class_id, logit = query.select(logits, threshold=limit)
    confidence = sigmoid(logit)
    over = confidence > (threshold[class_id] if threshold.ndim else threshold).astype(np.float32)
    return (index, class_id, confidence) if over.all() else (index[over], class_id[over], confidence[over])


def every_class(query: Query, most: int) -> Query:
    """The query for networks whose best `most` pairs of row and class count, several of one row too."""
    return replace(query, multi_label=True, max_candidates=min(most, query.max_candidates))

"""Sets of boxes without NMS: the DETR family, (queries, 4) boxes and (queries, classes) scores.

DETR (Carion et al., arXiv:2005.12872) has a softmax over the classes and no object, the last; the best
class of a query counts. Deformable DETR (arXiv:2010.04159), RT-DETR (arXiv:2304.08069) and RF-DETR have a
sigmoid each; the best pairs of query and class count, as many as there are queries.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from edgecv.errors import HeadError
from edgecv.heads import geometry
from edgecv.heads.base import AtLeast, HeadParams, PositiveInt, Query, take
from edgecv.heads.geometry import Format, Unit
from edgecv.heads.masks import BlobMasks
from edgecv.heads.recognition import MOST_FINAL, listed
from edgecv.heads.scores import Background, every_class, select
from edgecv.types import Candidates, FloatArray, ModelFacts, TensorSpec

TYPE = "queries"
TASK = "detect"


class Params(HeadParams, frozen=True, omit_defaults=True):
    """Either `output`, or `boxes` and `scores`.

    output: name of the one output (queries, 4 + classes). boxes, scores: names of the outputs (queries, 4)
    and (queries, classes). format, unit: of the boxes. activation: what the scores still need; "none": they
    are probabilities, and the best class of a query counts. background: which of the scores is no object.
    top: how many pairs of query and class count where the activation is "sigmoid"; null: one a query.
    keypoints: name of the output (queries, keypoints, 2 or 3). masks: of (queries, h, w), logits over the
    whole blob.
    """

    output: str | None = None
    boxes: str | None = None
    scores: str | None = None
    format: Format = "cxcywh"
    unit: Unit = "fractions"
    activation: Literal["sigmoid", "softmax", "none"] = "sigmoid"
    background: Background = None
    top: PositiveInt | None = None
    keypoints: str | None = None
    masks: str | None = None

    def __post_init__(self) -> None:
        apart = (self.boxes, self.scores)
        if None in apart if self.output is None else any(apart):
            raise ValueError("expected either `output`, or `boxes` and `scores`")


def decode(outputs: Mapping[str, FloatArray], params: Params, query: Query) -> Candidates:
    """See `base.Head`. Rows with a NaN, infinite or empty box are dropped: no NMS follows."""
    least = AtLeast(2 if params.background else 1)
    if params.output is not None:
        table = take(outputs, params.output, (None, AtLeast(4 + least.size)), TYPE)
        box, scores = table[:, :4], table[:, 4:]
    else:
        assert params.boxes is not None
        assert params.scores is not None
        box = take(outputs, params.boxes, (None, 4), TYPE)
        scores = take(outputs, params.scores, (len(box), least), TYPE)
    if params.activation == "sigmoid":
        wanted = every_class(query, params.top or max(len(box), 1))
        index, class_id, confidence = select(wanted, scores, logits=True, background=params.background)
    else:
        logits: Literal["softmax", False] = "softmax" if params.activation == "softmax" else False
        index, class_id, confidence = select(query, scores, logits=logits, background=params.background)
    xyxy = geometry.to_pixels(geometry.to_xyxy(box, params.format, index), params.unit, query.blob_wh)
    with np.errstate(invalid="ignore"):
        valid = np.isfinite(xyxy).all(axis=1) & (xyxy[:, :2] < xyxy[:, 2:]).all(axis=1)
    index, class_id, confidence, xyxy = index[valid], class_id[valid], confidence[valid], xyxy[valid]
    keypoints = None
    if params.keypoints is not None:
        given = outputs.get(params.keypoints)
        size = 2 if given is not None and given.shape[-1:] == (2,) else 3
        points = take(outputs, params.keypoints, (len(box), None, size), TYPE)[index]
        values = points.reshape(len(index), points.shape[1] * size)
        keypoints = geometry.to_keypoints(values, size, params.unit, query.blob_wh)
    masks = None
    if params.masks is not None:
        maps = take(outputs, params.masks, (len(box), AtLeast(1), AtLeast(1)), TYPE)
        masks = BlobMasks(maps, index, query.blob_wh, logits=True)
    return Candidates(xyxy, confidence, class_id, keypoints, needs_nms=False, masks=masks)


def boxes_and_scores(facts: ModelFacts) -> tuple[TensorSpec, TensorSpec] | None:
    """The outputs (1, queries, 4) and (1, queries, classes) of a network that has one pair of them."""
    tables = [spec for spec in facts.outputs if len(spec.shape) == 3]
    boxes = [spec for spec in tables if spec.shape[2] == 4]
    if len(boxes) != 1:
        return None
    others = [s for s in tables if s is not boxes[0] and s.shape[1] == boxes[0].shape[1]]
    return (boxes[0], others[0]) if len(others) == 1 else None


def draft(facts: ModelFacts) -> Params:
    """The likeliest parameters. Raises HeadError where no two outputs are boxes and scores of queries."""
    pair = boxes_and_scores(facts)
    if pair is not None:
        boxes, scores = (spec.name for spec in pair)
        is_detr = pair[1].shape[2] == 92
        queries = pair[0].shape[1]
        masks = (s.name for s in facts.outputs if len(s.shape) == 4 and s.shape[1] == queries)
        if facts.ends.get(scores) == "Sigmoid":
            return Params(boxes=boxes, scores=scores, activation="none", masks=next(masks, None))
        return Params(
            boxes=boxes,
            scores=scores,
            activation="softmax" if is_detr else "sigmoid",
            background="last" if is_detr else None,
            masks=next(masks, None),
        )
    table = facts.outputs[0] if len(facts.outputs) == 1 and len(facts.outputs[0].shape) == 3 else None
    queries, columns = table.shape[1:] if table is not None else (0, 0)
    is_table = not isinstance(columns, int) or columns > 4
    if table is not None and is_table and not (isinstance(queries, int) and queries > MOST_FINAL):
        return Params(output=table.name, activation="none")
    raise HeadError(
        f"{TYPE} head: no two outputs are the boxes (1, queries, 4) and scores (1, queries, classes) of the "
        f"same queries, and none is (1, queries, 4 + classes) of at most {MOST_FINAL} queries: "
        f"{listed(facts)}"
    )

"""Faster R-CNN: boxes and classes in two stages (Ren et al. 2015; `py-faster-rcnn`).

The network `trunk` gives features, and at every cell scores (2 A, H, W) and deltas (4 A, H, W) of A
anchors; proposals are made of those (`rois.propose`), each is pooled from the features (`rois.pool`), and
the network `roi` gives class probabilities (R, classes) and deltas (R, 4 classes) for each. Class 0 is the
background. What `decode` reads is the second stage, with the proposals as one output more.

A box of width w around center x and deltas (dx, dy, dw, dh) make a box of width w exp(dw) around
x + dx w; the same for the height.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec
import numpy as np

from edgecv.errors import HeadError
from edgecv.heads.base import AtLeast, HeadParams, PositiveInt, Query, take
from edgecv.types import Candidates, FloatArray, ModelFacts

TYPE = "two_stages"
TASK = "detect"

# The stages of a card, in the order in which they run.
STAGES = ("trunk", "roi")

PositiveFloat = Annotated[float, msgspec.Meta(gt=0)]
NonNegativeFloat = Annotated[float, msgspec.Meta(ge=0)]
Fraction = Annotated[float, msgspec.Meta(ge=0, le=1)]
Four = tuple[float, float, float, float]


class Params(HeadParams, frozen=True):
    """Of the first stage, of the pooling between the two, and of the second stage.

    features, rpn_scores, rpn_deltas: outputs of `trunk`: what is pooled, (C, H, W); probabilities
    (2 A, H, W), those of the background first; deltas (4 A, H, W), four an anchor.
    anchors: left, top, right, bottom of each at the first cell, pixels of the blob; `rois.anchors`
    makes them of ratios and scales. stride: of the cells, pixels. pre_nms: the most confident
    proposals that NMS sees; post_nms: the most that it keeps; nms_iou: overlap over which the less
    confident one goes. min_size: smaller proposals are dropped, pixels of the frame.
    inclusive: whether a box names its last pixel, so that its width is right - left + 1, as Caffe's
    and OpenCV's have it.
    pooled_wh, spatial_scale: of the ROI pooling: bins, and cells of the features a pixel.
    scores, deltas: outputs of `roi`. rois: the name that the proposals (R, 4) go by between them.
    means, stds: deltas are multiplied by stds, then means added; as they are for weights into which
    training has folded them. class_agnostic: one delta a proposal for all classes: (R, 4), or (R, 8)
    whose last four count. classes: how many there are without the background, None for as many as the
    output has.
    """

    features: str
    anchors: Annotated[tuple[Four, ...], msgspec.Meta(min_length=1)]
    rpn_scores: str = "rpn_cls_prob_reshape"
    rpn_deltas: str = "rpn_bbox_pred"
    stride: PositiveInt = 16
    pre_nms: PositiveInt = 6000
    post_nms: PositiveInt = 300
    nms_iou: Fraction = 0.7
    min_size: NonNegativeFloat = 16.0
    inclusive: bool = True
    pooled_wh: tuple[PositiveInt, PositiveInt] = (7, 7)
    spatial_scale: PositiveFloat = 0.0625
    scores: str = "cls_prob"
    deltas: str = "bbox_pred"
    rois: str = "rois"
    means: Four = (0.0, 0.0, 0.0, 0.0)
    stds: tuple[PositiveFloat, PositiveFloat, PositiveFloat, PositiveFloat] = (1.0, 1.0, 1.0, 1.0)
    class_agnostic: bool = False
    classes: PositiveInt | None = None

    def __post_init__(self) -> None:
        for number, (left, top, right, bottom) in enumerate(self.anchors):
            if not (right > left and bottom > top):
                raise ValueError(f"`anchors[{number}]`: expected left < right and top < bottom")


def draft(facts: ModelFacts) -> Params:
    """Never: anchors and the pooling stand in no file of the network, and two files belong together."""
    raise HeadError(
        f"{TYPE} head: one network alone: its detectors are two, with proposals and a pooling between them; "
        "write a card of the stages trunk and roi by hand"
    )


def decode(outputs: Mapping[str, FloatArray], params: Params, query: Query) -> Candidates:
    """See `base.Head`; boxes are cut at the blob's edges. outputs: those of `roi`, and the proposals."""
    proposals = take(outputs, params.rois, (None, 4), TYPE)
    classes = AtLeast(2) if params.classes is None else 1 + params.classes
    scores = take(outputs, params.scores, (len(proposals), classes), TYPE)
    deltas = take(outputs, params.deltas, (len(proposals), None), TYPE)
    columns = (4, 8) if params.class_agnostic else (4 * scores.shape[1],)
    if deltas.shape[1] not in columns:
        raise HeadError(
            f"{TYPE} head: output {params.deltas!r} expected ({len(proposals)}, "
            f"{' or '.join(map(str, columns))}), got {deltas.shape}: "
            "the card's head or its parameters do not fit this model"
        )
    row, class_id, confidence = query.select(scores[:, 1:])
    column = -1 if params.class_agnostic else class_id + 1
    delta = deltas.reshape(len(deltas), deltas.shape[1] // 4, 4)[row, column]
    proposal = proposals[row]
    extent = np.float32(params.inclusive)
    with np.errstate(over="ignore", invalid="ignore"):
        delta = delta * np.array(params.stds, np.float32) + np.array(params.means, np.float32)
        size = proposal[:, 2:] - proposal[:, :2] + extent
        center = proposal[:, :2] + size * np.float32(0.5) + delta[:, :2] * size
        half = np.exp(delta[:, 2:]) * size * np.float32(0.5)
        xyxy = np.concatenate([center - half, center + half], axis=1)
    np.clip(xyxy, 0, np.array(query.blob_wh * 2, np.float32) - extent, out=xyxy)
    return Candidates(xyxy, confidence, class_id)

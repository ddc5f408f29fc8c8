"""SSD and UltraFace: boxes (N, 4) and class scores (N, classes), which are probabilities.

Without priors a box is x1, y1, x2, y2 as parts of the blob's width and height. With priors it is an
offset from its prior, center and size: center = prior + offset * variance * prior size, size = prior
size * exp(offset * variance) (Liu et al. 2016, SSD, section 2.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any

import msgspec
import numpy as np

from edgecv import boxes
from edgecv.heads.base import AtLeast, HeadParams, PositiveInt, Query, take
from edgecv.heads.grid import cell_count, grid
from edgecv.types import Candidates, FloatArray, ModelFacts

TYPE = "ssd"
CONVENTIONAL_INPUT: Mapping[str, Any] | None = {
    "color": "rgb",
    "resize": "stretch",
    "mean": (127.0,) * 3,
    "std": (128.0,) * 3,
}

PositiveFloat = Annotated[float, msgspec.Meta(gt=0)]


class PriorMap(HeadParams, frozen=True):
    """The priors of one feature map: squares around the center of every cell.

    stride: of the map, pixels. sizes: sides of the squares, pixels of the blob, in the order of the
    outputs' rows.
    """

    stride: PositiveInt
    sizes: Annotated[tuple[PositiveFloat, ...], msgspec.Meta(min_length=1)]


class Params(HeadParams, frozen=True):
    """boxes, scores: names of the outputs.

    background: whether class 0 of the scores is the background; it is dropped, and classes count from
    the one after it. priors: of each feature map, where the network leaves them to us; variances: of
    center and of size; clip: whether priors are cut at the blob's edges, as parts of its size.
    """

    boxes: str = "boxes"
    scores: str = "scores"
    background: bool = True
    priors: tuple[PriorMap, ...] = ()
    variances: tuple[PositiveFloat, PositiveFloat] = (0.1, 0.2)
    clip: bool = True


# Linzaer/Ultra-Light-Fast-Generic-Face-Detector-1MB, whichever the size of the input.
ULTRAFACE_PRIORS = (
    PriorMap(stride=8, sizes=(10, 16, 24)),
    PriorMap(stride=16, sizes=(32, 48)),
    PriorMap(stride=32, sizes=(64, 96)),
    PriorMap(stride=64, sizes=(128, 192, 256)),
)


def recognise(facts: ModelFacts) -> Params | None:
    """UltraFace by its names, its two classes and its number of priors.

    It is exported with and without the decoding of boxes, under the same names and shapes: the
    exponential in the graph tells. Others with boxes and scores are in doubt: pixels or parts,
    background or not.
    """
    shapes = {spec.name: spec.shape[1:] for spec in facts.outputs}
    if set(shapes) != {"boxes", "scores"} or facts.image_wh is None or not facts.operators:
        return None
    count = _prior_count(facts.image_wh, ULTRAFACE_PRIORS)
    if shapes != {"boxes": (count, 4), "scores": (count, 2)}:
        return None
    return Params() if "Exp" in facts.operators else Params(priors=ULTRAFACE_PRIORS)


def decode(outputs: Mapping[str, FloatArray], params: Params, query: Query) -> Candidates:
    """See `base.Head`."""
    first = 1 if params.background else 0
    count = _prior_count(query.blob_wh, params.priors) if params.priors else None
    scores = take(outputs, params.scores, (count, AtLeast(first + 1)), TYPE)
    raw = take(outputs, params.boxes, (len(scores), 4), TYPE)
    index, class_id, confidence = query.select(scores[:, first:])
    box = raw[index]
    with np.errstate(over="ignore", invalid="ignore"):
        if params.priors:
            prior = _priors(query.blob_wh, params.priors, params.clip)[index]
            center = prior[:, :2] + box[:, :2] * np.float32(params.variances[0]) * prior[:, 2:]
            size = prior[:, 2:] * np.exp(box[:, 2:] * np.float32(params.variances[1]))
            xyxy = boxes.cxcywh_to_xyxy(np.concatenate([center, size], axis=1))
        else:
            xyxy = box * np.array(query.blob_wh * 2, np.float32)
    return Candidates(xyxy, confidence, class_id)


def _prior_count(blob_wh: tuple[int, int], priors: tuple[PriorMap, ...]) -> int:
    return sum(len(one.sizes) * cell_count(blob_wh, (one.stride,)) for one in priors)


@lru_cache(maxsize=16)
def _priors(blob_wh: tuple[int, int], maps: tuple[PriorMap, ...], clip: bool) -> FloatArray:
    """float32 (N, 4) cxcywh, blob pixels, read-only; map by map, cell by cell, size by size."""
    parts = []
    for one in maps:
        cells = grid(blob_wh, (one.stride,))
        centers = (cells.cell_xy + np.float32(0.5)) * cells.stride
        sizes = np.array(one.sizes, np.float32)
        squares = np.broadcast_to(sizes[None, :, None], (len(cells), len(sizes), 2))
        around = np.broadcast_to(centers[:, None, :], squares.shape)
        parts.append(np.concatenate([around, squares], axis=2).reshape(-1, 4))
    priors = np.concatenate(parts)
    if clip:
        priors = np.minimum(priors, np.array(blob_wh * 2, np.float32))
    priors.flags.writeable = False
    return priors

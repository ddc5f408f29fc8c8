"""Peaks of a heat map: at each the offset of an object's center from the cell, and its size.

heatmap (classes, H, W), sizes and offsets (2, H, W), landmarks (2 * k, H, W), all of one stride. CenterNet,
Zhou et al. 2019, arXiv:1904.07850, takes cells that no neighbor of the 3 x 3 around them exceeds, and needs
no NMS; CenterFace (Star-Clouds/CenterFace) takes every cell.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import msgspec
import numpy as np

from edgecv import boxes
from edgecv.errors import HeadError
from edgecv.heads import levels
from edgecv.heads.base import AtLeast, HeadParams, PositiveInt, Query, sigmoid, take
from edgecv.heads.cells import cells_wh
from edgecv.heads.scores import logit
from edgecv.types import Candidates, FloatArray, IntArray, ModelFacts

if TYPE_CHECKING:
    from numpy.typing import NDArray

BoolArray: TypeAlias = "NDArray[np.bool_]"
IndexArray: TypeAlias = "NDArray[np.intp]"

TYPE = "heatmap"
TASK = "detect"

_STRIDES = (4, 8, 2, 16)


class Params(HeadParams, frozen=True):
    """heatmap, sizes, offsets, landmarks: names of the outputs; no offsets: centers lie at `cell_offset`.

    stride: pixels. logits: the heat map still needs its sigmoid. peak: side of the square, cells, that a
    peak is the maximum of; 1: every cell is one. top_k: the most confident peaks that are kept.
    size_code: sizes are in strides, in pixels, or logarithms of strides. axes: order of pairs. cell_offset:
    of a cell's place in it, strides. landmark_code: from the cell, in strides; or from the box's left top
    corner, in parts of its size. needs_nms: peaks may be duplicates.
    """

    heatmap: str
    sizes: str
    offsets: str | None = None
    landmarks: str | None = None
    stride: PositiveInt = 4
    logits: bool = False
    peak: Annotated[int, msgspec.Meta(ge=1, le=15)] = 3
    top_k: PositiveInt = 100
    size_code: Literal["strides", "pixels", "exp"] = "strides"
    axes: Literal["xy", "yx"] = "xy"
    cell_offset: float = 0.0
    landmark_code: Literal["cell", "box"] = "cell"
    needs_nms: bool = False

    def __post_init__(self) -> None:
        if self.peak % 2 == 0:
            raise ValueError(f"`peak` is {self.peak}: expected an odd number, with the cell in the middle")


def draft(facts: ModelFacts) -> Params:
    """The likeliest parameters: by names that speak, else the order heat map, sizes, offsets, landmarks.

    Raises HeadError where the outputs are not maps of one stride, two channels of a size among them.
    """
    for stride in _STRIDES:
        found = {spec.name: levels.place(spec, facts, (stride,)) for spec in facts.outputs}
        widths = {name: place.width for name, place in found.items() if place is not None and place.is_map}
        pairs = [name for name, width in widths.items() if width == 2]
        rest = [name for name in widths if name not in pairs]
        if len(widths) != len(found) or not rest or len(pairs) not in (1, 2):
            continue
        pairs.sort(key=lambda name: any(word in name.lower() for word in ("off", "reg")))
        return Params(
            heatmap=rest[0],
            sizes=pairs[0],
            offsets=pairs[1] if len(pairs) == 2 else None,
            landmarks=rest[1] if len(rest) == 2 and widths[rest[1]] % 2 == 0 else None,
            stride=stride,
            logits=facts.ends.get(rest[0]) not in ("Sigmoid", "Clip"),
        )
    shapes = "; ".join(map(str, facts.outputs[:8]))
    raise HeadError(
        f"{TYPE} head: outputs {shapes}: expected maps of one stride of a known picture: scores, two "
        "channels of sizes and perhaps two of offsets"
    )


def decode(outputs: Mapping[str, FloatArray], params: Params, query: Query) -> Candidates:
    """See `base.Head`."""
    columns, rows = cells_wh(query.blob_wh, params.stride)

    def of(name: str, channels: int | AtLeast) -> FloatArray:
        return take(outputs, name, (channels, rows, columns), TYPE)

    heat, sizes = of(params.heatmap, AtLeast(1)), of(params.sizes, 2)
    offsets = None if params.offsets is None else of(params.offsets, 2)
    landmarks = None if params.landmarks is None else of(params.landmarks, AtLeast(2))
    if landmarks is not None and len(landmarks) % 2:
        raise HeadError(
            f"{TYPE} head: output {params.landmarks!r} expected pairs of channels, got {landmarks.shape}: "
            "the card's head or its parameters do not fit this model"
        )
    cell, class_id, confidence = _peaks(heat, params, query)
    y, x = np.divmod(cell, columns)
    order = [0, 1] if params.axes == "xy" else [1, 0]
    stride = np.float32(params.stride)
    place = np.stack([x, y], axis=1).astype(np.float32) + np.float32(params.cell_offset)
    with np.errstate(over="ignore", invalid="ignore"):
        center = place if offsets is None else place + offsets[order, y[:, None], x[:, None]]
        size = sizes[order, y[:, None], x[:, None]]
        if params.size_code != "pixels":
            size = (np.exp(size) if params.size_code == "exp" else size) * stride
        xyxy = boxes.cxcywh_to_xyxy(np.concatenate([center * stride, size], axis=1))
        keypoints = None
        if landmarks is not None:
            points = landmarks[:, y, x].T.reshape(len(cell), len(landmarks) // 2, 2)[..., order]
            keypoints = np.ones((*points.shape[:2], 3), np.float32)
            if params.landmark_code == "cell":
                keypoints[..., :2] = (points + place[:, None]) * stride
            else:
                keypoints[..., :2] = points * size[:, None] + xyxy[:, None, :2]
    found = Candidates(xyxy, confidence, class_id, keypoints=keypoints, needs_nms=params.needs_nms)
    return found.take(_kept(found, min(params.top_k, query.max_candidates)))


def _kept(found: Candidates, most: int) -> IndexArray:
    """Indices of the most confident, in order; without NMS, which drops boxes of no area, only of others."""
    kept = np.arange(len(found))
    if not found.needs_nms:
        is_box = np.isfinite(found.xyxy).all(axis=1) & (found.xyxy[:, 2:] > found.xyxy[:, :2]).all(axis=1)
        kept = np.flatnonzero(is_box)
    if len(kept) <= most:
        return kept
    best = np.argsort(-found.confidence[kept], kind="stable")[:most]
    return np.sort(kept[best])


def _peaks(heat: FloatArray, params: Params, query: Query) -> tuple[IntArray, IntArray, FloatArray]:
    """Cells, classes and confidences of the peaks over the threshold, by cell, then class."""
    scores = heat.reshape(len(heat), -1).T
    # A cell's best class may be no peak while another one is.
    lowest = query.lowest_confidence
    cell, class_id, score = boxes.select(
        scores, logit(lowest) if params.logits else lowest, multi_label=True, max_candidates=scores.size
    )
    is_kept = _is_peak(heat, cell, class_id, score, params.peak // 2)
    cell, class_id, score = cell[is_kept], class_id[is_kept], score[is_kept]
    if not query.multi_label:
        best = _best_of_each(cell, score)
        cell, class_id, score = cell[best], class_id[best], score[best]
    confidence = sigmoid(score) if params.logits else score
    if isinstance(query.confidence, np.ndarray):
        over = confidence > query.confidence[class_id]
        cell, class_id, confidence = cell[over], class_id[over], confidence[over]
    return cell, class_id, confidence


def _is_peak(
    heat: FloatArray, cell: IntArray, class_id: IntArray, score: FloatArray, reach: int
) -> BoolArray:
    """Whether no cell in reach has a higher score of the class, bool (n,)."""
    rows, columns = heat.shape[1:]
    y, x = np.divmod(cell, columns)
    is_peak = np.ones(len(cell), bool)
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            # At the edge a cell stands in for the one beyond it, and is in reach itself.
            at = heat[class_id, np.clip(y + dy, 0, rows - 1), np.clip(x + dx, 0, columns - 1)]
            is_peak &= score >= at
    return is_peak


def _best_of_each(cell: IntArray, score: FloatArray) -> IndexArray:
    """Indices of the best of each cell, the first of equals; cell: rising."""
    order = np.lexsort((np.arange(len(cell)), -score, cell))
    first = np.ones(len(cell), bool)
    first[1:] = cell[order][1:] != cell[order][:-1]
    return np.sort(order[first])

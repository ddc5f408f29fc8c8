"""SSD and UltraFace: boxes (N, 4) and class scores (N, classes), which are probabilities.

Without priors a box is x1, y1, x2, y2 as parts of the blob's width and height. With priors it is an
offset from its prior, by default center and size: center = prior + offset * variance * prior size, size =
prior size * exp(offset * variance) (Liu et al. 2016, SSD, section 2.2). Priors are made as `PriorBox` of
Caffe's SSD makes them, offsets read as its `DetectionOutput` reads them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgecv import boxes
from edgecv.heads.base import AtLeast, HeadParams, PositiveInt, Query, take
from edgecv.types import Candidates, FloatArray, ModelFacts

TYPE = "ssd"
TASK = "detect"
CONVENTIONAL_INPUT: Mapping[str, Any] | None = {
    "color": "rgb",
    "resize": "stretch",
    "mean": (127.0,) * 3,
    "std": (128.0,) * 3,
}

PositiveFloat = Annotated[float, msgspec.Meta(gt=0)]
Sizes = tuple[PositiveFloat, ...]
# Not tuple[float, float]: msgspec 0.22 crashes on a constrained number in a union with a tuple of fixed size.
Pair = Annotated[tuple[PositiveFloat, ...], msgspec.Meta(min_length=2, max_length=2)]


class PriorMap(HeadParams, frozen=True, omit_defaults=True):
    """The priors of one feature map, around the center of every cell; either `sizes` or `min_sizes`.

    stride: from cell to cell, pixels of the blob; one number, or x and y. cells_wh: columns and rows;
    None: as many as the blob has strides, a part of one counted whole. offset: of a cell's center from
    its left top corner, in strides.
    sizes: sides of squares, pixels, in the order of the outputs' rows.
    min_sizes: sides of squares; each is followed by a square of side sqrt(min * max) where there are
    max_sizes, and by boxes of the same area for each of aspect_ratios, width over height, and with `flip`
    for its inverse; a ratio of 1 is the square itself. clip: whether these are cut at the blob's edges.
    """

    stride: PositiveFloat | Pair
    sizes: Sizes = ()
    cells_wh: tuple[PositiveInt, PositiveInt] | None = None
    offset: float = 0.5
    min_sizes: Sizes = ()
    max_sizes: Sizes = ()
    aspect_ratios: Sizes = ()
    flip: bool = True
    clip: bool = False

    def __post_init__(self) -> None:
        if bool(self.sizes) == bool(self.min_sizes):
            raise ValueError("expected either `sizes` or `min_sizes`")
        if len(self.max_sizes) not in (0, len(self.min_sizes)):
            raise ValueError(
                f"`max_sizes` has {len(self.max_sizes)} entries for {len(self.min_sizes)} of `min_sizes`"
            )

    @property
    def stride_xy(self) -> tuple[float, float]:
        """From cell to cell, pixels."""
        x, y = self.stride if isinstance(self.stride, tuple) else (self.stride, self.stride)
        return x, y

    def cells(self, blob_wh: tuple[int, int]) -> tuple[int, int]:
        """Columns and rows."""
        columns, rows = (math.ceil(n / stride) for n, stride in zip(blob_wh, self.stride_xy, strict=True))
        return self.cells_wh or (columns, rows)

    @property
    def shapes(self) -> tuple[tuple[float, float], ...]:
        """Width and height of each prior of a cell, in their order."""
        shapes = [(size, size) for size in self.sizes]
        for number, size in enumerate(self.min_sizes):
            shapes.append((size, size))
            if self.max_sizes:
                shapes.append((math.sqrt(size * self.max_sizes[number]),) * 2)
            shapes += [(size * math.sqrt(ratio), size / math.sqrt(ratio)) for ratio in self._ratios()]
        return tuple(shapes)

    def count(self, blob_wh: tuple[int, int]) -> int:
        """How many priors there are for a blob of that size."""
        columns, rows = self.cells(blob_wh)
        return columns * rows * len(self.shapes)

    def _ratios(self) -> list[float]:
        """Each ratio once, its inverse after it, and none of 1."""
        ratios = [1.0]
        for ratio in self.aspect_ratios:
            if all(abs(ratio - known) >= 1e-6 for known in ratios):
                ratios += [ratio, 1 / ratio] if self.flip else [ratio]
        return [ratio for ratio in ratios if abs(ratio - 1) >= 1e-6]


class Params(HeadParams, frozen=True):
    """boxes, scores: names of the outputs; with priors they may be (N * 4,) and (N * classes,).

    background: whether class 0 of the scores is the background; it is dropped, and classes count from
    the one after it. classes: how many there are without it, for outputs that do not show it.
    priors: of each feature map, where the network leaves them to us; clip: whether those of `sizes` are
    cut at the blob's edges, as parts of its size.
    variances: of center and of size, or of each of four. code: what an offset is from: "center-size" as
    above; "corner": corner = prior + offset * variance * blob size; "corner-size": corner = prior +
    offset * variance * prior size. shared: whether all classes have one box, or each its own, the
    background's first: (N, (background + classes) * 4).
    """

    boxes: str = "boxes"
    scores: str = "scores"
    background: bool = True
    priors: tuple[PriorMap, ...] = ()
    variances: tuple[PositiveFloat, ...] = (0.1, 0.2)
    clip: bool = True
    code: Literal["center-size", "corner", "corner-size"] = "center-size"
    shared: bool = True
    classes: PositiveInt | None = None

    def __post_init__(self) -> None:
        if len(self.variances) not in (2, 4):
            raise ValueError(f"`variances` has {len(self.variances)} entries: expected 2 or 4")


# Linzaer/Ultra-Light-Fast-Generic-Face-Detector-1MB, whichever the size of the input.
ULTRAFACE_PRIORS = (
    PriorMap(stride=8, sizes=(10, 16, 24)),
    PriorMap(stride=16, sizes=(32, 48)),
    PriorMap(stride=32, sizes=(64, 96)),
    PriorMap(stride=64, sizes=(128, 192, 256)),
)


def recognize(facts: ModelFacts) -> Params | None:
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
    columns = None if params.classes is None else params.classes + first
    scores = _rows(outputs, params.scores, count, columns or AtLeast(first + 1))
    sets = 1 if params.shared else scores.shape[1]
    raw = _rows(outputs, params.boxes, len(scores), 4 * sets)
    index, class_id, confidence = query.select(scores[:, first:])
    box = raw[index] if params.shared else raw.reshape(-1, sets, 4)[index, class_id + first]
    with np.errstate(over="ignore", invalid="ignore"):
        if params.priors:
            prior = _priors(query.blob_wh, params.priors, params.clip)[index]
            xyxy = _from_priors(box, prior, params, query.blob_wh)
        else:
            xyxy = box * np.array(query.blob_wh * 2, np.float32)
    return Candidates(xyxy, confidence, class_id)


def _rows(
    outputs: Mapping[str, FloatArray], name: str, count: int | None, columns: int | AtLeast
) -> FloatArray:
    """An output of `count` rows, which may lie in one axis where both sizes are known."""
    given = outputs.get(name)
    if count is None or given is None or given.ndim != 1:
        return take(outputs, name, (count, columns), TYPE)
    flat = {name: given.reshape(count, -1)} if given.size and given.size % count == 0 else outputs
    return take(flat, name, (count, columns), TYPE)


def _from_priors(
    offset: FloatArray, prior: FloatArray, params: Params, blob_wh: tuple[int, int]
) -> FloatArray:
    """float32 (n, 4) xyxy, blob pixels. prior: cxcywh of the same rows."""
    variances = params.variances
    each = np.array(variances if len(variances) == 4 else np.repeat(variances, 2), np.float32)
    offset = offset * each
    if params.code == "center-size":
        center = prior[:, :2] + offset[:, :2] * prior[:, 2:]
        size = prior[:, 2:] * np.exp(offset[:, 2:])
        return boxes.cxcywh_to_xyxy(np.concatenate([center, size], axis=1))
    unit = np.array(blob_wh, np.float32) if params.code == "corner" else prior[:, 2:]
    return boxes.cxcywh_to_xyxy(prior) + offset * np.tile(unit, 2)


def _prior_count(blob_wh: tuple[int, int], priors: tuple[PriorMap, ...]) -> int:
    return sum(one.count(blob_wh) for one in priors)


@lru_cache(maxsize=16)
def _priors(blob_wh: tuple[int, int], maps: tuple[PriorMap, ...], clip: bool) -> FloatArray:
    """float32 (N, 4) cxcywh, blob pixels, read-only; map by map, cell by cell, shape by shape."""
    parts = []
    for one in maps:
        columns, rows = one.cells(blob_wh)
        y, x = np.indices((rows, columns), np.float64).reshape(2, -1, 1)
        shapes = np.array(one.shapes)
        center = (np.stack([x, y], axis=-1) + one.offset) * one.stride_xy
        part = np.concatenate(np.broadcast_arrays(center, shapes), axis=-1).reshape(-1, 4)
        parts.append(_clipped(part, blob_wh, clip) if one.sizes else _cut(part, blob_wh, one.clip))
    priors = np.concatenate(parts).astype(np.float32)
    priors.flags.writeable = False
    return priors


def _clipped(priors: NDArray[np.float64], blob_wh: tuple[int, int], clip: bool) -> NDArray[np.float64]:
    """Centers and sizes, none of them over the blob's size."""
    return np.minimum(priors, np.array(blob_wh * 2)) if clip else priors


def _cut(priors: NDArray[np.float64], blob_wh: tuple[int, int], clip: bool) -> NDArray[np.float64]:
    """Centers and sizes of what lies inside the blob."""
    if not clip:
        return priors
    half = priors[:, 2:] / 2
    low, high = (
        np.clip(corner, 0, np.array(blob_wh)) for corner in (priors[:, :2] - half, priors[:, :2] + half)
    )
    return np.concatenate([(low + high) / 2, high - low], axis=1)

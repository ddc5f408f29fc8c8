"""Offsets from anchors or priors: SSD, RetinaFace, RetinaNet, EfficientDet, BlazeFace, DetectNet.

A row of boxes is what lies between a prior, of center c and size s, and an object; v are `variances`, which
some call the inverse of code weights:
"center-size": center = c + d v s, size = s exp(d v) (Liu et al. 2016, SSD, arXiv:1512.02325, section 2.2).
"linear": center = c + d v s, size = s d v (MediaPipe's `TensorsToDetectionsCalculator`).
"corner": corner = corner of the prior + d v blob size; "corner-size": the same, times s in place of the blob
(`DecodeBBox` of Caffe's SSD; keras-retinanet's regression).
"corner-pixels": corner = c + d v, pixels (DetectNet of NVIDIA DIGITS). "sides": left and top = c - d v, right
and bottom = c + d v, pixels (DetectNet_v2 of NVIDIA TAO).
A keypoint is c + d v s. Priors are made as `priors.PriorMap` states.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgecv import boxes
from edgecv.errors import HeadError
from edgecv.heads import levels
from edgecv.heads import priors as known
from edgecv.heads.base import AtLeast, Axis, HeadParams, PositiveInt, Query, join, take
from edgecv.heads.priors import Maps, PositiveFloat, Priors, priors_of
from edgecv.heads.scores import Background, Logits, Selected, select
from edgecv.types import Candidates, FloatArray, IntArray, ModelFacts, TensorSpec

TYPE = "anchors"
TASK = "detect"

# One output of all maps joined, or one a map.
Names = str | Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
# Numbers of COCO's categories, as TensorFlow's models count them; RetinaNet has as many priors.
_EFFICIENTDET_CLASSES = 90
_STRIDES = (8, 16, 32, 64, 128)
_NEVER = np.float32(-np.inf)

Code = Literal["center-size", "linear", "corner", "corner-size", "corner-pixels", "sides"]


class Params(HeadParams, frozen=True, omit_defaults=True, cache_hash=True):
    """boxes, scores, keypoints: of each the name of one output, or a name a map.

    An output is a table, (N, 4) boxes, (N, classes) scores, (N, 2 k) keypoints, in one axis or in two, where
    N are the priors; or the map of its cells, A priors a cell. layout: of such maps: "channels-first"
    (A * C, H, W) or "channels-last" (H, W, A * C). class_major: maps of scores are (C * A, H, W). keypoints:
    None for none; where it is `boxes`, they stand behind the four numbers of the box.
    priors: of each map.
    logits: whether scores still need a sigmoid, or a "softmax" of their row. background: which of the scores
    is the background's; it is dropped, and classes count without it. classes: how many there are without it,
    for outputs that do not show it.
    code, variances: see above; of center and of size, or of each of four numbers. axes: "yx": y stands before
    x, and height before width, in boxes. max_growth: exp() of an offset is at most that.
    shared: whether all classes have one box, or each its own, the background too: (N, (background + classes)
    * 4). min_height: lower boxes are dropped, pixels of the blob.
    """

    priors: Annotated[Maps, msgspec.Meta(min_length=1)]
    boxes: Names = "boxes"
    scores: Names = "scores"
    keypoints: Names | None = None
    layout: Literal["channels-first", "channels-last"] = "channels-first"
    class_major: bool = False
    logits: Logits = False
    background: Background = None
    classes: PositiveInt | None = None
    code: Code = "center-size"
    variances: tuple[PositiveFloat, ...] = (0.1, 0.2)
    axes: Literal["xy", "yx"] = "xy"
    max_growth: PositiveFloat | None = None
    shared: bool = True
    min_height: Annotated[float, msgspec.Meta(ge=0)] = 0.0

    def __post_init__(self) -> None:
        if len(self.variances) not in (2, 4):
            raise ValueError(f"`variances` has {len(self.variances)} entries: expected 2 or 4")
        counts = {
            name: len(given)
            for name in ("boxes", "scores", "keypoints")
            if isinstance(given := getattr(self, name), tuple)
        }
        for name, number in counts.items():
            if number != len(self.priors):
                raise ValueError(f"`{name}` has {number} names for {len(self.priors)} maps of `priors`")
        if self.class_major and self.layout != "channels-first":
            raise ValueError("`class_major` is of maps whose `layout` is channels-first")
        if not self.shared and (self.keypoints is not None or self.min_height):
            raise ValueError("`shared` is false: `keypoints` and `min_height` are of one box for all classes")


def draft(facts: ModelFacts) -> Params:
    """Boxes and scores by their columns, with priors of the family that has as many.

    Where none has, those of RetinaNet at the strides 8 to 128. Maps are those of RetinaNet or EfficientDet:
    of these strides, nine priors a cell. Raises HeadError where no output can be boxes.
    """
    pair = levels.beside(levels.by_width(facts, _STRIDES, per_cell=9, maps=True), 4)
    if pair is not None:
        return _of_maps(facts, pair)
    shown = "; ".join(map(str, facts.outputs[:8]))
    tables = [spec for spec in facts.outputs if len(spec.shape) == 3]
    box = next((spec for spec in tables if spec.shape[2] == 4), None)
    points = None
    if box is None:
        box = next((spec for spec in tables if _has_points(spec)), None)
        points = box
    if box is None:
        raise HeadError(
            f"{TYPE} head: outputs {shown}: expected one of (batch, N, 4), a row of boxes for each prior"
        )
    others = [spec for spec in tables if spec is not box and spec.shape[1] == box.shape[1]]
    if not others:
        raise HeadError(f"{TYPE} head: outputs {shown}: expected scores beside {box.name}, a row a prior")
    scores = next((spec for spec in others if spec.shape[2] != 10), others[0])
    points = points or next((spec for spec in others if spec is not scores and spec.shape[2] == 10), None)
    wh, rows = facts.image_wh, box.shape[1]
    fitting = {} if wh is None else {name: make(wh) for name, make in known.FAMILIES.items()}
    fitting = {name: maps for name, maps in fitting.items() if wh and known.count(maps, wh) == rows}
    if "efficientdet" in fitting and _is_efficientdet(scores.shape[2], facts):
        fitting.pop("retinanet", None)
    family, maps = next(iter(fitting.items()), ("retinanet", known.retinanet(wh or (640, 640))))
    end = facts.ends.get(scores.name)
    is_single = family in ("retinanet", "efficientdet", "face_mask") or scores.shape[2] == 1
    logits: bool | Literal["softmax"] = False
    if facts.ends and end not in ("Sigmoid", "Softmax"):
        logits = True if is_single else "softmax"
    return Params(
        boxes=box.name,
        scores=scores.name,
        keypoints=points.name if points else None,
        priors=maps,
        logits=logits,
        background=None if is_single or end == "Sigmoid" else "first",
        code="linear" if family.startswith("blaze") else "center-size",
        variances=(1.0, 1.0) if family in ("retinanet", "efficientdet") or "blaze" in family else (0.1, 0.2),
        axes="yx" if family == "efficientdet" else "xy",
    )


def _is_efficientdet(classes: Any, facts: ModelFacts) -> bool:
    """Of the two families whose priors are as many: RetinaNet has ReLU, and EfficientDet x * sigmoid(x)."""
    has_swish = {"Sigmoid", "Mul"} <= facts.operators and "Relu" not in facts.operators
    return bool(classes == _EFFICIENTDET_CLASSES or has_swish)


def _of_maps(facts: ModelFacts, pair: levels.Pair) -> Params:
    is_efficientdet = _is_efficientdet(pair.classes, facts)
    wh = facts.image_wh
    assert wh is not None
    channels = next(spec.shape[1] for spec in facts.outputs if spec.name == pair.boxes[0])
    return Params(
        boxes=pair.boxes,
        scores=pair.scores,
        layout="channels-first" if channels == 9 * 4 else "channels-last",
        priors=known.efficientdet(wh) if is_efficientdet else known.retinanet_maps(wh),
        logits=levels.are_logits(facts, pair.scores),
        variances=(1.0, 1.0),
        axes="yx" if is_efficientdet else "xy",
    )


def _has_points(spec: TensorSpec) -> bool:
    columns = spec.shape[2]
    return isinstance(columns, int) and 6 <= columns <= 40 and columns % 2 == 0


def decode(outputs: Mapping[str, FloatArray], params: Params, query: Query) -> Candidates:
    """See `base.DetectionHead`."""
    parts = [_of_group(outputs, group, query) for group in _groups(params, query.blob_wh)]
    columns = parts[0] if len(parts) == 1 else join(parts, query.max_candidates)
    confidence, class_id, xyxy = columns[:3]
    return Candidates(xyxy, confidence, class_id, columns[3] if len(columns) > 3 else None)


class _Table:
    """An output with a row for each prior of some maps; what a map has is not copied.

    sets: float32 (n, columns) each, of every `len(sets)`th prior from its own number on: one set for a table;
    of a map whose channels come first one for each prior of a cell.
    """

    def __init__(self, sets: list[FloatArray]) -> None:
        self.sets = sets
        self.columns = sets[0].shape[1]

    def rows(self, index: IntArray) -> FloatArray:
        """float32 (k, columns), of some priors."""
        if len(self.sets) == 1:
            return self.sets[0][index]
        cell, number = np.divmod(index, len(self.sets))
        picked = np.empty((len(index), self.columns), np.float32)
        for each, table in enumerate(self.sets):
            here = number == each
            picked[here] = table[cell[here]]
        return picked

    def column(self, number: int) -> FloatArray:
        """float32 (n,), of all priors."""
        if len(self.sets) == 1:
            return self.sets[0][:, number]
        return np.stack([table[:, number] for table in self.sets], axis=1).reshape(-1)


class _Group:
    """Maps that are read together: all of them, or one where outputs have names of their own for each.

    cxcywh: float32 (n, 4), their priors. variances: float32 (4,). Of codes of corners, a corner is start +
    offset * scale, float32 (n, 4) and (4,) or (n, 4); scale is None where it is 1.
    """

    def __init__(self, params: Params, priors: Priors, blob_wh: tuple[int, int], number: int | None) -> None:
        self.params = params
        self._number = number or 0
        self._total = len(priors.cxcywh)
        self._start, self._stop = 0, self._total
        if number is not None:
            self._start = sum(priors.counts[:number])
            self._stop = self._start + priors.counts[number]
        self.cxcywh = priors.cxcywh[self._start : self._stop]
        # Of one map alone an output may be the map.
        self._is_one = number is not None or len(params.priors) == 1
        self._per_cell = priors.per_cell[self._number]
        self._cells = params.priors[self._number].cells(blob_wh)
        variances = params.variances
        self.variances = np.array(variances if len(variances) == 4 else np.repeat(variances, 2), np.float32)
        self.start, self.scale = _corners_of(self.cxcywh, params.code, self.variances, blob_wh)

    def table(
        self, outputs: Mapping[str, FloatArray], names: Names, columns: Axis, *, class_major: bool = False
    ) -> _Table:
        """The rows of these maps. columns: how many a row has. class_major: channels of a map go by columns,
        then by priors. Raises HeadError for what does not fit.
        """
        is_joined = isinstance(names, str)
        name = names if isinstance(names, str) else names[self._number]
        count = self._total if is_joined else self._stop - self._start
        given = outputs.get(name)
        if given is not None:
            if given.ndim == 3 and self._is_one and count == len(self.cxcywh):
                return self._of_map(outputs, name, columns, class_major=class_major)
            if given.ndim == 1 and given.size and given.size % count == 0:
                outputs = {name: given.reshape(count, -1)}
        rows = take(outputs, name, (count, columns), TYPE)
        return _Table([rows if count == len(self.cxcywh) else rows[self._start : self._stop]])

    def _of_map(
        self, outputs: Mapping[str, FloatArray], name: str, columns: Axis, *, class_major: bool
    ) -> _Table:
        each, (width, height) = self._per_cell, self._cells
        channels: Axis = each * columns if isinstance(columns, int) else None
        if isinstance(columns, AtLeast):
            channels = AtLeast(each * columns.size)
        is_last = self.params.layout == "channels-last"
        raw = take(outputs, name, (height, width, channels) if is_last else (channels, height, width), TYPE)
        if raw.shape[2 if is_last else 0] % each:
            raise HeadError(
                f"{TYPE} head: output {name!r} expected channels that {each} priors share alike, got "
                f"{raw.shape}: the card's head or its parameters do not fit this model"
            )
        if is_last:
            return _Table([raw.reshape(height * width * each, -1)])
        apart = (
            raw.reshape(-1, each, height * width) if class_major else raw.reshape(each, -1, height * width)
        )
        return _Table([part.T for part in (apart.swapaxes(0, 1) if class_major else apart)])


@lru_cache(maxsize=16)
def _groups(params: Params, blob_wh: tuple[int, int]) -> tuple[_Group, ...]:
    priors = priors_of(params.priors, blob_wh)
    names = (params.boxes, params.scores, params.keypoints)
    is_apart = any(isinstance(each, tuple) for each in names)
    numbers = range(len(params.priors)) if is_apart else [None]
    return tuple(_Group(params, priors, blob_wh, number) for number in numbers)


def _corners_of(
    cxcywh: FloatArray, code: Code, variances: FloatArray, blob_wh: tuple[int, int]
) -> tuple[FloatArray, FloatArray | None]:
    """Where offsets of corners start, and what they are multiplied by."""
    if code == "corner":
        return boxes.cxcywh_to_xyxy(cxcywh), variances * np.array(blob_wh * 2, np.float32)
    if code == "corner-size":
        return boxes.cxcywh_to_xyxy(cxcywh), variances * cxcywh[:, [2, 3, 2, 3]]
    scale = variances * np.array((-1, -1, 1, 1), np.float32) if code == "sides" else variances
    return cxcywh[:, [0, 1, 0, 1]], None if (scale == 1).all() else scale


def _of_group(outputs: Mapping[str, FloatArray], group: _Group, query: Query) -> tuple[NDArray[Any], ...]:
    """Confidence, class, corners, and keypoints where there are some, of the candidates of some maps."""
    params = group.params
    scores = group.table(outputs, params.scores, _score_columns(params), class_major=params.class_major)
    has_points = params.keypoints == params.boxes
    sets = 1 if params.shared else scores.columns
    table = group.table(outputs, params.boxes, AtLeast(6) if has_points else 4 * sets)
    points = table if has_points else None
    if params.keypoints is not None:
        points = points or group.table(outputs, params.keypoints, AtLeast(2))
        if points.columns % 2:
            raise HeadError(
                f"{TYPE} head: output {params.keypoints!r} expected x and y of each keypoint, got "
                f"{points.columns} columns: the card's head or its parameters do not fit this model"
            )
    with np.errstate(over="ignore", invalid="ignore"):
        high = _is_high(table, group) if params.min_height else None
        index, class_id, confidence = _selected(scores, high, params, query)
        raw = table.rows(index)
        offset = raw if params.shared else _of_class(raw, class_id, params)
        xyxy = _to_xyxy(offset[:, :4] if has_points else offset, index, group)
        if points is None:
            return confidence, class_id, xyxy
        values = raw[:, 4:] if has_points else points.rows(index)
        return confidence, class_id, xyxy, _keypoints(values, index, group)


def _selected(scores: _Table, high: NDArray[np.bool_] | None, params: Params, query: Query) -> Selected:
    """Prior, class and confidence, by prior and class. high: which boxes may be candidates."""
    found = []
    step = len(scores.sets)
    for number, part in enumerate(scores.sets):
        if high is not None:
            part = np.where(high[number::step], part.T, _NEVER).T
        index, class_id, confidence = select(query, part, logits=params.logits, background=params.background)
        if step == 1:
            return index, class_id, confidence
        found.append((index * step + number, class_id, confidence))
    index, class_id, confidence = (np.concatenate(column) for column in zip(*found, strict=True))
    best = np.arange(len(index))
    if len(index) > query.max_candidates:
        best = np.argsort(-confidence, kind="stable")[: query.max_candidates]
    order = best[np.lexsort((class_id[best], index[best]))]
    return index[order], class_id[order], confidence[order]


def _score_columns(params: Params) -> Axis:
    background = int(params.background is not None)
    return AtLeast(background + 1) if params.classes is None else params.classes + background


def _is_high(table: _Table, group: _Group) -> NDArray[np.bool_]:
    """Which boxes are as high as they have to be, bool (n,)."""
    is_yx = group.params.axes == "yx"
    low, high = table.column(0 if is_yx else 1), table.column(2 if is_yx else 3)
    if group.params.code in ("center-size", "linear"):
        growth = _growth(high * group.variances[3], group.params)
        return np.asarray(growth * group.cxcywh[:, 3] >= group.params.min_height)
    if group.scale is not None:
        low, high = low * group.scale[..., 1], high * group.scale[..., 3]
    if group.params.code in ("corner", "corner-size"):
        low, high = low + group.start[:, 1], high + group.start[:, 3]
    is_high: NDArray[np.bool_] = high - low >= group.params.min_height
    return is_high


def _of_class(raw: FloatArray, class_id: IntArray, params: Params) -> FloatArray:
    """float32 (k, 4): of the boxes of each class that of the candidate's own."""
    first = 1 if params.background == "first" else 0
    return raw.reshape(len(raw), raw.shape[1] // 4, 4)[np.arange(len(raw)), class_id + first]


def _to_xyxy(offset: FloatArray, index: IntArray, group: _Group) -> FloatArray:
    """float32 (k, 4), blob pixels. index: the priors of these offsets."""
    params = group.params
    if params.axes == "yx":
        offset = offset[:, [1, 0, 3, 2]]
    if params.code in ("center-size", "linear"):
        offset = offset * group.variances
        prior = group.cxcywh[index]
        center = prior[:, :2] + offset[:, :2] * prior[:, 2:]
        size = prior[:, 2:] * _growth(offset[:, 2:], params)
        return boxes.cxcywh_to_xyxy(np.concatenate([center, size], axis=1))
    if group.scale is not None:
        offset = offset * (group.scale if group.scale.ndim == 1 else group.scale[index])
    return group.start[index] + offset


def _growth(offset: FloatArray, params: Params) -> FloatArray:
    """What the size of a prior is multiplied by. offset: of its size, times the variance."""
    if params.code == "linear":
        return offset
    growth = np.exp(offset)
    return growth if params.max_growth is None else np.minimum(growth, np.float32(params.max_growth))


def _keypoints(values: FloatArray, index: IntArray, group: _Group) -> FloatArray:
    """float32 (n, k, 3), blob pixels; the network tells no confidence of a point, which is 1."""
    keypoints = np.ones((len(values), values.shape[1] // 2, 3), np.float32)
    offset = values.reshape(*keypoints.shape[:2], 2) * group.variances[:2]
    prior = group.cxcywh[index, None]
    keypoints[..., :2] = prior[..., :2] + offset * prior[..., 2:]
    return keypoints

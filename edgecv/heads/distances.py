"""Anchor-free maps: at every cell of every stride scores, and how far a box's sides or center are from it.

Each stride has outputs of its own, or one output has the cells of all strides joined, stride by stride, each
row by row. An output is a table of rows (N, C), its transpose (C, N), or a map (C, H, W) or (H, W, C).

code "ltrb": distances from the cell's center to left, top, right and bottom (FCOS, Tian et al. 2019), plain
or as the mean of a softmax over bins (Generalized Focal Loss, Li et al. 2020). "center": the center lies d
from the cell and the size is exp(d) (`YOLOXHead.decode_outputs` of Megvii-BaseDetection/YOLOX).
"center-sigmoid": the center lies tanh(t) from the cell, in cells, and the size is sigmoid(t) of the blob
(`handle_preds` of dog-qiuqiu/FastestDet).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
import numpy as np

from edgecv import boxes
from edgecv.errors import HeadError
from edgecv.heads import levels
from edgecv.heads.base import (
    AtLeast,
    Axis,
    HeadParams,
    PositiveInt,
    Query,
    Strides,
    fits,
    join,
    sigmoid,
    take,
)
from edgecv.heads.cells import Grid, cell_count, cells_wh, grid
from edgecv.heads.masks import PrototypeMasks
from edgecv.heads.recognition import P5
from edgecv.heads.scores import all_over, logit
from edgecv.types import Candidates, FloatArray, IntArray, ModelFacts

TYPE = "distances"
TASK = "detect"

Names = tuple[str, ...]
Role = Literal["box", "objectness", "classes", "keypoints"]
Layout = Literal["rows", "channels-first", "channels-last"]
Power = Annotated[float, msgspec.Meta(gt=0)]
NonNegativeInt = Annotated[int, msgspec.Meta(ge=0)]

# Layouts are found once for a shape; a detector has a dozen of outputs, and a few sizes alternate.
_CACHED_SHAPES = 256
_FLOAT32 = np.dtype(np.float32)


Shape: TypeAlias = tuple[int, ...]
# Cells' places in units of distances, float32 (n, 2), and those units, pixels, float32 (n, 1).
_Places: TypeAlias = tuple[FloatArray, FloatArray]
# First cell, outputs, indices of columns.
_LevelPlan: TypeAlias = "tuple[int, tuple[_Source | None, ...], tuple[Any, ...]]"


class Params(HeadParams, frozen=True):
    """Either `output`, or `scores` and `boxes`: of each one name a stride, or one for all strides joined.

    output: names of outputs that have all columns. columns: their roles, in order; as many classes as
    are left. scores, boxes, objectness, keypoints: names of outputs apart; a centerness is an objectness.
    coefficients: names of outputs apart, a number for each prototype of masks; prototypes: name of the output
    (masks, H, W).
    strides: pixels. layout: of every output; None: found from their shapes. code: of boxes. bins: of a
    side's distribution, reg_max + 1; 0: plain. activation: what distances of code ltrb still need.
    cell_offset: where a cell's center lies in it, 0 to 1. unit: of distances and keypoints. logits: scores,
    objectness and confidences of keypoints still need their sigmoid. powers: a and b, confidence is
    objectness^a * score^b. clip: both are cut to 0 to 1 before. anchors_per_cell: rows of a cell, one after
    the other, or sets of channels. keypoint_count: for `columns`. keypoint_values: x and y, or these and a
    confidence. keypoint_scale, keypoint_offset: a keypoint lies at cell + offset + scale * value; None:
    `cell_offset`.
    """

    output: Names = ()
    columns: tuple[Role, ...] = ("box", "classes")
    scores: Names = ()
    boxes: Names = ()
    objectness: Names = ()
    keypoints: Names = ()
    coefficients: Names = ()
    prototypes: str | None = None
    strides: Strides = P5
    layout: Layout | None = None
    code: Literal["ltrb", "center", "center-sigmoid"] = "ltrb"
    bins: NonNegativeInt = 0
    activation: Literal["exp", "relu"] | None = None
    cell_offset: float = 0.5
    unit: Literal["strides", "pixels"] = "strides"
    logits: bool = False
    powers: tuple[Power, Power] = (1.0, 1.0)
    clip: bool = False
    anchors_per_cell: PositiveInt = 1
    keypoint_count: NonNegativeInt = 0
    keypoint_values: Literal[2, 3] = 2
    keypoint_scale: float = 1.0
    keypoint_offset: float | None = None

    def __post_init__(self) -> None:
        if bool(self.output) == bool(self.scores or self.boxes):
            raise ValueError("expected either `output`, or `scores` and `boxes`")
        optional = [role for role in ("objectness", "keypoints", "coefficients") if getattr(self, role)]
        apart = ["scores", "boxes", *optional]
        if self.output and optional:
            raise ValueError(f"`{optional[0]}` is a column of `output`: name it in `columns`")
        if bool(self.coefficients) != (self.prototypes is not None):
            raise ValueError("`coefficients` and `prototypes` go together")
        counts = [len(getattr(self, role)) for role in (["output"] if self.output else apart)]
        if len(set(counts)) != 1 or counts[0] not in (1, len(self.strides)):
            named = ", ".join(f"`{role}`" for role in (["output"] if self.output else apart))
            raise ValueError(
                f"{named}: {', '.join(map(str, counts))} names: expected of each one, or one for each of "
                f"{len(self.strides)} strides"
            )
        if self.output and not (len(set(self.columns)) == len(self.columns) and "box" in self.columns):
            raise ValueError("`columns`: expected each role once, `box` among them")
        if self.output and ("keypoints" in self.columns) != bool(self.keypoint_count):
            raise ValueError("`columns` and `keypoint_count`: expected keypoints in both or in neither")
        if self.output and not {"classes", "objectness"} & set(self.columns):
            raise ValueError("`columns`: expected `classes` or `objectness`")
        if self.code == "center-sigmoid" and len(self.strides) != 1:
            raise ValueError(f"`strides` has {len(self.strides)} entries: code center-sigmoid has one")
        if self.bins and self.code != "ltrb":
            raise ValueError(f"`bins`: a distribution is of code ltrb, not of {self.code}")


def draft(facts: ModelFacts) -> Params:
    """The likeliest parameters. Raises HeadError where the outputs are not those of strides' cells."""
    fields = levels.roles(facts, TYPE)
    return msgspec.convert(fields, Params)


class _Level(msgspec.Struct, frozen=True):
    """Views of one stride's outputs, or of all strides' joined: one row a cell, or per_cell of them.

    scores: float32 (n, classes). objectness: float32 (n,). box: float32 (n, 4 or 4 * bins). keypoints:
    float32 (n, k * values). coefficients: float32 (n, masks). first: the cell of the first row. per_cell:
    rows of a cell.
    """

    scores: FloatArray
    objectness: FloatArray | None
    box: FloatArray
    keypoints: FloatArray | None
    coefficients: FloatArray | None
    first: int
    per_cell: int


def decode(outputs: Mapping[str, FloatArray], params: Params, query: Query) -> Candidates:
    """See `base.Head`."""
    parts = []
    # Entered once: it takes as long as a step of NumPy on all candidates.
    with np.errstate(over="ignore", invalid="ignore"):
        for level in _levels(outputs, params, query.blob_wh):
            row, class_id, confidence = _search(level.scores, level.objectness, params, query)
            cell = row if level.per_cell == 1 else row // level.per_cell
            part = (confidence, class_id, cell + level.first if level.first else cell, level.box[row])
            more = [view[row] for view in (level.keypoints, level.coefficients) if view is not None]
            parts.append((*part, *more))
        confidence, class_id, index, box, *more = join(parts, query.max_candidates)
        cells = grid(query.blob_wh, params.strides)
        places = _cells(index, cells, params.cell_offset, params.unit)
        xyxy = _boxes(box, places, params, query.blob_wh)
        keypoints = None
        if level.keypoints is not None:
            if params.keypoint_offset not in (None, params.cell_offset):
                places = _cells(index, cells, params.keypoint_offset, params.unit)
            keypoints = _keypoints(more[0], places, params)
    masks = None
    if params.prototypes is not None:
        prototypes = take(outputs, params.prototypes, (more[-1].shape[1], None, None), TYPE)
        masks = PrototypeMasks(more[-1], prototypes, query.blob_wh)
    return Candidates(xyxy, confidence, class_id, keypoints=keypoints, masks=masks)


def _search(
    scores: FloatArray, objectness: FloatArray | None, params: Params, query: Query
) -> tuple[IntArray, IntArray, FloatArray]:
    """Rows, classes and confidences of a level's candidates."""
    if objectness is None:
        threshold = logit(query.confidence) if params.logits else query.confidence
        row, class_id, score = query.select(scores, threshold=threshold)
        if params.logits:
            score = sigmoid(score)
        return row, class_id, _clip(score) if params.clip else score
    # Raised to 1 / b the confidence is a product, so the scores are searched before any power.
    a, b = params.powers
    lowest = query.confidence
    if b != 1:
        # Python's own numbers, where there is one threshold, for their speed.
        positive: Any = np.maximum(lowest, 0) if isinstance(lowest, np.ndarray) else max(lowest, 0.0)
        lowest = positive ** (1 / b)
    if not params.logits and not params.clip:
        row, class_id, product = query.select(scores, objectness=_power(objectness, a / b), threshold=lowest)
        return row, class_id, product if b == 1 else product**b
    if params.logits:
        # No objectness lifts a score, so that those over the threshold alone need a sigmoid.
        row, class_id, score = all_over(query, scores, logit(lowest))
        factor, score = sigmoid(objectness[row]), sigmoid(score)
    else:
        # The product alone finds every candidate; it orders them otherwise than the clipped one.
        row, class_id, _ = all_over(query, scores, lowest, objectness=_power(objectness, a / b))
        picked = scores[row, 0] if scores.shape[1] == 1 else scores[row, class_id]
        factor, score = _clip(objectness[row]), _clip(picked)
    confidence = (_power(factor, a / b) * score) ** b
    per_class = query.confidence
    over = confidence > (per_class[class_id] if isinstance(per_class, np.ndarray) else per_class)
    return row[over], class_id[over], confidence[over]


def _power(x: FloatArray, power: float) -> FloatArray:
    if power == 1:
        return x
    # NumPy's own power takes many times as long.
    return x * np.sqrt(x) if abs(power - 1.5) < 1e-9 else x**power


def _clip(x: FloatArray) -> FloatArray:
    """Cut to 0 to 1; NaN stays."""
    # `np.clip` takes twice as long on the few values of a level.
    return np.minimum(np.maximum(x, 0), 1)


def _boxes(box: FloatArray, places: _Places, params: Params, blob_wh: tuple[int, int]) -> FloatArray:
    """Corners of candidates, float32 (n, 4), blob pixels. box: float32, changed in place."""
    cell, stride = places
    if params.code == "ltrb":
        distance = _mean_bin(box, params.bins).reshape(-1, 4) if params.bins else box
        if params.activation is not None:
            distance = np.exp(distance) if params.activation == "exp" else np.maximum(distance, 0)
        corners = np.concatenate([cell - distance[:, :2], cell + distance[:, 2:]], axis=1)
        return corners * stride if params.unit == "strides" else corners
    if params.code == "center":
        box[:, :2] = (box[:, :2] + cell) * stride
        box[:, 2:] = np.exp(box[:, 2:]) * stride
    else:
        wh = np.array(blob_wh, np.float32)
        of_cell = wh / np.array(cells_wh(blob_wh, params.strides[0]), np.float32)
        box[:, :2] = (np.tanh(box[:, :2]) + cell) * of_cell
        box[:, 2:] = 1 / (1 + np.exp(-box[:, 2:])) * wh
    return boxes.cxcywh_to_xyxy(box)


def _cells(index: IntArray, cells: Grid, offset: float, unit: str) -> _Places:
    """Places of cells in units of distances, float32 (n, 2), and those units, pixels, float32 (n, 1)."""
    # Of arrays that are contiguous `take` is the fastest.
    cell, stride = cells.cell_xy.take(index, axis=0), cells.stride.take(index, axis=0)
    if offset:
        cell += np.float32(offset)
    return (cell, stride) if unit == "strides" else (cell * stride, np.ones_like(stride))


def _keypoints(points: FloatArray, places: _Places, params: Params) -> FloatArray:
    """float32 (n, k, 3), blob pixels and confidence. points: float32 (n, k * values)."""
    cell, unit = places
    points = points.reshape(len(points), points.shape[1] // params.keypoint_values, params.keypoint_values)
    keypoints = np.ones((*points.shape[:2], 3), np.float32)
    xy = points[..., :2]
    if params.keypoint_scale != 1:
        xy = xy * np.float32(params.keypoint_scale)
    keypoints[..., :2] = (xy + cell[:, None]) * unit[:, None]
    if params.keypoint_values == 3:
        keypoints[..., 2] = sigmoid(points[..., 2]) if params.logits else points[..., 2]
    return keypoints


def _mean_bin(logits: FloatArray, bins: int) -> FloatArray:
    """The mean of each side's softmax over its bins, float32 (n * 4,)."""
    # Bins first: NumPy reduces few long rows many times faster than many short ones.
    x = np.ascontiguousarray(logits.reshape(-1, bins).T)
    weight = np.exp(x - x.max(axis=0))
    steps = np.arange(bins, dtype=np.float32)[:, None]
    return np.asarray((steps * weight).sum(axis=0) / weight.sum(axis=0), np.float32)


def _levels(outputs: Mapping[str, FloatArray], params: Params, blob_wh: tuple[int, int]) -> Iterator[_Level]:
    """Of each stride, or of all strides joined; several anchors that lie in channels are a level each."""
    names = _names(params)
    try:
        shapes = tuple([outputs[name].shape for name in names])
    except KeyError:
        shapes = tuple([outputs[name].shape if name in outputs else () for name in names])
    anchors = params.anchors_per_cell
    for first, sources, columns in _plan(params, blob_wh, shapes):
        leading = sources[0]
        sets = anchors if leading is not None and leading.is_channels_first else 1
        for number in range(sets):
            parts: list[Any] = [
                None if one is None else _view(outputs, one, number, anchors) for one in sources
            ]
            if columns:
                table = parts[0]
                parts = [None if one is None else table[one] for one in columns]
            scores, objectness, box, keypoints, coefficients = parts
            if objectness is not None and objectness.ndim == 2:
                objectness = objectness[:, 0]
            yield _Level(scores, objectness, box, keypoints, coefficients, first, anchors // sets)


class _Source(msgspec.Struct, frozen=True):
    """An output, the shape that it has to have, whether it does, and whether channels are its first axis."""

    name: str
    shape: tuple[Axis, ...]
    fits: bool
    is_channels_first: bool


def _view(outputs: Mapping[str, FloatArray], source: _Source, number: int, anchors: int) -> FloatArray:
    """float32 (rows, columns); where anchors lie in channels, of the one with this number."""
    array = outputs.get(source.name)
    if array is None or not source.fits or array.dtype is not _FLOAT32:
        array = take(outputs, source.name, source.shape, TYPE)
    if not source.is_channels_first:
        return array if array.ndim == 2 else array.reshape(-1, array.shape[-1] // anchors)
    flat = array if array.ndim == 2 else array.reshape(len(array), -1)
    if anchors > 1:
        width = len(flat) // anchors
        flat = flat[number * width : (number + 1) * width]
    return flat.T


def _names(params: Params) -> Names:
    apart = params.scores + params.objectness + params.boxes + params.keypoints + params.coefficients
    return params.output or apart


@lru_cache(maxsize=_CACHED_SHAPES)
def _plan(params: Params, blob_wh: tuple[int, int], shapes: tuple[Shape, ...]) -> tuple[_LevelPlan, ...]:
    """Of each level its first cell; of scores, objectness, boxes, keypoints and coefficients the outputs, or
    the one output and the columns of each.

    shapes: of the outputs in the order of `_names`; () for one that is missing. Raises HeadError.
    """
    box, points = 4 * (params.bins or 1), params.keypoint_count * params.keypoint_values
    roles: list[tuple[Names, Axis]] = [
        (params.scores, AtLeast(1)),
        (params.objectness, 1),
        (params.boxes, box),
        (params.keypoints, AtLeast(params.keypoint_values)),
        (params.coefficients, AtLeast(1)),
    ]
    others = box + points + ("objectness" in params.columns)
    if params.output:
        roles = [(params.output, AtLeast(others + 1) if "classes" in params.columns else others)]
    is_joined = len(roles[0][0]) != len(params.strides)
    of_levels = [params.strides] if is_joined else [(stride,) for stride in params.strides]
    shape_of = dict(zip(_names(params), shapes, strict=True))
    forms = {
        names[number]: _forms(len(shape_of[names[number]]), strides, width, params, blob_wh)
        for number, strides in enumerate(of_levels)
        for names, width in roles
        if names
    }
    sources = _sources(forms, shape_of, params)
    plan, first = [], 0
    for number, strides in enumerate(of_levels):
        of_level = tuple(sources[names[number]] if names else None for names, _ in roles)
        columns = _columns(params, box, points, _width(of_level[0], shape_of, params) - others)
        plan.append((first, of_level, columns if params.output else ()))
        first += cell_count(blob_wh, strides)
    return tuple(plan)


def _forms(
    rank: int, strides: tuple[int, ...], width: Axis, params: Params, blob_wh: tuple[int, int]
) -> tuple[tuple[Axis, ...], tuple[Axis, ...]]:
    """The shapes that an output may have, its channels last and first."""
    anchors, cells = params.anchors_per_cell, cell_count(blob_wh, strides)
    channels: Axis = AtLeast(width.size * anchors) if isinstance(width, AtLeast) else (width or 0) * anchors
    if rank == 3 and len(strides) == 1 and params.layout != "rows":
        columns, rows = cells_wh(blob_wh, strides[0])
        return (rows, columns, channels), (channels, rows, columns)
    return (cells * anchors, width), (channels, cells)


def _sources(
    forms: Mapping[str, tuple[tuple[Axis, ...], tuple[Axis, ...]]],
    shape_of: Mapping[str, Shape],
    params: Params,
) -> dict[str, _Source]:
    """Each output with the shape that it has to have. Raises HeadError where its layout is in doubt."""
    fitting = {
        name: [number for number, form in enumerate(both) if fits(shape_of[name], form)]
        for name, both in forms.items()
    }
    clear = {places[0] for places in fitting.values() if len(places) == 1}
    sources = {}
    for name, both in forms.items():
        if params.layout is not None:
            place = int(params.layout == "channels-first")
        elif len(fitting[name]) < 2:
            place = fitting[name][0] if fitting[name] else int(len(both[0]) == 3)
        elif len(clear) == 1:
            (place,) = clear
        else:
            raise HeadError(
                f"{TYPE} head: output {name!r} of shape {shape_of[name]} may have its channels first or "
                "last: state the head's `layout` in the card"
            )
        is_fit = fits(shape_of[name], both[place])
        sources[name] = _Source(name, both[place], is_fit, bool(place))
        channels = shape_of[name][0 if place else -1] if shape_of[name] else 0
        apart = params.anchors_per_cell if place or len(both[0]) == 3 else 1
        values = apart * (params.keypoint_values if name in params.keypoints else 1)
        if is_fit and channels % values:
            raise HeadError(
                f"{TYPE} head: output {name!r} expected a multiple of {values} channels, got {channels}: the "
                "card's head or its parameters do not fit this model"
            )
    if (
        params.anchors_per_cell > 1
        and len({one.is_channels_first for one in sources.values() if one.fits}) > 1
    ):
        raise HeadError(
            f"{TYPE} head: of outputs {', '.join(sources)} some have their anchors in rows, others in "
            "channels: state the head's `layout` in the card"
        )
    return sources


def _width(source: _Source | None, shape_of: Mapping[str, Shape], params: Params) -> int:
    """Columns of a row of an output."""
    shape = () if source is None else shape_of[source.name]
    if source is None or not source.fits:
        return 0
    channels = shape[0 if source.is_channels_first else -1]
    return channels // (params.anchors_per_cell if source.is_channels_first or len(shape) == 3 else 1)


def _columns(params: Params, box: int, points: int, classes: int) -> tuple[Any, ...]:
    """Indices of the roles in one output, in their order in `_Level`; objectness loses its axis."""
    widths = {"box": box, "objectness": 1, "classes": classes, "keypoints": points}
    found: dict[str, Any] = dict.fromkeys(widths)
    start = 0
    for role in params.columns:
        found[role] = (slice(None), slice(start, start + widths[role]))
        start += widths[role]
    if found["classes"] is None:
        # One class: its objectness is its score.
        return found["objectness"], None, found["box"], found["keypoints"], None
    factor = found["objectness"]
    factor = None if factor is None else (slice(None), factor[1].start)
    return found["classes"], factor, found["box"], found["keypoints"], None

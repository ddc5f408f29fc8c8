"""Final detections: one row an object, with duplicates suppressed in the network.

The rows are one table, whose columns a card names, or an output for boxes, scores, labels and the count each:
YOLOv10, YOLO26 and other exports with NMS inside, PaddleDetection, PINTO's and YOLOv7's exports,
torchvision's detectors, TensorFlow's object detection, TensorRT's EfficientNMS, MMDeploy.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgecv.errors import HeadError
from edgecv.heads import geometry
from edgecv.heads.base import AtLeast, HeadParams, Query, take
from edgecv.heads.geometry import Format, Unit
from edgecv.heads.masks import PrototypeMasks, RoiMasks
from edgecv.heads.recognition import listed
from edgecv.types import Candidates, FloatArray, IntArray, MaskSource, ModelFacts

TYPE = "rows"
TASK = "detect"

# Whole numbers are exact in float32 up to here.
_MAX_CLASSES = 1 << 24

# fmt: off
Column = Literal[
    "x1", "y1", "x2", "y2", "cx", "cy", "w", "h", "confidence", "class", "batch", "angle", "keypoints",
    "masks", "skip",
]
# fmt: on
_BOXES: dict[tuple[str, ...], str] = {
    ("x1", "y1", "x2", "y2"): "xyxy",
    ("cx", "cy", "w", "h"): "cxcywh",
    ("x1", "y1", "w", "h"): "xywh",
}
_PLACES = {name for names in _BOXES for name in names}
# These take as many columns as the others leave.
_WIDE = ("keypoints", "masks")


class Params(HeadParams, frozen=True, omit_defaults=True):
    """Either `output` or `boxes`; what is no column of `output` may be an output of its own.

    output: name of the table, (n, columns). columns: what each of its columns is, in order: the corners x1,
    y1, x2, y2, or cx, cy, w, h, or x1, y1, w, h; confidence; class, a number; batch, the number of a row's
    image; angle, radians from the x axis to the width; keypoints and masks, either of them the columns that
    are left; skip, a column that is not read.
    boxes, scores, labels, keypoints: names of the outputs (n, 4), (n,), (n,) and (n, k, 2 or 3); without
    labels or a class there is one class. count: of the output that says how many rows count, one number.
    masks: name of the output (n, h, w) or (n, 1, h, w), each over its box; prototypes: of (masks, h, w)
    over the whole blob, for which a row has coefficients.
    format: of `boxes`. unit: of boxes and keypoints: "pixels" of the blob, or "fractions" of its size.
    first_class: the number of the first class; lower ones are dropped. keypoint_values: 2, x and y, or 3,
    with a confidence. needs_nms: whether duplicates are left.
    """

    output: str | None = None
    columns: Annotated[tuple[Column, ...], msgspec.Meta(min_length=4)] = (
        "x1",
        "y1",
        "x2",
        "y2",
        "confidence",
        "class",
    )
    boxes: str | None = None
    scores: str | None = None
    labels: str | None = None
    count: str | None = None
    keypoints: str | None = None
    masks: str | None = None
    prototypes: str | None = None
    format: Format = "xyxy"
    unit: Unit = "pixels"
    first_class: Annotated[int, msgspec.Meta(ge=0)] = 0
    keypoint_values: Literal[2, 3] = 3
    needs_nms: bool = False

    def __post_init__(self) -> None:
        if (self.output is None) == (self.boxes is None):
            raise ValueError("expected either `output` or `boxes`")
        columns = self.columns if self.output is not None else ()
        twice = [c for i, c in enumerate(columns) if c in columns[:i] and c != "skip"]
        if twice:
            raise ValueError(f"`columns` has {twice[0]} twice")
        if columns and self._box is None:
            raise ValueError(
                f"`columns` has no box, x1 y1 x2 y2, cx cy w h or x1 y1 w h: {', '.join(columns)}"
            )
        if columns and self.format != "xyxy":
            raise ValueError("`format` is that of `boxes`: of an output, name the columns in their order")
        for column, output in (
            ("confidence", self.scores),
            ("class", self.labels),
            ("keypoints", self.keypoints),
        ):
            if column in columns and output is not None:
                raise ValueError(
                    f"`columns` has {column}, and the output {output} too: leave one of them out"
                )
        if "confidence" not in columns and self.scores is None:
            raise ValueError("confidences are missing: name a column `confidence`, or the output `scores`")
        if "keypoints" in columns and "masks" in columns:
            raise ValueError("`columns` has keypoints and masks: how many of the columns are either?")
        if ("masks" in columns) != (self.prototypes is not None):
            raise ValueError("`prototypes` and a column masks go together")
        if "angle" in columns and self._box != ("cx", "cy", "w", "h"):
            raise ValueError("an angle turns boxes of the columns cx, cy, w, h")

    @property
    def _box(self) -> tuple[str, ...] | None:
        """The names of the columns of the box, in the order of a known format."""
        places = {c for c in self.columns if c in _PLACES}
        return next((names for names in _BOXES if set(names) == places), None)


class _Table(msgspec.Struct, frozen=True):
    """Where the columns of a table of a known width are. box: places of its four numbers, a slice if
    possible.
    """

    format: str
    box: slice | list[int]
    wide: slice
    at: dict[str, int]


def decode(outputs: Mapping[str, FloatArray], params: Params, query: Query) -> Candidates:
    """See `base.Head`. A row has one class, so `multi_label` changes nothing.

    Dropped are rows after the count, of another image than the first, with a NaN, infinite or empty box, or
    of a class without a threshold.
    """
    rows = _Rows(outputs, params)
    confidence = rows.confidence
    # NaN is over nothing.
    index = np.flatnonzero(confidence[: rows.count] > query.lowest_confidence)
    box, format = rows.boxes(index)
    angle = rows.column("angle", index)
    if angle is None:
        xyxy, xywhr = geometry.to_pixels(geometry.to_xyxy(box, format), params.unit, query.blob_wh), None
    else:
        box = geometry.to_pixels(box, params.unit, query.blob_wh)
        xywhr = np.concatenate([box, angle[:, None]], axis=1)
        xyxy = geometry.around(xywhr)
    number = rows.classes(index)
    thresholds = np.asarray(query.confidence, np.float32)
    classes = thresholds.size if thresholds.ndim else _MAX_CLASSES
    valid = np.isfinite(xyxy).all(axis=1) & (xyxy[:, 0] < xyxy[:, 2]) & (xyxy[:, 1] < xyxy[:, 3])
    valid &= (number >= 0) & (number < classes) & (confidence[index] < np.inf)
    batch = rows.column("batch", index)
    if batch is not None:
        valid &= batch == 0
    if not valid.all():
        index, number, xyxy = index[valid], number[valid], xyxy[valid]
        xywhr = None if xywhr is None else xywhr[valid]
    kept = confidence[index]
    class_id = number.astype(np.int32)
    keep = _best(kept, class_id, thresholds, query.max_candidates)
    if keep is not None:
        index, kept, class_id, xyxy = index[keep], kept[keep], class_id[keep], xyxy[keep]
        xywhr = None if xywhr is None else xywhr[keep]
    return Candidates(
        xyxy,
        kept,
        class_id,
        rows.keypoints(index, query.blob_wh),
        needs_nms=params.needs_nms,
        xywhr=xywhr,
        masks=rows.masks(index, query.blob_wh),
    )


def _best(
    confidence: FloatArray, class_id: IntArray, thresholds: FloatArray, most: int
) -> NDArray[np.intp] | None:
    """Those over the threshold of their class, of more than `most` the most confident; None for all."""
    keep = None
    if thresholds.ndim:
        keep = np.flatnonzero(confidence > thresholds[class_id])
        confidence = confidence[keep]
    if len(confidence) > most:
        best = np.sort(np.argsort(-confidence, kind="stable")[:most])
        keep = best if keep is None else keep[best]
    return keep


class _Rows:
    """The roles of the rows, wherever the network writes them.

    confidence: float32 (n,). count: how many rows count, or None for all.
    """

    def __init__(self, outputs: Mapping[str, FloatArray], params: Params) -> None:
        self._outputs, self._params = outputs, params
        if params.output is not None:
            self._table = take(outputs, params.output, (None, _width(params)), TYPE)
            self._where = _where(params, self._table.shape[1])
        else:
            assert params.boxes is not None
            self._table = take(outputs, params.boxes, (None, 4), TYPE)
            self._where = _Table(params.format, slice(0, 4), slice(0), {})
        column = self._where.at.get("confidence")
        if column is not None:
            self.confidence: FloatArray = self._table[:, column]
        else:
            assert params.scores is not None
            self.confidence = _numbers(outputs, params.scores, len(self._table)).astype(
                np.float32, copy=False
            )
        self.count = None if params.count is None else _count(outputs, params.count)

    def column(self, name: str, index: NDArray[np.intp]) -> FloatArray | None:
        """One column of these rows, where there is one of that name."""
        column = self._where.at.get(name)
        return None if column is None else self._table[index, column]

    def boxes(self, index: NDArray[np.intp]) -> tuple[FloatArray, str]:
        """Boxes of these rows, float32 (k, 4), and their format."""
        where, table = self._where.box, self._table
        box = table[:, where][index] if isinstance(where, slice) else table[index[:, None], where]
        return box, self._where.format

    def classes(self, index: NDArray[np.intp]) -> NDArray[Any]:
        """Numbers of the classes of these rows, counted from 0."""
        number: NDArray[Any] | None = self.column("class", index)
        if number is None and self._params.labels is not None:
            number = _numbers(self._outputs, self._params.labels, len(self._table))[index]
        if number is None:
            return np.zeros(len(index), np.int32)
        return number - self._params.first_class if self._params.first_class else number

    def keypoints(self, index: NDArray[np.intp], blob_wh: tuple[int, int]) -> FloatArray | None:
        """Keypoints of these rows, float32 (n, k, 3), blob pixels."""
        params = self._params
        size = params.keypoint_values
        if params.keypoints is not None:
            given = take(self._outputs, params.keypoints, (len(self._table), None, size), TYPE)
            values = given[index].reshape(len(index), given.shape[1] * size)
        elif params.output is not None and "keypoints" in params.columns:
            values = self._table[index, self._where.wide]
        else:
            return None
        return geometry.to_keypoints(values, size, params.unit, blob_wh)

    def masks(self, index: NDArray[np.intp], blob_wh: tuple[int, int]) -> MaskSource | None:
        """What the masks of these rows are made of."""
        params = self._params
        if params.prototypes is not None:
            coefficients = self._table[index, self._where.wide]
            prototypes = take(self._outputs, params.prototypes, (coefficients.shape[1], None, None), TYPE)
            return PrototypeMasks(coefficients, prototypes, blob_wh)
        if params.masks is None:
            return None
        given = self._outputs.get(params.masks)
        inner = (1,) if given is not None and given.ndim == 4 else ()
        maps = take(self._outputs, params.masks, (len(self._table), *inner, AtLeast(1), AtLeast(1)), TYPE)
        return RoiMasks(maps.reshape(len(maps), *maps.shape[-2:])[index])


@lru_cache(maxsize=16)
def _width(params: Params) -> int | AtLeast:
    """How many columns the table has."""
    is_open = any(c in params.columns for c in _WIDE)
    return AtLeast(len(params.columns)) if is_open else len(params.columns)


@lru_cache(maxsize=16)
def _where(params: Params, width: int) -> _Table:
    """Raises HeadError where the columns that are left are not whole keypoints."""
    rest = width - len(params.columns) + 1
    if "keypoints" in params.columns and rest % params.keypoint_values:
        raise HeadError(
            f"{TYPE} head: output {params.output!r} expected columns of {params.keypoint_values} for each "
            f"keypoint, got {rest}: the card's head or its parameters do not fit this model"
        )
    at: dict[str, int] = {}
    wide, start = slice(0), 0
    for name in params.columns:
        if name in _WIDE:
            wide = slice(start, start + rest)
            start += rest
        else:
            at[name] = start
            start += 1
    names = params._box
    assert names is not None
    places = [at[name] for name in names]
    is_run = places == list(range(places[0], places[0] + 4))
    return _Table(_BOXES[names], slice(places[0], places[0] + 4) if is_run else places, wide, at)


def _numbers(outputs: Mapping[str, FloatArray], name: str, rows: int) -> NDArray[Any]:
    """An output of one number a row, whole or floating, (n,)."""
    given: Any = outputs.get(name)
    if given is not None and given.dtype.kind in "iu" and given.shape in ((rows,), (rows, 1)):
        return np.asarray(given, np.int64).reshape(rows)
    is_column = given is not None and given.ndim == 2
    return take(outputs, name, (rows, 1) if is_column else (rows,), TYPE).reshape(rows)


def _count(outputs: Mapping[str, FloatArray], name: str) -> int:
    """One number, in whatever shape; NaN is none."""
    given: Any = outputs.get(name)
    if given is None or given.size != 1 or given.dtype.kind not in "iuf":
        take(outputs, name, (1,), TYPE)
    number = float(np.asarray(given).reshape(-1)[0])
    return int(min(max(number, 0), _MAX_CLASSES)) if number == number else 0


# How exporters name the columns of a table, in parts between underscores.
_PARTS: dict[str, tuple[Column, ...]] = {
    "batchno": ("batch",),
    "classid": ("class",),
    "classno": ("class",),
    "score": ("confidence",),
    "x1y1x2y2": ("x1", "y1", "x2", "y2"),
    "y1x1y2x2": ("y1", "x1", "y2", "x2"),
    "cxcywh": ("cx", "cy", "w", "h"),
    "landms": ("keypoints",),
}


def named_columns(name: str) -> tuple[Column, ...] | None:
    """The columns of an output that is named after them, as PINTO0309's exports are."""
    parts = [_PARTS.get(part) for part in name.lower().split("_")]
    if len(parts) < 2 or None in parts:
        return None
    return tuple(column for part in parts if part for column in part)


# Columns of tables whose names say nothing, by their number: what most exporters mean.
_USUAL: dict[int, tuple[Column, ...]] = {
    5: ("x1", "y1", "x2", "y2", "confidence"),
    6: ("x1", "y1", "x2", "y2", "confidence", "class"),
    7: ("batch", "x1", "y1", "x2", "y2", "class", "confidence"),
}


def draft(facts: ModelFacts) -> Params:
    """The likeliest parameters. Raises HeadError where no output has rows of boxes."""
    shapes = {spec.name: spec.shape for spec in facts.outputs}
    # One row is a vector, such as a classifier's.
    tables = {name: shape for name, shape in shapes.items() if len(shape) in (2, 3) and shape[-2] != 1}
    roles: dict[str, Any] = {**by_name(facts)}
    if "boxes" in roles and "scores" in roles:
        return Params(**roles, unit="fractions" if "detection_boxes" in roles["boxes"] else "pixels")
    labels = next((name for name in shapes if "label" in name.lower()), None)
    for name, shape in tables.items():
        columns = named_columns(name) or _USUAL.get(shape[-1] if isinstance(shape[-1], int) else 0)
        if columns is not None:
            return Params(output=name, columns=columns, labels=None if "class" in columns else labels)
    wide = [name for name, shape in tables.items() if isinstance(shape[-1], int) and shape[-1] > 7]
    if wide:
        return Params(output=wide[0], columns=(*_USUAL[6], "keypoints"))
    raise HeadError(
        f"{TYPE} head: no output is a table of 5 columns or more, or named boxes: {listed(facts)}"
    )


_NAMES = {
    "boxes": ("boxes", "bboxes", "det_boxes", "detection_boxes", "pred_boxes"),
    "scores": ("scores", "det_scores", "detection_scores", "pred_scores"),
    "labels": ("labels", "classes", "det_classes", "detection_classes", "pred_classes", "pred_labels"),
    "count": ("num_dets", "num_detections", "num_predictions", "bbox_num"),
    "masks": ("masks", "detection_masks"),
}


def by_name(facts: ModelFacts) -> dict[str, str]:
    """Outputs whose names are those of boxes, scores, labels, count, masks: role to name.

    What stands before a name, as `graph2_`, or after a colon is passed over.
    """
    found: dict[str, str] = {}
    for spec in facts.outputs:
        bare = spec.name.split(":")[0].rsplit("/", 1)[-1].lower()
        for role, names in _NAMES.items():
            if bare in names or any(bare.endswith(f"_{name}") for name in names if "_" in name):
                found.setdefault(role, spec.name)
    return found

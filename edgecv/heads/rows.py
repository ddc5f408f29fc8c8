"""Final detections: one row an object, with duplicates suppressed in the network.

The rows are one table, whose columns a card names, or an output for boxes, scores, labels and the count each:
YOLOv10, YOLO26 and other exports with NMS inside, PaddleDetection, PINTO's and YOLOv7's exports,
torchvision's detectors, TensorFlow's object detection, TensorRT's EfficientNMS, MMDeploy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from edgecv.errors import HeadError
from edgecv.heads import geometry
from edgecv.heads.base import AtLeast, HeadParams, Query, take
from edgecv.heads.geometry import Format, Unit
from edgecv.heads.masks import BlobMasks, PrototypeMasks, RoiMasks
from edgecv.heads.recognition import MOST_FINAL, MaskSpace, listed, mask_space, prototypes
from edgecv.types import Candidates, FloatArray, MaskSource, ModelFacts, TensorSpec

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


class _Table(msgspec.Struct, frozen=True):
    """Where a table has its columns: its shape, and which of a row's columns are what; None: none is.

    box: its four numbers, in the order of `format`. wide: those of keypoints or masks.
    """

    shape: tuple[int | AtLeast | None, ...]
    format: str
    box: slice | list[int]
    wide: slice = slice(0)
    confidence: int | None = None
    label: int | None = None
    batch: int | None = None
    angle: int | None = None


class Params(HeadParams, frozen=True, omit_defaults=True, dict=True):
    """Either `output` or `boxes`; what is no column of `output` may be an output of its own.

    output: name of the table, (n, columns). columns: what each of its columns is, in order: the corners x1,
    y1, x2, y2, or cx, cy, w, h, or x1, y1, w, h; confidence; class, a number; batch, the number of a row's
    image; angle, radians from the x axis to the width; keypoints and masks, either of them the columns that
    are left; skip, a column that is not read.
    boxes, scores, labels, keypoints: names of the outputs (n, 4), (n,), (n,) and (n, k, 2 or 3); without
    labels or a class there is one class. count: of the output that says how many rows count, one number.
    masks: name of the output (n, h, w) or (n, 1, h, w), probabilities; mask_space: what each of them lies
    over: its "box", or the whole "blob". prototypes: of (masks, h, w) over the whole blob, for which a row
    has coefficients.
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
    mask_space: MaskSpace = "box"
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

    @cached_property
    def table(self) -> _Table:
        """How the table is taken apart."""
        if self.output is None:
            return _Table((None, 4), self.format, slice(0, 4))
        count = len(self.columns)
        open_at = next((i for i, name in enumerate(self.columns) if name in _WIDE), count)
        # What is behind columns of any number is counted from the end.
        at: dict[str, int] = {name: i if i < open_at else i - count for i, name in enumerate(self.columns)}
        names = self._box
        assert names is not None
        places = [at[name] for name in names]
        first = places[0]
        is_run = places == list(range(first, first + 4)) and first >= 0
        return _Table(
            (None, count if open_at == count else AtLeast(count)),
            _BOXES[names],
            slice(first, first + 4) if is_run else places,
            slice(open_at, open_at + 1 - count or None),
            at.get("confidence"),
            at.get("class"),
            at.get("batch"),
            at.get("angle"),
        )

    @cached_property
    def has_more(self) -> bool:
        """Whether rows have keypoints, masks or an angle."""
        outputs = (self.keypoints, self.masks, self.prototypes)
        is_wide = self.output is not None and ("keypoints" in self.columns or "angle" in self.columns)
        return is_wide or any(name is not None for name in outputs)


def decode(outputs: Mapping[str, FloatArray], params: Params, query: Query) -> Candidates:
    """See `base.Head`. A row has one class, so `multi_label` changes nothing.

    Dropped are rows after the count, of another image than the first, with a NaN, infinite or empty box, or
    of a class without a threshold.
    """
    where = params.table
    name = params.output or params.boxes
    assert name is not None
    table = take(outputs, name, where.shape, TYPE)
    confidence = _column(outputs, table, where.confidence, params.scores)
    assert confidence is not None
    thresholds = query.confidence
    lowest = thresholds if isinstance(thresholds, float) else query.lowest_confidence
    # NaN is over nothing.
    index = (confidence > lowest).nonzero()[0]
    if params.count is not None:
        index = index[index < _count(outputs, params.count)]
    rows, confidence = table[index], confidence[index]
    xyxy, xywhr = _boxes(rows, where, params.unit, query.blob_wh)
    number = _classes(outputs, table, index, rows, params)
    classes = _MAX_CLASSES if isinstance(thresholds, float) else np.size(thresholds)
    valid = (xyxy[:, 0] < xyxy[:, 2]) & (xyxy[:, 1] < xyxy[:, 3]) & np.isfinite(xyxy).all(axis=1)
    valid &= (number >= 0) & (number < classes) & (confidence < np.inf)
    if where.batch is not None:
        valid &= rows[:, where.batch] == 0
    if not isinstance(thresholds, float) and np.ndim(thresholds):
        valid[valid] = confidence[valid] > thresholds[number[valid].astype(np.int32)]
    kept = _best(confidence, valid, query.max_candidates)
    found = Candidates(
        xyxy if kept is None else xyxy[kept],
        confidence if kept is None else confidence[kept],
        (number if kept is None else number[kept]).astype(np.int32),
        needs_nms=params.needs_nms,
    )
    if not params.has_more:
        return found
    if kept is not None:
        index, rows = index[kept], rows[kept]
        xywhr = None if xywhr is None else xywhr[kept]
    return replace(
        found,
        xywhr=xywhr,
        keypoints=_keypoints(outputs, index, rows, len(table), params, query.blob_wh),
        masks=_masks(outputs, index, rows, len(table), params, query.blob_wh),
    )


def takes_one(outputs: Sequence[TensorSpec], params: Params) -> bool | None:
    """Whether rows are of one image, since nothing would say which of several they are of; None where they
    have a batch axis."""
    shapes = {spec.name: spec.shape for spec in outputs}
    if len(shapes.get(params.output or params.boxes or "", ())) != 2:
        return None
    # Only a count for each of any number of images tells them apart.
    counts = shapes.get(params.count or "", ())
    return params.table.batch is None and not any(isinstance(n, str) for n in counts)


def of_image(
    outputs: Mapping[str, NDArray[Any]], params: Params, number: int, images: int
) -> Mapping[str, NDArray[Any]] | None:
    """What is one image's of the outputs of a batch; None: each output has a batch axis.

    Tables (n, columns) and boxes (n, 4) have the rows of all images: a column tells whose each is, or there
    are as many counts as images, whose rows follow one another. Prototypes always have a batch axis. Raises
    HeadError where nothing tells.
    """
    name = params.output or params.boxes
    table = outputs.get(name or "")
    if table is None or table.ndim != 2:
        return None
    found = {
        key: array[number] if key == params.prototypes and array.ndim == 4 and len(array) == images else array
        for key, array in outputs.items()
    }
    if images == 1:
        return found
    batch = params.table.batch
    counts = outputs.get(params.count or "")
    if batch is not None:
        mine: slice | NDArray[Any] = table[:, batch] == number
    elif counts is not None and counts.size == images:
        ends = np.cumsum(counts.reshape(-1))
        mine = slice(int(ends[number] - counts.reshape(-1)[number]), int(ends[number]))
        found[params.count or ""] = counts.reshape(-1)[number : number + 1]
    else:
        raise HeadError(
            f"{TYPE} head: output {name!r} has no batch axis, no column `batch` and no count for each of "
            f"{images} frames: give this network one frame at a time, and export one that always takes "
            f"{images} for one"
        )
    of_rows = (params.output, params.boxes, params.scores, params.labels, params.keypoints, params.masks)
    for key in of_rows:
        if key is not None and key in found:
            found[key] = found[key][mine]
    if batch is not None:
        rows = found[name or ""].copy()
        rows[:, batch] = 0
        found[name or ""] = rows
    return found


def _best(confidence: FloatArray, valid: NDArray[np.bool_], most: int) -> NDArray[np.intp] | None:
    """The valid ones, of more than `most` the most confident; None for all there are."""
    if len(valid) <= most and valid.all():
        return None
    kept = valid.nonzero()[0]
    if len(kept) > most:
        kept = kept[np.sort(np.argsort(-confidence[kept], kind="stable")[:most])]
    return kept


def _column(
    outputs: Mapping[str, FloatArray], table: FloatArray, column: int | None, output: str | None
) -> FloatArray | None:
    """A column of the table, or an output of its own, float32 (n,)."""
    if column is not None:
        return table[:, column]
    return None if output is None else _numbers(outputs, output, len(table)).astype(np.float32, copy=False)


def _boxes(
    rows: FloatArray, where: _Table, unit: str, blob_wh: tuple[int, int]
) -> tuple[FloatArray, FloatArray | None]:
    """Upright boxes of rows, float32 (k, 4), and oriented ones, float32 (k, 5), if they are; blob pixels."""
    box = rows[:, where.box]
    if where.angle is None:
        return geometry.to_pixels(geometry.to_xyxy(box, where.format), unit, blob_wh), None
    box = geometry.to_pixels(box, unit, blob_wh)
    xywhr = np.concatenate([box, rows[:, where.angle, None]], axis=1)
    return geometry.around(xywhr), xywhr


def _classes(
    outputs: Mapping[str, FloatArray],
    table: FloatArray,
    index: NDArray[np.intp],
    rows: FloatArray,
    params: Params,
) -> NDArray[Any]:
    """Numbers of the classes of rows, counted from 0. index: where the rows are in the table."""
    number: NDArray[Any]
    if params.table.label is not None:
        number = rows[:, params.table.label]
    elif params.labels is not None:
        number = _numbers(outputs, params.labels, len(table))[index]
    else:
        return np.zeros(len(index), np.int32)
    return number - params.first_class if params.first_class else number


def _keypoints(
    outputs: Mapping[str, FloatArray],
    index: NDArray[np.intp],
    rows: FloatArray,
    count: int,
    params: Params,
    blob_wh: tuple[int, int],
) -> FloatArray | None:
    """Keypoints of rows, float32 (k, keypoints, 3), blob pixels."""
    size = params.keypoint_values
    if params.keypoints is not None:
        given = take(outputs, params.keypoints, (count, None, size), TYPE)
        values = given[index].reshape(len(index), given.shape[1] * size)
    elif params.output is not None and "keypoints" in params.columns:
        values = rows[:, params.table.wide]
        if values.shape[1] % size:
            raise HeadError(
                f"{TYPE} head: output {params.output!r} expected columns of {size} for each keypoint, got "
                f"{values.shape[1]}: the card's head or its parameters do not fit this model"
            )
    else:
        return None
    return geometry.to_keypoints(values, size, params.unit, blob_wh)


def _masks(
    outputs: Mapping[str, FloatArray],
    index: NDArray[np.intp],
    rows: FloatArray,
    count: int,
    params: Params,
    blob_wh: tuple[int, int],
) -> MaskSource | None:
    """What the masks of rows are made of."""
    if params.prototypes is not None:
        coefficients = rows[:, params.table.wide]
        prototypes = take(outputs, params.prototypes, (coefficients.shape[1], None, None), TYPE)
        return PrototypeMasks(coefficients, prototypes, blob_wh)
    if params.masks is None:
        return None
    given = outputs.get(params.masks)
    inner = (1,) if given is not None and given.ndim == 4 else ()
    maps = take(outputs, params.masks, (count, *inner, AtLeast(1), AtLeast(1)), TYPE)
    maps = maps.reshape(len(maps), *maps.shape[-2:])
    return RoiMasks(maps[index]) if params.mask_space == "box" else BlobMasks(maps, index, blob_wh)


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


def _by_shape(facts: ModelFacts) -> Params | None:
    """Boxes (n, 4), and of their rows one output of whole numbers and one of others: labels and scores.

    Of any number and without a batch they are torchvision's, whose class 0 is the background. Exporters may
    name the number of rows at each output anew.
    """
    boxes = [spec for spec in facts.outputs if spec.shape[-1:] == (4,)]
    if len(boxes) != 1:
        return None
    sizes = boxes[0].shape[:-1]
    lists = [
        spec
        for spec in facts.outputs
        if len(spec.shape) == len(sizes)
        and all(a == b or isinstance(a, str) for a, b in zip(spec.shape, sizes, strict=True))
    ]
    labels = [spec.name for spec in lists if spec.dtype.kind in "iu"]
    scores = [spec.name for spec in lists if spec.dtype.kind == "f"]
    if len(labels) != 1 or len(scores) != 1:
        return None
    first_class = 1 if len(sizes) == 1 and not isinstance(sizes[0], int) else 0
    return Params(boxes=boxes[0].name, labels=labels[0], scores=scores[0], first_class=first_class)


_ORIENTED: tuple[Column, ...] = ("cx", "cy", "w", "h", "confidence", "class", "angle")


def draft(facts: ModelFacts) -> Params:
    """The likeliest parameters. Raises HeadError where no output has rows of boxes."""
    shapes = {spec.name: spec.shape for spec in facts.outputs}
    # One row is a vector, such as a classifier's.
    tables = {name: shape for name, shape in shapes.items() if len(shape) in (2, 3) and shape[-2] != 1}
    roles: dict[str, Any] = {**by_name(facts)}
    if "masks" in roles:
        roles["mask_space"] = mask_space(next(s for s in facts.outputs if s.name == roles["masks"]), facts)
    if "boxes" in roles and "scores" in roles:
        if shapes.get("keypoints", ())[-1:] in ((2,), (3,)):
            roles["keypoints"] = "keypoints"
        return Params(**roles, unit="fractions" if "detection_boxes" in roles["boxes"] else "pixels")
    apart = _by_shape(facts)
    if apart is not None:
        return apart
    labels = next((name for name in shapes if "label" in name.lower()), None)
    for name, shape in tables.items():
        usual = _USUAL.get(shape[-1] if isinstance(shape[-1], int) else 0)
        # A table whose images have an axis needs no number of the image.
        columns = named_columns(name) or (_ORIENTED if shape[-1] == 7 and len(shape) == 3 else usual)
        if columns is not None:
            beside = {role: roles[role] for role in ("masks", "mask_space") if role in roles}
            return Params(
                output=name, columns=columns, labels=None if "class" in columns else labels, **beside
            )
    maps = prototypes(facts)
    for name, shape in tables.items():
        more = shape[-1] - 6 if isinstance(shape[-1], int) else 0
        if more < 2 or (isinstance(shape[-2], int) and shape[-2] > MOST_FINAL):
            continue
        if maps is not None and maps.shape[1] == more:
            return Params(output=name, columns=(*_USUAL[6], "masks"), prototypes=maps.name)
        if more % 3 == 0 or more % 2 == 0:
            values: Literal[2, 3] = 3 if more % 3 == 0 else 2
            return Params(output=name, columns=(*_USUAL[6], "keypoints"), keypoint_values=values)
    raise HeadError(
        f"{TYPE} head: no output is a table of at most {MOST_FINAL} rows of 5 columns or more, or boxes by "
        "name: "
        f"{listed(facts)}"
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

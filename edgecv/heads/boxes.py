"""Boxes and class scores, decoded in the graph and not yet suppressed: in one output, or each in its own.

One output is a table, (N, columns) or its transpose, whose columns are the box, the class scores, and what
else the family has; YOLOv3 to YOLO12, YOLOX, YOLOv6, YOLO-NAS, PP-YOLOE, DAMO-YOLO, YOLOv4, UltraFace. The
confidence is the score, times the objectness where there is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Literal

import msgspec
import numpy as np
from msgspec.structs import replace

from edgecv.errors import HeadError
from edgecv.heads import columns as roles
from edgecv.heads import geometry
from edgecv.heads.base import AtLeast, HeadParams, PositiveInt, Query, take
from edgecv.heads.cells import grid
from edgecv.heads.masks import PrototypeMasks
from edgecv.heads.recognition import YOLO_STRIDES, could_be_keypoints, is_cells, listed
from edgecv.heads.scores import Background, Logits, select
from edgecv.types import Candidates, FloatArray, IntArray, ModelFacts, TensorSpec

TYPE = "boxes"
TASK = "detect"

Layout = Literal["rows", "columns"]


class _Table(msgspec.Struct, frozen=True):
    """Where a table has its columns: its shape, and of each role the columns of a row."""

    shape: tuple[int | AtLeast | None, ...]
    by_role: dict[str, slice | int]


class Params(HeadParams, frozen=True, omit_defaults=True, dict=True):
    """Either `output`, or `boxes` and `scores`.

    output: name of the one output. columns: what its columns are, in order. boxes, scores, objectness,
    landmarks, angle, coefficients: names of the outputs that have one of them each: boxes (N, 4), (N, 1, 4)
    or of each class its own, (N, classes, 4); landmarks (N, keypoints * keypoint_values).
    layout: "rows" (N, columns) or "columns" (columns, N); scores_layout: of `scores`, where it differs.
    format: of a box; "ltrb" are the distances of its sides from the center of a cell, which lies at
    `cell_offset` in it; `strides`: of the cells, pixels, in the order of the rows.
    unit: of boxes and keypoints: "pixels" of the blob, "fractions" of its size, "strides" for "ltrb".
    logits: whether scores and objectness still need a sigmoid, or the scores a "softmax".
    background: which of the scores is the background's; it is dropped. classes: how many there are without
    it, where the columns do not say.
    max_candidates: the most confident ones that NMS sees. tail: what of the network's own suppression the
    head stands for, in words; the network is cut before it.
    keypoints: how many; keypoint_values: 2, x and y, or 3, with a confidence; keypoint_logits: whether it
    still needs a sigmoid. masks: coefficients of a row; prototypes: name of the output (masks, H, W).
    """

    output: str | None = None
    columns: roles.Roles = ("box", "classes")
    boxes: str | None = None
    scores: str | None = None
    objectness: str | None = None
    landmarks: str | None = None
    angle: str | None = None
    coefficients: str | None = None
    layout: Layout = "rows"
    scores_layout: Layout | None = None
    format: Literal["xyxy", "cxcywh", "xywh", "yxyx", "ltrb"] = "cxcywh"
    unit: Literal["pixels", "fractions", "strides"] = "pixels"
    strides: tuple[PositiveInt, ...] = ()
    cell_offset: float = 0.5
    logits: Logits = False
    background: Background = None
    classes: PositiveInt | None = None
    keypoints: PositiveInt | None = None
    keypoint_values: Literal[2, 3] = 3
    keypoint_logits: bool = False
    masks: PositiveInt | None = None
    prototypes: str | None = None
    max_candidates: PositiveInt | None = None
    tail: str = ""

    def __post_init__(self) -> None:
        apart = {
            name: getattr(self, name)
            for name in ("boxes", "scores", "objectness", "landmarks", "angle", "coefficients")
        }
        if self.output is None and None in (self.boxes, self.scores):
            raise ValueError("expected either `output`, or `boxes` and `scores`")
        if self.output is not None and any(apart.values()):
            extra = next(name for name, given in apart.items() if given)
            raise ValueError(
                f"expected either `output`, or `boxes` and `scores`: `{extra}` is beside `output`"
            )
        if self.output is not None:
            roles.check(self.columns)
            if not {"classes", "objectness"} & set(self.columns):
                raise ValueError(f"`columns` has neither classes nor objectness: {', '.join(self.columns)}")
        if (self.format == "ltrb") != bool(self.strides):
            raise ValueError("`strides` are those of the cells that `format` ltrb counts from: state both")
        if self.unit == "strides" and self.format != "ltrb":
            raise ValueError(f"`unit` strides is of `format` ltrb alone, and it is {self.format}")
        if self._has("angle") and self.format != "cxcywh":
            raise ValueError(f"an angle turns boxes of `format` cxcywh, and it is {self.format}")
        if self._has("keypoints") and self.keypoints is None:
            raise ValueError("`keypoints` is missing: how many points the columns are")
        if self._has("masks") and None in (self.masks, self.prototypes):
            raise ValueError("`masks`, the number of coefficients, and `prototypes`, the output, go together")

    def _has(self, role: str) -> bool:
        apart = {"keypoints": self.landmarks, "angle": self.angle, "masks": self.coefficients}
        return apart[role] is not None if self.output is None else role in self.columns

    @property
    def sizes(self) -> dict[str, int | None]:
        """How many columns each role has; None where the table's width says."""
        classes = None if self.classes is None else self.classes + (self.background is not None)
        return {
            "box": 4,
            "objectness": 1,
            "classes": 1 if "classes" not in self.columns else classes,
            "keypoints": (self.keypoints or 0) * self.keypoint_values,
            "angle": 1,
            "masks": self.masks or 0,
        }

    @cached_property
    def is_plain(self) -> bool:
        """Whether one output has boxes in pixels and probabilities, as most networks do."""
        is_usual = self.output is not None and self.unit == "pixels" and self.format != "ltrb"
        return (
            is_usual
            and "classes" in self.columns
            and {*self.columns} <= {"box", "objectness", "classes"}
            and not self.logits
            and self.background is None
            and self.max_candidates is None
        )

    @cached_property
    def beside(self) -> tuple[tuple[str, str, int | AtLeast, Layout], ...]:
        """Of outputs beside `boxes` the role, the name, the columns and the layout."""
        least = {"classes": AtLeast(2 if self.background else 1)}
        outputs = (
            ("classes", self.scores, self.scores_layout or self.layout),
            ("objectness", self.objectness, self.layout),
            ("keypoints", self.landmarks, self.layout),
            ("angle", self.angle, self.layout),
            ("masks", self.coefficients, self.layout),
        )
        return tuple(
            (role, name, self.sizes[role] or least.get(role, AtLeast(1)), layout)
            for role, name, layout in outputs
            if name is not None
        )

    @cached_property
    def table(self) -> _Table:
        """How the one output is taken apart."""
        number, is_open = roles.least(self.columns, self.sizes)
        width = AtLeast(number) if is_open else number
        shape = (None, width) if self.layout == "rows" else (width, None)
        places: dict[str, slice | int] = {**roles.split(self.columns, self.sizes)}
        if "objectness" in self.columns:
            # Each factor is one number, of the first column behind those before it.
            places["objectness"] = roles.split(self.columns, self.sizes)["objectness"].start
        return _Table(shape, places)


def decode(outputs: Mapping[str, FloatArray], params: Params, query: Query) -> Candidates:
    """See `base.Head`."""
    if params.is_plain:
        return _of_plain_table(outputs, params, query)
    parts = _apart(outputs, params) if params.output is None else _of_table(outputs, params)
    if params.max_candidates is not None:
        query = replace(query, max_candidates=min(params.max_candidates, query.max_candidates))
    index, class_id, confidence = _select(parts, params, query)
    if "angle" in parts:
        box = geometry.to_pixels(parts["box"][index], params.unit, query.blob_wh)
        xywhr = np.concatenate([box, parts["angle"][index]], axis=1)
        found = Candidates(geometry.around(xywhr), confidence, class_id, xywhr=xywhr)
    else:
        found = Candidates(_xyxy(parts["box"], index, class_id, params, query), confidence, class_id)
    if params.keypoints is None and params.prototypes is None:
        return found
    return _with_more(found, parts, index, outputs, params, query)


def _of_plain_table(outputs: Mapping[str, FloatArray], params: Params, query: Query) -> Candidates:
    """The same as the general way, without its detours."""
    assert params.output is not None
    table = params.table
    pred = take(outputs, params.output, table.shape, TYPE)
    if params.layout == "columns":
        pred = pred.T
    places = table.by_role
    objectness = pred[:, places["objectness"]] if "objectness" in places else None
    index, class_id, confidence = query.select(pred[:, places["classes"]], objectness=objectness)
    xyxy = geometry.to_xyxy(pred[:, places["box"]], params.format, index)
    return Candidates(xyxy, confidence, class_id)


def _select(
    parts: Mapping[str, FloatArray], params: Params, query: Query
) -> tuple[IntArray, IntArray, FloatArray]:
    objectness = parts.get("objectness")
    if "classes" in parts:
        logits, background = params.logits, params.background
        return select(query, parts["classes"], logits=logits, background=background, objectness=objectness)
    # A network of one class need not write its score beside the objectness.
    return select(query, parts["objectness"][:, None], logits=params.logits)


def _with_more(
    found: Candidates,
    parts: Mapping[str, FloatArray],
    index: IntArray,
    outputs: Mapping[str, FloatArray],
    params: Params,
    query: Query,
) -> Candidates:
    """The candidates with the keypoints and the masks that the network has for them."""
    keypoints, masks = None, None
    if "keypoints" in parts:
        size, is_logit = params.keypoint_values, params.keypoint_logits
        values = parts["keypoints"][index]
        keypoints = geometry.to_keypoints(values, size, params.unit, query.blob_wh, logits=is_logit)
    if "masks" in parts:
        assert params.prototypes is not None
        prototypes = take(outputs, params.prototypes, (params.masks, None, None), TYPE)
        masks = PrototypeMasks(parts["masks"][index], prototypes, query.blob_wh)
    return replace(found, keypoints=keypoints, masks=masks)


def _of_table(outputs: Mapping[str, FloatArray], params: Params) -> dict[str, FloatArray]:
    """Of each role its columns, float32 (N, size), objectness (N,), views of the one output."""
    assert params.output is not None
    table = params.table
    pred = take(outputs, params.output, table.shape, TYPE)
    if params.layout == "columns":
        pred = pred.T
    return {role: pred[:, where] for role, where in table.by_role.items()}


def _apart(outputs: Mapping[str, FloatArray], params: Params) -> dict[str, FloatArray]:
    """Of each role its output, float32 (N, size), objectness (N,), boxes of classes (N, classes, 4)."""
    assert params.boxes is not None
    given = outputs.get(params.boxes)
    if given is not None and given.ndim == 3:
        box = take(outputs, params.boxes, (None, AtLeast(1), 4), TYPE)
    else:
        box = _rows(outputs, params.boxes, None, 4, params.layout)
    parts = {"box": box}
    for role, name, width, layout in params.beside:
        parts[role] = _rows(outputs, name, len(box), width, layout)
    if "objectness" in parts:
        parts["objectness"] = parts["objectness"][:, 0]
    if box.ndim == 3 and box.shape[1] not in (1, parts["classes"].shape[1]):
        expected = f"({len(box)}, {parts['classes'].shape[1]}, 4), a box for each of the scores"
        raise _misfit(params.boxes, expected, box.shape)
    return parts


def _rows(
    outputs: Mapping[str, FloatArray], name: str, rows: int | None, width: int | AtLeast, layout: Layout
) -> FloatArray:
    """An output, float32 (N, width); one of a single column may lack its axis."""
    given = outputs.get(name)
    if width in (1, AtLeast(1)) and given is not None and given.ndim == 1:
        return take(outputs, name, (rows,), TYPE)[:, None]
    if layout == "rows":
        return take(outputs, name, (rows, width), TYPE)
    return take(outputs, name, (width, rows), TYPE).T


def _xyxy(box: FloatArray, index: IntArray, class_id: IntArray, params: Params, query: Query) -> FloatArray:
    """Boxes of the candidates, float32 (k, 4), blob pixels."""
    rows: IntArray | None = index
    count = len(box)
    if box.ndim == 3:
        first = 1 if params.background == "first" else 0
        own: IntArray | int = class_id + first if box.shape[1] > 1 else 0
        box, rows = box[index, own], None
    if params.format == "ltrb":
        return _from_cells(box if rows is None else box[rows], index, count, params, query.blob_wh)
    xyxy = geometry.to_xyxy(box, params.format, rows)
    return xyxy if params.unit == "pixels" else geometry.to_pixels(xyxy, params.unit, query.blob_wh)


def _misfit(output: str | None, expected: str, got: object) -> HeadError:
    return HeadError(
        f"{TYPE} head: output {output!r} expected {expected}, got {got}: "
        "the card's head or its parameters do not fit this model"
    )


def _from_cells(
    ltrb: FloatArray, index: IntArray, count: int, params: Params, blob_wh: tuple[int, int]
) -> FloatArray:
    """Center - (left, top), center + (right, bottom)."""
    cells = grid(blob_wh, params.strides)
    if len(cells) != count:
        strides = ", ".join(map(str, params.strides))
        expected = f"{len(cells)} rows, one a cell of strides {strides}"
        raise _misfit(params.output or params.boxes, expected, count)
    stride = cells.stride[index]
    center = (cells.cell_xy[index] + np.float32(params.cell_offset)) * stride
    with np.errstate(over="ignore", invalid="ignore"):
        distance = (
            ltrb * stride if params.unit == "strides" else geometry.to_pixels(ltrb, params.unit, blob_wh)
        )
        return np.concatenate([center - distance[:, :2], center + distance[:, 2:]], axis=1)


Size = int | str | None


def draft(facts: ModelFacts) -> Params:
    """The likeliest parameters. Raises HeadError where no output is a table of boxes and scores."""
    maps = [spec for spec in facts.outputs if len(spec.shape) == 4 and spec.shape[3] != 4]
    tables = {spec.name: spec.shape[1:] for spec in facts.outputs if spec not in maps}
    found = [name for name, shape in tables.items() if _is_boxes(shape)]
    # Four classes look like a box.
    boxes = next((name for name in found if "box" in name.lower()), found[0] if found else None)
    if boxes is not None:
        rows = tables[boxes][0] if tables[boxes][-1] == 4 else tables[boxes][1]
        for name, shape in tables.items():
            if name != boxes and len(shape) == 2 and rows in shape:
                layout: Layout = "rows" if tables[boxes][-1] == 4 else "columns"
                return _of_two(boxes, name, layout, "rows" if shape[0] == rows else "columns")
    wide = [name for name, shape in tables.items() if len(shape) == 2 and _width_of(shape) != 4]
    if wide and boxes is None:
        return _of_one(wide[0], tables[wide[0]], maps, facts)
    raise HeadError(
        f"{TYPE} head: no output is a table of boxes and scores, (N, 4 + classes) or its transpose, and no "
        f"two are boxes (N, 4) and scores (N, classes): {listed(facts)}"
    )


def _is_boxes(shape: tuple[Size, ...]) -> bool:
    return len(shape) in (2, 3) and (shape[-1] == 4 or (len(shape) == 2 and shape[0] == 4))


def _width_of(shape: tuple[Size, ...]) -> Size:
    """Of a table in either layout the columns: the shorter axis, the known one where one is open."""
    known = [n for n in shape if isinstance(n, int)]
    return min(known) if known else None


def _of_two(boxes: str, scores: str, layout: Layout, scores_layout: Layout) -> Params:
    # Boxes whose names say nothing are corners in pixels more often than not.
    return Params(
        boxes=boxes,
        scores=scores,
        layout=layout,
        scores_layout=None if scores_layout == layout else scores_layout,
        format="xyxy",
    )


def _of_one(name: str, shape: tuple[Size, ...], maps: list[TensorSpec], facts: ModelFacts) -> Params:
    width = _width_of(shape)
    layout: Layout = "columns" if shape[0] == width and shape[1] != width else "rows"
    rows = shape[0] if layout == "rows" else shape[1]
    # Tables by rows come from YOLOX, YOLOv5, v6 and v7, which have an objectness.
    has_objectness = layout == "rows" or (
        isinstance(rows, int) and is_cells(rows, facts, *YOLO_STRIDES, anchors=3)
    )
    columns: roles.Roles = ("box", "objectness", "classes") if has_objectness else ("box", "classes")
    found = could_be_keypoints(width, beside=4 + has_objectness)
    if not maps and found is not None:
        number, values = found
        # yolov5-face has the score behind the landmarks, and none of the others.
        last: roles.Roles = (
            ("keypoints", "classes") if has_objectness and values == 2 else ("classes", "keypoints")
        )
        columns = (*columns[:-1], *last)
        return Params(
            output=name, layout=layout, columns=columns, classes=1, keypoints=number, keypoint_values=values
        )
    if not maps:
        return Params(output=name, layout=layout, columns=columns)
    count = maps[0].shape[1]
    return Params(
        output=name,
        layout=layout,
        columns=(*columns, "masks"),
        masks=count if isinstance(count, int) else 32,
        prototypes=maps[0].name,
    )

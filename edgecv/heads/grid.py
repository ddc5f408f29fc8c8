"""Raw maps of anchors, one a stride: YOLOv2 to YOLOv7, before the layer that makes boxes of them.

At each cell of a map an anchor has a box tx, ty, tw, th, an objectness and a score for each class, all
logits: center = (cell + s * sigmoid(t) - (s - 1) / 2) * cell size, confidence = sigmoid(objectness) *
sigmoid(class); s is `scale_x_y`. size "exp": exp(t) * anchor (Redmon and Farhadi, YOLO9000,
arXiv:1612.08242, and YOLOv3, arXiv:1804.02767, section 2; `get_yolo_box` of AlexeyAB/darknet). "square":
(2 * sigmoid(t))^2 * anchor (`Detect.forward` of ultralytics/yolov5, where s is 2; `new_coords` of
AlexeyAB/darknet).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgecv import boxes
from edgecv.errors import HeadError
from edgecv.heads.base import (
    AtLeast,
    HeadParams,
    PositiveInt,
    Query,
    join,
    sigmoid,
    softmax,
    take,
)
from edgecv.heads.cells import cells_wh
from edgecv.heads.cells import grid as cells_of
from edgecv.heads.levels import without_prototypes
from edgecv.heads.masks import PrototypeMasks
from edgecv.heads.scores import least_logit, of_logit_pairs
from edgecv.types import Candidates, FloatArray, IntArray, ModelFacts, TensorSpec

TYPE = "grid"
TASK = "detect"

PositiveFloat = Annotated[float, msgspec.Meta(gt=0)]
Anchors = Annotated[tuple[tuple[PositiveFloat, PositiveFloat], ...], msgspec.Meta(min_length=1)]
Role = Literal["box", "objectness", "classes", "keypoints", "masks"]
Places = NDArray[np.intp]

# Anchors of a stride for files that hold none: of YOLOv3 and v5 by the number of maps, and of YOLOv2.
_USUAL: Mapping[int, tuple[Anchors, ...]] = {
    2: (((10, 14), (23, 27), (37, 58)), ((81, 82), (135, 169), (344, 319))),
    3: (
        ((10, 13), (16, 30), (33, 23)),
        ((30, 61), (62, 45), (59, 119)),
        ((116, 90), (156, 198), (373, 326)),
    ),
    4: (
        ((19, 27), (44, 40), (38, 94)),
        ((96, 68), (86, 152), (180, 137)),
        ((140, 301), (303, 264), (238, 542)),
        ((436, 615), (739, 380), (925, 792)),
    ),
}
_USUAL_CELLS: Anchors = (
    (0.57273, 0.677385),
    (1.87446, 2.06253),
    (3.33843, 5.47434),
    (7.88282, 3.52778),
    (9.77052, 9.16828),
)
_FEWEST_COLUMNS = 6
_STRIDES = (4, 8, 16, 32, 64, 128)


class Layer(HeadParams, frozen=True, omit_defaults=True, cache_hash=True):
    """The map of one stride.

    output: its name. anchors: (width, height) of those that it uses. scale_x_y: how far a center can leave
    its cell: 1, not at all. stride: of the cells, pixels; None: as the map divides the blob.
    """

    output: str
    anchors: Anchors
    scale_x_y: PositiveFloat = 1.0
    stride: PositiveInt | None = None


class Params(HeadParams, frozen=True, omit_defaults=True, cache_hash=True):
    """layers: in the network's order. classes: how many; None: as many as the outputs have room for.

    layout: where a map (of A anchors, with C columns each) has its columns: "channels-first" (A * C, H, W) or
    (A, C, H, W); "channels-last" (H, W, A * C), (A, H, W, C) or (H, W, A, C).
    columns: what they are, in order. coords: how many numbers the box has, of which four are read.
    size: code of a size, see above. unit: of anchors. activated: the network has applied the sigmoids.
    softmax: classes exclude one another. background: the objectness is the logit of a class of that softmax,
    the background, so that a confidence is the class probability alone.
    keypoints: how many; keypoint_values: x and y, or these and a confidence. keypoint_code: "cell":
    (2 * x - 0.5 + cell) * cell size (YOLOv7-pose); "anchor": x * anchor + cell * cell size (yolov5-face).
    masks: coefficients of an anchor, never squashed; prototypes: name of the output (masks, h, w).
    """

    layers: Annotated[tuple[Layer, ...], msgspec.Meta(min_length=1)]
    classes: PositiveInt | None = None
    layout: Literal["channels-first", "channels-last"] = "channels-first"
    columns: tuple[Role, ...] = ("box", "objectness", "classes")
    coords: Annotated[int, msgspec.Meta(ge=4)] = 4
    size: Literal["exp", "square"] = "exp"
    unit: Literal["pixels", "cells"] = "pixels"
    activated: bool = False
    softmax: bool = False
    background: bool = False
    keypoints: Annotated[int, msgspec.Meta(ge=0)] = 0
    keypoint_values: Literal[2, 3] = 3
    keypoint_code: Literal["cell", "anchor"] = "cell"
    masks: Annotated[int, msgspec.Meta(ge=0)] = 0
    prototypes: str | None = None

    def __post_init__(self) -> None:
        wanted = {"box", "objectness", "classes"} | ({"keypoints"} if self.keypoints else set())
        wanted |= {"masks"} if self.masks else set()
        if set(self.columns) != wanted or len(self.columns) != len(wanted):
            raise ValueError(f"`columns` expected {', '.join(sorted(wanted))}, each once, in any order")
        if bool(self.masks) != (self.prototypes is not None):
            raise ValueError("`masks`, the number of coefficients, and `prototypes`, the output, go together")
        if self.background and not (self.softmax and self.columns[-2:] == ("objectness", "classes")):
            raise ValueError(
                "`background` is a class of `softmax`, the one whose column is before the classes"
            )

    @property
    def fewest_columns(self) -> int:
        """Of an anchor: those of all roles, and of one class where their number is not stated."""
        return self.coords + 1 + self.keypoints * self.keypoint_values + self.masks + (self.classes or 1)


def draft(facts: ModelFacts) -> Params:
    """Maps by their stride, with the anchors that most such networks have, which are in no file.

    Raises HeadError where an output is no map, or their channels are not those of two to five anchors.
    """
    prototypes, others = without_prototypes(facts)
    masks = prototypes.shape[1] if prototypes is not None else 0
    assert isinstance(masks, int)
    shapes = {spec.name: _anchors_first(spec, others) for spec in others.outputs}
    fewest = masks + _FEWEST_COLUMNS
    if not masks or any(shape is None or shape[1] < fewest for shape in shapes.values()):
        # It is a map of anchors.
        masks = 0
        shapes = {spec.name: _anchors_first(spec, facts) for spec in facts.outputs}
    known = {name: shape for name, shape in shapes.items() if shape is not None}
    shown = "; ".join(map(str, facts.outputs[:8]))
    if not known or len(known) != len(shapes):
        raise HeadError(
            f"{TYPE} head: outputs {shown}: expected maps alone, one a stride, of "
            "(anchors * (5 + classes), H, W) or these axes in another order"
        )
    if len({shape[:3] for shape in known.values()}) != 1:
        raise HeadError(f"{TYPE} head: outputs {shown}: expected as many anchors and columns of each stride")
    (anchors, _, layout, _), *_ = known.values()
    names = sorted(known, key=lambda name: -known[name][3])
    if anchors == len(_USUAL_CELLS) and len(names) == 1:
        return Params(layers=(Layer(names[0], _USUAL_CELLS),), layout=layout, unit="cells", softmax=True)
    usual = _USUAL.get(len(names), _USUAL[3])
    sizes = [(usual[min(i, len(usual) - 1)] * anchors)[:anchors] for i in range(len(names))]
    activated = all(facts.ends.get(name) == "Sigmoid" for name in names)
    if any("yolo_" in name for name in names):
        return Params(layers=tuple(map(Layer, names, sizes)), layout=layout)
    layers = tuple(Layer(name, pairs, scale_x_y=2.0) for name, pairs in zip(names, sizes, strict=True))
    params = Params(layers=layers, layout=layout, size="square", activated=activated)
    if not masks:
        return params
    assert prototypes is not None
    columns = (*params.columns, "masks")
    return msgspec.structs.replace(params, columns=columns, masks=masks, prototypes=prototypes.name)


def _anchors_first(
    spec: TensorSpec, facts: ModelFacts
) -> tuple[int, int, Literal["channels-first", "channels-last"], int] | None:
    """Anchors, their columns, the layout, and the cells of an output that can be a map."""
    sizes = [size for size in spec.shape[1:] if isinstance(size, int)]
    if len(sizes) != len(spec.shape) - 1:
        return None
    if len(sizes) == 4:
        if _are_cells(sizes[1:3], facts.image_wh):
            return sizes[0], sizes[3], "channels-last", sizes[1] * sizes[2]
        if _are_cells(sizes[:2], facts.image_wh):
            return sizes[2], sizes[3], "channels-last", sizes[0] * sizes[1]
        return sizes[0], sizes[1], "channels-first", sizes[2] * sizes[3]
    if len(sizes) != 3:
        return None
    is_first = _are_cells(sizes[1:], facts.image_wh)
    if not is_first and not _are_cells(sizes[:2], facts.image_wh):
        return None
    channels, cells = (sizes[0], sizes[1] * sizes[2]) if is_first else (sizes[2], sizes[0] * sizes[1])
    counts = (3, 2, 4, 5) if len(facts.outputs) > 1 else (5, 3, 2, 4)
    fitting = [n for n in counts if channels % n == 0 and channels // n >= _FEWEST_COLUMNS]
    layout: Literal["channels-first", "channels-last"] = "channels-first" if is_first else "channels-last"
    return (fitting[0], channels // fitting[0], layout, cells) if fitting else None


def _are_cells(sizes: Sequence[int], image_wh: tuple[int, int] | None) -> bool:
    """Whether rows and columns can be those of a stride. Of a picture of unknown size any can."""
    if image_wh is None:
        return True
    return any(cells_wh(image_wh, stride) == (sizes[1], sizes[0]) for stride in _STRIDES)


def decode(outputs: Mapping[str, FloatArray], params: Params, query: Query) -> Candidates:
    """See `base.DetectionHead`."""
    parts = [_decode_layer(outputs, layer, params, query) for layer in params.layers]
    columns = join(parts, query.max_candidates)
    confidence, class_id, box = columns[:3]
    keypoints = columns[3] if params.keypoints else None
    masks = None
    if params.prototypes is not None:
        prototypes = take(outputs, params.prototypes, (params.masks, None, None), TYPE)
        masks = PrototypeMasks(columns[-1], prototypes, query.blob_wh)
    return Candidates(boxes.cxcywh_to_xyxy(box), confidence, class_id, keypoints, masks=masks)


def _decode_layer(
    outputs: Mapping[str, FloatArray], layer: Layer, params: Params, query: Query
) -> tuple[NDArray[Any], ...]:
    """Confidence, class, box (center and size), keypoints and coefficients of one layer's candidates."""
    grid = _Map(outputs, layer, params, query.blob_wh)
    places = _places(params, grid.values.shape[2])
    squash = np.asarray if params.activated else sigmoid
    objectness_at, classes_at = places["objectness"].start, places["classes"]
    likely = None
    if not params.background:
        likely = _likely(grid.values[:, :, objectness_at], params, query).ravel().nonzero()[0]
    pred = grid.rows(likely)
    if params.softmax:
        # The background is a class of the softmax, and no objectness.
        logits = pred[:, classes_at.start - params.background : classes_at.stop]
        scores = softmax(logits)[:, int(params.background) :]
        objectness = None if params.background else squash(pred[:, objectness_at])
        index, class_id, confidence = query.select(scores, objectness=objectness)
    elif params.activated:
        index, class_id, confidence = query.select(pred[:, classes_at], objectness=pred[:, objectness_at])
    else:
        index, class_id, confidence = of_logit_pairs(query, pred[:, classes_at], pred[:, objectness_at])
    anchor, cell = grid.places(index if likely is None else likely[index])
    box_at = places["box"].start
    box = pred[index, box_at : box_at + 4]
    corner, anchor_wh = grid.corners(cell), grid.sizes(anchor)
    with np.errstate(over="ignore", invalid="ignore"):
        if params.size == "square":
            box = squash(box)
            box[:, 2:] = (2 * box[:, 2:]) ** 2
        else:
            box[:, :2] = squash(box[:, :2])
            box[:, 2:] = np.exp(box[:, 2:])
        if layer.scale_x_y != 1:
            box[:, :2] = np.float32(layer.scale_x_y) * box[:, :2] - np.float32((layer.scale_x_y - 1) / 2)
        box[:, :2] = (corner + box[:, :2]) * grid.cell_wh
        box[:, 2:] *= anchor_wh
        columns: list[NDArray[Any]] = [confidence, class_id, box]
        if params.keypoints:
            values = pred[index, places["keypoints"]]
            columns.append(_keypoints(values, corner, anchor_wh, grid.cell_wh, params))
        if params.masks:
            columns.append(pred[index, places["masks"]])
    return tuple(columns)


@lru_cache(maxsize=64)
def _places(params: Params, width: int) -> Mapping[str, slice]:
    """The columns of each role, of `width`."""
    points = params.keypoints * params.keypoint_values
    sizes = {"box": params.coords, "objectness": 1, "keypoints": points, "masks": params.masks}
    sizes["classes"] = width - sum(sizes.values())
    places: dict[str, slice] = {}
    start = 0
    for role in params.columns:
        places[role] = slice(start, start + sizes[role])
        start += sizes[role]
    return places


@lru_cache(maxsize=64)
def _sizes(layer: Layer, cell_wh: tuple[float, float] | None) -> FloatArray:
    """Anchors, float32 (anchors, 2), pixels. cell_wh: what they are multiplied by."""
    anchors = np.array(layer.anchors, np.float32) * np.array(cell_wh or 1, np.float32)
    anchors.flags.writeable = False
    return anchors


def _likely(objectness: FloatArray, params: Params, query: Query) -> NDArray[np.bool_]:
    """Where a confidence, which is at most its objectness, can be over the threshold: (anchors, cells)."""
    lowest = query.lowest_confidence
    lowest = max(lowest, 0) if params.activated else least_logit(lowest)
    return np.asarray(objectness > np.float32(lowest))


def _keypoints(
    values: FloatArray, corner: FloatArray, anchor_wh: FloatArray, cell_wh: FloatArray, params: Params
) -> FloatArray:
    """float32 (n, keypoints, 3), blob pixels and confidence, 1 where there is none."""
    values = values.reshape(len(values), params.keypoints, params.keypoint_values)
    keypoints = np.ones((*values.shape[:2], 3), np.float32)
    if params.keypoint_code == "cell":
        keypoints[..., :2] = (2 * values[..., :2] - np.float32(0.5) + corner[:, None]) * cell_wh
    else:
        keypoints[..., :2] = values[..., :2] * anchor_wh[:, None] + (corner * cell_wh)[:, None]
    if params.keypoint_values == 3:
        keypoints[..., 2] = values[..., 2] if params.activated else sigmoid(values[..., 2])
    return keypoints


class _Map:
    """The raw map of a layer.

    values: float32 (anchors, cells, columns), a view, cells row by row. cell_wh: float32 (2,), pixels.
    """

    def __init__(
        self, outputs: Mapping[str, FloatArray], layer: Layer, params: Params, blob_wh: tuple[int, int]
    ) -> None:
        """Raises HeadError where the output is missing or does not have these anchors and columns."""
        count, fewest = len(layer.anchors), params.fewest_columns
        is_exact = params.classes is not None
        width = fewest if is_exact else AtLeast(fewest)
        both = count * fewest if is_exact else AtLeast(count * fewest)
        size = cells_wh(blob_wh, layer.stride)[::-1] if layer.stride else (None, None)
        given = outputs.get(layer.output)
        rank = 4 if given is not None and given.ndim == 4 else 3
        if params.layout == "channels-first":
            raw = take(outputs, layer.output, (count, width, *size) if rank == 4 else (both, *size), TYPE)
            rows, columns = raw.shape[-2:]
            apart = self._apart(raw, 0 if rank == 3 else None, count, layer.output)
            self.values: FloatArray = apart.reshape(count, -1, rows * columns).transpose(0, 2, 1)
        elif rank == 3 or (given is not None and given.shape[0] != count == given.shape[2]):
            raw = take(outputs, layer.output, (*size, count, width) if rank == 4 else (*size, both), TYPE)
            rows, columns = raw.shape[:2]
            apart = self._apart(raw, 2 if rank == 3 else None, count, layer.output)
            self.values = apart.reshape(rows * columns, count, -1).transpose(1, 0, 2)
        else:
            raw = take(outputs, layer.output, (count, *size, width), TYPE)
            rows, columns = raw.shape[1:3]
            self.values = raw.reshape(count, rows * columns, -1)
        self._corners = cells_of((columns, rows), (1,)).cell_xy
        cell_wh = (
            (layer.stride,) * 2 if layer.stride else (blob_wh[0] / max(columns, 1), blob_wh[1] / max(rows, 1))
        )
        self.cell_wh = np.array(cell_wh, np.float32)
        self._anchors = _sizes(layer, cell_wh if params.unit == "cells" else None)

    @staticmethod
    def _apart(raw: FloatArray, axis: int | None, count: int, name: str) -> FloatArray:
        if axis is not None and raw.shape[axis] % count:
            raise HeadError(
                f"{TYPE} head: output {name!r} expected channels that {count} anchors share alike, got "
                f"{raw.shape}: the card's head or its parameters do not fit this model"
            )
        return raw

    def rows(self, place: Places | None) -> FloatArray:
        """The columns of some places, or of all; places count the cells of one anchor after another."""
        anchors, cells, columns = self.values.shape
        if place is None:
            return np.ascontiguousarray(self.values).reshape(anchors * cells, columns)
        if self.values.flags.c_contiguous:
            return self.values.reshape(anchors * cells, columns).take(place, axis=0)
        return self.values[self.places(place)]

    def places(self, place: Places | IntArray) -> tuple[Places, Places]:
        """Anchor and cell of some places."""
        return np.divmod(place, self.values.shape[1])

    def corners(self, cell: Places) -> FloatArray:
        """Column and row of some cells, float32 (n, 2)."""
        return self._corners.take(cell, axis=0)

    def sizes(self, anchor: Places) -> FloatArray:
        """Width and height of some anchors, float32 (n, 2), pixels."""
        return self._anchors[anchor]

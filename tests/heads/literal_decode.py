"""What each head's outputs mean, in plain loops, and random outputs that look like a network's.

Nothing here is shared with edgecv.heads: each decode follows its network's definition literally, in
double precision.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tests.heads import literal_caffe

Outputs = dict[str, NDArray[Any]]


class Row(NamedTuple):
    """One place where the network can see an object: its confidence for each class, and its box."""

    confidence: list[float]
    xyxy: tuple[float, float, float, float]
    keypoints: list[tuple[float, float]] | None = None


class Found(NamedTuple):
    row: int
    class_id: int
    confidence: float
    xyxy: tuple[float, float, float, float]
    keypoints: list[tuple[float, float]] | None


def candidates(rows: list[Row], threshold: float | NDArray[Any], multi_label: bool, most: int) -> list[Found]:
    """The candidates among the rows, by row and class."""
    found = []
    for number, row in enumerate(rows):
        classes = range(len(row.confidence))
        if not multi_label:
            classes = [max(classes, key=lambda c: (row.confidence[c], -c))]
        for c in classes:
            least = float(threshold if np.ndim(threshold) == 0 else np.asarray(threshold)[c])
            if row.confidence[c] > least:
                found.append(Found(number, c, row.confidence[c], row.xyxy, row.keypoints))
    best = sorted(found, key=lambda f: (-f.confidence, f.row, f.class_id))[:most]
    return sorted(best, key=lambda f: (f.row, f.class_id))


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def corners(cx: float, cy: float, w: float, h: float) -> tuple[float, float, float, float]:
    return cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2


def cells(blob_wh: tuple[int, int], stride: int) -> Iterator[tuple[int, int]]:
    """Column and row of each cell, row by row."""
    for row in range(math.ceil(blob_wh[1] / stride)):
        for column in range(math.ceil(blob_wh[0] / stride)):
            yield column, row


def cell_count(blob_wh: tuple[int, int], *strides: int) -> int:
    return sum(len(list(cells(blob_wh, stride))) for stride in strides)


def yolox(outputs: Outputs, params: Mapping[str, Any], blob_wh: tuple[int, int]) -> list[Row]:
    rows, values = [], iter(outputs["output"].tolist())
    for stride in (8, 16, 32):
        for column, row in cells(blob_wh, stride):
            dx, dy, dw, dh, objectness, *classes = next(values)
            box = corners(
                (dx + column) * stride, (dy + row) * stride, math.exp(dw) * stride, math.exp(dh) * stride
            )
            rows.append(Row([objectness * c for c in classes], box))
    return rows


def decoded_rows(outputs: Outputs, params: Mapping[str, Any], blob_wh: tuple[int, int]) -> list[Row]:
    return [
        Row([objectness * c for c in classes], corners(cx, cy, w, h))
        for cx, cy, w, h, objectness, *classes in outputs["output"].tolist()
    ]


def yolov5_raw(outputs: Outputs, params: Mapping[str, Any], blob_wh: tuple[int, int]) -> list[Row]:
    rows = []
    for name, stride, anchors in zip(params["raw"], params["strides"], params["anchors"], strict=True):
        for anchor, (anchor_w, anchor_h) in enumerate(anchors):
            for column, row in cells(blob_wh, stride):
                x, y, w, h, objectness, *classes = map(sigmoid, outputs[name][anchor, row, column].tolist())
                box = corners(
                    (x * 2 - 0.5 + column) * stride,
                    (y * 2 - 0.5 + row) * stride,
                    (w * 2) ** 2 * anchor_w,
                    (h * 2) ** 2 * anchor_h,
                )
                rows.append(Row([objectness * c for c in classes], box))
    return rows


def yolov8(outputs: Outputs, params: Mapping[str, Any], blob_wh: tuple[int, int]) -> list[Row]:
    (pred,) = outputs.values()
    columns = pred.tolist() if params.get("transposed") else pred.T.tolist()
    return [Row(classes, corners(cx, cy, w, h)) for cx, cy, w, h, *classes in columns]


def yolo_e2e(outputs: Outputs, params: Mapping[str, Any], blob_wh: tuple[int, int]) -> list[Row]:
    rows = []
    for x1, y1, x2, y2, confidence, number in outputs["output0"].tolist():
        others = [-1.0] * int(number)
        valid = x2 > x1 and y2 > y1
        rows.append(Row([*others, confidence if valid else -1.0], (x1, y1, x2, y2)))
    return rows


def nanodet(outputs: Outputs, params: Mapping[str, Any], blob_wh: tuple[int, int]) -> list[Row]:
    bins = params.get("reg_max", 7) + 1
    offset = params.get("cell_offset", 0.5)
    strides = params.get("strides", (8, 16, 32))
    if "output" in params:
        pred = outputs[params["output"]]
        scores, sides = pred[:, : -4 * bins].tolist(), pred[:, -4 * bins :].tolist()
    else:
        scores = [row for name in params["cls"] for row in outputs[name].tolist()]
        sides = [row for name in params["reg"] for row in outputs[name].tolist()]
    rows = []
    places = [(stride, *cell) for stride in strides for cell in cells(blob_wh, stride)]
    for (stride, column, row), classes, side in zip(places, scores, sides, strict=True):
        distance = []
        for k in range(4):
            weights = [math.exp(v) for v in side[k * bins : (k + 1) * bins]]
            mean = sum(i * weight for i, weight in enumerate(weights)) / sum(weights)
            distance.append(mean * stride)
        x, y = (column + offset) * stride, (row + offset) * stride
        box = (x - distance[0], y - distance[1], x + distance[2], y + distance[3])
        rows.append(Row([sigmoid(c) for c in classes] if params.get("logits") else classes, box))
    return rows


def fastestdet(outputs: Outputs, params: Mapping[str, Any], blob_wh: tuple[int, int]) -> list[Row]:
    pred, rows = outputs["758"], []
    grid_h, grid_w = pred.shape[1:]
    for row in range(grid_h):
        for column in range(grid_w):
            objectness, tx, ty, tw, th, *classes = pred[:, row, column].tolist()
            box = corners(
                (math.tanh(tx) + column) / grid_w * blob_wh[0],
                (math.tanh(ty) + row) / grid_h * blob_wh[1],
                sigmoid(tw) * blob_wh[0],
                sigmoid(th) * blob_wh[1],
            )
            rows.append(Row([objectness**0.6 * c**0.4 for c in classes], box))
    return rows


def yunet(outputs: Outputs, params: Mapping[str, Any], blob_wh: tuple[int, int]) -> list[Row]:
    rows = []
    for stride in (8, 16, 32):
        for i, (column, row) in enumerate(cells(blob_wh, stride)):
            cls = min(max(float(outputs[f"cls_{stride}"][i, 0]), 0), 1)
            obj = min(max(float(outputs[f"obj_{stride}"][i, 0]), 0), 1)
            dx, dy, dw, dh = outputs[f"bbox_{stride}"][i].tolist()
            points = outputs[f"kps_{stride}"][i].tolist()
            rows.append(
                Row(
                    [math.sqrt(cls * obj)],
                    corners(
                        (column + dx) * stride,
                        (row + dy) * stride,
                        math.exp(dw) * stride,
                        math.exp(dh) * stride,
                    ),
                    [
                        ((column + points[2 * k]) * stride, (row + points[2 * k + 1]) * stride)
                        for k in range(5)
                    ],
                )
            )
    return rows


def ssd(outputs: Outputs, params: Mapping[str, Any], blob_wh: tuple[int, int]) -> list[Row]:
    w, h = blob_wh
    first = 1 if params.get("background", True) else 0
    return [
        Row(classes[first:], (x1 * w, y1 * h, x2 * w, y2 * h))
        for (x1, y1, x2, y2), classes in zip(
            outputs["boxes"].tolist(), outputs["scores"].tolist(), strict=True
        )
    ]


def ssd_priors(outputs: Outputs, params: Mapping[str, Any], blob_wh: tuple[int, int]) -> list[Row]:
    w, h = blob_wh
    priors = []
    for one in params["priors"]:
        stride = one["stride"]
        for row in range(math.ceil(h / stride)):
            for column in range(math.ceil(w / stride)):
                for side in one["sizes"]:
                    prior = ((column + 0.5) * stride / w, (row + 0.5) * stride / h, side / w, side / h)
                    priors.append([min(max(part, 0.0), 1.0) for part in prior])
    rows = []
    for (cx, cy, pw, ph), (dx, dy, dw, dh), classes in zip(
        priors, outputs["boxes"].tolist(), outputs["scores"].tolist(), strict=True
    ):
        x, y = cx + dx * 0.1 * pw, cy + dy * 0.1 * ph
        bw, bh = pw * math.exp(dw * 0.2), ph * math.exp(dh * 0.2)
        corners = ((x - bw / 2) * w, (y - bh / 2) * h, (x + bw / 2) * w, (y + bh / 2) * h)
        rows.append(Row(classes[1:], corners))
    return rows


def anchor_cells(
    pred: NDArray[Any], anchors: Any, channels: int
) -> Iterator[tuple[list[float], Any, tuple[int, int]]]:
    """Channels, size and (column, row) of each anchor at each cell of a Darknet map."""
    for number, size in enumerate(anchors):
        for row in range(pred.shape[1]):
            for column in range(pred.shape[2]):
                values = pred[number * channels : (number + 1) * channels, row, column]
                yield values.tolist(), size, (column, row)


def yolo(outputs: Outputs, params: Mapping[str, Any], blob_wh: tuple[int, int]) -> list[Row]:
    rows = []
    for layer in params["layers"]:
        pred = outputs[layer["output"]]
        cell_w, cell_h = blob_wh[0] / pred.shape[2], blob_wh[1] / pred.shape[1]
        scale, is_new = layer.get("scale_x_y", 1), layer.get("new_coords", False)
        for values, (anchor_w, anchor_h), (column, row) in anchor_cells(
            pred, layer["anchors"], 5 + params["classes"]
        ):
            tx, ty, tw, th, objectness, *classes = values
            if not is_new:
                tx, ty, objectness, *classes = map(sigmoid, (tx, ty, objectness, *classes))
            box = corners(
                (column + tx * scale - 0.5 * (scale - 1)) * cell_w,
                (row + ty * scale - 0.5 * (scale - 1)) * cell_h,
                (tw * tw * 4 if is_new else math.exp(tw)) * anchor_w,
                (th * th * 4 if is_new else math.exp(th)) * anchor_h,
            )
            rows.append(Row([objectness * c for c in classes], box))
    return rows


def region(outputs: Outputs, params: Mapping[str, Any], blob_wh: tuple[int, int]) -> list[Row]:
    pred, rows = outputs["region_30"], []
    coords = params.get("coords", 4)
    cell_w, cell_h = blob_wh[0] / pred.shape[2], blob_wh[1] / pred.shape[1]
    for values, (anchor_w, anchor_h), (column, row) in anchor_cells(
        pred, params["anchors"], coords + 1 + params["classes"]
    ):
        tx, ty, tw, th = values[:4]
        objectness, *classes = values[coords:]
        if params.get("softmax", True):
            shared = [objectness, *classes] if params.get("background") else classes
            total = sum(map(math.exp, shared))
            classes = [math.exp(c) / total for c in classes]
        else:
            classes = [sigmoid(c) for c in classes]
        certainty = 1 if params.get("background") else sigmoid(objectness)
        box = corners(
            (column + sigmoid(tx)) * cell_w,
            (row + sigmoid(ty)) * cell_h,
            math.exp(tw) * anchor_w * cell_w,
            math.exp(th) * anchor_h * cell_h,
        )
        rows.append(Row([certainty * c for c in classes], box))
    return rows


def detection(outputs: Outputs, params: Mapping[str, Any], blob_wh: tuple[int, int]) -> list[Row]:
    values = outputs["detection_25"].tolist()
    side, num, count = params["side"], params["num"], params["classes"]
    rows = []
    for cell in range(side * side):
        classes = values[cell * count : (cell + 1) * count]
        if params.get("softmax"):
            total = sum(map(math.exp, classes))
            classes = [math.exp(c) / total for c in classes]
        for n in range(num):
            objectness = values[side * side * count + cell * num + n]
            start = side * side * (count + num) + (cell * num + n) * 4
            x, y, w, h = values[start : start + 4]
            power = 2 if params.get("sqrt") else 1
            box = corners(
                (x + cell % side) / side * blob_wh[0],
                (y + cell // side) / side * blob_wh[1],
                w**power * blob_wh[0],
                h**power * blob_wh[1],
            )
            rows.append(Row([objectness * c for c in classes], box))
    return rows


def faster_rcnn(outputs: Outputs, params: Mapping[str, Any], blob_wh: tuple[int, int]) -> list[Row]:
    """Of one class, or of classes that share a box: four deltas for the background, then four."""
    extent = 1 if params.get("inclusive", True) else 0
    means, stds = params.get("means", (0,) * 4), params.get("stds", (1,) * 4)
    last_xy = (blob_wh[0] - extent, blob_wh[1] - extent) * 2
    rows = []
    for (x1, y1, x2, y2), classes, deltas in zip(
        *(outputs[name].tolist() for name in ("rois", "cls_prob", "bbox_pred")), strict=True
    ):
        w, h = x2 - x1 + extent, y2 - y1 + extent
        dx, dy, dw, dh = (d * std + mean for d, std, mean in zip(deltas[-4:], stds, means, strict=True))
        box = corners(x1 + w / 2 + dx * w, y1 + h / 2 + dy * h, w * math.exp(dw), h * math.exp(dh))
        left, top, right, bottom = (min(max(v, 0.0), last) for v, last in zip(box, last_xy, strict=True))
        rows.append(Row(classes[1:], (left, top, right, bottom)))
    return rows


Make = Callable[[np.random.Generator, tuple[int, int], int], Outputs]


@dataclass(frozen=True)
class Case:
    """One way to use a head. classes: how many it is tried with. make: outputs that look real."""

    id: str
    type: str
    literal: Callable[[Outputs, Mapping[str, Any], tuple[int, int]], list[Row]]
    make: Make
    params: dict[str, Any] = field(default_factory=dict)
    classes: tuple[int, ...] = (1, 3, 80)


def _floats(array: NDArray[Any]) -> NDArray[np.float32]:
    return array.astype(np.float32)


def _boxes(rng: np.random.Generator, n: int, scale: float = 64.0) -> NDArray[Any]:
    return np.concatenate([rng.uniform(0, scale, (n, 2)), rng.uniform(1, scale, (n, 2))], axis=1)


def _grid_rows(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
    n = cell_count(blob_wh, 8, 16, 32)
    return {"output": _floats(np.hstack([rng.normal(size=(n, 4)), rng.uniform(size=(n, 1 + classes))]))}


def _decoded_grid(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
    outputs = _grid_rows(rng, blob_wh, classes)
    outputs["output"][:, :4] = _boxes(rng, len(outputs["output"]))
    return outputs


def _decoded_rows(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
    return {"output": _floats(np.hstack([_boxes(rng, 60), rng.uniform(size=(60, 1 + classes))]))}


def _raw_levels(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
    shape = {s: (math.ceil(blob_wh[1] / s), math.ceil(blob_wh[0] / s)) for s in (8, 16)}
    return {
        "p3": _floats(rng.normal(size=(2, *shape[8], 5 + classes))),
        "p4": _floats(rng.normal(size=(1, *shape[16], 5 + classes))),
    }


def _columns(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
    return {"output0": _floats(np.vstack([_boxes(rng, 60).T, rng.uniform(size=(classes, 60))]))}


def _transposed(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
    return {"dets": np.ascontiguousarray(_columns(rng, blob_wh, classes)["output0"].T)}


def _objects(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
    corner = rng.uniform(0, 64, (40, 2))
    size = rng.uniform(-5, 40, (40, 2))
    number = rng.integers(0, classes, (40, 1))
    return {"output0": _floats(np.hstack([corner, corner + size, rng.uniform(size=(40, 1)), number]))}


def _gfl_levels(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
    counts = {stride: cell_count(blob_wh, stride) for stride in (8, 16, 32)}
    return {
        **{f"cls{s}": _floats(rng.uniform(size=(n, classes))) for s, n in counts.items()},
        **{f"reg{s}": _floats(rng.normal(size=(n, 32))) for s, n in counts.items()},
    }


def _gfl_logits(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
    outputs = _gfl_levels(rng, blob_wh, classes)
    return {name: _floats(rng.normal(size=array.shape)) for name, array in outputs.items()}


def _gfl_rows(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
    n = cell_count(blob_wh, 8, 16, 32, 64)
    return {"output": _floats(np.hstack([rng.uniform(size=(n, classes)), rng.normal(size=(n, 20))]))}


def _planes(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
    h, w = math.ceil(blob_wh[1] / 16), math.ceil(blob_wh[0] / 16)
    objectness, box = rng.uniform(size=(1, h, w)), rng.normal(size=(4, h, w))
    return {"758": _floats(np.concatenate([objectness, box, rng.uniform(size=(classes, h, w))]))}


def _faces(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
    outputs = {}
    for stride in (8, 16, 32):
        n = cell_count(blob_wh, stride)
        outputs[f"cls_{stride}"] = _floats(rng.uniform(-0.1, 1.1, (n, 1)))
        outputs[f"obj_{stride}"] = _floats(rng.uniform(-0.1, 1.1, (n, 1)))
        outputs[f"bbox_{stride}"] = _floats(rng.normal(size=(n, 4)))
        outputs[f"kps_{stride}"] = _floats(rng.normal(size=(n, 10)))
    return outputs


def _parts(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
    corner = rng.uniform(size=(50, 2))
    box = np.hstack([corner, corner + rng.uniform(size=(50, 2))])
    return {"boxes": _floats(box), "scores": _floats(rng.uniform(size=(50, classes + 1)))}


_LEVELS = {"cls": ("cls8", "cls16", "cls32"), "reg": ("reg8", "reg16", "reg32")}
_RAW = {"raw": ("p3", "p4"), "strides": (8, 16), "anchors": (((10, 13), (33, 23)), ((30, 61),))}
_PLUS = {"output": "output", "strides": (8, 16, 32, 64), "reg_max": 4, "cell_offset": 0.0}


def _parts_without_background(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
    return _parts(rng, blob_wh, classes - 1)


def _offsets(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
    cells = [math.ceil(blob_wh[0] / s) * math.ceil(blob_wh[1] / s) for s in (16, 32)]
    count = 2 * cells[0] + cells[1]
    scores = rng.uniform(size=(count, classes + 1))
    return {"boxes": _floats(rng.normal(size=(count, 4))), "scores": _floats(scores)}


_PRIORS = {"priors": ({"stride": 16, "sizes": (12.0, 30.0)}, {"stride": 32, "sizes": (64.0,)})}

_YOLO_ANCHORS = (((10, 14), (23.5, 27)), ((37, 58), (81, 82), (135, 169)))
_YOLO = {
    "layers": tuple(
        {"output": name, "anchors": anchors, "scale_x_y": scale}
        for name, anchors, scale in zip(("yolo_16", "yolo_23"), _YOLO_ANCHORS, (1.0, 1.1), strict=True)
    ),
    "classes": 3,
}
_YOLO_NEW = {"layers": tuple({**layer, "new_coords": True} for layer in _YOLO["layers"]), "classes": 3}
_REGION = {"output": "region_30", "anchors": ((1.08, 1.19), (3.4, 4.4), (6.6, 11.4)), "classes": 3}
_DETECTION = {"output": "detection_25", "side": 3, "num": 2, "classes": 3}


def _anchor_maps(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
    return {
        name: _floats(rng.normal(size=(len(anchors) * (5 + classes), blob_wh[1] // s, blob_wh[0] // s)))
        for (name, anchors), s in zip(
            zip(("yolo_16", "yolo_23"), _YOLO_ANCHORS, strict=True), (16, 8), strict=True
        )
    }


def _anchor_maps_squashed(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
    maps = _anchor_maps(rng, blob_wh, classes)
    return {name: _floats(1 / (1 + np.exp(-array))) for name, array in maps.items()}


def _region_map(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int, more: int = 0) -> Outputs:
    size = (3 * (5 + more + classes), blob_wh[1] // 8, blob_wh[0] // 8)
    return {"region_30": _floats(2 * rng.normal(size=size))}


def _region_map_of_six(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
    return _region_map(rng, blob_wh, classes, more=2)


def _vector(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
    return {"detection_25": _floats(rng.uniform(size=9 * (classes + 2 * 5)))}


def _second_stage(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
    corner = rng.uniform(0, 30, (40, 2))
    return {
        "rois": _floats(np.hstack([corner, corner + rng.uniform(0, 30, (40, 2))])),
        "cls_prob": _floats(rng.uniform(size=(40, classes + 1))),
        "bbox_pred": _floats(0.3 * rng.normal(size=(40, 8))),
    }


def _one_box(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
    outputs = _second_stage(rng, blob_wh, classes)
    return {**outputs, "bbox_pred": outputs["bbox_pred"][:, 4:]}


_FASTER = {"features": "conv5", "anchors": ((-8.0, -8.0, 23.0, 23.0),)}
_AGNOSTIC = {
    **_FASTER,
    "class_agnostic": True,
    "inclusive": False,
    "means": (0.1, 0.0, -0.2, 0.0),
    "stds": (0.1, 0.1, 0.2, 0.2),
}


def _of_caffe(literal: Callable[..., Any]) -> Callable[..., list[Row]]:
    return lambda *arguments: [Row(*row) for row in literal(*arguments)]


CASES = (
    Case("yolox", "yolox", yolox, _grid_rows),
    Case("yolox-decoded", "yolox", decoded_rows, _decoded_grid, {"decoded": True}),
    Case("yolov5-decoded", "yolov5", decoded_rows, _decoded_rows, {"output": "output"}),
    Case("yolov5-raw", "yolov5", yolov5_raw, _raw_levels, _RAW),
    Case("yolov8", "yolov8", yolov8, _columns),
    Case("yolov8-transposed", "yolov8", yolov8, _transposed, {"output": "dets", "transposed": True}),
    Case("yolo_e2e", "yolo_e2e", yolo_e2e, _objects),
    Case("nanodet-levels", "nanodet", nanodet, _gfl_levels, _LEVELS),
    Case("nanodet-logits", "nanodet", nanodet, _gfl_logits, {**_LEVELS, "logits": True}),
    Case("nanodet-plus", "nanodet", nanodet, _gfl_rows, _PLUS),
    Case("fastestdet", "fastestdet", fastestdet, _planes, {"output": "758"}),
    Case("yunet", "yunet", yunet, _faces, classes=(1,)),
    Case("yolo", "yolo", yolo, _anchor_maps, _YOLO, classes=(3,)),
    Case("yolo-new-coords", "yolo", yolo, _anchor_maps_squashed, _YOLO_NEW, classes=(3,)),
    Case("region", "region", region, _region_map, _REGION, classes=(3,)),
    Case("region-no-softmax", "region", region, _region_map, {**_REGION, "softmax": False}, classes=(3,)),
    Case("region-background", "region", region, _region_map, {**_REGION, "background": True}, classes=(3,)),
    Case("region-coords", "region", region, _region_map_of_six, {**_REGION, "coords": 6}, classes=(3,)),
    Case("detection", "detection", detection, _vector, _DETECTION, classes=(3,)),
    Case("detection-sqrt", "detection", detection, _vector, {**_DETECTION, "sqrt": True}, classes=(3,)),
    Case("detection-softmax", "detection", detection, _vector, {**_DETECTION, "softmax": True}, classes=(3,)),
    Case("faster_rcnn", "faster_rcnn", faster_rcnn, _second_stage, _FASTER, classes=(1,)),
    Case("faster_rcnn-agnostic", "faster_rcnn", faster_rcnn, _second_stage, _AGNOSTIC),
    Case("faster_rcnn-agnostic-four", "faster_rcnn", faster_rcnn, _one_box, _AGNOSTIC),
    Case("ssd", "ssd", ssd, _parts),
    Case("ssd-priors", "ssd", ssd_priors, _offsets, _PRIORS),
    Case("ssd-no-background", "ssd", ssd, _parts_without_background, {"background": False}),
    *(
        Case(f"ssd-caffe-{name}", "ssd", _of_caffe(literal_caffe.ssd), make(params), params, classes=classes)
        for name, make, params, classes in (
            ("flat", literal_caffe.flat, literal_caffe.SSD, (1, 3)),
            ("clipped", literal_caffe.rows, literal_caffe.CLIPPED, (1, 3)),
            ("corners", literal_caffe.flat, literal_caffe.CORNERS, (1,)),
            ("corner-sizes", literal_caffe.rows, literal_caffe.CORNER_SIZES, (1, 3)),
        )
    ),
    Case(
        "detectnet",
        "detectnet",
        _of_caffe(literal_caffe.detectnet),
        literal_caffe.cells,
        literal_caffe.DETECTNET,
        classes=(3,),
    ),
)

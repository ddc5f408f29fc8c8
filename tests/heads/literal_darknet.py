"""Darknet's detection layers: what the values that they read mean, in plain loops."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.heads.literal import Case, Outputs, Row, corners, floats, sigmoid


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
        name: floats(rng.normal(size=(len(anchors) * (5 + classes), blob_wh[1] // s, blob_wh[0] // s)))
        for (name, anchors), s in zip(
            zip(("yolo_16", "yolo_23"), _YOLO_ANCHORS, strict=True), (16, 8), strict=True
        )
    }


def _anchor_maps_squashed(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
    maps = _anchor_maps(rng, blob_wh, classes)
    return {name: floats(1 / (1 + np.exp(-array))) for name, array in maps.items()}


def _region_map(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int, more: int = 0) -> Outputs:
    size = (3 * (5 + more + classes), blob_wh[1] // 8, blob_wh[0] // 8)
    return {"region_30": floats(2 * rng.normal(size=size))}


def _region_map_of_six(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
    return _region_map(rng, blob_wh, classes, more=2)


def _vector(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
    return {"detection_25": floats(rng.uniform(size=9 * (classes + 2 * 5)))}


CASES = (
    Case("yolo", "yolo", yolo, _anchor_maps, _YOLO, classes=(3,)),
    Case("yolo-new-coords", "yolo", yolo, _anchor_maps_squashed, _YOLO_NEW, classes=(3,)),
    Case("region", "region", region, _region_map, _REGION, classes=(3,)),
    Case("region-no-softmax", "region", region, _region_map, {**_REGION, "softmax": False}, classes=(3,)),
    Case("region-background", "region", region, _region_map, {**_REGION, "background": True}, classes=(3,)),
    Case("region-coords", "region", region, _region_map_of_six, {**_REGION, "coords": 6}, classes=(3,)),
    Case("detection", "detection", detection, _vector, _DETECTION, classes=(3,)),
    Case("detection-sqrt", "detection", detection, _vector, {**_DETECTION, "sqrt": True}, classes=(3,)),
    Case("detection-softmax", "detection", detection, _vector, {**_DETECTION, "softmax": True}, classes=(3,)),
)

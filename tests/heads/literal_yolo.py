"""YOLOX, YOLOv5, v8 and those with NMS in the network: what their outputs mean, in plain loops."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.heads.literal import Case, Outputs, Row, cell_count, cells, corners, floats, sigmoid


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


def _boxes(rng: np.random.Generator, n: int, scale: float = 64.0) -> NDArray[Any]:
    return np.concatenate([rng.uniform(0, scale, (n, 2)), rng.uniform(1, scale, (n, 2))], axis=1)


def _grid_rows(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
    n = cell_count(blob_wh, 8, 16, 32)
    return {"output": floats(np.hstack([rng.normal(size=(n, 4)), rng.uniform(size=(n, 1 + classes))]))}


def _decoded_grid(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
    outputs = _grid_rows(rng, blob_wh, classes)
    outputs["output"][:, :4] = _boxes(rng, len(outputs["output"]))
    return outputs


def _decoded_rows(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
    return {"output": floats(np.hstack([_boxes(rng, 60), rng.uniform(size=(60, 1 + classes))]))}


def _raw_levels(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
    shape = {s: (math.ceil(blob_wh[1] / s), math.ceil(blob_wh[0] / s)) for s in (8, 16)}
    return {
        "p3": floats(rng.normal(size=(2, *shape[8], 5 + classes))),
        "p4": floats(rng.normal(size=(3, *shape[16], 5 + classes))),
    }


def _columns(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
    return {"output0": floats(np.vstack([_boxes(rng, 60).T, rng.uniform(size=(classes, 60))]))}


def _transposed(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
    return {"dets": np.ascontiguousarray(_columns(rng, blob_wh, classes)["output0"].T)}


def _objects(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
    corner = rng.uniform(0, 64, (40, 2))
    size = rng.uniform(-5, 40, (40, 2))
    number = rng.integers(0, classes, (40, 1))
    return {"output0": floats(np.hstack([corner, corner + size, rng.uniform(size=(40, 1)), number]))}


_RAW = {
    "raw": ("p3", "p4"),
    "strides": (8, 16),
    "anchors": (((10, 13), (33, 23)), ((30, 61), (62, 45), (59, 119))),
}

CASES = (
    Case("yolox", "yolox", yolox, _grid_rows),
    Case("yolox-decoded", "yolox", decoded_rows, _decoded_grid, {"decoded": True}),
    Case("yolov5-decoded", "yolov5", decoded_rows, _decoded_rows, {"output": "output"}),
    Case("yolov5-raw", "yolov5", yolov5_raw, _raw_levels, _RAW),
    Case("yolov8", "yolov8", yolov8, _columns, leading=("output0",)),
    Case("yolov8-transposed", "yolov8", yolov8, _transposed, {"output": "dets", "transposed": True}),
    Case("yolo_e2e", "yolo_e2e", yolo_e2e, _objects, needs_nms=False),
)

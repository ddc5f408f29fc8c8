"""YOLOv3 to v7 before their last layer: what raw maps of anchors mean in each layout, in plain loops.

yolov5 and v7: `Detect.forward` of ultralytics/yolov5; YOLOv7-pose: `IKeypoint.forward` of WongKinYiu/yolov7,
branch pose; yolov5-face: `Detect.forward` of deepcam-cn/yolov5-face.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.heads.literal import Case, Outputs, Row, cells, corners, floats, sigmoid

FIRST, FIRST_APART, LAST, LAST_APART, ROWS = "ACHW", "A,CHW", "HWAC", "HW,A,C", "AHWC"
LAYOUTS = {
    FIRST: "channels-first",
    FIRST_APART: "channels-first",
    LAST: "channels-last",
    LAST_APART: "channels-last",
    ROWS: "channels-last",
}
ANCHORS = {8: ((10.0, 13.0), (33.0, 23.0)), 16: ((30.0, 61.0), (62.0, 45.0))}


def stored(rows: NDArray[Any], layout: str) -> NDArray[np.float32]:
    """rows: (anchors, H, W, columns). Returns the output that has them in a layout."""
    count, height, width, columns = rows.shape
    array = {
        FIRST: lambda: rows.transpose(0, 3, 1, 2).reshape(count * columns, height, width),
        FIRST_APART: lambda: rows.transpose(0, 3, 1, 2),
        LAST: lambda: rows.transpose(1, 2, 0, 3).reshape(height, width, count * columns),
        LAST_APART: lambda: rows.transpose(1, 2, 0, 3),
        ROWS: lambda: rows,
    }[layout]()
    return floats(np.ascontiguousarray(array))


def grid(layout: str) -> Any:
    def literal(outputs: Outputs, params: Mapping[str, Any], blob_wh: tuple[int, int]) -> list[Row]:
        rows = []
        for layer in params["layers"]:
            pred, stride, count = outputs[layer["output"]], layer["stride"], len(layer["anchors"])
            for anchor in range(count):
                for column, row in cells(blob_wh, stride):
                    if layout == FIRST:
                        each = len(pred) // count
                        values = pred[anchor * each : (anchor + 1) * each, row, column]
                    elif layout == FIRST_APART:
                        values = pred[anchor, :, row, column]
                    elif layout == LAST:
                        each = pred.shape[2] // count
                        values = pred[row, column, anchor * each : (anchor + 1) * each]
                    elif layout == LAST_APART:
                        values = pred[row, column, anchor]
                    else:
                        values = pred[anchor, row, column]
                    rows.append(place(values.tolist(), params, layer, anchor, (column, row)))
        return rows

    return literal


def place(
    values: list[float],
    params: Mapping[str, Any],
    layer: Mapping[str, Any],
    anchor: int,
    cell: tuple[int, int],
) -> Row:
    """What one anchor sees at one cell."""
    (column, row), stride, (anchor_w, anchor_h) = cell, layer["stride"], layer["anchors"][anchor]
    squash = float if params.get("activated") else sigmoid
    x, y, w, h = map(squash, values[:4])
    scale = layer.get("scale_x_y", 1)
    if params.get("size") == "square":
        w, h = (2 * w) ** 2, (2 * h) ** 2
    else:
        w, h = math.exp(values[2]), math.exp(values[3])
    box = corners(
        (x * scale - (scale - 1) / 2 + column) * stride,
        (y * scale - (scale - 1) / 2 + row) * stride,
        w * anchor_w,
        h * anchor_h,
    )
    objectness, rest = squash(values[4]), values[5:]
    n = params.get("keypoints", 0)
    points: list[tuple[float, float, float]] | None = None
    if params.get("keypoint_code") == "anchor":
        where, rest = rest[: 2 * n], rest[2 * n :]
        points = [
            (x * anchor_w + column * stride, y * anchor_h + row * stride, 1.0)
            for x, y in zip(where[::2], where[1::2], strict=True)
        ]
    elif n:
        where, rest = rest[-3 * n :], rest[: -3 * n]
        points = [
            ((x * 2 - 0.5 + column) * stride, (y * 2 - 0.5 + row) * stride, sigmoid(v))
            for x, y, v in zip(where[::3], where[1::3], where[2::3], strict=True)
        ]
    return Row([objectness * squash(c) for c in rest], box, points)


def maps(layout: str, more: int = 0, activated: bool = False) -> Any:
    """more: columns beside those of box, objectness and classes."""

    def make(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
        outputs = {}
        for stride, anchors in ANCHORS.items():
            height, width = (math.ceil(side / stride) for side in reversed(blob_wh))
            rows = rng.normal(size=(len(anchors), height, width, 5 + classes + more))
            outputs[f"map{stride}"] = stored(1 / (1 + np.exp(-rows)) if activated else rows, layout)
        return outputs

    return make


def case(name: str, layout: str, more: int = 0, **params: Any) -> Case:
    layers = tuple(
        {
            "output": f"map{stride}",
            "anchors": anchors,
            "stride": stride,
            "scale_x_y": params.get("scale", 2.0),
        }
        for stride, anchors in ANCHORS.items()
    )
    params.pop("scale", None)
    stated = {"layers": layers, "layout": LAYOUTS[layout], "size": "square", **params}
    make = maps(layout, more, params.get("activated", False))
    return Case(f"grid-{name}", "grid", grid(layout), make, stated, classes=(1, 3))


CASES = (
    case("cut", FIRST),
    case("cut-anchors-apart", FIRST_APART),
    case("cut-activated", FIRST, activated=True),
    case("channels-last", LAST),
    case("channels-last-anchors-apart", LAST_APART),
    case("rows", ROWS),
    case("rows-exp", ROWS, size="exp", scale=1.05),
    case(
        "face",
        FIRST,
        more=10,
        columns=("box", "objectness", "keypoints", "classes"),
        keypoints=5,
        keypoint_values=2,
        keypoint_code="anchor",
    ),
    case("pose", ROWS, more=6, columns=("box", "objectness", "classes", "keypoints"), keypoints=2),
)

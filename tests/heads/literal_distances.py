"""Distances from cells: what such outputs mean, in plain loops. NanoDet, FastestDet and YuNet by
the cards that name them are in `literal_grids`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.heads.literal import Case, Outputs, Row, cell_count, cells, corners, floats, sigmoid

P5 = (8, 16, 32)
P6 = (8, 16, 32, 64)


def mean_bins(values: list[float], stride: float) -> list[float]:
    """The four sides of a distribution, pixels."""
    bins = len(values) // 4
    sides = []
    for side in range(4):
        weights = [math.exp(v) for v in values[side * bins : (side + 1) * bins]]
        sides.append(sum(i * w for i, w in enumerate(weights)) / sum(weights) * stride)
    return sides


def around(x: float, y: float, sides: list[float]) -> tuple[float, float, float, float]:
    left, top, right, bottom = sides
    return x - left, y - top, x + right, y + bottom


def picodet(outputs: Outputs, params: Mapping[str, Any], blob_wh: tuple[int, int]) -> list[Row]:
    rows = []
    for stride in P6:
        for i, (column, row) in enumerate(cells(blob_wh, stride)):
            sides = mean_bins(outputs[f"reg{stride}"][i].tolist(), stride)
            box = around((column + 0.5) * stride, (row + 0.5) * stride, sides)
            rows.append(Row(outputs[f"cls{stride}"][i].tolist(), box))
    return rows


def scrfd(outputs: Outputs, params: Mapping[str, Any], blob_wh: tuple[int, int]) -> list[Row]:
    """Two anchors a cell, one row after the other."""
    rows = []
    for stride in P5:
        for i, (column, row) in enumerate(cells(blob_wh, stride)):
            for anchor in (2 * i, 2 * i + 1):
                score = outputs[f"score{stride}"][anchor].tolist()
                sides = [d * stride for d in outputs[f"bbox{stride}"][anchor].tolist()]
                points = None
                if f"kps{stride}" in outputs:
                    p = outputs[f"kps{stride}"][anchor].tolist()
                    points = [
                        (column * stride + p[k] * stride, row * stride + p[k + 1] * stride, 1.0)
                        for k in range(0, 10, 2)
                    ]
                rows.append(Row(score, around(column * stride, row * stride, sides), points))
    return rows


def scrfd_maps(outputs: Outputs, params: Mapping[str, Any], blob_wh: tuple[int, int]) -> list[Row]:
    """Logits, and the anchors in channels: all cells of the first, then all of the second."""
    rows = []
    for stride in P5:
        for anchor in (0, 1):
            for column, row in cells(blob_wh, stride):
                at = (slice(None), row, column)
                score = [sigmoid(float(outputs[f"score{stride}"][at][anchor]))]
                sides = [d * stride for d in outputs[f"bbox{stride}"][at].tolist()[4 * anchor :][:4]]
                rows.append(Row(score, around(column * stride, row * stride, sides)))
    return rows


def rtmdet(outputs: Outputs, params: Mapping[str, Any], blob_wh: tuple[int, int]) -> list[Row]:
    rows = []
    for stride in P5:
        for column, row in cells(blob_wh, stride):
            scores = [sigmoid(v) for v in outputs[f"cls{stride}"][:, row, column].tolist()]
            sides = outputs[f"bbox{stride}"][:, row, column].tolist()
            rows.append(Row(scores, around(column * stride, row * stride, sides)))
    return rows


def fcos(outputs: Outputs, params: Mapping[str, Any], blob_wh: tuple[int, int]) -> list[Row]:
    """Distances before their exponential, in pixels, or before their rectifier, in strides."""
    rows = []
    for stride in P5:
        for column, row in cells(blob_wh, stride):
            at = (slice(None), row, column)
            centerness = sigmoid(float(outputs[f"ctr{stride}"][at][0]))
            scores = [math.sqrt(sigmoid(v) * centerness) for v in outputs[f"cls{stride}"][at].tolist()]
            raw = outputs[f"bbox{stride}"][at].tolist()
            is_exp = params["activation"] == "exp"
            sides = [math.exp(v) if is_exp else max(v, 0.0) * stride for v in raw]
            rows.append(Row(scores, around((column + 0.5) * stride, (row + 0.5) * stride, sides)))
    return rows


def fcos_product(outputs: Outputs, params: Mapping[str, Any], blob_wh: tuple[int, int]) -> list[Row]:
    """As mmdet has it: the confidence is the product itself."""
    rows = fcos(outputs, params, blob_wh)
    return [row._replace(confidence=[c * c for c in row.confidence]) for row in rows]


def yolov8_raw(outputs: Outputs, params: Mapping[str, Any], blob_wh: tuple[int, int]) -> list[Row]:
    """16 bins a side and class logits: in one map, in two, or in two tables of all strides."""
    rows, number = [], 0
    for stride in P5:
        for column, row in cells(blob_wh, stride):
            if "boxes" in outputs:
                sides, scores = outputs["boxes"][:, number].tolist(), outputs["scores"][:, number].tolist()
            elif f"p{stride}" in outputs:
                both = outputs[f"p{stride}"][:, row, column].tolist()
                sides, scores = both[:64], both[64:]
            else:
                sides = outputs[f"box{stride}"][row, column].tolist()
                scores = outputs[f"cls{stride}"][row, column].tolist()
            number += 1
            box = around((column + 0.5) * stride, (row + 0.5) * stride, mean_bins(sides, stride))
            points = None
            if "keypoints" in params:
                p = outputs[f"kpt{stride}"][:, row, column].tolist()
                points = [
                    ((p[k] * 2 + column) * stride, (p[k + 1] * 2 + row) * stride, sigmoid(p[k + 2]))
                    for k in range(0, len(p), 3)
                ]
            rows.append(Row([sigmoid(v) for v in scores], box, points))
    return rows


def yolox_maps(outputs: Outputs, params: Mapping[str, Any], blob_wh: tuple[int, int]) -> list[Row]:
    rows = []
    for stride in P5:
        for column, row in cells(blob_wh, stride):
            dx, dy, dw, dh, objectness, *classes = outputs[f"p{stride}"][:, row, column].tolist()
            box = corners(
                (column + dx) * stride, (row + dy) * stride, math.exp(dw) * stride, math.exp(dh) * stride
            )
            rows.append(Row([objectness * c for c in classes], box))
    return rows


def pixels(outputs: Outputs, params: Mapping[str, Any], blob_wh: tuple[int, int]) -> list[Row]:
    """One table whose columns are box, objectness and keypoints, in pixels, of one class."""
    rows, values = [], iter(outputs["out"].tolist())
    for stride in P5:
        for column, row in cells(blob_wh, stride):
            x, y = (column + 0.25) * stride, (row + 0.25) * stride
            d = next(values)
            points = [(x + d[k], y + d[k + 1], d[k + 2]) for k in (5, 8)]
            rows.append(Row([d[4]], corners(x + d[0], y + d[1], math.exp(d[2]), math.exp(d[3])), points))
    return rows


def _table(rng: np.random.Generator, shape: tuple[int, ...], *, of: str = "normal") -> NDArray[np.float32]:
    return floats(rng.uniform(size=shape) if of == "uniform" else rng.normal(size=shape))


def _map(
    rng: np.random.Generator, blob_wh: tuple[int, int], stride: int, channels: int, of: str = "normal"
) -> NDArray[np.float32]:
    return _table(rng, (channels, math.ceil(blob_wh[1] / stride), math.ceil(blob_wh[0] / stride)), of=of)


def _picodet(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
    counts = {stride: cell_count(blob_wh, stride) for stride in P6}
    return {
        **{f"cls{s}": _table(rng, (n, classes), of="uniform") for s, n in counts.items()},
        **{f"reg{s}": _table(rng, (n, 32)) for s, n in counts.items()},
    }


def _scrfd(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
    outputs: Outputs = {}
    for stride in P5:
        n = 2 * cell_count(blob_wh, stride)
        outputs[f"score{stride}"] = _table(rng, (n, 1), of="uniform")
        outputs[f"bbox{stride}"] = _table(rng, (n, 4))
        outputs[f"kps{stride}"] = _table(rng, (n, 10))
    return outputs


def _scrfd_boxes(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
    outputs = _scrfd(rng, blob_wh, classes)
    return {name: array for name, array in outputs.items() if not name.startswith("kps")}


def _scrfd_maps(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
    return {
        **{f"score{s}": _map(rng, blob_wh, s, 2) for s in P5},
        **{f"bbox{s}": _map(rng, blob_wh, s, 8) for s in P5},
    }


def _rtmdet(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
    return {
        **{f"cls{s}": _map(rng, blob_wh, s, classes) for s in P5},
        **{f"bbox{s}": 20 * _map(rng, blob_wh, s, 4) for s in P5},
    }


def _fcos(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
    return {
        **{f"cls{s}": _map(rng, blob_wh, s, classes) for s in P5},
        **{f"bbox{s}": _map(rng, blob_wh, s, 4) for s in P5},
        **{f"ctr{s}": _map(rng, blob_wh, s, 1) for s in P5},
    }


def _yolov8_maps(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
    return {f"p{s}": _map(rng, blob_wh, s, 64 + classes) for s in P5}


def _yolov8_last(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
    """Channels last, as converters for TensorFlow leave them."""
    return {
        f"{role}{s}": np.ascontiguousarray(_map(rng, blob_wh, s, width).transpose(1, 2, 0))
        for s in P5
        for role, width in (("box", 64), ("cls", classes))
    }


def _yolov8_joined(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
    n = cell_count(blob_wh, *P5)
    return {"boxes": _table(rng, (64, n)), "scores": _table(rng, (classes, n))}


def _yolov8_pose(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
    outputs = _yolov8_last(rng, blob_wh, classes)
    return {**outputs, **{f"kpt{s}": _map(rng, blob_wh, s, 51) for s in P5}}


def _yolox_maps(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
    return {
        f"p{s}": np.concatenate([_map(rng, blob_wh, s, 4), _map(rng, blob_wh, s, 1 + classes, of="uniform")])
        for s in P5
    }


def _pixels(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
    table = _table(rng, (cell_count(blob_wh, *P5), 11))
    table[:, 4] = rng.uniform(size=len(table))
    return {"out": table}


def _names(role: str, strides: tuple[int, ...]) -> tuple[str, ...]:
    return tuple(f"{role}{stride}" for stride in strides)


_PICODET = {
    "scores": _names("cls", P6),
    "boxes": _names("reg", P6),
    "strides": P6,
    "bins": 8,
    "layout": "rows",
}
_SCRFD = {
    "scores": _names("score", P5),
    "boxes": _names("bbox", P5),
    "cell_offset": 0.0,
    "anchors_per_cell": 2,
}
_RTMDET = {
    "scores": _names("cls", P5),
    "boxes": _names("bbox", P5),
    "cell_offset": 0.0,
    "unit": "pixels",
    "logits": True,
    "layout": "channels-first",
}
_FCOS = {
    "scores": _names("cls", P5),
    "boxes": _names("bbox", P5),
    "objectness": _names("ctr", P5),
    "strides": P5,
    "logits": True,
    "layout": "channels-first",
    "powers": (0.5, 0.5),
}
_FCOS_EXP = {**_FCOS, "activation": "exp", "unit": "pixels"}
_YOLOV8 = {"bins": 16, "logits": True}
_APART = {"scores": _names("cls", P5), "boxes": _names("box", P5), "layout": "channels-last"}
_POSE = {
    **_YOLOV8,
    "scores": _names("cls", P5),
    "boxes": _names("box", P5),
    "keypoints": _names("kpt", P5),
    "keypoint_values": 3,
    "keypoint_scale": 2.0,
    "keypoint_offset": 0.0,
}
_YOLOX = {
    "output": _names("p", P5),
    "columns": ("box", "objectness", "classes"),
    "layout": "channels-first",
    "code": "center",
    "cell_offset": 0.0,
}
_PIXELS = {
    "output": ("out",),
    "columns": ("box", "objectness", "keypoints"),
    "keypoint_count": 2,
    "keypoint_values": 3,
    "code": "center",
    "unit": "pixels",
    "cell_offset": 0.25,
}
_FEW = (1, 3)

CASES = (
    Case("picodet", "distances", picodet, _picodet, _PICODET),
    Case("scrfd", "distances", scrfd, _scrfd, {**_SCRFD, "keypoints": _names("kps", P5)}, classes=(1,)),
    Case("scrfd-boxes", "distances", scrfd, _scrfd_boxes, {**_SCRFD, "layout": "rows"}, classes=(1,)),
    Case(
        "scrfd-maps",
        "distances",
        scrfd_maps,
        _scrfd_maps,
        {**_SCRFD, "logits": True, "layout": "channels-first"},
        classes=(1,),
    ),
    Case("rtmdet", "distances", rtmdet, _rtmdet, _RTMDET),
    Case("fcos-exp", "distances", fcos, _fcos, _FCOS_EXP, _FEW),
    Case("fcos-relu", "distances", fcos, _fcos, {**_FCOS, "activation": "relu"}, _FEW),
    Case("fcos-product", "distances", fcos_product, _fcos, {**_FCOS_EXP, "powers": (1.0, 1.0)}, _FEW),
    Case("yolov8-raw", "distances", yolov8_raw, _yolov8_maps, {**_YOLOV8, "output": _names("p", P5)}),
    Case("yolov8-raw-apart", "distances", yolov8_raw, _yolov8_last, {**_YOLOV8, **_APART}, _FEW),
    Case(
        "yolov8-raw-joined",
        "distances",
        yolov8_raw,
        _yolov8_joined,
        {**_YOLOV8, "scores": ("scores",), "boxes": ("boxes",), "layout": "channels-first"},
        _FEW,
    ),
    Case("yolov8-raw-pose", "distances", yolov8_raw, _yolov8_pose, _POSE, classes=(1,)),
    Case("yolox-maps", "distances", yolox_maps, _yolox_maps, _YOLOX),
    Case("pixels", "distances", pixels, _pixels, _PIXELS, classes=(1,)),
)

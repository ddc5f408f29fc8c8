"""NanoDet, FastestDet and YuNet: what their outputs mean, in plain loops."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tests.heads.literal import Case, Outputs, Row, cell_count, cells, corners, floats, sigmoid


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
                        ((column + points[2 * k]) * stride, (row + points[2 * k + 1]) * stride, 1.0)
                        for k in range(5)
                    ],
                )
            )
    return rows


def _gfl_levels(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
    counts = {stride: cell_count(blob_wh, stride) for stride in (8, 16, 32)}
    return {
        **{f"cls{s}": floats(rng.uniform(size=(n, classes))) for s, n in counts.items()},
        **{f"reg{s}": floats(rng.normal(size=(n, 32))) for s, n in counts.items()},
    }


def _gfl_logits(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
    outputs = _gfl_levels(rng, blob_wh, classes)
    return {name: floats(rng.normal(size=array.shape)) for name, array in outputs.items()}


def _gfl_rows(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
    n = cell_count(blob_wh, 8, 16, 32, 64)
    return {"output": floats(np.hstack([rng.uniform(size=(n, classes)), rng.normal(size=(n, 20))]))}


def _planes(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
    h, w = math.ceil(blob_wh[1] / 16), math.ceil(blob_wh[0] / 16)
    objectness, box = rng.uniform(size=(1, h, w)), rng.normal(size=(4, h, w))
    return {"758": floats(np.concatenate([objectness, box, rng.uniform(size=(classes, h, w))]))}


def _faces(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
    outputs = {}
    for stride in (8, 16, 32):
        n = cell_count(blob_wh, stride)
        outputs[f"cls_{stride}"] = floats(rng.uniform(-0.1, 1.1, (n, 1)))
        outputs[f"obj_{stride}"] = floats(rng.uniform(-0.1, 1.1, (n, 1)))
        outputs[f"bbox_{stride}"] = floats(rng.normal(size=(n, 4)))
        outputs[f"kps_{stride}"] = floats(rng.normal(size=(n, 10)))
    return outputs


_LEVELS = {"cls": ("cls8", "cls16", "cls32"), "reg": ("reg8", "reg16", "reg32")}
_PLUS = {"output": "output", "strides": (8, 16, 32, 64), "reg_max": 4, "cell_offset": 0.0}

CASES = (
    Case("nanodet-levels", "nanodet", nanodet, _gfl_levels, _LEVELS),
    Case("nanodet-logits", "nanodet", nanodet, _gfl_logits, {**_LEVELS, "logits": True}),
    Case("nanodet-plus", "nanodet", nanodet, _gfl_rows, _PLUS),
    Case("fastestdet", "fastestdet", fastestdet, _planes, {"output": "758"}),
    Case("yunet", "yunet", yunet, _faces, classes=(1,)),
)

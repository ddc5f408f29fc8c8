"""CenterNet and CenterFace: what their outputs mean, in plain loops."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tests.heads.literal import Case, Outputs, Row, cells, corners, floats, sigmoid

STRIDE = 4
# Below every threshold: what a cell that is no peak has.
NO_PEAK = -1.0


def centernet(outputs: Outputs, params: Mapping[str, Any], blob_wh: tuple[int, int]) -> list[Row]:
    """A peak is not exceeded by the cells around it; sizes and offsets in cells."""
    heat, wh, reg = (outputs[name] for name in ("hm", "wh", "reg"))
    rows = []
    for column, row in cells(blob_wh, STRIDE):
        scores = []
        for class_map in heat.tolist():
            near = [
                class_map[y][x]
                for y in range(max(row - 1, 0), min(row + 2, len(class_map)))
                for x in range(max(column - 1, 0), min(column + 2, len(class_map[0])))
            ]
            value = class_map[row][column]
            value = value if value == max(near) else -math.inf
            scores.append(
                NO_PEAK if value == -math.inf else sigmoid(value) if params.get("logits") else value
            )
        dx, dy = reg[:, row, column].tolist()
        w, h = wh[:, row, column].tolist()
        if w <= 0 or h <= 0:
            scores = [NO_PEAK] * len(scores)
        unit = 1 if params.get("size_code") == "pixels" else STRIDE
        box = corners((column + dx) * STRIDE, (row + dy) * STRIDE, w * unit, h * unit)
        points = None
        if "landmarks" in params:
            p = outputs["hps"][:, row, column].tolist()
            points = [((column + p[k]) * STRIDE, (row + p[k + 1]) * STRIDE, 1.0) for k in range(0, len(p), 2)]
        rows.append(Row(scores, box, points))
    return rows


def centerface(outputs: Outputs, params: Mapping[str, Any], blob_wh: tuple[int, int]) -> list[Row]:
    """Every cell, pairs with y first, sizes as logarithms, landmarks as parts of the box."""
    rows = []
    for column, row in cells(blob_wh, STRIDE):
        at = (slice(None), row, column)
        (score,) = outputs["537"][at].tolist()
        h, w = (math.exp(v) * STRIDE for v in outputs["538"][at].tolist())
        dy, dx = outputs["539"][at].tolist()
        box = corners((column + 0.5 + dx) * STRIDE, (row + 0.5 + dy) * STRIDE, w, h)
        p = outputs["540"][at].tolist()
        points = [(box[0] + p[k + 1] * w, box[1] + p[k] * h, 1.0) for k in range(0, 10, 2)]
        rows.append(Row([score], box, points))
    return rows


def _maps(rng: np.random.Generator, blob_wh: tuple[int, int], channels: Mapping[str, int]) -> Outputs:
    shape = math.ceil(blob_wh[1] / STRIDE), math.ceil(blob_wh[0] / STRIDE)
    return {name: floats(rng.normal(size=(count, *shape))) for name, count in channels.items()}


def _centernet(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
    outputs = _maps(rng, blob_wh, {"hm": classes, "wh": 2, "reg": 2})
    return {**outputs, "hm": floats(rng.uniform(size=outputs["hm"].shape))}


def _centernet_logits(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
    return _maps(rng, blob_wh, {"hm": classes, "wh": 2, "reg": 2, "hps": 34})


def _centerface(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
    outputs = _maps(rng, blob_wh, {"537": 1, "538": 2, "539": 2, "540": 10})
    return {**outputs, "537": floats(rng.uniform(size=outputs["537"].shape))}


_CENTERNET = {"heatmap": "hm", "sizes": "wh", "offsets": "reg", "top_k": 100_000}
_POSE = {**_CENTERNET, "logits": True, "landmarks": "hps"}
_CENTERFACE = {
    "heatmap": "537",
    "sizes": "538",
    "offsets": "539",
    "landmarks": "540",
    "top_k": 100_000,
    "peak": 1,
    "size_code": "exp",
    "axes": "yx",
    "cell_offset": 0.5,
    "landmark_code": "box",
    "needs_nms": True,
}

CASES = (
    Case("centernet", "heatmap", centernet, _centernet, _CENTERNET, classes=(1, 3), needs_nms=False),
    Case(
        "centernet-pixels",
        "heatmap",
        centernet,
        _centernet,
        {**_CENTERNET, "size_code": "pixels"},
        (1, 3),
        needs_nms=False,
    ),
    Case("centernet-pose", "heatmap", centernet, _centernet_logits, _POSE, classes=(1,), needs_nms=False),
    Case("centerface", "heatmap", centerface, _centerface, _CENTERFACE, classes=(1,)),
)

"""SSD and Faster R-CNN: what their outputs mean, in plain loops; priors of Caffe's: `literal_caffe`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tests.heads.literal import Case, Outputs, Row, corners, floats


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


def _parts(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
    corner = rng.uniform(size=(50, 2))
    box = np.hstack([corner, corner + rng.uniform(size=(50, 2))])
    return {"boxes": floats(box), "scores": floats(rng.uniform(size=(50, classes + 1)))}


def _parts_without_background(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
    return _parts(rng, blob_wh, classes - 1)


def _offsets(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
    cells = [math.ceil(blob_wh[0] / s) * math.ceil(blob_wh[1] / s) for s in (16, 32)]
    count = 2 * cells[0] + cells[1]
    scores = rng.uniform(size=(count, classes + 1))
    return {"boxes": floats(rng.normal(size=(count, 4))), "scores": floats(scores)}


_PRIORS = {"priors": ({"stride": 16, "sizes": (12.0, 30.0)}, {"stride": 32, "sizes": (64.0,)})}


def _second_stage(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
    corner = rng.uniform(0, 30, (40, 2))
    return {
        "rois": floats(np.hstack([corner, corner + rng.uniform(0, 30, (40, 2))])),
        "cls_prob": floats(rng.uniform(size=(40, classes + 1))),
        "bbox_pred": floats(0.3 * rng.normal(size=(40, 8))),
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

CASES = (
    Case("faster_rcnn", "faster_rcnn", faster_rcnn, _second_stage, _FASTER, classes=(1,)),
    Case("faster_rcnn-agnostic", "faster_rcnn", faster_rcnn, _second_stage, _AGNOSTIC),
    Case("faster_rcnn-agnostic-four", "faster_rcnn", faster_rcnn, _one_box, _AGNOSTIC),
    Case("ssd", "ssd", ssd, _parts, is_free=True),
    Case("ssd-priors", "ssd", ssd_priors, _offsets, _PRIORS),
    Case("ssd-no-background", "ssd", ssd, _parts_without_background, {"background": False}, is_free=True),
)

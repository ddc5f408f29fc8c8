"""What the layers that end Caffe's detectors compute, in plain loops: PriorBox, DetectionOutput, DetectNet.

Nothing here is shared with edgecv.heads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tests.heads.literal import Case, Outputs, Row

Box = tuple[float, float, float, float]

SSD = {
    "priors": (
        {
            "stride": 16.0,
            "min_sizes": (12.0, 20.0),
            "max_sizes": (20.0, 31.0),
            "aspect_ratios": (2.0, 1.0, 2.0, 3.0),
        },
        {
            "stride": (32.5, 24.0),
            "min_sizes": (40.0,),
            "aspect_ratios": (0.5,),
            "flip": False,
            "offset": 0.25,
        },
    ),
    "variances": (0.1, 0.2, 0.3, 0.4),
    "clip": False,
}
CLIPPED = {
    "priors": tuple({**one, "clip": True} for one in SSD["priors"]),  # type: ignore[attr-defined]
    "background": False,
}
CORNERS = {**SSD, "code": "corner", "shared": False}
CORNER_SIZES = {**SSD, "code": "corner-size", "variances": (0.5, 0.25)}
DETECTNET = {"stride": 16, "classes": 3, "min_height": 9.0}


def _priors(params: Mapping[str, Any], blob_wh: tuple[int, int]) -> list[Box]:
    """Corners as parts of the picture, in the order of Caffe's PriorBox."""
    width, height = blob_wh
    boxes = []
    for one in params["priors"]:
        stride = one["stride"]
        step_x, step_y = stride if isinstance(stride, tuple) else (stride, stride)
        ratios = [1.0]
        for ratio in one["aspect_ratios"]:
            if any(abs(ratio - known) < 1e-6 for known in ratios):
                continue
            ratios.append(ratio)
            if one.get("flip", True):
                ratios.append(1 / ratio)
        for row in range(math.ceil(height / step_y)):
            for column in range(math.ceil(width / step_x)):
                x = (column + one.get("offset", 0.5)) * step_x
                y = (row + one.get("offset", 0.5)) * step_y
                shapes = []
                for number, size in enumerate(one["min_sizes"]):
                    shapes.append((size, size))
                    if "max_sizes" in one:
                        between = math.sqrt(size * one["max_sizes"][number])
                        shapes.append((between, between))
                    for ratio in ratios[1:]:
                        shapes.append((size * math.sqrt(ratio), size / math.sqrt(ratio)))
                for w, h in shapes:
                    box = [
                        (x - w / 2) / width,
                        (y - h / 2) / height,
                        (x + w / 2) / width,
                        (y + h / 2) / height,
                    ]
                    if one.get("clip"):
                        box = [min(max(part, 0.0), 1.0) for part in box]
                    boxes.append((box[0], box[1], box[2], box[3]))
    return boxes


def _decoded(prior: Box, offset: list[float], variance: list[float], code: str) -> list[float]:
    """Corners as parts of the picture, as Caffe's DecodeBBox."""
    width, height = prior[2] - prior[0], prior[3] - prior[1]
    d = [a * b for a, b in zip(offset, variance, strict=True)]
    if code == "corner":
        return [a + b for a, b in zip(prior, d, strict=True)]
    if code == "corner-size":
        sides = [width, height, width, height]
        return [a + b * side for a, b, side in zip(prior, d, sides, strict=True)]
    x, y = (prior[0] + prior[2]) / 2 + d[0] * width, (prior[1] + prior[3]) / 2 + d[1] * height
    w, h = math.exp(d[2]) * width, math.exp(d[3]) * height
    return [x - w / 2, y - h / 2, x + w / 2, y + h / 2]


def ssd(outputs: Outputs, params: Mapping[str, Any], blob_wh: tuple[int, int]) -> list[Row]:
    priors = _priors(params, blob_wh)
    variance = list(params.get("variances", (0.1, 0.2)))
    variance = variance if len(variance) == 4 else [variance[0]] * 2 + [variance[1]] * 2
    code, shared = params.get("code", "center-size"), params.get("shared", True)
    first = 1 if params.get("background", True) else 0
    boxes = outputs["boxes"].reshape(len(priors), -1, 4).tolist()
    scores = outputs["scores"].reshape(len(priors), -1).tolist()
    rows = []
    for prior, offsets, classes in zip(priors, boxes, scores, strict=True):
        found = [_decoded(prior, offset, variance, code) for offset in offsets]
        found = [[p * side for p, side in zip(box, blob_wh * 2, strict=True)] for box in found]
        # A row has one box; of a class's own there is one class here.
        x1, y1, x2, y2 = found[0] if shared else found[first]
        rows.append(Row(classes[first:], (x1, y1, x2, y2)))
    return rows


def detectnet(outputs: Outputs, params: Mapping[str, Any], blob_wh: tuple[int, int]) -> list[Row]:
    coverage, boxes, stride = outputs["coverage"], outputs["bboxes"], params["stride"]
    rows = []
    for row in range(coverage.shape[1]):
        for column in range(coverage.shape[2]):
            left, top, right, bottom = boxes[:, row, column].tolist()
            x, y = column * stride, row * stride
            is_high = bottom - top >= params["min_height"]
            classes = coverage[:, row, column].tolist()
            classes = classes if is_high else [-1.0] * len(classes)
            rows.append(Row(classes, (left + x, top + y, right + x, bottom + y)))
    return rows


def _offsets(params: Mapping[str, Any]) -> Any:
    def make(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
        count = len(_priors(params, blob_wh))
        columns = classes + (1 if params.get("background", True) else 0)
        sets = 1 if params.get("shared", True) else columns
        return {
            "boxes": rng.normal(size=(count, 4 * sets)).astype(np.float32),
            "scores": rng.uniform(size=(count, columns)).astype(np.float32),
        }

    return make


def _flat(params: Mapping[str, Any]) -> Any:
    """Outputs as Caffe's Flatten leaves them: all rows in one axis."""
    make = _offsets(params)
    return lambda *arguments: {name: array.ravel() for name, array in make(*arguments).items()}


def _rows(params: Mapping[str, Any]) -> Any:
    return _offsets(params)


def _cells(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
    width, height = (math.ceil(side / 16) for side in blob_wh)
    corner = rng.uniform(-20, 5, (2, height, width))
    boxes = np.concatenate([corner, corner + rng.uniform(0, 40, (2, height, width))])
    return {
        "coverage": rng.uniform(size=(classes, height, width)).astype(np.float32),
        "bboxes": boxes.astype(np.float32),
    }


CASES = (
    *(
        Case(f"ssd-caffe-{name}", "ssd", ssd, make(params), params, classes=classes)
        for name, make, params, classes in (
            ("flat", _flat, SSD, (1, 3)),
            ("clipped", _rows, CLIPPED, (1, 3)),
            ("corners", _flat, CORNERS, (1,)),
            ("corner-sizes", _rows, CORNER_SIZES, (1, 3)),
        )
    ),
    Case("detectnet", "detectnet", detectnet, _cells, DETECTNET, classes=(3,)),
)

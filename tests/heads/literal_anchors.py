"""RetinaFace, RetinaNet, EfficientDet, BlazeFace, SSDlite, DetectNet_v2: offsets from priors, in plain loops.

The priors are written as each project writes them, and shared with nothing in edgecv.heads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tests.heads.literal import Case, Outputs, Row, corners, floats, sigmoid

Prior = tuple[float, float, float, float]
Priors = Callable[[tuple[int, int]], list[list[Prior]]]
FIRST, LAST, TABLE, JOINED = "channels-first", "channels-last", "table", "joined"


def ceil_cells(blob_wh: tuple[int, int], stride: float) -> list[tuple[int, int]]:
    """(column, row), row by row."""
    columns, rows = (math.ceil(side / stride) for side in blob_wh)
    return [(x, y) for y in range(rows) for x in range(columns)]


def retinaface(blob_wh: tuple[int, int]) -> list[list[Prior]]:
    """`PriorBox.forward` of biubug6/Pytorch_Retinaface, two of its three maps; center and size in pixels."""
    w, h = blob_wh
    maps = []
    for step, min_sizes in ((8, (16, 32)), (16, (64, 128))):
        priors = []
        for i in range(math.ceil(h / step)):
            for j in range(math.ceil(w / step)):
                for min_size in min_sizes:
                    s_kx, s_ky = min_size / w, min_size / h
                    cx, cy = (j + 0.5) * step / w, (i + 0.5) * step / h
                    priors.append((cx * w, cy * h, s_kx * w, s_ky * h))
        maps.append(priors)
    return maps


def retinanet(blob_wh: tuple[int, int]) -> list[list[Prior]]:
    """`AnchorGenerator` of torchvision: ratios are height over width, corners rounded, no offset."""
    maps = []
    for stride in (16, 32):
        sizes = (2 * stride, int(2 * stride * 2 ** (1 / 3)))
        shapes = []
        for ratio in (0.5, 1.0, 2.0):
            for size in sizes:
                half_w, half_h = size / math.sqrt(ratio) / 2, size * math.sqrt(ratio) / 2
                shapes.append((round(half_w) * 2, round(half_h) * 2))
        maps.append(
            [(x * stride, y * stride, w, h) for x, y in ceil_cells(blob_wh, stride) for w, h in shapes]
        )
    return maps


def efficientdet(blob_wh: tuple[int, int]) -> list[list[Prior]]:
    """`Anchors.forward` of zylo117/Yet-Another-EfficientDet-Pytorch, two of its maps."""
    maps = []
    for stride in (16, 32):
        priors = []
        for x, y in ceil_cells(blob_wh, stride):
            for scale in (2**0, 2 ** (1 / 3)):
                for wide, high in ((1.0, 1.0), (1.4, 0.7), (0.7, 1.4)):
                    base = 2.0 * stride * scale
                    priors.append(
                        (x * stride + stride / 2, y * stride + stride / 2, base * wide, base * high)
                    )
        maps.append(priors)
    return maps


def blazeface(blob_wh: tuple[int, int]) -> list[list[Prior]]:
    """`SsdAnchorsCalculator` of MediaPipe with fixed anchors: centers; layers of a stride share cells."""
    return [
        [(x * s + s / 2, y * s + s / 2, 1, 1) for x, y in ceil_cells(blob_wh, s) for _ in range(n)]
        for s, n in ((8, 2), (16, 6))
    ]


def ssdlite(blob_wh: tuple[int, int]) -> list[list[Prior]]:
    """`DefaultBoxGenerator` of torchvision without steps: parts of 64 pixels, clamped to the blob."""
    scales = [0.4, 0.8, 1.0]
    width, height = blob_wh
    maps = []
    for k, side in enumerate((6, 3)):
        shapes = [(scales[k],) * 2, (math.sqrt(scales[k] * scales[k + 1]),) * 2]
        for ratio in (2.0, 3.0):
            w, h = scales[k] * math.sqrt(ratio), scales[k] / math.sqrt(ratio)
            shapes += [(w, h), (h, w)]
        priors = []
        for i in range(side):
            for j in range(side):
                center = ((j + 0.5) / side * width, (i + 0.5) / side * height)
                priors += [(*center, min(w * 64, width), min(h * 64, height)) for w, h in shapes]
        maps.append(priors)
    return maps


# Cells of a side, and two sizes as parts of the picture, of each map of AIZOO's networks.
FACE_MASK = ((33, 0.04, 0.056), (17, 0.08, 0.11), (9, 0.16, 0.22), (5, 0.32, 0.45), (3, 0.64, 0.72))


def face_mask(blob_wh: tuple[int, int], kinds: tuple[tuple[int, float, float], ...]) -> list[list[Prior]]:
    """`generate_anchors` of AIZOOTech/FaceMaskDetection: squares of both sizes, two shapes of the first."""
    w, h = blob_wh
    maps = []
    for side, size, larger in kinds:
        shapes = [(size, size), (larger, larger)]
        for ratio in (0.62, 0.42):
            shapes.append((size * math.sqrt(ratio), size / math.sqrt(ratio)))
        maps.append(
            [
                ((j + 0.5) / side * w, (i + 0.5) / side * h, wide * w, high * h)
                for i in range(side)
                for j in range(side)
                for wide, high in shapes
            ]
        )
    return maps


def points_of_cells(blob_wh: tuple[int, int]) -> list[list[Prior]]:
    """Where TAO's clustering counts from: half a pixel in a cell of 16."""
    return [[(x * 16 + 0.5, y * 16 + 0.5, 0, 0) for x, y in ceil_cells(blob_wh, 16)]]


def decoded(prior: Prior, d: list[float], params: Mapping[str, Any]) -> tuple[float, float, float, float]:
    cx, cy, w, h = prior
    if params.get("axes") == "yx":
        d = [d[1], d[0], d[3], d[2]]
    v = params.get("variances", (0.1, 0.2))
    d = [d[0] * v[0], d[1] * v[0], d[2] * v[1], d[3] * v[1]]
    if params.get("code") == "sides":
        return cx - d[0], cy - d[1], cx + d[2], cy + d[3]
    if params.get("code") == "linear":
        return corners(cx + d[0] * w, cy + d[1] * h, d[2] * w, d[3] * h)
    most = params.get("max_growth", math.inf)
    return corners(cx + d[0] * w, cy + d[1] * h, min(math.exp(d[2]), most) * w, min(math.exp(d[3]), most) * h)


def probabilities(values: list[float], params: Mapping[str, Any]) -> list[float]:
    """Of the classes, without the background."""
    if params.get("logits") == "softmax":
        total = sum(map(math.exp, values))
        values = [math.exp(value) / total for value in values]
    elif params.get("logits"):
        values = [sigmoid(value) for value in values]
    return {"first": values[1:], "last": values[:-1], None: values}[params.get("background")]


def values_of(
    outputs: Outputs, names: Any, stored: str, counts: list[int], place: tuple[int, int]
) -> list[float]:
    """The row of a prior. place: number of its map, and its own there. counts: priors of each map."""
    number, prior = place
    if stored == JOINED:
        return list(outputs[names][sum(counts[:number]) + prior].tolist())
    array = outputs[names[number] if isinstance(names, tuple) else names]
    if stored == TABLE:
        return list(array[prior].tolist())
    width = array.shape[2] if stored == FIRST else array.shape[1]
    height = array.shape[1] if stored == FIRST else array.shape[0]
    each = counts[number] // (height * width)
    row, column, anchor = prior // each // width, prior // each % width, prior % each
    values = array[:, row, column] if stored == FIRST else array[row, column]
    size = len(values) // each
    return list(values[anchor * size : (anchor + 1) * size].tolist())


def literal(priors: Priors, stored: str) -> Any:
    def rows(outputs: Outputs, params: Mapping[str, Any], blob_wh: tuple[int, int]) -> list[Row]:
        maps = priors(blob_wh)
        counts = [len(one) for one in maps]
        found = []
        for number, one in enumerate(maps):
            for index, prior in enumerate(one):
                place = (number, index)
                box = values_of(outputs, params["boxes"], stored, counts, place)
                scores = values_of(outputs, params["scores"], stored, counts, place)
                points = None
                if "keypoints" in params:
                    inside = params["keypoints"] == params["boxes"]
                    offset = (
                        box[4:] if inside else values_of(outputs, params["keypoints"], stored, counts, place)
                    )
                    variance = params.get("variances", (0.1, 0.2))[0]
                    points = [
                        (prior[0] + x * variance * prior[2], prior[1] + y * variance * prior[3], 1.0)
                        for x, y in zip(offset[::2], offset[1::2], strict=True)
                    ]
                xyxy = decoded(prior, box[:4], params)
                chances = probabilities(scores, params)
                is_low = xyxy[3] - xyxy[1] < params.get("min_height", -math.inf)
                found.append(Row([-1.0] * len(chances) if is_low else chances, xyxy, points))
        return found

    return rows


def outputs_of(priors: Priors, params: Mapping[str, Any], stored: str, columns: int, spread: float) -> Any:
    """columns: of a box, with what stands behind it. spread: of its numbers."""

    def make(rng: np.random.Generator, blob_wh: tuple[int, int], classes: int) -> Outputs:
        maps = priors(blob_wh)
        roles = {"boxes": columns, "scores": classes + ("background" in params)}
        if params.get("keypoints", params["boxes"]) != params["boxes"]:
            roles["keypoints"] = 10
        outputs = {}
        for role, each in roles.items():
            parts = [spread * rng.normal(size=(len(one), each)) for one in maps]
            if role == "scores":
                parts = [2 * rng.normal(size=part.shape) for part in parts]
                if not params.get("logits"):
                    parts = [1 / (1 + np.exp(-part)) for part in parts]
            if stored == JOINED:
                outputs[params[role]] = floats(np.concatenate(parts))
                continue
            names = params[role] if isinstance(params[role], tuple) else (params[role],)
            for number, part in enumerate(parts):
                outputs[names[number]] = floats(
                    shaped(part, stored, blob_wh, params["priors"][number]["stride"])
                )
        return outputs

    return make


def shaped(part: Any, stored: str, blob_wh: tuple[int, int], stride: int) -> Any:
    if stored == TABLE:
        return part
    columns, rows = (math.ceil(side / stride) for side in blob_wh)
    part = part.reshape(rows, columns, -1)
    return np.ascontiguousarray(part.transpose(2, 0, 1)) if stored == FIRST else part


def case(
    name: str,
    made: Priors,
    stored: str,
    /,
    columns: int = 4,
    spread: float = 1.0,
    classes: Any = (1, 3),
    **params: Any,
) -> Case:
    if stored in (FIRST, LAST):
        params["layout"] = stored
    make = outputs_of(made, params, stored, columns, spread)
    return Case(f"anchors-{name}", "anchors", literal(made, stored), make, params, classes=classes)


_FACES = ({"stride": 8, "sizes": (16.0, 32.0)}, {"stride": 16, "sizes": (64.0, 128.0)})
_RETINANET = tuple(
    {
        "stride": stride,
        "sizes": (2.0 * stride, float(int(2 * stride * 2 ** (1 / 3)))),
        "ratios": (2.0, 1.0, 0.5),
        "ratios_first": True,
        "whole": True,
        "offset": 0.0,
    }
    for stride in (16, 32)
)
_EFFICIENTDET = tuple(
    {
        "stride": stride,
        "sizes": (2.0 * stride,),
        "scales": (1.0, 2 ** (1 / 3)),
        "ratios": ((1.0, 1.0), (1.4, 0.7), (0.7, 1.4)),
    }
    for stride in (16, 32)
)
_BLAZEFACE = ({"stride": 8, "sizes": (1.0,) * 2}, {"stride": 16, "sizes": (1.0,) * 6})
_SSDLITE = tuple(
    {
        "cells_wh": (side, side),
        "min_sizes": (64 * small,),
        "max_sizes": (64 * large,),
        "aspect_ratios": (2.0, 3.0),
        "clip": "size",
    }
    for side, small, large in ((6, 0.4, 0.8), (3, 0.8, 1.0))
)
_TWO = {"boxes": ("box16", "box32"), "scores": ("cls16", "cls32")}
_LINEAR = {"code": "linear", "variances": (1.0, 1.0)}
_PLAIN = {"variances": (1.0, 1.0), "logits": True}
_TAO = ({"stride": 16, "sizes": (1.0,), "offset": 0.5 / 16},)

CASES = (
    case(
        "retinaface",
        retinaface,
        JOINED,
        boxes="loc",
        scores="conf",
        keypoints="landms",
        priors=_FACES,
        logits="softmax",
        background="first",
        classes=(1,),
    ),
    case("background-last", retinaface, JOINED, boxes="loc", scores="conf", priors=_FACES, background="last"),
    case("retinanet", retinanet, TABLE, **_TWO, **_PLAIN, priors=_RETINANET, max_growth=4.0),
    case("retinanet-joined", retinanet, JOINED, boxes="box", scores="cls", **_PLAIN, priors=_RETINANET),
    case("efficientdet", efficientdet, FIRST, **_TWO, **_PLAIN, priors=_EFFICIENTDET, axes="yx"),
    case("efficientdet-last", efficientdet, LAST, **_TWO, **_PLAIN, priors=_EFFICIENTDET, axes="yx"),
    case(
        "efficientdet-min-height",
        efficientdet,
        FIRST,
        **_TWO,
        **_PLAIN,
        priors=_EFFICIENTDET,
        axes="yx",
        min_height=40.0,
    ),
    case(
        "blazeface",
        blazeface,
        JOINED,
        columns=16,
        spread=30.0,
        boxes="regressors",
        scores="classificators",
        keypoints="regressors",
        priors=_BLAZEFACE,
        logits=True,
        classes=(1,),
        **_LINEAR,
    ),
    case(
        "ssdlite",
        ssdlite,
        JOINED,
        boxes="bbox_regression",
        scores="cls_logits",
        priors=_SSDLITE,
        logits="softmax",
        background="first",
    ),
    case(
        "tao",
        points_of_cells,
        FIRST,
        boxes="output_bbox",
        scores="output_cov",
        priors=_TAO,
        code="sides",
        variances=(35.0, 35.0),
        shared=False,
        classes=(1,),
    ),
)

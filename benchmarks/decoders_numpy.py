"""Heads as post-processing is mostly written: NumPy on every row, and the threshold last.

Of each kind one case of tests/heads/literal_decode.py, by its name. Each gives xyxy, confidence and class_id
of the rows over a threshold. What does not change from frame to frame, cells and priors, is made beforehand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
Outputs = Mapping[str, FloatArray]
Rows = tuple[FloatArray, FloatArray, NDArray[np.int64]]

SIDE = 640


def sigmoid(x: FloatArray) -> FloatArray:
    return 1 / (1 + np.exp(-x))


def softmax(x: FloatArray, axis: int = -1) -> FloatArray:
    powers = np.exp(x - x.max(axis=axis, keepdims=True))
    found: FloatArray = powers / powers.sum(axis=axis, keepdims=True)
    return found


@cache
def cells(strides: tuple[int, ...], offset: float, each: int = 1) -> tuple[FloatArray, FloatArray]:
    """Places (n, 2) in cells and strides (n, 1)."""
    places, sizes = [], []
    for stride in strides:
        side = SIDE // stride
        y, x = np.indices((side, side)).reshape(2, -1)
        places.append(np.repeat(np.stack([x, y], axis=1), each, axis=0) + offset)
        sizes.append(np.full((len(places[-1]), 1), stride))
    return np.concatenate(places).astype(np.float32), np.concatenate(sizes).astype(np.float32)


def best(xyxy: FloatArray, scores: FloatArray, threshold: float) -> Rows:
    class_id = scores.argmax(axis=1)
    confidence = scores.max(axis=1)
    over = confidence > threshold
    return xyxy[over], confidence[over], class_id[over]


def corners(cxcywh: FloatArray) -> FloatArray:
    half = cxcywh[:, 2:] / 2
    return np.concatenate([cxcywh[:, :2] - half, cxcywh[:, :2] + half], axis=1)


def around(places: FloatArray, strides: FloatArray, sides: FloatArray) -> FloatArray:
    return np.concatenate([places - sides[:, :2], places + sides[:, 2:]], axis=1) * strides


def pose(outputs: Outputs, threshold: float) -> Rows:
    pred = np.ascontiguousarray(outputs["o"].T)
    return best(corners(pred[:, :4]), pred[:, 4 : pred.shape[1] - 51], threshold)


def apart(outputs: Outputs, threshold: float) -> Rows:
    return best(outputs["boxes"], outputs["scores"], threshold)


def picodet(outputs: Outputs, threshold: float) -> Rows:
    strides = (8, 16, 32, 64)
    scores = np.concatenate([outputs[f"cls{s}"] for s in strides])
    bins = softmax(np.concatenate([outputs[f"reg{s}"] for s in strides]).reshape(-1, 4, 8))
    return best(around(*cells(strides, 0.5), bins @ np.arange(8, dtype=np.float32)), scores, threshold)


def scrfd(outputs: Outputs, threshold: float) -> Rows:
    scores, sides = (
        np.concatenate([outputs[f"{role}{s}"] for s in (8, 16, 32)]) for role in ("score", "bbox")
    )
    return best(around(*cells((8, 16, 32), 0.0, 2), sides), scores, threshold)


def yolov8_raw(outputs: Outputs, threshold: float) -> Rows:
    flat = np.concatenate([outputs[f"p{s}"].reshape(-1, (SIDE // s) ** 2) for s in (8, 16, 32)], axis=1).T
    bins = softmax(flat[:, :64].reshape(-1, 4, 16))
    sides = bins @ np.arange(16, dtype=np.float32)
    return best(around(*cells((8, 16, 32), 0.5), sides), sigmoid(flat[:, 64:]), threshold)


def fcos(outputs: Outputs, threshold: float) -> Rows:
    scores, sides, centers = (
        np.concatenate([outputs[f"{role}{s}"].reshape(-1, (SIDE // s) ** 2).T for s in (8, 16, 32)])
        for role in ("cls", "bbox", "ctr")
    )
    places, strides = cells((8, 16, 32), 0.5)
    box = around(places * strides, np.ones_like(strides), np.exp(sides))
    return best(box, np.sqrt(sigmoid(scores) * sigmoid(centers)), threshold)


def retinaface(outputs: Outputs, threshold: float) -> Rows:
    places, strides = cells((8, 16), 0.5, 2)
    sizes = np.concatenate([np.tile([16.0, 32.0], 6400), np.tile([64.0, 128.0], 1600)])[:, None]
    prior_wh = np.repeat(sizes, 2, axis=1).astype(np.float32)
    loc = outputs["loc"]
    center = places * strides + loc[:, :2] * 0.1 * prior_wh
    box = corners(np.concatenate([center, prior_wh * np.exp(loc[:, 2:] * 0.2)], axis=1))
    return best(box, softmax(outputs["conf"])[:, 1:], threshold)


def grid_cut(outputs: Outputs, threshold: float) -> Rows:
    anchors = {8: ((10, 13), (33, 23)), 16: ((30, 61), (62, 45))}
    boxes, scores = [], []
    for stride, sizes in anchors.items():
        side = SIDE // stride
        pred = sigmoid(outputs[f"map{stride}"].reshape(2, -1, side * side).transpose(0, 2, 1))
        places, _ = cells((stride,), 0.0)
        center = (2 * pred[..., :2] - 0.5 + places) * stride
        size = (2 * pred[..., 2:4]) ** 2 * np.array(sizes, np.float32)[:, None]
        boxes.append(corners(np.concatenate([center, size], axis=-1).reshape(-1, 4)))
        scores.append((pred[..., 4:5] * pred[..., 5:]).reshape(-1, pred.shape[-1] - 5))
    return best(np.concatenate(boxes), np.concatenate(scores), threshold)


def rtdetr(outputs: Outputs, threshold: float) -> Rows:
    chances = sigmoid(outputs["scores"]).reshape(-1)
    classes = outputs["scores"].shape[1]
    first = np.argsort(-chances)[: len(outputs["boxes"])]
    first = first[chances[first] > threshold]
    return corners(outputs["boxes"] * SIDE)[first // classes], chances[first], first % classes


DECODERS: dict[str, Callable[[Outputs, float], Rows]] = {
    "boxes-pose": pose,
    "boxes-apart-corners": apart,
    "picodet": picodet,
    "scrfd-boxes": scrfd,
    "yolov8-raw": yolov8_raw,
    "fcos-exp": fcos,
    "anchors-retinaface": retinaface,
    "grid-cut": grid_cut,
    "queries-rtdetr": rtdetr,
}

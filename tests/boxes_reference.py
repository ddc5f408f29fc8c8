"""Boxes by brute force: the definitions, in NumPy float32, one comparison at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecv.types import FloatArray, IntArray

F32 = np.float32
# Values that break careless comparisons: ties, both zeros, denormals, and what is no number.
HOSTILE = [0.0, -0.0, 0.25, 0.5, 0.5, 0.75, 1.0, 1.5, -1.0, 1e-42, 3e38, -3e38, np.nan, np.inf, -np.inf]

Found = list[tuple[int, int, float]]


def select(
    scores: FloatArray,
    threshold: float | FloatArray,
    objectness: FloatArray | None = None,
    multi_label: bool = False,
    max_candidates: int = 30_000,
) -> Found:
    """(row, class, confidence), as `edgecv.boxes.select` defines them."""
    n, classes = scores.shape
    thresholds = np.broadcast_to(np.asarray(threshold, F32), (classes,))
    with np.errstate(all="ignore"):
        confidence = scores if objectness is None else objectness[:, None] * scores
    found: Found = []
    for row in range(n):
        of_row = [(row, c, float(confidence[row, c])) for c in range(classes)]
        of_row = [hit for hit in of_row if np.isfinite(hit[2])]
        if not multi_label:
            of_row = sorted(of_row, key=lambda hit: (-hit[2], hit[1]))[:1]
        found += [hit for hit in of_row if hit[2] > thresholds[hit[1]]]
    best = sorted(found, key=lambda hit: (-hit[2], hit[0], hit[1]))[:max_candidates]
    return sorted(best)


def is_box(xyxy: FloatArray) -> NDArray[np.bool_]:
    """Which rows have finite coordinates in order."""
    ordered = (xyxy[:, 2] > xyxy[:, 0]) & (xyxy[:, 3] > xyxy[:, 1])
    return np.isfinite(xyxy).all(axis=1) & ordered


def overlaps(a: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Intersection and union of every pair, float32 (n, m)."""
    a, b = a[:, None], b[None]
    low, high = np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., 2:], b[..., 2:])
    side = np.maximum(high - low, F32(0))
    inter = side[..., 0] * side[..., 1]
    size_a, size_b = a[..., 2:] - a[..., :2], b[..., 2:] - b[..., :2]
    total = size_a[..., 0] * size_a[..., 1] + size_b[..., 0] * size_b[..., 1] - inter
    return inter, total


def iou(a: FloatArray, b: FloatArray) -> FloatArray:
    """Intersection over union, 0 where a box is none or the union is no positive number."""
    with np.errstate(all="ignore"):
        inter, total = overlaps(a, b)
        valid = is_box(a)[:, None] & is_box(b)[None] & (total > 0)
        return np.where(valid, inter / total, F32(0))


def suppresses(xyxy: FloatArray, threshold: float, method: str) -> NDArray[np.bool_]:
    """Which pairs overlap by more than the threshold, bool (n, n)."""
    over: NDArray[np.bool_]
    with np.errstate(all="ignore"):
        inter, total = overlaps(xyxy, xyxy)
        if method == "greedy":
            over = inter > F32(threshold) * total
        else:
            over = inter / total - center_distance(xyxy) > F32(threshold)
    return over


def center_distance(xyxy: FloatArray) -> FloatArray:
    """Squared distance of the centers over the squared diagonal of the box around both, (n, n)."""
    a, b = xyxy[:, None], xyxy[None]
    between = (a[..., :2] + a[..., 2:]) - (b[..., :2] + b[..., 2:])
    around = np.maximum(a[..., 2:], b[..., 2:]) - np.minimum(a[..., :2], b[..., :2])
    distance = between[..., 0] * between[..., 0] + between[..., 1] * between[..., 1]
    diagonal = around[..., 0] * around[..., 0] + around[..., 1] * around[..., 1]
    result: FloatArray = distance * F32(0.25) / diagonal
    return result


def nms(
    xyxy: FloatArray,
    confidence: FloatArray,
    class_id: IntArray | None = None,
    iou: float = 0.45,
    max_det: int | None = None,
    image_id: IntArray | None = None,
    method: str = "greedy",
) -> list[int]:
    """Kept indices, as `edgecv.boxes.nms` defines them."""
    n = len(confidence)
    classes = np.zeros(n, int) if class_id is None else class_id
    images = np.zeros(n, int) if image_id is None else image_id
    over = suppresses(xyxy, iou, method)
    usable = is_box(xyxy) & np.isfinite(confidence)
    kept: list[int] = []
    for image in np.unique(images):
        of_image: list[int] = []
        members = [i for i in range(n) if usable[i] and images[i] == image]
        for i in sorted(members, key=lambda i: (-float(confidence[i]), i)):
            duplicate = any(classes[i] == classes[j] and over[j, i] for j in of_image)
            if not duplicate and (max_det is None or len(of_image) < max_det):
                of_image.append(i)
        kept += of_image
    return kept


def soft_nms(
    xyxy: FloatArray,
    confidence: FloatArray,
    class_id: IntArray | None = None,
    method: str = "gaussian",
    sigma: float = 0.5,
    iou: float = 0.3,
    threshold: float = 0.001,
    max_det: int | None = None,
) -> list[tuple[int, float]]:
    """(index, decayed confidence), by one loop over all classes at once."""
    n = len(confidence)
    classes = np.zeros(n, int) if class_id is None else class_id
    pairs = _iou_of_pairs(xyxy)
    weight: Any
    if method == "gaussian":
        weight = np.exp(-pairs * pairs / F32(sigma))
    else:
        weight = np.where(pairs > F32(iou), F32(1) - pairs, F32(1))
    now = np.where(is_box(xyxy) & np.isfinite(confidence), confidence, F32(-1)).astype(F32)
    taken: list[tuple[int, float]] = []
    left = [i for i in range(n) if now[i] > F32(threshold)]
    while left and (max_det is None or len(taken) < max_det):
        best = min(left, key=lambda i: (-float(now[i]), i))
        taken.append((best, float(now[best])))
        left.remove(best)
        for i in left:
            if classes[i] == classes[best]:
                now[i] *= weight[best, i]
        left = [i for i in left if now[i] > F32(threshold)]
    return taken


def _iou_of_pairs(xyxy: FloatArray) -> FloatArray:
    return iou(xyxy, xyxy)


def clusters(
    rng: np.random.Generator, groups: int, of_each: int, classes: int = 80, spread: float = 3.0
) -> tuple[FloatArray, FloatArray, IntArray]:
    """Overlapping boxes around common centers, as a detector emits them: xyxy, confidence, class_id."""
    center, size = rng.random((groups, 2)) * 640, rng.random((groups, 2)) * 100 + 20
    center = np.repeat(center, of_each, 0) + rng.normal(0, spread, (groups * of_each, 2))
    size = np.repeat(size, of_each, 0) * rng.uniform(0.9, 1.1, (groups * of_each, 2))
    class_id = np.repeat(rng.integers(0, classes, groups), of_each)
    order = rng.permutation(groups * of_each)
    xyxy = np.concatenate([center - size / 2, center + size / 2], axis=1)[order]
    confidence = rng.uniform(0.25, 0.95, groups * of_each)
    return xyxy.astype(F32), confidence.astype(F32), class_id[order].astype(np.int32)

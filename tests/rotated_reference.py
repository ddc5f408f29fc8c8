"""Oriented boxes by brute force: polygons cut by half planes, and Gaussians by matrices, in plain Python."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edgecv.types import FloatArray, IntArray

Point = tuple[float, float]


def is_box(box: Sequence[float]) -> bool:
    """Whether all is finite and both sides are over 0."""
    return all(map(math.isfinite, box)) and box[2] > 0 and box[3] > 0


def corners(box: Sequence[float]) -> list[Point]:
    """Clockwise on the screen."""
    x, y, width, height, angle = box
    cosine, sine = math.cos(angle), math.sin(angle)
    sides = ((-1, -1), (1, -1), (1, 1), (-1, 1))
    return [
        (
            x + u * width / 2 * cosine - v * height / 2 * sine,
            y + u * width / 2 * sine + v * height / 2 * cosine,
        )
        for u, v in sides
    ]


def area(polygon: Sequence[Point]) -> float:
    """By the shoelace formula, about the first corner."""
    total = 0.0
    for (x0, y0), (x1, y1) in zip(polygon, [*polygon[1:], *polygon[:1]], strict=True):
        x, y = polygon[0]
        total += (x0 - x) * (y1 - y) - (x1 - x) * (y0 - y)
    return total / 2


def intersection(a: Sequence[float], b: Sequence[float]) -> float:
    """What of one rectangle lies on the inner side of each edge of the other one."""
    polygon = corners(a)
    edges = corners(b)
    for (x0, y0), (x1, y1) in zip(edges, [*edges[1:], edges[0]], strict=True):
        side = [(x1 - x0) * (y - y0) - (y1 - y0) * (x - x0) for x, y in polygon]
        cut: list[Point] = []
        for i, (x, y) in enumerate(polygon):
            (before_x, before_y), before = polygon[i - 1], side[i - 1]
            if (before < 0) != (side[i] < 0):
                share = before / (before - side[i])
                cut.append((before_x + share * (x - before_x), before_y + share * (y - before_y)))
            if side[i] >= 0:
                cut.append((x, y))
        polygon = cut
        if not polygon:
            return 0.0
    return area(polygon)


def iou(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union."""
    if not (is_box(a) and is_box(b)):
        return 0.0
    both = intersection(a, b)
    return both / (a[2] * a[3] + b[2] * b[3] - both)


def probiou(a: Sequence[float], b: Sequence[float]) -> float:
    """1 less the Hellinger distance of two Gaussians, from their Bhattacharyya distance."""
    if not (is_box(a) and is_box(b)):
        return 0.0

    def covariance(box: Sequence[float]) -> np.ndarray:
        turn = np.array([[math.cos(box[4]), -math.sin(box[4])], [math.sin(box[4]), math.cos(box[4])]])
        spread: np.ndarray = turn @ np.diag([box[2] ** 2 / 12, box[3] ** 2 / 12]) @ turn.T
        return spread

    one, other = covariance(a), covariance(b)
    mean = (one + other) / 2
    apart = np.array([a[0] - b[0], a[1] - b[1]])
    shapes = math.log(np.linalg.det(mean) / math.sqrt(np.linalg.det(one) * np.linalg.det(other)))
    distance = apart @ np.linalg.inv(mean) @ apart / 8 + shapes / 2
    return 1 - math.sqrt(max(1 - math.exp(-distance), 0))


OVERLAPS = {"iou": iou, "probiou": probiou}


def nms(
    overlap: FloatArray,
    usable: Sequence[bool],
    confidence: FloatArray,
    class_id: IntArray | None,
    threshold: float,
    max_det: int | None,
) -> list[int]:
    """Kept indices: the best, then the best of those that no kept one of its class overlaps by more."""
    kept: list[int] = []
    order = sorted((i for i, fit in enumerate(usable) if fit), key=lambda i: (-float(confidence[i]), i))
    for i in order:
        mine = [j for j in kept if class_id is None or class_id[i] == class_id[j]]
        if all(overlap[j, i] <= threshold for j in mine) and (max_det is None or len(kept) < max_det):
            kept.append(i)
    return kept

"""What every head's plain-loop definition is made of: rows of a network's outputs, and cases to try it on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Outputs = dict[str, NDArray[Any]]


class Row(NamedTuple):
    """One place where the network can see an object: its confidence for each class, and its box."""

    confidence: list[float]
    xyxy: tuple[float, float, float, float]
    keypoints: list[tuple[float, float, float]] | None = None
    xywhr: tuple[float, float, float, float, float] | None = None


class Found(NamedTuple):
    row: int
    class_id: int
    confidence: float
    xyxy: tuple[float, float, float, float]
    keypoints: list[tuple[float, float, float]] | None
    xywhr: tuple[float, float, float, float, float] | None = None


def candidates(rows: list[Row], threshold: float | NDArray[Any], multi_label: bool, most: int) -> list[Found]:
    """The candidates among the rows, by row and class."""
    found = []
    for number, row in enumerate(rows):
        classes = range(len(row.confidence))
        if not multi_label:
            classes = [max(classes, key=lambda c: (row.confidence[c], -c))]
        for c in classes:
            least = float(threshold if np.ndim(threshold) == 0 else np.asarray(threshold)[c])
            if row.confidence[c] > least:
                found.append(Found(number, c, row.confidence[c], row.xyxy, row.keypoints, row.xywhr))
    best = sorted(found, key=lambda f: (-f.confidence, f.row, f.class_id))[:most]
    return sorted(best, key=lambda f: (f.row, f.class_id))


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def corners(cx: float, cy: float, w: float, h: float) -> tuple[float, float, float, float]:
    return cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2


def cells(blob_wh: tuple[int, int], stride: int) -> Iterator[tuple[int, int]]:
    """Column and row of each cell, row by row."""
    for row in range(math.ceil(blob_wh[1] / stride)):
        for column in range(math.ceil(blob_wh[0] / stride)):
            yield column, row


def cell_count(blob_wh: tuple[int, int], *strides: int) -> int:
    return sum(len(list(cells(blob_wh, stride))) for stride in strides)


Make = Callable[[np.random.Generator, tuple[int, int], int], Outputs]


@dataclass(frozen=True)
class Case:
    """One way to use a head. classes: how many it is tried with. make: outputs that look real.

    needs_nms: whether duplicates are left. top: how many pairs of row and class the network counts, whatever
    is asked for, or None. numbers: outputs that may be whole numbers. leading: outputs whose columns come
    first. is_free: whether outputs of other widths or ranks are fine too: misfits are tried elsewhere.
    """

    id: str
    type: str
    literal: Callable[[Outputs, Mapping[str, Any], tuple[int, int]], list[Row]]
    make: Make
    params: dict[str, Any] = field(default_factory=dict)
    classes: tuple[int, ...] = (1, 3, 80)
    needs_nms: bool = True
    top: int | None = None
    numbers: tuple[str, ...] = ()
    leading: tuple[str, ...] = ()
    is_free: bool = False


def floats(array: NDArray[Any]) -> NDArray[np.float32]:
    return array.astype(np.float32)

"""What counts as found, missed and false."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from edgecv.demo.tally import Tally, tally
from edgecv.evaluate import Annotations, Category
from edgecv.types import Detections

Object = tuple[str, tuple[float, float, float, float]]
NAMES = ("nut", "bolt")
CATEGORIES = (Category(4, "bolt"), Category(9, "nut"))
NUMBER = {"bolt": 4, "nut": 9}

A, B, FAR = (0, 0, 10, 10), (20, 0, 30, 10), (70, 70, 80, 80)
NEARLY_A, HALF_A = (0, 0, 10, 8), (0, 0, 10, 5)


def truth(objects: Sequence[Object], crowd: Sequence[bool] = ()) -> Annotations:
    xyxy = np.array([box for _, box in objects], np.float64).reshape(-1, 4)
    return Annotations(
        image_id=np.full(len(objects), 1),
        category_id=np.array([NUMBER[name] for name, _ in objects], np.int64),
        xywh=np.concatenate([xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2]], axis=1),
        area=None,
        is_crowd=np.array(crowd or [False] * len(objects), bool),
    )


def detections(objects: Sequence[Object]) -> Detections:
    return Detections(
        xyxy=np.array([box for _, box in objects], np.float32).reshape(-1, 4),
        confidence=np.linspace(0.9, 0.5, len(objects), dtype=np.float32),
        class_id=np.array([NAMES.index(name) for name, _ in objects], np.int32),
        names=NAMES,
    )


@pytest.mark.parametrize(
    ("found", "objects", "expected"),
    [
        ([], [], Tally(0, 0, 0)),
        ([], [("nut", A)], Tally(0, 1, 0)),
        ([("nut", A)], [], Tally(0, 0, 1)),
        ([("nut", NEARLY_A)], [("nut", A)], Tally(1, 0, 0)),
        ([("nut", HALF_A)], [("nut", A)], Tally(1, 0, 0)),  # an overlap of exactly a half counts
        ([("nut", FAR)], [("nut", A)], Tally(0, 1, 1)),
        ([("bolt", A)], [("nut", A)], Tally(0, 1, 1)),  # another class
        ([("nut", A), ("nut", NEARLY_A)], [("nut", A)], Tally(1, 0, 1)),  # an object is found once
        ([("nut", NEARLY_A), ("nut", B)], [("nut", A), ("nut", B)], Tally(2, 0, 0)),
        ([("nut", A)], [("bolt", A), ("nut", NEARLY_A)], Tally(1, 1, 0)),
    ],
)
def test_counts(found: list[Object], objects: list[Object], expected: Tally) -> None:
    assert tally(detections(found), 1, truth(objects), CATEGORIES) == expected


def test_a_crowd_is_not_asked_for_and_takes_many() -> None:
    objects = truth([("nut", A), ("nut", B)], [True, False])
    assert tally(detections([]), 1, objects, CATEGORIES) == Tally(0, 1, 0)
    many = detections([("nut", A), ("nut", NEARLY_A), ("nut", B)])
    assert tally(many, 1, objects, CATEGORIES) == Tally(1, 0, 0)


def test_a_real_object_comes_before_a_crowd() -> None:
    objects = truth([("nut", A), ("nut", NEARLY_A)], [True, False])
    assert tally(detections([("nut", A)]), 1, objects, CATEGORIES) == Tally(1, 0, 0)


def test_other_images_do_not_count() -> None:
    assert tally(detections([("nut", A)]), 2, truth([("nut", A)]), CATEGORIES) == Tally(0, 0, 1)


def test_sum() -> None:
    assert Tally(1, 2, 3) + Tally(10, 20, 30) == Tally(11, 22, 33)

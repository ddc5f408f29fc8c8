"""Objects that a detector found, missed and made up, frame by frame, against a known truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgecv import boxes
from edgecv.evaluate import Annotations, Category
from edgecv.types import Detections

SAME_OBJECT_IOU = 0.5


@dataclass(frozen=True)
class Tally:
    """Numbers of objects. found and missed are of the truth, false of the detections."""

    found: int = 0
    missed: int = 0
    false: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.found + other.found, self.missed + other.missed, self.false + other.false)


def tally(found: Detections, image_id: int, truth: Annotations, categories: tuple[Category, ...]) -> Tally:
    """Count one image: a detection finds the object of its class that it covers best, each object once.

    truth: of a data set in pixels. Objects marked as crowds are neither asked for nor held against a
    detection.
    """
    here = truth.image_id == image_id
    xywh = truth.xywh[here].astype(np.float32)
    crowd = truth.is_crowd[here]
    names = {category.id: category.name for category in categories}
    labels = [names[number] for number in truth.category_id[here].tolist()]
    overlap = boxes.iou(found.xyxy, np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1))
    matched = np.zeros(len(labels), bool)
    false = 0
    for row, class_id in zip(overlap, found.class_id.tolist(), strict=True):
        fits = _fitting(row, labels, found.class_name(class_id)) & (crowd | ~matched)
        if fits.any():
            matched[np.argmax(np.where(fits, row - crowd, -2.0))] = True
        else:
            false += 1
    asked = ~crowd
    return Tally(int((matched & asked).sum()), int((~matched & asked).sum()), false)


def _fitting(overlap: NDArray[np.float32], labels: list[str], name: str) -> NDArray[np.bool_]:
    fits: NDArray[np.bool_] = np.array([label == name for label in labels], bool)
    fits &= overlap >= SAME_OBJECT_IOU
    return fits

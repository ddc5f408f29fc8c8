"""Candidates to detections: which of them stay, and where they lie in the frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecv import boxes
from edgecv.errors import HeadError
from edgecv.types import Candidates, Detections, FrameTransform, IntArray

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgecv.pipelines.detector import DetectorSettings


# Products of probabilities in half precision are a little over 1.
_MOST_CONFIDENT = 1.01


def check(found: Candidates, outputs: Mapping[str, NDArray[Any]], head: str) -> None:
    """Raise HeadError for what no network gives whose outputs the head reads rightly: a confidence over 1, or
    no candidate where an output has a NaN, which no threshold lets pass.

    outputs: what the candidates were read from.
    """
    remedy = (
        "the head or its parameters do not fit this network: correct its card, which `edgecv models draft` "
        "writes where it has none"
    )
    if len(found):
        highest = found.confidence.max()
        if not highest <= _MOST_CONFIDENT:
            raise HeadError(f"{head} head: a confidence of {highest:.6g}: expected 0 to 1: {remedy}")
        return
    for name, array in outputs.items():
        if array.size and _has_nan(array):
            raise HeadError(f"{head} head: output {name!r} has a NaN: expected numbers: {remedy}")


def _has_nan(array: NDArray[Any]) -> bool:
    if array.dtype == np.float32 and array.flags.c_contiguous:
        # NumPy's own look gives the GIL up.
        return boxes.has_nan(array.ravel())
    return array.dtype.kind == "f" and bool(np.isnan(array.min()))


def of_classes(found: Candidates, settings: DetectorSettings) -> Candidates:
    """Those of the classes that are wanted."""
    if settings.classes is None:
        return found
    return found.take(np.flatnonzero(np.isin(found.class_id, settings.classes)))


def suppress(found: Candidates, settings: DetectorSettings) -> NDArray[np.int64]:
    """The candidates that stay, best first: their indices, int64 (k,). settings: with everything stated.

    Oriented boxes overlap by ProbIoU, as where they were trained so (the YOLO "obb" networks).
    """
    assert settings.iou is not None
    assert settings.max_det is not None
    if not found.needs_nms:
        return np.argsort(-found.confidence, kind="stable")[: settings.max_det]
    class_id = None if settings.agnostic else found.class_id
    of_class = settings.max_per_class
    most = settings.max_det if of_class is None else None
    if found.xywhr is not None:
        # As the networks that find them do it.
        kept = boxes.nms_rotated(
            found.xywhr, found.confidence, class_id, iou=settings.iou, max_det=most, method="probiou"
        )
    else:
        kept = boxes.nms(found.xyxy, found.confidence, class_id, iou=settings.iou, max_det=most)
    return kept if of_class is None else _first_of_class(kept, found.class_id, of_class)[: settings.max_det]


def _first_of_class(kept: NDArray[np.int64], class_id: IntArray, most: int) -> NDArray[np.int64]:
    """Those that have fewer than `most` of their class before them."""
    classes = class_id[kept]
    order = np.argsort(classes, kind="stable")
    ordered = classes[order]
    rank = np.empty(len(kept), np.int64)
    rank[order] = np.arange(len(kept)) - np.searchsorted(ordered, ordered)
    return kept[rank < most]


def to_detections(found: Candidates, transform: FrameTransform, names: tuple[str, ...]) -> Detections:
    """Candidates in pixels of the blob as detections in pixels of the frame, in their order."""
    xyxy = transform.boxes_to_frame(found.xyxy)
    # A box in the padding has no area once it is clipped to the frame.
    inside = (xyxy[:, 2] > xyxy[:, 0]) & (xyxy[:, 3] > xyxy[:, 1])
    found = found.take(np.flatnonzero(inside))
    masks = None
    if found.masks is not None:
        masks = found.masks.to_frame(transform.boxes_to_frame(found.xyxy, clip=False), transform)
    return Detections(
        xyxy=xyxy[inside],
        confidence=found.confidence,
        class_id=found.class_id,
        names=names,
        keypoints=None if found.keypoints is None else transform.keypoints_to_frame(found.keypoints),
        masks=masks,
        xywhr=None if found.xywhr is None else transform.xywhr_to_frame(found.xywhr),
    )

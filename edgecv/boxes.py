"""Boxes: candidate selection from class scores, IoU, non-maximum suppression, conversions.

Everything runs in native code on the calling thread. A call keeps the GIL unless it reads more than 16 MiB,
or takes as long: where another thread runs Python, to have it back can take a switch interval. Each thread
keeps its own working memory between calls: it grows to what the largest call needed and is freed with the
thread, so that after warm-up a call allocates only the arrays that it returns. For `select` that is at most
24 bytes for each of max_candidates and 210 for each class, however many scores are over the threshold; for
`nms` and `soft_nms` at most 140 bytes for each box. Results are the same bits on every instruction set.

IoU is float32: (min x2 - max x1) * (min y2 - max y1), each at least 0, over (area a + area b) - that.
A box is suppressed when intersection > iou * union, without a division. Where a box's area or the union
is too large for a float32, as for coordinates of 1e30, the boxes do not overlap: an overflow never
suppresses anything.

Arguments are read in place, whatever their strides, and may be read-only. A wrong dtype, shape or value
raises InputError.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from edgecv import _boxes
from edgecv.types import FloatArray, IntArray

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

IndexArray: TypeAlias = "NDArray[np.int64]"


def select(
    scores: FloatArray,
    threshold: float | FloatArray,
    *,
    objectness: FloatArray | None = None,
    multi_label: bool = False,
    max_candidates: int = 30_000,
) -> tuple[IntArray, IntArray, FloatArray]:
    """Candidates: the rows and classes whose confidence is strictly over a threshold.

    scores: float32 (n, classes); rows or classes are contiguous, the other axis has any stride.
    threshold: a finite number, or float32 (classes,); compared as float32.
    objectness: float32 (n,) or None; confidence = objectness * score.
    multi_label: False: at most the best class of a row, by confidence, the lowest one where classes
        tie; it must pass its own threshold. True: every class over its threshold.
    max_candidates: if there are more, the most confident ones are kept; ties go to the lower row, then
        the lower class.

    Returns row int32 (k,), class_id int32 (k,), confidence float32 (k,), ordered by row, then class. A
    NaN or infinite confidence is never a candidate and never a row's best.
    """
    return _boxes.select(scores, threshold, objectness, multi_label, max_candidates)


def nms(
    xyxy: FloatArray,
    confidence: FloatArray,
    class_id: IntArray | None = None,
    *,
    iou: float = 0.45,
    max_det: int | None = None,
    image_id: IntArray | None = None,
    method: Literal["greedy", "diou"] = "greedy",
) -> IndexArray:
    """Non-maximum suppression.

    xyxy: float32 (n, 4). confidence: float32 (n,).
    class_id: int32 (n,), boxes of different classes never suppress one another; None: class-agnostic.
    iou: 0 to 1; a box is suppressed when its overlap with a kept one is strictly over it.
    max_det: the most boxes kept, for each image.
    image_id: int32 (n,), boxes of different images never suppress one another; None: one image.
    method: "greedy" measures overlap by IoU, "diou" by IoU less the squared distance of the centers
        over the squared diagonal of the box around both (Zheng et al., arXiv:1911.08287).

    Returns the kept indices, int64 (k,), by image, then falling confidence, then index. Never kept and
    never suppressing are boxes with a NaN or infinite coordinate, with x2 <= x1 or y2 <= y1, or with a
    confidence that is not finite. The work grows with the number of boxes times the number kept, of one
    image and class; `max_det` bounds it.
    """
    return _boxes.nms(xyxy, confidence, class_id, iou, max_det, image_id, method)


def nms_rotated(
    xywhr: FloatArray,
    confidence: FloatArray,
    class_id: IntArray | None = None,
    *,
    iou: float = 0.45,
    max_det: int | None = None,
    method: Literal["iou", "probiou"] = "iou",
) -> IndexArray:
    """Non-maximum suppression of oriented boxes, greedy as `nms` is.

    xywhr: float32 (n, 5), center, width, height, and the angle from the x axis to the width, radians,
        growing from x to y. confidence, class_id, iou, max_det: as for `nms`.
    method: overlap as `iou_rotated` has it.

    Returns the kept indices, int64 (k,), by falling confidence, then index. Never kept and never
    suppressing are boxes with a number that is NaN or infinite, or with a width or height that is not over
    0, or with a confidence that is not finite. The thread keeps at most 200 bytes for each box.
    """
    return _boxes.nms_rotated(xywhr, confidence, class_id, iou, max_det, method)


def soft_nms(
    xyxy: FloatArray,
    confidence: FloatArray,
    class_id: IntArray | None = None,
    *,
    method: Literal["gaussian", "linear"] = "gaussian",
    sigma: float = 0.5,
    iou: float = 0.3,
    threshold: float = 0.001,
    max_det: int | None = None,
) -> tuple[IndexArray, FloatArray]:
    """Soft-NMS (Bodla et al., arXiv:1704.04503): overlap with a better box lowers confidence.

    xyxy, confidence, class_id, max_det: as for `nms`; the same boxes are left out.
    method: "gaussian" multiplies by exp(-IoU * IoU / sigma), "linear" by 1 - IoU where
        IoU is over `iou`.
    sigma: 1e-6 to 1e6. iou: 0 to 1.
    threshold: at least 0; a box whose confidence is not over it, at first or by decay, is left out.

    Returns the kept indices int64 (k,) and their decayed confidences float32 (k,), by falling decayed
    confidence, then index. The work grows with the square of the number of boxes of one class.
    """
    return _boxes.soft_nms(xyxy, confidence, class_id, method, sigma, iou, threshold, max_det)


def iou(a: FloatArray, b: FloatArray) -> FloatArray:
    """Intersection over union of every pair, float32 (n, m), 0 to 1, never NaN.

    a: float32 (n, 4) xyxy. b: float32 (m, 4) xyxy. A box with a NaN or infinite coordinate, with
    x2 <= x1 or y2 <= y1, or whose area no float32 can hold, overlaps with nothing.
    """
    return _boxes.iou(a, b)


def iou_rotated(a: FloatArray, b: FloatArray, *, method: Literal["iou", "probiou"] = "iou") -> FloatArray:
    """Overlap of every pair of oriented boxes, float32 (n, m), 0 to 1, never NaN.

    a: float32 (n, 5) xywhr, as for `nms_rotated`. b: float32 (m, 5) xywhr.
    method: "iou" is the area of the intersection over that of the union; "probiou" is 1 less the Hellinger
        distance of two Gaussians of the centers and the covariances of the boxes, a side's square over 12
        along it (Murrugarra-Llerena et al., arXiv:2106.06072).

    Computed in double and rounded once; sine, cosine, logarithm and exponential are the C library's. A box
    that `nms_rotated` never keeps overlaps with nothing.
    """
    return _boxes.iou_rotated(a, b, method)


def cxcywh_to_xyxy(boxes: FloatArray, rows: IntArray | None = None) -> FloatArray:
    """Center x, center y, width, height -> left, top, right, bottom.

    boxes: float32 (n, 4). rows: int32 (k,), 0 to n - 1, or None: convert only these, in this order;
    `select` returns them. Returns a new float32 (n, 4) or (k, 4).
    """
    return _boxes.cxcywh_to_xyxy(boxes, rows)


def xywh_to_xyxy(boxes: FloatArray, rows: IntArray | None = None) -> FloatArray:
    """Left, top, width, height -> left, top, right, bottom; arguments as for `cxcywh_to_xyxy`."""
    return _boxes.xywh_to_xyxy(boxes, rows)


def xyxy_to_xywh(boxes: FloatArray, rows: IntArray | None = None) -> FloatArray:
    """Left, top, right, bottom -> left, top, width, height; arguments as for `cxcywh_to_xyxy`."""
    return _boxes.xyxy_to_xywh(boxes, rows)


def xyxy_to_cxcywh(boxes: FloatArray, rows: IntArray | None = None) -> FloatArray:
    """Left, top, right, bottom -> center and size; arguments as for `cxcywh_to_xyxy`."""
    return _boxes.xyxy_to_cxcywh(boxes, rows)


def has_nan(values: FloatArray) -> bool:
    """Whether one of the numbers is a NaN. values: float32 (n,), contiguous, at least one."""
    return _boxes.has_nan(values)

"""Boxes: candidate selection from class scores, IoU, non-maximum suppression, conversions.

Everything runs in native code on the calling thread, without the GIL. Each thread keeps its own working
memory between calls: it grows to what the largest call needed (for `select` at most about twice
`max_candidates` entries of 12 bytes) and is freed with the thread; after warm-up a call allocates only
the arrays that it returns. Results are the same bits on every instruction set.

Arguments are read in place, whatever their strides, and may be read-only. A wrong dtype, shape or value
raises InputError.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgecv import _boxes
from edgecv.types import FloatArray, IntArray

IndexArray = NDArray[np.int64]


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

    Returns the kept indices, int64 (k,), by image, then falling confidence, then index. Never kept, and
    never suppressing: boxes with a NaN or infinite coordinate, with x2 <= x1 or y2 <= y1, and those whose
    confidence is not finite.
    """
    return _boxes.nms(xyxy, confidence, class_id, iou, max_det, image_id, method)

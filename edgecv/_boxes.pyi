from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgecv.types import FloatArray, IntArray

IndexArray = NDArray[np.int64]

def use_isa(label: str | None = None) -> None: ...
def isa() -> str: ...
def select(
    scores: FloatArray,
    threshold: float | FloatArray,
    objectness: FloatArray | None = None,
    multi_label: bool = False,
    max_candidates: int = 30_000,
) -> tuple[IntArray, IntArray, FloatArray]: ...
def nms(
    xyxy: FloatArray,
    confidence: FloatArray,
    class_id: IntArray | None = None,
    iou: float = 0.45,
    max_det: int | None = None,
    image_id: IntArray | None = None,
    method: Literal["greedy", "diou"] = "greedy",
) -> IndexArray: ...
def nms_rotated(
    xywhr: FloatArray,
    confidence: FloatArray,
    class_id: IntArray | None = None,
    iou: float = 0.45,
    max_det: int | None = None,
    method: Literal["iou", "probiou"] = "iou",
) -> IndexArray: ...
def soft_nms(
    xyxy: FloatArray,
    confidence: FloatArray,
    class_id: IntArray | None = None,
    method: Literal["gaussian", "linear"] = "gaussian",
    sigma: float = 0.5,
    iou: float = 0.3,
    threshold: float = 0.001,
    max_det: int | None = None,
) -> tuple[IndexArray, FloatArray]: ...
def iou(a: FloatArray, b: FloatArray) -> FloatArray: ...
def iou_rotated(a: FloatArray, b: FloatArray, method: Literal["iou", "probiou"] = "iou") -> FloatArray: ...
def cxcywh_to_xyxy(boxes: FloatArray, rows: IntArray | None = None) -> FloatArray: ...
def xywh_to_xyxy(boxes: FloatArray, rows: IntArray | None = None) -> FloatArray: ...
def xyxy_to_xywh(boxes: FloatArray, rows: IntArray | None = None) -> FloatArray: ...
def xyxy_to_cxcywh(boxes: FloatArray, rows: IntArray | None = None) -> FloatArray: ...
def has_nan(values: FloatArray) -> bool: ...
def largest(values: FloatArray) -> float: ...

from typing import Literal

from edgecv.boxes import IndexArray
from edgecv.types import FloatArray, IntArray

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

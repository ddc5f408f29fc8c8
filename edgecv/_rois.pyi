from collections.abc import Sequence

from edgecv.types import FloatArray

def use_isa(label: str | None = None) -> None: ...
def isa() -> str: ...
def propose(
    scores: FloatArray,
    deltas: FloatArray,
    anchors: FloatArray,
    image_xyxy: Sequence[float],
    stride: float = 16,
    min_wh: Sequence[float] = (16.0, 16.0),
    pre_nms: int = 6000,
    post_nms: int = 300,
    iou: float = 0.7,
    inclusive: bool = True,
) -> tuple[FloatArray, FloatArray]: ...
def pool(
    features: FloatArray,
    xyxy: FloatArray,
    size_wh: Sequence[int] = (7, 7),
    scale: float = 0.0625,
    out: FloatArray | None = None,
) -> FloatArray: ...

from typing import Any

import numpy as np
from numpy.typing import NDArray

def use_isa(label: str | None = None) -> None: ...
def isa() -> str: ...
def kernels() -> tuple[str, ...]: ...
def memory_floor(frame: NDArray[Any], out: NDArray[Any]) -> None: ...

class Plan:
    def __init__(
        self,
        *,
        frame_shape: tuple[int, int, int],
        frame_strides: tuple[int, ...],
        resized_wh: tuple[int, int],
        blob_wh: tuple[int, int],
        offset_xy: tuple[int, int],
        interpolation: int,
        sources: tuple[int, ...],
        to_gray: bool,
        pad: tuple[float, ...],
        mean: tuple[float, ...],
        scale: tuple[float, ...],
        as_float: bool,
        channels_last: bool = False,
    ) -> None: ...
    @property
    def nbytes(self) -> int: ...
    @property
    def kernels(self) -> tuple[str, ...]: ...
    def run(self, frame: NDArray[np.uint8], out: NDArray[Any]) -> None: ...

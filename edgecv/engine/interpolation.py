"""Resize along one axis as a table: which input elements each output is made of, and with what weights.

Formulas: ONNX, Operators.md, Resize. Interpolation is separable: each axis has a table of its own.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Rules(msgspec.Struct, frozen=True):
    """Attributes of a Resize that hold for all of its axes; names as the operator's."""

    mode: str = "nearest"
    coordinate_transformation_mode: str = "half_pixel"
    nearest_mode: str = "round_prefer_floor"
    cubic_coeff_a: float = -0.75
    exclude_outside: bool = False
    antialias: bool = False


class Axis(msgspec.Struct, frozen=True):
    """size: elements before; made: after; scale: maps coordinates; start, end: the part taken, in [0, 1]."""

    size: int
    made: int
    scale: float
    start: float = 0.0
    end: float = 1.0


class Taps(msgspec.Struct, frozen=True):
    """index: int32 (made, taps); weight: float32 (made, taps); outside: bool (made,), what is extrapolated.

    Where fewer taps are needed the rest weigh 0; all of them do for what lies outside.
    """

    index: NDArray[np.int32]
    weight: NDArray[np.float32]
    outside: NDArray[np.bool_]

    def copies(self, size: int) -> bool:
        """Whether each output is the input of the same number, of `size` inputs."""
        made, taps = self.index.shape
        return (
            (made, taps) == (size, 1)
            and bool((self.weight == 1).all())
            and bool((self.index[:, 0] == np.arange(made)).all())
            and not self.outside.any()
        )


def coordinates(axis: Axis, mode: str) -> Floats:
    """Where each output lies between the inputs, float64 (made,). Raises ValueError for an unknown mode."""
    y = np.arange(axis.made, dtype=np.float64)
    # As the specification has it: not rounded to whole elements.
    length = axis.scale * axis.size
    if mode == "half_pixel":
        return (y + 0.5) / axis.scale - 0.5
    if mode == "asymmetric":
        return y / axis.scale
    if mode == "pytorch_half_pixel":
        return (y + 0.5) / axis.scale - 0.5 if length > 1 else np.full(axis.made, -0.5)
    if mode == "align_corners":
        return y * (axis.size - 1) / (length - 1) if length != 1 else np.zeros(axis.made)
    if mode == "half_pixel_symmetric":
        offset = axis.size / 2 * (1 - axis.made / length)
        return offset + (y + 0.5) / axis.scale - 0.5
    if mode == "tf_crop_and_resize":
        span = (axis.end - axis.start) * (axis.size - 1)
        inner = y * span / (length - 1) if length != 1 else np.full(axis.made, span / 2)
        return axis.start * (axis.size - 1) + inner
    raise ValueError(f"coordinate_transformation_mode {mode!r}")


def taps_of(axis: Axis, rules: Rules) -> Taps:
    """The table of one axis. Raises ValueError for a mode that there is not."""
    x = coordinates(axis, rules.coordinate_transformation_mode)
    outside = np.zeros(axis.made, np.bool_)
    if rules.coordinate_transformation_mode == "tf_crop_and_resize":
        outside = (x < 0) | (x > axis.size - 1)
    if rules.mode == "nearest":
        index = _nearest(x, rules.nearest_mode)[:, None]
        weight = np.ones_like(index, np.float64)
    elif rules.mode in ("linear", "cubic"):
        index, weight = _weighted(x, axis, rules)
    else:
        raise ValueError(f"mode {rules.mode!r}")
    weight[outside] = 0
    return _merged(np.clip(index, 0, axis.size - 1), weight, outside)


def _nearest(x: Floats, mode: str) -> NDArray[np.int64]:
    low = np.floor(x)
    ratio = x - low
    if mode == "round_prefer_floor":
        up = ratio > 0.5
    elif mode == "round_prefer_ceil":
        up = ratio >= 0.5
    elif mode == "floor":
        up = np.zeros(len(x), np.bool_)
    elif mode == "ceil":
        up = ratio > 0
    else:
        raise ValueError(f"nearest_mode {mode!r}")
    return low.astype(np.int64) + up


def _weighted(x: Floats, axis: Axis, rules: Rules) -> tuple[NDArray[np.int64], Floats]:
    # Without antialias the filter is as wide as the inputs are apart, however many outputs there are.
    scale = min(axis.scale, 1.0) if rules.antialias else 1.0
    reach = 1 if rules.mode == "linear" else 2
    first = int(np.floor(-reach / scale)) + 1
    # The element before x, which is another one than x's own.
    base = np.ceil(x).astype(np.int64) - 1
    index = base[:, None] + np.arange(first, 2 - first)
    distance = np.abs(index - x[:, None]) * scale
    weight = _triangle(distance) if rules.mode == "linear" else _cubic(distance, rules.cubic_coeff_a)
    if rules.antialias:
        weight /= weight.sum(1, keepdims=True)
    if rules.exclude_outside:
        weight = np.where((index < 0) | (index >= axis.size), 0.0, weight)
        total = weight.sum(1, keepdims=True)
        weight /= np.where(total == 0, 1.0, total)
    return index, weight


def _triangle(distance: Floats) -> Floats:
    return np.clip(1 - distance, 0, 1)


def _cubic(distance: Floats, a: float) -> Floats:
    """Keys' kernel (Cubic convolution interpolation for digital image processing, 1981)."""
    d, d2, d3 = distance, distance**2, distance**3
    near = (a + 2) * d3 - (a + 3) * d2 + 1
    far = a * d3 - 5 * a * d2 + 8 * a * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


def _merged(index: NDArray[np.int64], weight: Floats, outside: NDArray[np.bool_]) -> Taps:
    """Equal elements of an output once, those of weight 0 not at all; so that edges are copies, not sums."""
    rows: list[list[tuple[int, float]]] = []
    for places, shares in zip(index.tolist(), weight.tolist(), strict=True):
        found: dict[int, float] = {}
        for place, share in zip(places, shares, strict=True):
            found[place] = found.get(place, 0.0) + share
        rows.append([(place, share) for place, share in found.items() if share])
    most = max((len(row) for row in rows), default=1) or 1
    made: tuple[NDArray[Any], NDArray[Any]] = (
        np.zeros((len(rows), most), np.int32),
        np.zeros((len(rows), most), np.float32),
    )
    for i, row in enumerate(rows):
        for k, (place, share) in enumerate(row):
            made[0][i, k], made[1][i, k] = place, share
    return Taps(*made, outside)

"""Masks of candidates, made into crops of the frame once it is known which of them stay.

What all share: a pixel belongs to an object only where its center lies in the object's box, left and top
edge included, right and bottom edge not. What is looked up between the cells of a small map is interpolated
bilinearly between the centers of the cells, in float32, whatever the resize of the frame was: the map is
never made as large as the blob, and memory grows with a box, not with the frame.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from edgecv.errors import HeadError
from edgecv.masks import Masks
from edgecv.types import FloatArray, FrameTransform

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Pixels that are interpolated at once: what they take stays in a core's cache.
_BLOCK = 1 << 15


class PrototypeMasks(msgspec.Struct, frozen=True, eq=False):
    """Masks as sums of prototypes (Bolya et al., YOLACT, arXiv:1904.02689; the YOLO "seg" networks).

    The mask of a candidate is where sigmoid(coefficients @ prototypes) > 0.5, that is where the sum is over
    0; the sum is what is interpolated. Beyond the centers of the outermost cells it is that of the outermost.

    coefficients: float32 (n, m). prototypes: float32 (m, h, w), over the whole blob. blob_wh: pixels.
    """

    coefficients: FloatArray
    prototypes: FloatArray
    blob_wh: tuple[int, int]

    def __post_init__(self) -> None:
        """Raises HeadError where the two do not fit together."""
        if self.coefficients.ndim != 2 or self.prototypes.ndim != 3 or not self.prototypes.size:
            raise HeadError(
                "masks: expected coefficients (n, m) and prototypes (m, h, w), got "
                f"{self.coefficients.shape} and {self.prototypes.shape}"
            )
        if self.coefficients.shape[1] != len(self.prototypes):
            raise HeadError(
                f"masks: expected a coefficient for each of {len(self.prototypes)} prototypes, got "
                f"{self.coefficients.shape[1]}; which columns are the coefficients stands in the card's head"
            )

    def __getitem__(self, keep: NDArray[np.intp]) -> PrototypeMasks:
        return PrototypeMasks(self.coefficients[keep], self.prototypes, self.blob_wh)

    @np.errstate(over="ignore", invalid="ignore")
    def to_frame(self, xyxy: FloatArray, transform: FrameTransform) -> Masks:
        """Masks of all candidates in the frame; see `MaskSource`."""

        def cells(number: int, rows: slice, columns: slice) -> FloatArray:
            part = self.prototypes[:, rows, columns]
            found: FloatArray = np.einsum("m,mhw->hw", self.coefficients[number], part)
            return found

        return _from_blob(cells, self.prototypes.shape[1:], self.blob_wh, 0.0, xyxy, transform)


class BlobMasks(msgspec.Struct, frozen=True, eq=False):
    """Masks over the whole blob, of each candidate its own: torchvision's Mask R-CNN, RF-DETR.

    A mask is where a value, interpolated, is over 0 if it is a logit, over 0.5 if it is a probability. Beyond
    the centers of the outermost cells it is that of the outermost.

    maps: float32 (N, h, w). index: int (n,), which of them the candidates' are. blob_wh: pixels.
    """

    maps: FloatArray
    index: NDArray[Any]
    blob_wh: tuple[int, int]
    logits: bool = False

    def __post_init__(self) -> None:
        """Raises HeadError where they are none."""
        if self.maps.ndim != 3 or 0 in self.maps.shape[1:]:
            raise HeadError(f"masks: expected (n, h, w), of each object its own, got {self.maps.shape}")

    def __getitem__(self, keep: NDArray[np.intp]) -> BlobMasks:
        return BlobMasks(self.maps, self.index[keep], self.blob_wh, self.logits)

    @np.errstate(over="ignore", invalid="ignore")
    def to_frame(self, xyxy: FloatArray, transform: FrameTransform) -> Masks:
        """Masks of all candidates in the frame; see `MaskSource`."""

        def cells(number: int, rows: slice, columns: slice) -> FloatArray:
            return self.maps[self.index[number], rows, columns]

        threshold = 0.0 if self.logits else 0.5
        return _from_blob(cells, self.maps.shape[1:], self.blob_wh, threshold, xyxy, transform)


class RoiMasks(msgspec.Struct, frozen=True, eq=False):
    """Masks of their boxes, as Mask R-CNN has them, pasted as Detectron2 pastes them.

    The w columns divide the box into equal parts: the center of frame pixel x lies at
    (x + 0.5 - left) / (right - left) * w columns from its left edge, rows likewise. Outside the map the
    probability is 0, so that it falls to half at the box's edge. A pixel belongs to the object where the
    probability is at least 0.5.

    masks: float32 (n, h, w), probabilities of each candidate's own class.
    """

    masks: FloatArray

    def __post_init__(self) -> None:
        """Raises HeadError where they are none."""
        if self.masks.ndim != 3 or 0 in self.masks.shape[1:]:
            raise HeadError(f"masks: expected (n, h, w), of each object its own, got {self.masks.shape}")

    def __getitem__(self, keep: NDArray[np.intp]) -> RoiMasks:
        return RoiMasks(self.masks[keep])

    @np.errstate(over="ignore", invalid="ignore")
    def to_frame(self, xyxy: FloatArray, transform: FrameTransform) -> Masks:
        """Masks of all candidates in the frame; see `MaskSource`."""
        _, height, width = self.masks.shape
        crops = []
        windows = _windows(xyxy, transform.frame_wh)
        for mask, box, (x0, y0, x1, y1) in zip(
            self.masks, xyxy.astype(np.float64).tolist(), windows, strict=True
        ):
            left, top, right, bottom = box
            sides = (right - left, bottom - top)
            if x1 <= x0 or y1 <= y0 or not np.isfinite(sides).all():
                crops.append(np.zeros((max(y1 - y0, 0), max(x1 - x0, 0)), np.bool_))
                continue
            # The map with a border of zeros: its first cell's center lies at -0.5.
            padded = np.zeros((height + 2, width + 2), np.float32)
            padded[1:-1, 1:-1] = mask
            columns, rows = (
                _Taps((np.arange(first, end) + 0.5 - low) / side * cells + 1, cells + 2)
                for first, end, low, side, cells in zip(
                    (x0, y0), (x1, y1), (left, top), sides, (width, height), strict=True
                )
            )
            at_least_half = np.nextafter(np.float32(0.5), np.float32(0))
            crops.append(_over(padded[rows.cells, columns.cells], rows, columns, at_least_half))
        return _placed(crops, windows, transform.frame_wh)


def _from_blob(
    cells: Callable[[int, slice, slice], FloatArray],
    size: tuple[int, ...],
    blob_wh: tuple[int, int],
    threshold: float,
    xyxy: FloatArray,
    transform: FrameTransform,
) -> Masks:
    """Of maps over the whole blob what lies in each box.

    cells: (candidate, rows, columns) -> that part of its map. size: rows and columns of a map.
    """
    height, width = size
    frame_to_cells = [
        (scale * count / blob, offset * count / blob)
        for scale, offset, count, blob in zip(
            transform.scale_xy, transform.offset_xy, (width, height), blob_wh, strict=True
        )
    ]
    crops = []
    windows = _windows(xyxy, transform.frame_wh)
    for number, (x0, y0, x1, y1) in enumerate(windows):
        if x1 <= x0 or y1 <= y0:
            crops.append(np.zeros((max(y1 - y0, 0), max(x1 - x0, 0)), np.bool_))
            continue
        columns, rows = (
            _Taps((np.arange(first, end, dtype=np.float64) + 0.5) * scale + offset, count)
            for first, end, (scale, offset), count in zip(
                (x0, y0), (x1, y1), frame_to_cells, (width, height), strict=True
            )
        )
        crops.append(_over(cells(number, rows.cells, columns.cells), rows, columns, threshold))
    return _placed(crops, windows, transform.frame_wh)


class _Taps:
    """Between which cells of a line each of n places lies.

    cells: those that are needed at all. low, high: the cells at both sides of each place, int (n,), counted
    from the first of those. share: float32 (n,), that of the higher one, 0 to 1.
    """

    def __init__(self, places: NDArray[np.float64], cells: int) -> None:
        """places: rising, in cells from the left edge of the first one; its center is at 0.5."""
        at = np.clip(places - 0.5, 0, cells - 1)
        low = at.astype(np.intp)
        high = np.minimum(low + 1, cells - 1)
        self.cells = slice(int(low[0]), int(high[-1]) + 1)
        self.share: FloatArray = (at - low).astype(np.float32)
        self.low, self.high = low - low[0], high - low[0]


def _windows(xyxy: FloatArray, frame_wh: tuple[int, int]) -> list[tuple[int, ...]]:
    """The pixels whose centers lie in each box and in the frame: first column and row, ends of both."""
    width, height = frame_wh
    boxes = np.nan_to_num(xyxy.astype(np.float64), nan=0.0)
    return [
        tuple(window) for window in np.ceil(boxes.clip(0, [width, height] * 2) - 0.5).astype(int).tolist()
    ]


def _over(cells: FloatArray, rows: _Taps, columns: _Taps, threshold: float) -> NDArray[np.bool_]:
    """Where the values between the cells, interpolated along both axes, are over the threshold."""
    lines = cells[:, columns.low]
    lines += (cells[:, columns.high] - lines) * columns.share
    over = np.empty((len(rows.low), len(columns.low)), np.bool_)
    step = max(1, _BLOCK // len(columns.low))
    for first in range(0, len(over), step):
        block = slice(first, first + step)
        values = lines[rows.low[block]]
        values += (lines[rows.high[block]] - values) * rows.share[block, None]
        np.greater(values, threshold, out=over[block])
    return over


def _placed(
    crops: list[NDArray[np.bool_]],
    windows: list[tuple[int, ...]],
    frame_wh: tuple[int, int],
) -> Masks:
    corners = np.array([window[:2] for window in windows], np.int32).reshape(-1, 2)
    return Masks(tuple(crops), corners, frame_wh)

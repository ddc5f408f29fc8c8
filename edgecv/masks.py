"""Masks: which pixels of a frame belong to each object, as crops with their place."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Masks(msgspec.Struct, frozen=True, eq=False):
    """Of n objects the pixels that belong to them. An index array, a slice or a mask picks some of them.

    crops: of each object bool (h, w), what lies around it; h or w may be 0. corner_xy: int32 (n, 2), column
    and row of each crop's left top pixel in the frame. frame_wh: its size, pixels; every crop lies in it.
    """

    crops: tuple[NDArray[np.bool_], ...]
    corner_xy: NDArray[np.int32]
    frame_wh: tuple[int, int]

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, keep: slice | NDArray[Any]) -> Masks:
        """Those that a slice, an index array or a boolean mask of length n picks."""
        index: Iterable[int] = np.arange(len(self))[keep]
        return Masks(tuple(self.crops[i] for i in index), self.corner_xy[keep], self.frame_wh)

    def mask(self, i: int) -> NDArray[np.bool_]:
        """One object's pixels in the whole frame, bool (H, W)."""
        width, height = self.frame_wh
        whole = np.zeros((height, width), np.bool_)
        crop, (x, y) = self.crops[i], self.corner_xy[i]
        whole[y : y + crop.shape[0], x : x + crop.shape[1]] = crop
        return whole

    @property
    def areas(self) -> NDArray[np.int64]:
        """How many pixels each has, int64 (n,)."""
        return np.array([np.count_nonzero(crop) for crop in self.crops], np.int64)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Masks):
            return NotImplemented
        return (
            (len(self), self.frame_wh) == (len(other), other.frame_wh)
            and np.array_equal(self.corner_xy, other.corner_xy)
            and all(np.array_equal(a, b) for a, b in zip(self.crops, other.crops, strict=True))
        )

    __hash__ = None  # type: ignore[assignment]

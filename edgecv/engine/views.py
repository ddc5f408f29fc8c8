"""How a tensor lies in memory: as planes of pixels, as strides, or in pieces not yet joined.

Re-indexing operators (Reshape, Transpose, Split, Slice, Concat, Gather…) change views and move no data.
Arithmetic of strides is NumPy's own, done on arrays that nobody reads.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from edgecv.engine.refs import Ints, moved, walk

Shape = tuple[int, ...]

# Anchors of views whose memory is never touched.
_ANCHOR = np.zeros(1, np.int8)
_ANCHOR_ADDRESS: int = _ANCHOR.__array_interface__["data"][0]


class Planes(msgspec.Struct, frozen=True):
    """float32 planes of h x w pixels, each anywhere.

    refs: the Ref of each plane's first pixel; its axes are the tensor's axes that are not pixels. spatial:
    the tensor's axes that are (h, w), or the two as one, or any split of them. at: where they stand: the
    tensor's shape is refs.shape[:at] + spatial + refs.shape[at:]. row, pixel: floats from one to the next.
    lanes: floats in a vector where planes are lanes of blocks, [h][w][lanes]; else 0.
    """

    refs: Ints
    spatial: Shape
    at: int
    h: int
    w: int
    row: int
    pixel: int
    lanes: int

    @property
    def shape(self) -> Shape:
        """Sizes of the tensor."""
        return self.refs.shape[: self.at] + self.spatial + self.refs.shape[self.at :]

    def transpose(self, order: Sequence[int]) -> Planes | None:
        """The axes in another order; None where pixels would be torn apart."""
        pixels = range(self.at, self.at + len(self.spatial))
        where = [list(order).index(axis) for axis in pixels]
        if where != list(range(where[0], where[0] + len(where))) if where else False:
            return None
        others = [axis if axis < self.at else axis - len(pixels) for axis in order if axis not in pixels]
        at = where[0] if where else min(self.at, len(others))
        return replace(self, refs=self.refs.transpose(others), at=at)

    def reshape(self, shape: Shape) -> Planes | None:
        """Other axes over the same elements in the same order; None where planes and pixels would mix."""
        before, after = math.prod(self.refs.shape[: self.at]), math.prod(self.refs.shape[self.at :])
        pixels = self.h * self.w
        for start in range(len(shape) + 1):
            if math.prod(shape[:start]) != before:
                continue
            for stop in range(start, len(shape) + 1):
                if math.prod(shape[start:stop]) == pixels and math.prod(shape[stop:]) == after:
                    wide = _kept_axes(shape, start, stop, (self.h, self.w))
                    refs = self.refs.reshape(shape[: wide[0]] + shape[wide[1] :])
                    return replace(self, refs=refs, spatial=shape[wide[0] : wide[1]], at=wide[0])
        return None

    def pixels(self, refs: Ints, ys: Sequence[int], xs: Sequence[int]) -> Ints:
        """The Refs of pixels, some maybe outside, of planes that start at refs: (planes, rows x columns)."""
        rows, columns = np.array(ys, np.int64) * self.row, np.array(xs, np.int64) * self.pixel
        return moved(refs[:, None], np.add.outer(rows, columns).reshape(-1))

    @property
    def is_dense(self) -> bool:
        """Whether pixels follow one another without gaps, lanes between them."""
        return self.pixel == max(self.lanes, 1) and (self.h == 1 or self.row == self.w * self.pixel)

    def index(self, axis: int, take: Any) -> Planes | None:
        """What NumPy's index `take` keeps along one axis; None along pixels, but for a window of them."""
        if self.at <= axis < self.at + len(self.spatial):
            return self._window(axis - self.at, take) if isinstance(take, slice) else None
        own = axis if axis < self.at else axis - len(self.spatial)
        return replace(self, refs=self.refs[(slice(None),) * own + (take,)])

    def _window(self, axis: int, take: slice) -> Planes | None:
        first, end, step = take.indices(self.spatial[axis])
        count = len(range(first, end, step))
        if (first, step, count) == (0, 1, self.spatial[axis]):
            return self
        is_row = len(self.spatial) == 2 and axis == 0
        if self.spatial not in ((self.h, self.w), (self.w,)) or step < 1 or not count:
            return None
        if self.spatial == (self.w,) and self.h > 1:
            return None
        pitch = self.row if is_row else self.pixel
        refs = moved(self.refs, first * pitch)
        if is_row:
            return replace(self, refs=refs, spatial=(count, self.w), h=count, row=step * pitch)
        return replace(self, refs=refs, spatial=(*self.spatial[:-1], count), w=count, pixel=step * pitch)

    def image(self) -> Planes | None:
        """The same as (batch, channels, h, w), or (batch, channels, w) with h 1; None for anything else."""
        if self.at != 2 or self.refs.ndim != 2 or self.spatial not in ((self.h, self.w), (self.w,)):
            return None
        return self if self.spatial == (self.h, self.w) or self.h == 1 else None

    @staticmethod
    def concatenate(parts: Sequence[Planes], axis: int) -> Planes | None:
        """Planes after one another; None where that is not an axis of planes, or geometries differ."""
        first = parts[0]
        same = all(
            (p.spatial, p.at, p.h, p.w, p.row, p.pixel, p.lanes, p.refs.ndim)
            == (
                first.spatial,
                first.at,
                first.h,
                first.w,
                first.row,
                first.pixel,
                first.lanes,
                first.refs.ndim,
            )
            for p in parts
        )
        if not same or first.at <= axis < first.at + len(first.spatial):
            return None
        own = axis if axis < first.at else axis - len(first.spatial)
        return replace(first, refs=np.concatenate([p.refs for p in parts], own))


class Strided(msgspec.Struct, frozen=True):
    """A tensor as NumPy would have it. ref: of its first element. strides: in elements."""

    ref: int
    dtype: np.dtype[Any]
    shape: Shape
    strides: Shape

    @classmethod
    def contiguous(cls, ref: int, dtype: Any, shape: Shape) -> Strided:
        """Row-major, without gaps."""
        strides = [1] * len(shape)
        for axis in range(len(shape) - 1, 0, -1):
            strides[axis - 1] = strides[axis] * max(shape[axis], 1)
        return cls(ref, np.dtype(dtype), tuple(shape), tuple(strides))

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def is_contiguous(self) -> bool:
        """Whether it is row-major without gaps."""
        plain = Strided.contiguous(self.ref, self.dtype, self.shape)
        pairs = zip(self.shape, self.strides, plain.strides, strict=True)
        return all(n == 1 or mine == wanted for n, mine, wanted in pairs)

    def lies_as(self, other: Strided) -> bool:
        """Whether each element is where the other has it."""
        same = (self.ref, self.dtype, self.shape) == (other.ref, other.dtype, other.shape)
        steps = zip(self.shape, self.strides, other.strides, strict=True)
        return same and all(n == 1 or mine == theirs for n, mine, theirs in steps)

    def apply(self, index: Callable[[NDArray[Any]], NDArray[Any]]) -> Strided:
        """What an operation of NumPy that makes a view does to it."""
        seen = index(as_strided(_ANCHOR, self.shape, self.strides))
        offset = seen.__array_interface__["data"][0] - _ANCHOR_ADDRESS if seen.size else 0
        ref = moved(self.ref, offset, self.dtype.itemsize)
        return replace(self, ref=ref, shape=seen.shape, strides=seen.strides)

    def refs(self) -> Ints:
        """The Ref of each element."""
        return walk(self.ref, self.shape, self.strides, self.dtype.itemsize)

    def along(self, axis: int) -> Ints:
        """The Refs of the elements along one axis that are the first along the others."""
        return replace(self, shape=(self.shape[axis],), strides=(self.strides[axis],)).refs()

    def transpose(self, order: Sequence[int]) -> Strided:
        """The axes in another order."""
        return self.apply(lambda a: a.transpose(order))

    def reshape(self, shape: Shape) -> Strided | None:
        """Other axes over the same elements in the same order; None where that needs a copy."""
        strides = _reshaped_strides(self.shape, self.strides, shape)
        return None if strides is None else replace(self, shape=tuple(shape), strides=strides)

    def index(self, axis: int, take: slice | int) -> Strided:
        """What a slice or a number keeps along one axis."""
        return self.apply(lambda a: a[(slice(None),) * axis + (take,)])

    def broadcast(self, shape: Shape) -> Strided:
        """Repeated along axes of size 1, and along new ones in front."""
        return self.apply(lambda a: np.broadcast_to(a, shape))

    def planes(self) -> Planes | None:
        """The same as planes, (…, h, w) or (…, w); None for what is not float32 or has no such axes."""
        if self.dtype != np.float32 or len(self.shape) < 3:
            return None
        spatial = 2 if len(self.shape) > 3 else 1
        lead = self.shape[:-spatial]
        refs = replace(self, shape=lead, strides=self.strides[:-spatial]).refs()
        h = self.shape[-2] if spatial == 2 else 1
        row = self.strides[-2] if spatial == 2 else self.shape[-1] * self.strides[-1]
        tail = self.shape[-spatial:]
        return Planes(refs, tail, len(lead), h, self.shape[-1], row, self.strides[-1], 0)


class Joined(msgspec.Struct, frozen=True):
    """Parts after one another along an axis, each still where it was made."""

    parts: tuple[View, ...]
    axis: int

    @property
    def shape(self) -> Shape:
        """Sizes of the whole."""
        sizes = list(self.parts[0].shape)
        sizes[self.axis] = sum(part.shape[self.axis] for part in self.parts)
        return tuple(sizes)


View = Planes | Strided | Joined


def _kept_axes(shape: Shape, start: int, stop: int, hw: Shape) -> tuple[int, int]:
    """Where pixels stand in `shape`: (h, w) as two axes if it has them at the end of the range."""
    while stop - start > 2 and shape[start] == 1:
        start += 1
    if shape[start:stop] == hw:
        return start, stop
    # Sizes of 1 beside the pixels belong to them only if h or w is 1.
    while stop - start > 1 and shape[start] == 1 and shape[start:stop] != hw:
        start += 1
    return start, stop


def _reshaped_strides(old: Shape, strides: Shape, new: Shape) -> Shape | None:
    axes = [(n, s) for n, s in zip(old, strides, strict=True) if n != 1]
    if math.prod(old) == 0:
        return Strided.contiguous(0, np.int8, new).strides
    result: list[int] = [1] * len(new)
    i = 0
    j = 0
    while i < len(axes):
        taken = [axes[i]]
        i += 1
        size, made, first = taken[0][0], 1, j
        while True:
            while made < size and j < len(new):
                made *= new[j]
                j += 1
            if made == size:
                break
            if made < size or i == len(axes):
                return None
            taken.append(axes[i])
            size *= axes[i][0]
            i += 1
        if any(a[1] != b[0] * b[1] for a, b in itertools.pairwise(taken)):
            return None
        stride = taken[-1][1]
        for k in range(j - 1, first - 1, -1):
            result[k] = stride
            stride *= new[k]
    return tuple(result)

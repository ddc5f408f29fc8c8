"""Masks: which pixels of a frame belong to each object, as crops with their place."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from edgecv.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Of an outline: the tolerance that it starts with, in pixels, which makes straight lines of the stairs of
# slanted edges; and the most rings and corners that it has.
_TOLERANCE = 1.0
_MOST_RINGS = 100
_MOST_CORNERS = 500


class Masks(msgspec.Struct, frozen=True, eq=False):
    """Of n objects the pixels that belong to them. A slice, an index array or a boolean mask picks some.

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
        self._paste(i, whole)
        return whole

    def whole(self) -> NDArray[np.bool_]:
        """Every object's pixels in the whole frame, bool (n, H, W): a byte for each pixel and object."""
        width, height = self.frame_wh
        frames = np.zeros((len(self), height, width), np.bool_)
        for i, frame in enumerate(frames):
            self._paste(i, frame)
        return frames

    def polygons(self, i: int) -> list[NDArray[np.float32]]:
        """The boundary of one object along the edges of its pixels, exactly.

        Rings of corners, float32 (m, 2), in frame pixels as pixel edges, not closed by their first corner
        again; horizontal and vertical edges take turns. Each outer ring is one part of the object, whose
        pixels touch by their edges; holes are rings too. Outer rings run clockwise on the screen and holes
        the other way, so that their areas, sum(x[j] * y[j + 1] - x[j + 1] * y[j]) / 2, are over and under 0
        and add up to the number of pixels. Rings may touch at corners and never cross: filled by the even-odd
        or the nonzero rule, they are the pixels. In the order of their topmost, then leftmost corner.
        """
        return [ring + self.corner_xy[i].astype(np.float32) for ring in _rings(self.crops[i])]

    def outline(self, i: int) -> list[NDArray[np.int64]]:
        """Polygons of bounded size, for files: int (m, 2), at most 500 corners in all.

        Rings as `polygons` has them, the 100 that enclose most. Of their corners some are left out, so that
        none of these is further than a pixel from what stays, or all of a ring stay where it would have no
        area. Where that leaves more than 500, the distance is doubled until it does not, and rings without
        an area go.
        """
        rings = self.polygons(i)
        if len(rings) > _MOST_RINGS:
            largest = np.argsort([-abs(ring_area(ring)) for ring in rings], kind="stable")[:_MOST_RINGS]
            rings = [rings[k] for k in np.sort(largest)]
        simple = [short if len(short := _simplified(r, _TOLERANCE)) > 2 else r for r in rings]
        tolerance = _TOLERANCE
        while sum(map(len, simple)) > _MOST_CORNERS:
            tolerance *= 2
            simple = [short for ring in rings if len(short := _simplified(ring, tolerance)) > 2]
        return [ring.astype(np.int64) for ring in simple]

    def rle(self, i: int) -> list[int]:
        """One object as COCO's run lengths of the whole frame, column after column.

        How many pixels are not the object's, then how many are, and so on, beginning with those that are not,
        which may be 0; they add up to W * H (https://github.com/cocodataset/cocoapi, maskApi.h).
        """
        width, height = self.frame_wh
        crop, (x, y) = self.crops[i], self.corner_xy[i].tolist()
        bordered = np.zeros((crop.shape[1], crop.shape[0] + 2), np.int8)
        bordered[:, 1:-1] = crop.T
        column, row = np.nonzero(np.diff(bordered, axis=1))
        turns = (column + x) * height + row + y
        # A run to the last row goes on in the first one of the next column: there it turns twice.
        at, times = np.unique(turns, return_counts=True)
        bounds = at[times == 1].tolist()
        runs: list[int] = np.diff([0, *bounds, width * height]).tolist()
        return runs if runs[-1] or len(runs) == 1 else runs[:-1]

    @property
    def areas(self) -> NDArray[np.int64]:
        """How many pixels each has, int64 (n,)."""
        return np.array([np.count_nonzero(crop) for crop in self.crops], np.int64)

    def overlap(self, i: int, other: Masks, j: int) -> tuple[int, int]:
        """Of one object's pixels and another's: how many both have, and how many either has.

        Raises InputError where they are not of frames of one size.
        """
        if self.frame_wh != other.frame_wh:
            raise InputError(f"masks: expected those of frames of {self.frame_wh}, got {other.frame_wh}")
        a, b = self.crops[i], other.crops[j]
        (ax, ay), (bx, by) = self.corner_xy[i].tolist(), other.corner_xy[j].tolist()
        x0, y0 = max(ax, bx), max(ay, by)
        x1, y1 = min(ax + a.shape[1], bx + b.shape[1]), min(ay + a.shape[0], by + b.shape[0])
        both = 0
        if x1 > x0 and y1 > y0:
            shared = a[y0 - ay : y1 - ay, x0 - ax : x1 - ax] & b[y0 - by : y1 - by, x0 - bx : x1 - bx]
            both = int(np.count_nonzero(shared))
        return both, int(np.count_nonzero(a) + np.count_nonzero(b)) - both

    def _paste(self, i: int, whole: NDArray[np.bool_]) -> None:
        crop, (x, y) = self.crops[i], self.corner_xy[i]
        whole[y : y + crop.shape[0], x : x + crop.shape[1]] = crop

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Masks):
            return NotImplemented
        return (
            (len(self), self.frame_wh) == (len(other), other.frame_wh)
            and np.array_equal(self.corner_xy, other.corner_xy)
            and all(np.array_equal(a, b) for a, b in zip(self.crops, other.crops, strict=True))
        )

    __hash__ = None  # type: ignore[assignment]


def ring_area(ring: NDArray[np.float32]) -> float:
    """The area inside a ring of corners (m, 2), under 0 where it runs counterclockwise on the screen."""
    x, y = ring.astype(np.float64).T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def _rings(crop: NDArray[np.bool_]) -> list[NDArray[np.float32]]:
    """The rings of a crop, in its own pixels; see `Masks.polygons`.

    Of the corners of a boundary along pixel edges, the first and the second on a line of the grid are joined,
    the third and the fourth, and so on, on horizontal lines as on vertical ones. Where two pixels touch at a
    corner only, there are two corners: which edges each has decides that the rings keep to their own pixel.
    """
    height, width = crop.shape
    bordered = np.zeros((height + 2, width + 2), np.int8)
    bordered[1:-1, 1:-1] = crop
    left_top, right_top = bordered[:-1, :-1], bordered[:-1, 1:]
    left_bottom, right_bottom = bordered[1:, :-1], bordered[1:, 1:]
    around = left_top + right_top + left_bottom + right_bottom
    diagonal = (around == 2) & (left_top == right_bottom)
    y, x = np.nonzero((around & 1).astype(np.bool_) | diagonal)
    twice = diagonal[y, x]
    corner = np.repeat(np.arange(len(x)), 1 + twice)
    x, y = x[corner], y[corner]
    # Of a doubled corner, the first has the edge to the left and the second the one to the right.
    is_second = np.zeros(len(corner), np.bool_)
    is_second[1:] = corner[1:] == corner[:-1]
    # Left top and right bottom pixel: the edges to the left and to the top are of one pixel. Otherwise those
    # to the left and to the bottom are.
    is_below = np.where(left_top[y, x] > 0, is_second, ~is_second)
    by_column = np.lexsort((is_below, y, x))
    along_row = (np.arange(len(x)) ^ 1).tolist()
    along_column = np.empty(len(x), np.intp)
    along_column[by_column] = by_column[np.arange(len(x)) ^ 1]
    return _followed(x, y, along_row, along_column.tolist(), right_bottom)


def _followed(
    x: NDArray[np.intp],
    y: NDArray[np.intp],
    along_row: list[int],
    along_column: list[int],
    right_bottom: NDArray[np.int8],
) -> list[NDArray[np.float32]]:
    """Rings of corners that are joined, each to one on its row and to one on its column."""
    corners = np.column_stack([x, y]).astype(np.float32)
    is_open = [True] * len(x)
    rings = []
    for first in range(len(x)):
        if not is_open[first]:
            continue
        at, ring = first, []
        while is_open[at]:
            beside = along_row[at]
            is_open[at] = is_open[beside] = False
            ring += [at, beside]
            at = along_column[beside]
        # The first corner is the topmost, then leftmost one: a hole has the object above it.
        is_outer = right_bottom[y[first], x[first]] > 0
        rings.append(corners[ring if is_outer else [ring[0], *ring[:0:-1]]])
    return rings


def _simplified(ring: NDArray[np.float32], tolerance: float) -> NDArray[np.float32]:
    """A ring with fewer corners, none of those left out further than the tolerance from it, pixels.

    By Douglas and Peucker (1973), between the first corner and the one that is furthest from it.
    """
    points = ring[:, 0] + 1j * ring[:, 1].astype(np.float64)
    closed = np.append(points, points[0])
    middle = int(np.argmax(np.abs(points - points[0])))
    keep = np.zeros(len(closed), np.bool_)
    keep[[0, middle]] = True
    stack = [(0, middle), (middle, len(points))]
    while stack:
        first, last = stack.pop()
        if last - first < 2:
            continue
        distance = _distances(closed[first + 1 : last], closed[first], closed[last])
        furthest = int(distance.argmax())
        if distance[furthest] > tolerance:
            at = first + 1 + furthest
            keep[at] = True
            stack += [(first, at), (at, last)]
    return ring[keep[:-1]]


def _distances(points: NDArray[np.complex128], start: complex, end: complex) -> NDArray[np.float64]:
    """From each point to the line between two others, ends included; all as complex numbers."""
    offset = points - start
    if start == end:
        return np.abs(offset)
    share = (offset / (end - start)).real
    distance: NDArray[np.float64] = np.abs(offset - share.clip(0, 1) * (end - start))
    return distance

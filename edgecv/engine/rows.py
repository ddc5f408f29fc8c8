"""What steps say of their rows: which ones a row of the output needs, and which fields cut it into chunks.

Lowering states it where it adds a step; bands read nothing else. `ext/simd/steps.h` is the native side.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec
import numpy as np

from edgecv.engine.refs import FLOAT_BYTES, Ints, address_of, storage_of, walk


class Written(msgspec.Struct, frozen=True):
    """The blocks that a step writes, pixel after pixel: [pixels][lanes] floats each.

    refs: of each. w: pixels of a row; 0 where the step knows of no rows, and any number of pixels makes one.
    pitch: the field that tells the floats from one block to the next; "" where a table names each block.
    """

    refs: Ints
    pixels: int
    w: int
    pitch: str = ""

    def fills(self, start: int, size: int, lanes: int) -> bool:
        """Whether they are all of `size` bytes from the Ref `start` on, in order."""
        block = self.pixels * lanes
        is_all = size == len(self.refs) * block * FLOAT_BYTES
        return is_all and np.array_equal(self.refs, walk(start, (len(self.refs),), (block,)))


class Needed(NamedTuple):
    """Of a map of h x w pixels, the rows from `first` to `end` for each row of a step's output."""

    h: int
    w: int
    first: Ints
    end: Ints


class Windows(msgspec.Struct, frozen=True):
    """Windows of whole rows of blocks of h x w pixels; first, end: rows for each row of the output, int64.

    besides: fields by which the step reads blocks in another way too, 0 where it does not.
    """

    h: int
    w: int
    first: Ints
    end: Ints
    besides: tuple[str, ...] = ()

    @staticmethod
    def even(rows: int, stride: int, top: int, extent: int) -> tuple[Ints, Ints]:
        """Where windows of `extent` rows begin and end: `stride` apart, the first one `top` rows above."""
        first = np.arange(rows, dtype=np.int64) * stride - top
        return first, first + extent

    def of(self, made: Written, storage: int, lanes: int) -> Needed | None:
        """What they need of blocks that fill a storage; None where those are other blocks."""
        if self.h * self.w != made.pixels or made.w not in (0, self.w):
            return None
        return Needed(self.h, self.w, np.clip(self.first, 0, self.h), np.clip(self.end, 0, self.h))


class Points(msgspec.Struct, frozen=True):
    """One pixel of every block for a pixel of the output.

    refs: of all channels' pixels for the first output. The others are `pixel` floats apart in a run of
    `pixels`, and `run` floats from one of the `runs` to the next; a lone run knows of no rows.
    base: the field with the Ref that the step counts from.
    """

    refs: Ints
    runs: int
    run: int
    pixels: int
    pixel: int
    base: str

    def of(self, made: Written, storage: int, lanes: int) -> Needed | None:
        """What they need of blocks that fill a storage; None where that is not by rows."""
        in_first_pixel = address_of(self.refs) % (made.pixels * lanes * FLOAT_BYTES) < lanes * FLOAT_BYTES
        if not (storage_of(self.refs) == storage).all() or not in_first_pixel.all() or not made.w:
            return None
        h, row = made.pixels // made.w, made.w * lanes
        if self.runs == 1:
            if self.pixel != lanes or self.pixels != made.pixels:
                return None
            first = np.arange(h)
        elif self.run % row or (self.pixels - 1) * self.pixel >= row:
            return None
        else:
            first = np.arange(self.runs) * (self.run // row)
        if h * made.w != made.pixels:
            return None
        return Needed(h, made.w, np.clip(first, 0, h), np.clip(first + 1, 0, h))


class Window(msgspec.Struct, frozen=True):
    """The rows that a chunk gathers of each plane, and the field of the table of distances among them.

    row: floats of one. For a chunk of n rows of the output there are (n - 1) stride + extent.
    """

    offsets: str
    row: int
    stride: int
    extent: int

    def moved(self, offsets: Ints, old: int, new: int) -> Ints:
        """The table of chunks of `new` rows of the output, of that of chunks of `old`."""
        was, now = (self.row * ((rows - 1) * self.stride + self.extent) for rows in (old, new))
        plane, within = np.divmod(offsets, was)
        return plane * now + within


class Cut(msgspec.Struct, frozen=True):
    """The fields that cut a step into chunks.

    whole: with which a chunk has all blocks or tiles. chunk: which tells its rows, `most` at most; its pixels
    where `is_pixels`. window: that a chunk gathers.
    """

    whole: Mapping[str, int]
    chunk: str
    most: int
    is_pixels: bool = False
    window: Window | None = None

    def fields(self, rows: int, w: int) -> dict[str, int]:
        """The fields for chunks of so many rows of w pixels."""
        return {**self.whole, self.chunk: min(rows * w if self.is_pixels else rows, self.most)}


class Rows(msgspec.Struct, frozen=True):
    """What a step says of its rows. writes, reads: None where it does not go by rows.

    others: storages that it writes, or reads in other ways than `reads`.
    """

    writes: Written | None
    reads: Windows | Points | None
    cut: Cut
    others: frozenset[int]


def of_blocks(blocks: Ints, in_hw: tuple[int, int], out_hw: tuple[int, int], first: Ints, end: Ints) -> Rows:
    """Of a step with a table of blocks (n, 2), read and written, and the fields chunk_blocks and chunk_rows.

    first, end: the rows of the input for each row of the output.
    """
    (h, w), made = out_hw, blocks[:, 1]
    return Rows(
        writes=Written(made, h * w, w),
        reads=Windows(*in_hw, first, end),
        cut=Cut({"chunk_blocks": len(blocks)}, "chunk_rows", h),
        others=frozenset(storage_of(made).tolist()),
    )

"""Weights of convolutions packed tile by tile, and the steps that run them.

A tile is up to four blocks of output channels that share a list of taps. Dense, grouped and transposed
convolutions and products of matrices differ only in their lists.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np

from edgecv.engine.lower.base import MIN_CHUNK_WORK, Array, Lowering, Tensor, choice
from edgecv.engine.program import Ref, Storage
from edgecv.engine.refs import FLOAT_BYTES, Ints, in_lanes, moved, storage_of, walk
from edgecv.engine.rows import Cut, Points, Rows, Window, Windows, Written
from edgecv.engine.views import Planes, Strided

# The rows that a chunk gathers should stay in the second cache beside the weights.
MAX_WINDOW_BYTES = 512 * 1024
# Gathering costs as much for each block of inputs, however many outputs are made of it: with more blocks of
# outputs, and with short rows, it is cheaper than tiles cut at the edges.
MAX_INNER_BLOCKS = 2
MIN_INNER_PIXELS = 24

# What a step without a window, or whose window has no inner outputs, leaves at 0.
_INNER_FIELDS = ("inner", "inner_run", "inner_runs", "inner_pixel", "inner_pixels")
_WINDOW_FIELDS = (
    *("planes", "n_planes", "plane_lanes", "in_h", "in_w", "plane_row"),
    *("pad_top", "pad_left", "window_w", "stride_y", "extent_y"),
    *_INNER_FIELDS,
)

Weights = Array | Strided


class Epilogue(msgspec.Struct, frozen=True):
    """What follows the sum: a residual, an activation."""

    activation: str = "none"
    alpha: float = 0.0
    beta: float = 0.0
    residual: Tensor | None = None


class Tile(msgspec.Struct, frozen=True):
    """first: its first output block. channels: of the input, each with all taps, in the order of weights."""

    first: int
    blocks: int
    channels: Ints


class Packed(msgspec.Struct, frozen=True):
    """Weights and bias of a convolution. where: the number of each output channel's lane among all blocks'.

    products: multiplications for one pixel of all outputs, padded lanes and zeros between groups not counted.
    is_paired: taps go in pairs, as `ext/simd/ops.h` has it; blocks of tiles are halves of output blocks then.
    columns: neighboring taps of a row that go together.
    """

    tiles: tuple[Tile, ...]
    taps: int
    weights: Storage
    starts: tuple[int, ...]  # each tile's first weight, floats
    bias: Storage
    where: Ints
    products: int
    is_paired: bool = False
    columns: int = 1

    @property
    def blocks(self) -> int:
        """Output blocks of all tiles."""
        vectors = sum(tile.blocks for tile in self.tiles)
        return -(-vectors // 2) if self.is_paired else vectors

    @property
    def work(self) -> int:
        """Multiplications of vectors for one pixel of all outputs."""
        return sum(tile.blocks * len(tile.channels) for tile in self.tiles) * self.taps


def pack(lowering: Lowering, weights: Weights, bias: Weights | None, group: int, name: str) -> Packed:
    """Pack weights (outputs, inputs of a group, taps y, taps x) and a bias (outputs,).

    Weights that are known are constants of the program; others are packed again in every run.
    """
    lanes = lowering.lanes
    outputs, inputs = weights.shape[:2]
    each = outputs // group
    # Groups that fill only part of a vector go together; the weights between them are zeros.
    together = min(max(lanes // each, 1), group) if lanes % each == 0 else 1
    taps = math.prod(weights.shape[2:])
    tiles: list[Tile] = []
    starts: list[int] = []
    parts: list[tuple[slice, int, int, int]] = []  # outputs, first float, row, column of a tile
    pitches: list[int] = []
    where = np.empty(outputs, np.int64)
    block = size = 0
    for first in range(0, group, together):
        groups = range(first, min(first + together, group))
        channels = np.arange(first * inputs, groups.stop * inputs, dtype=np.int64)
        done, count = groups.start * each, len(groups) * each
        where[done : done + count] = block * lanes + np.arange(count)
        blocks = -(-count // lanes)
        for run in _balanced(blocks, lowering.program.facts.tile_blocks):
            width = min(run * lanes, count)
            tiles.append(Tile(block, run, channels))
            starts.append(size)
            for g in groups:
                low = max(g * each, done)
                high = min((g + 1) * each, done + width)
                if low < high:
                    parts.append((slice(low, high), size, (g - first) * inputs, low - done))
                    pitches.append(run * lanes)
            size += len(channels) * taps * run * lanes
            block += run
            done, count = done + width, count - width
    storage = _fill_weights(lowering, weights, parts, pitches, size, name)
    return Packed(
        tuple(tiles),
        taps,
        storage,
        tuple(starts),
        _fill_bias(lowering, bias, where, block, name),
        where,
        outputs * inputs * taps,
    )


def _balanced(blocks: int, most: int) -> list[int]:
    count = -(-blocks // most)
    return [blocks * (i + 1) // count - blocks * i // count for i in range(count)]


def _fill_weights(
    lowering: Lowering,
    weights: Weights,
    parts: Sequence[tuple[slice, int, int, int]],
    pitches: Sequence[int],
    size: int,
    name: str,
) -> Storage:
    inputs, ny, nx = weights.shape[1:]
    if isinstance(weights, Strided):
        storage = lowering.program.state(size * FLOAT_BYTES, f"{name} (packed)")
        for (outs, start, row, column), pitch in zip(parts, pitches, strict=True):
            view = weights.apply(_rows_of(outs))
            first = moved(storage.ref, start + row * ny * nx * pitch + column)
            strides = (ny * nx * pitch, nx * pitch, pitch, 1)
            lowering.copy(view, Strided(first, view.dtype, view.shape, strides), f"{name} (pack)")
        return storage
    packed = np.zeros(size, np.float32)
    for (outs, start, row, column), pitch in zip(parts, pitches, strict=True):
        rows = inputs * ny * nx
        first = start + row * ny * nx * pitch
        matrix = packed[first : first + rows * pitch].reshape(rows, pitch)
        count = outs.stop - outs.start
        matrix[:, column : column + count] = weights[outs].reshape(count, rows).T
    return lowering.program.packed(packed, f"{name} (packed)")


def _rows_of(outs: slice) -> Callable[[Array], Array]:
    return lambda a: a[outs].transpose(1, 2, 3, 0)


def _fill_bias(lowering: Lowering, bias: Weights | None, where: Ints, blocks: int, name: str) -> Storage:
    size = blocks * lowering.lanes
    if not isinstance(bias, Strided):
        packed = np.zeros(size, np.float32)
        if bias is not None:
            packed[where] = bias
        return lowering.program.constant(packed, f"{name} (bias)")
    storage = lowering.program.state(size * FLOAT_BYTES, f"{name} (bias)")
    # Runs of outputs that are neighbors in the blocks too.
    edges = [0, *(np.flatnonzero(np.diff(where) != 1) + 1).tolist(), len(where)]
    for low, high in itertools.pairwise(edges):
        target = Strided(moved(storage.ref, int(where[low])), bias.dtype, (high - low,), (1,))
        lowering.copy(bias.index(0, slice(low, high)), target, f"{name} (bias)")
    return storage


class Grid(msgspec.Struct, frozen=True):
    """Where outputs find their inputs.

    Output (y, x) has its origin at pixel (y stride - top, x stride - left), its taps at rows `ys` and columns
    `xs` from there.
    """

    out_h: int
    out_w: int
    stride_y: int
    stride_x: int
    top: int
    left: int
    ys: tuple[int, ...]
    xs: tuple[int, ...]

    def reaches_out(self, h: int, w: int) -> bool:
        """Whether any tap of any output lies outside of h x w pixels."""
        if not self.ys or not self.xs:
            return False
        return self.inside(h, w) != (range(self.out_h), range(self.out_w))

    def inside(self, h: int, w: int) -> tuple[range, range]:
        """The rows and the columns of outputs all of whose taps lie within h x w pixels."""
        return (
            _inside(self.out_h, self.stride_y, min(self.ys) - self.top, max(self.ys) - self.top, h),
            _inside(self.out_w, self.stride_x, min(self.xs) - self.left, max(self.xs) - self.left, w),
        )


def _inside(outputs: int, stride: int, first: int, last: int, size: int) -> range:
    """The outputs o for which o stride + first and o stride + last lie in [0, size)."""
    low = max(-(first // stride), 0)
    return range(low, max(min((size - 1 - last) // stride + 1, outputs), low))


class Target(msgspec.Struct, frozen=True):
    """Where results go: the Ref of output (0, 0) in block 0, and distances in floats."""

    start: int
    pixel: int
    row: int
    block: int


class Sums(msgspec.Struct, frozen=True):
    """What a step makes, wherever it reads. label: for people. residual: its Ref, or 0."""

    label: str
    packed: Packed
    target: Target
    epilogue: Epilogue
    residual: int = 0


def convolve(lowering: Lowering, image: Planes, refs: Ints, grid: Grid, sums: Sums) -> None:
    """The step for one image. refs: of its channels."""
    if grid.reaches_out(image.h, image.w):
        _windowed(lowering, image, refs, grid, sums)
        return
    taps, tiles = _taps_of(image, refs, grid, sums.packed, 0, 0)
    base, offsets = lowering.program.distances(taps)
    x_row = grid.stride_y * image.row
    x_pixel = grid.stride_x * image.pixel
    is_one_run = x_row == grid.out_w * x_pixel and sums.target.row == grid.out_w * sums.target.pixel
    run_step(
        lowering,
        sums,
        tiles,
        offsets,
        x=base,
        runs=1 if is_one_run else grid.out_h,
        pixels=grid.out_h * grid.out_w if is_one_run else grid.out_w,
        x_pixel=x_pixel,
        x_run=x_row,
    )


def _windowed(lowering: Lowering, image: Planes, refs: Ints, grid: Grid, sums: Sums) -> None:
    width = image.lanes or 1
    starts, lane_of = in_lanes(refs, width)
    planes, plane_of = np.unique(starts, return_inverse=True)
    top, left = grid.top - min(grid.ys), grid.left - min(grid.xs)
    ys, xs = np.array(grid.ys) - min(grid.ys), np.array(grid.xs) - min(grid.xs)
    extent_y, extent_x = int(ys.max()) + 1, int(xs.max()) + 1
    window_w = (grid.out_w - 1) * grid.stride_x + extent_x
    row_bytes = len(planes) * window_w * width * FLOAT_BYTES

    def window_rows(runs: int) -> int:
        return (runs - 1) * grid.stride_y + extent_y

    runs = grid.out_h
    runs = lowering.chunk(runs, grid.out_w * sums.packed.work)
    while runs > 1 and window_rows(runs) * row_bytes > MAX_WINDOW_BYTES:
        runs = -(-runs // 2)
    rows = window_rows(runs)
    dy, dx = np.meshgrid(ys, xs[:: sums.packed.columns], indexing="ij")
    within = ((dy * window_w + dx) * width).reshape(-1)

    def offsets_of(channels: Ints) -> Ints:
        first = plane_of.reshape(-1)[channels] * rows * window_w * width + lane_of[channels]
        found: Ints = (first[:, None] + within).reshape(-1)
        return found

    table, tiles = _lists(sums.packed, offsets_of)
    x, inner = _inner(lowering, image, refs, grid, sums.packed)
    is_by_rows = width == lowering.lanes and image.row == image.w * width and grid.out_h > 1
    first, end = Windows.even(grid.out_h, grid.stride_y, top, extent_y)
    run_step(
        lowering,
        sums,
        tiles,
        Ref(lowering.program.constant(table.astype(np.int32)).ref),
        x=x,
        runs=grid.out_h,
        pixels=grid.out_w,
        x_pixel=grid.stride_x * width,
        x_run=grid.stride_y * window_w * width,
        chunk_runs=runs,
        reads=Windows(image.h, image.w, first, end, ("x", *_INNER_FIELDS)) if is_by_rows else None,
        gathered=Window("offsets", window_w * width, grid.stride_y, extent_y),
        planes=lowering.program.refs(planes),
        n_planes=len(planes),
        plane_lanes=width,
        in_h=image.h,
        in_w=image.w,
        plane_row=image.row,
        pad_top=top,
        pad_left=left,
        window_w=window_w,
        stride_y=grid.stride_y,
        extent_y=extent_y,
        **inner,
    )


def _inner(
    lowering: Lowering, image: Planes, refs: Ints, grid: Grid, packed: Packed
) -> tuple[Ref, dict[str, int | Ref]]:
    """Where the outputs that need no padding read the image itself, and which they are, if it pays."""
    rows, columns = grid.inside(image.h, image.w)
    is_worth = packed.blocks <= MAX_INNER_BLOCKS and len(columns) >= MIN_INNER_PIXELS
    if not is_worth or not rows:
        return Ref(), {}
    taps, _ = _taps_of(image, refs, grid, packed, rows.start, columns.start)
    x, offsets = lowering.program.distances(taps)
    return x, {
        "inner": offsets,
        "inner_run": rows.start,
        "inner_runs": len(rows),
        "inner_pixel": columns.start,
        "inner_pixels": len(columns),
    }


def run_step(
    lowering: Lowering,
    sums: Sums,
    tiles: Sequence[tuple[int, int, int, int]],
    offsets: Ref,
    *,
    x: Ref,
    runs: int,
    pixels: int,
    x_pixel: int,
    x_run: int,
    chunk_runs: int | None = None,
    reads: Windows | Points | None = None,
    gathered: Window | None = None,
    **window: Any,
) -> None:
    """Append a step `conv`. Without `window` it reads its input where it lies."""
    fields: dict[str, Any] = dict.fromkeys(_WINDOW_FIELDS, 0)
    fields.update(window)
    packed, target, epilogue = sums.packed, sums.target, sums.epilogue
    chunk_tiles, chunk_pixels = len(tiles), pixels
    if chunk_runs is None:
        chunk_tiles, chunk_runs, chunk_pixels = _cut(lowering, packed, runs, pixels)
    if offsets.table is not None:
        reads = Points(offsets.table.refs, runs, x_run, pixels, x_pixel, "x")
    lowering.program.add(
        "conv",
        sums.label,
        Rows(
            writes=_written(sums, runs, pixels, lowering.lanes, gathered is not None),
            reads=reads,
            cut=Cut({"chunk_tiles": len(tiles)}, "chunk_runs", runs, window=gathered)
            if runs > 1
            else Cut({"chunk_tiles": len(tiles)}, "chunk_pixels", pixels, is_pixels=True),
            others=frozenset({storage_of(target.start), storage_of(sums.residual)}),
        ),
        x=x,
        weights=packed.weights,
        bias=packed.bias,
        residual=Ref(sums.residual),
        y=Ref(target.start),
        tiles=lowering.integers(tiles),
        n_tiles=len(tiles),
        offsets=offsets,
        n_offsets=max((t[1] + t[2] for t in tiles), default=0),
        pixels=pixels,
        runs=runs,
        x_pixel=x_pixel,
        x_run=x_run,
        y_pixel=target.pixel,
        y_run=target.row,
        y_block=target.block,
        paired=int(packed.is_paired),
        activation=choice("activation", epilogue.activation),
        alpha=float(epilogue.alpha),
        beta=float(epilogue.beta),
        chunk_runs=chunk_runs,
        chunk_pixels=chunk_pixels,
        chunk_tiles=chunk_tiles,
        flops=2.0 * packed.products * runs * pixels,
        **fields,
    )


def _written(sums: Sums, runs: int, pixels: int, lanes: int, is_gathered: bool) -> Written | None:
    """The blocks of results; None where a residual lies as they do, or they are not written row by row."""
    target = sums.target
    is_dense = target.pixel == lanes and target.block == runs * pixels * lanes
    is_by_rows = target.row == pixels * lanes if runs > 1 else not is_gathered
    if sums.residual or not is_dense or not is_by_rows:
        return None
    blocks = walk(target.start, (sums.packed.blocks,), (target.block,))
    return Written(blocks, runs * pixels, pixels if runs > 1 else 0, "y_block")


def _cut(lowering: Lowering, packed: Packed, runs: int, pixels: int) -> tuple[int, int, int]:
    """Tiles, runs and pixels of a chunk.

    Threads that share the tiles each read all of the input; those that share the pixels, all of the weights.
    Whichever is less is read more often.
    """
    tiles = len(packed.tiles)
    if lowering.threads == 1:
        return tiles, runs, pixels
    work = float(runs * pixels * packed.work)
    pieces = max(min(work / MIN_CHUNK_WORK, 4.0 * lowering.threads), 1.0)
    channels = len(np.unique(np.concatenate([tile.channels for tile in packed.tiles])))
    is_by_tiles = packed.weights.bytes > channels * runs * pixels * FLOAT_BYTES
    chunk_tiles = math.ceil(tiles / min(pieces, tiles)) if is_by_tiles else tiles
    pieces = math.ceil(pieces / math.ceil(tiles / chunk_tiles))
    if runs > 1:
        return chunk_tiles, math.ceil(runs / min(pieces, runs)), pixels
    # Chunks are cut into whole tiles.
    whole = lowering.program.facts.tile_pixels[max(tile.blocks for tile in packed.tiles) - 1]
    return chunk_tiles, runs, min(math.ceil(pixels / pieces / whole) * whole, pixels)


def _taps_of(
    image: Planes, refs: Ints, grid: Grid, packed: Packed, row: int, column: int
) -> tuple[Ints, list[tuple[int, int, int, int]]]:
    """The Refs of all taps of one output, and the rows of the table of tiles."""
    ys = [y + row * grid.stride_y - grid.top for y in grid.ys]
    xs = [x + column * grid.stride_x - grid.left for x in grid.xs[:: packed.columns]]
    return _lists(packed, lambda channels: image.pixels(refs[channels], ys, xs).reshape(-1))


def _lists(
    packed: Packed, offsets_of: Callable[[Ints], Ints]
) -> tuple[Ints, list[tuple[int, int, int, int]]]:
    """All offsets, and the rows of the table of tiles; tiles of the same channels share their list."""
    known: dict[bytes, tuple[int, int]] = {}
    lists: list[Ints] = []
    tiles: list[tuple[int, int, int, int]] = []
    end = 0
    for tile, start in zip(packed.tiles, packed.starts, strict=True):
        key = tile.channels.tobytes()
        if key not in known:
            offsets = offsets_of(tile.channels)
            known[key] = (end, len(offsets))
            lists.append(offsets)
            end += len(offsets)
        first, taps = known[key]
        tiles.append((tile.blocks, taps, first, start))
    return (np.concatenate(lists) if lists else np.zeros(0, np.int64)), tiles


def known_or_strided(lowering: Lowering, tensor: Tensor | None) -> Weights | None:
    """An operand as an array where it is known, else with strides."""
    if tensor is None:
        return None
    return tensor.constant if tensor.constant is not None else lowering.as_strided(tensor)

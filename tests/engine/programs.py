"""Programs that the tests of the runtime share."""

from __future__ import annotations

import numpy as np

from edgecv import _isa
from tests.kernels.simd_program import Array, Program

# Every x86 and every ARM CPU that edgecv supports can run it.
LOWEST_ISA = _isa.built()[0]


def copies(steps: int, rows: int = 1, columns: int = 1, chunk_rows: int = 1) -> tuple[Program, Array]:
    """float32 (rows, columns) copied `steps` times from the input to the output, and that input."""
    array = np.arange(rows * columns, dtype=np.float32).reshape(rows, columns)
    program = Program(LOWEST_ISA)
    x, y = program.input(array), program.output(array.shape)
    fields = {
        "size": 4,
        "rank": 2,
        "shape": program.constant(np.array([rows, columns])),
        "strides": program.constant(np.array([[columns, 1], [columns, 1]])),
        "chunk_outer": chunk_rows,
    }
    for i in range(steps):
        program.step("copy", f"copy{i}", x=x, y=y, **fields)
    return program, array


def doubled(array: Array) -> Program:
    """y = a + a of a float32 vector, one element a chunk."""
    program = Program(LOWEST_ISA)
    a, y = program.input(array), program.output(array.shape)
    shape, strides = np.array(array.shape), np.array([[1], [1], [0], [1]])
    program.step(
        "map_nd", "double", a=a, b=a, y=y, op="add", dtype="f32", y_dtype="f32", rank=1, shape=shape,
        strides=strides, chunk_outer=1,
    )  # fmt: skip
    return program


def taken(indices: Array, n: int = 4) -> Program:
    """Elements of 0..n-1 at int64 indices of the input."""
    program = Program(LOWEST_ISA)
    x = program.constant(np.arange(n, dtype=np.float32))
    places = program.input(indices)
    y = program.output(indices.shape)
    program.step(
        "gather_nd", "take", x=x, indices=places, y=y, kind="take", size=4, index_dtype="i64", outer=1,
        axis=n, inner=1, n=indices.size,
    )  # fmt: skip
    return program


def network(isa: str) -> Program:
    """A little network, on blocked storage and on plain: a step of each kind, in many small chunks.

    20 channels of 9 x 11 pixels -> a 1x1 convolution to 24 -> depthwise 3x3 -> a residual -> rows of pixels
    -> their squares, softmax and means.
    """
    rng = np.random.default_rng(7)
    channels, out_channels, h, w = 20, 24, 9, 11
    pixels = h * w
    program = Program(isa)
    lanes = program.lanes
    blocks, out_blocks = -(-channels // lanes), -(-out_channels // lanes)
    block = pixels * lanes  # floats of one
    x = program.input(rng.standard_normal((channels, h, w), np.float32))
    softmax, means = program.output((pixels, out_channels)), program.output((pixels,))
    blocked = program.arena(4 * blocks * block)
    convolved, filtered, added = [program.arena(4 * out_blocks * block) for _ in range(3)]
    planes, rows, squares = [program.arena(4 * out_channels * pixels) for _ in range(3)]

    def lane(base: int, channel: int) -> int:
        return base + 4 * (channel // lanes * block + channel % lanes)

    def some(*shape: int) -> Array:
        return rng.standard_normal(shape, np.float32) / np.float32(4)

    def places_of(*bases: int) -> Array:
        return np.array([[base + 4 * i * block for base in bases] for i in range(out_blocks)])

    program.step(
        "planes", places=np.array([[x + 4 * c * pixels, lane(blocked, c)] for c in range(channels)]),
        n_places=channels, h=h, w=w, x_row=w, x_pixel=1, y_row=w * lanes, y_pixel=lanes, chunk_places=3,
    )  # fmt: skip
    tiles = [[min(2, out_blocks - i), channels, 0, i * lanes * channels] for i in range(0, out_blocks, 2)]
    program.step(
        "conv", x=blocked, y=convolved, weights=some(channels * out_blocks * lanes),
        bias=some(out_blocks, lanes), tiles=np.array(tiles), n_tiles=len(tiles), n_offsets=channels,
        offsets=np.array([lane(0, c) // 4 for c in range(channels)], np.int32), pixels=pixels, runs=1,
        x_pixel=lanes, y_pixel=lanes, y_block=block, activation="silu", chunk_runs=1, chunk_pixels=13,
        chunk_tiles=1,
    )  # fmt: skip
    program.step(
        "depthwise", blocks=places_of(convolved, filtered), n_blocks=out_blocks,
        weights=some(out_blocks, 9, lanes), bias=some(out_blocks, lanes), kernel_h=3, kernel_w=3, stride_y=1,
        stride_x=1, dilation_y=1, dilation_x=1, pad_top=1, pad_left=1, in_h=h, in_w=w, out_h=h, out_w=w,
        chunk_blocks=1, chunk_rows=2,
    )  # fmt: skip
    program.step(
        "map", operands=places_of(convolved, filtered, 0, added) * np.array([1, 1, 0, 1]),
        n_blocks=out_blocks, pixels=pixels, op="add", a_pixel=lanes, b_pixel=lanes, activation="sigmoid",
        chunk_blocks=1,
    )  # fmt: skip
    program.step(
        "planes", places=np.array([[lane(added, c), planes + 4 * c * pixels] for c in range(out_channels)]),
        n_places=out_channels, h=h, w=w, x_row=w * lanes, x_pixel=lanes, y_row=w, y_pixel=1, chunk_places=1,
    )  # fmt: skip
    shape, flat = program.constant(np.array([pixels, out_channels])), [out_channels, 1]
    program.step(
        "copy", x=planes, y=rows, size=4, rank=2, shape=shape, strides=np.array([[1, pixels], flat]),
        chunk_outer=10,
    )  # fmt: skip
    program.step(
        "map_nd", a=rows, b=rows, y=squares, op="mul", dtype="f32", y_dtype="f32", rank=2, shape=shape,
        strides=np.array([flat, flat, [0, 0], flat]), chunk_outer=7,
    )  # fmt: skip
    program.step(
        "softmax_nd", x=squares, y=softmax, kind="softmax", rank=2, shape=shape,
        strides=np.array([flat, flat]), chunk_outer=5,
    )  # fmt: skip
    program.step(
        "reduce_nd", x=squares, y=means, kind="mean", dtype="f32", rank=2, kept=1, shape=shape,
        strides=np.array([flat, [1, 0]]), chunk_outer=3,
    )  # fmt: skip
    return program

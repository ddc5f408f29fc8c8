"""Operands of strided steps: NumPy views, and how a program names them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tests.kernels.simd_program import Program

Array = NDArray[Any]
Shape = tuple[int, ...]

NAMES = {
    "f32": np.float32,
    "f64": np.float64,
    "f16": np.float16,
    "i8": np.int8,
    "i16": np.int16,
    "i32": np.int32,
    "i64": np.int64,
    "u8": np.uint8,
    "u16": np.uint16,
    "u32": np.uint32,
    "u64": np.uint64,
    "boolean": np.bool_,
}
INTEGERS = [name for name in NAMES if name[0] in "iu"]
FLOATS = ["f16", "f32", "f64"]


def element_strides(view: Array) -> list[int]:
    """Strides in elements."""
    return [stride // view.itemsize for stride in view.strides]


def offset_of(view: Array, base: Array) -> int:
    """Bytes from the first byte of base to the first element of its view."""
    return view.ctypes.data - base.ctypes.data if view.size else 0


def layout(
    rng: np.random.Generator, shape: Shape, dtype: DTypeLike, *, broadcast: bool = False
) -> tuple[Array, Array]:
    """Zeros, C-contiguous, and a view of `shape` into them.

    Its axes come in any order, some walked backwards or in steps; broadcast: some repeated.
    """
    rank = len(shape)
    order = rng.permutation(rank)
    steps = rng.choice([1, 1, 1, 2, -1], size=rank)
    repeated = rng.random(rank) < (0.3 if broadcast else 0.0)
    sides = [1 if repeated[axis] else shape[axis] for axis in order]
    room = [
        side * abs(int(steps[axis])) + int(rng.integers(0, 2))
        for side, axis in zip(sides, order, strict=True)
    ]
    base = np.zeros(room, dtype)
    # The ellipsis keeps an array of rank 0 one.
    ends: list[Any] = [slice(side * abs(int(steps[axis]))) for side, axis in zip(sides, order, strict=True)]
    walks: list[Any] = [slice(None, None, int(steps[axis])) for axis in order]
    walked = base[(*ends, ...)][(*walks, ...)]
    return base, np.broadcast_to(walked.transpose(np.argsort(order)), shape)


def filled(rng: np.random.Generator, shape: Shape, values: Array, **options: bool) -> tuple[Array, Array]:
    """The same with each place of the base one of `values`."""
    base, view = layout(rng, shape, values.dtype, **options)
    base[...] = rng.choice(values, size=base.shape)
    return base, view


def read(program: Program, base: Array, view: Array) -> int:
    """Ref of a view of an input."""
    return program.input(base) + offset_of(view, base)


def write(program: Program, base: Array, view: Array) -> int:
    """Ref of a view of an output."""
    return program.output(base.shape, base.dtype) + offset_of(view, base)


def fill_of(shape: Shape, dtype: DTypeLike) -> Array:
    """What an output holds where nobody wrote."""
    count = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.full(count, 0xFF, np.uint8).view(dtype).reshape(shape)


def axes(shape: Shape, *views: Array) -> dict[str, Any]:
    """The fields that tell the axes of a step; of an operand that it does not take, no strides."""
    strides = [element_strides(view) if view is not None else [0] * len(shape) for view in views]
    return {
        "rank": len(shape),
        "shape": np.array(shape, np.int64),
        "strides": np.array(strides, np.int64).reshape(-1),
    }


def mapped(
    isa: str,
    rng: np.random.Generator,
    op: str,
    operands: list[tuple[Array, Array]],
    y_dtype: str,
    *,
    chunk_outer: int = 3,
    activation: str = "none",
    alpha: float = 0.0,
    beta: float = 0.0,
    dtype: str = "",
    threads: int = 1,
    y: tuple[Array, Array] | None = None,
) -> Array:
    """The result, in an output of any layout; nothing else of it is written."""
    shape = operands[0][1].shape
    program = Program(isa)
    refs = [program.input(base) + offset_of(view, base) for base, view in operands]
    base, view = y or layout(rng, shape, NAMES[y_dtype])
    views = [view for _, view in operands]
    views += [views[-1]] * (3 - len(views))
    names = {np.dtype(numpy_dtype): name for name, numpy_dtype in NAMES.items()}
    program.step(
        "map_nd",
        **dict(zip("abc", refs, strict=False)),
        y=write(program, base, view),
        op=op,
        dtype=dtype or names[operands[-1][0].dtype],
        y_dtype=y_dtype,
        activation=activation,
        alpha=alpha,
        beta=beta,
        chunk_outer=chunk_outer,
        **axes(shape, *views, view),
    )
    (got,) = program.run(threads)
    # The view of what came back, whatever of the base it shows.
    result = np.ndarray(shape, base.dtype, got, offset_of(view, base), view.strides)
    values = result.copy()
    around = fill_of(base.shape, base.dtype)
    if base.size:
        np.ndarray(shape, base.dtype, around, offset_of(view, base), view.strides)[...] = values
        assert around.tobytes() == got.tobytes(), "written where no element of the result lies"
    return values


def wrapped(values: Array, dtype: str) -> Array:
    """Python's integers, cut to the bits of a dtype."""
    bits = np.dtype(NAMES[dtype]).itemsize * 8
    unsigned = np.array([int(value) % 2**bits for value in values.flat], np.uint64)
    return unsigned.astype(f"u{bits // 8}").view(NAMES[dtype]).reshape(values.shape)


def integers(rng: np.random.Generator, dtype: str) -> Array:
    """Small ones, the least and the largest."""
    info = np.iinfo(NAMES[dtype])
    small = rng.integers(max(info.min, -9), 9, 60)
    return np.concatenate(
        [small.astype(NAMES[dtype]), np.array([info.min, info.max, info.max - 1], NAMES[dtype])]
    )

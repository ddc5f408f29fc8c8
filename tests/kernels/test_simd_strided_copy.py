"""The copies of ext/simd on every ISA, against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecv import _simd
from edgecv.errors import ModelFileError
from tests.kernels.simd_program import Program, each_isa, ref
from tests.kernels.strided_operands import axes, fill_of, filled, layout, read, write

Array = NDArray[Any]
DTYPES = {1: np.uint8, 2: np.uint16, 4: np.float32, 8: np.uint64}


def any_bits(rng: np.random.Generator, size: int) -> Array:
    """Values of `size` bytes, some of them NaN where they are floats."""
    return rng.integers(0, 256, 4096 * size, np.uint8).view(DTYPES[size])


def copied(
    isa: str, x: tuple[Array, Array], y: tuple[Array, Array], chunk_outer: int, threads: int = 1
) -> None:
    """Copy a view to a view; everything else stays."""
    program = Program(isa)
    source = read(program, *x)
    program.step(
        "copy",
        x=source,
        y=write(program, *y),
        size=x[1].itemsize,
        chunk_outer=chunk_outer,
        **axes(x[1].shape, x[1], y[1]),
    )
    (got,) = program.run(threads)
    base, view = y
    base[...] = fill_of(base.shape, base.dtype)
    view[...] = x[1]
    assert got.tobytes() == base.tobytes()


def output(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> tuple[Array, Array]:
    base, view = layout(rng, shape, dtype)
    view.flags.writeable = True
    return base, view


@each_isa
@pytest.mark.parametrize("size", DTYPES)
def test_transpositions(isa: str, size: int) -> None:
    """Of every side around the lane count."""
    rng = np.random.default_rng(size)
    lanes = _simd.lanes(isa)
    for rows in (1, 2, 3, 4, 5, lanes - 1, lanes, lanes + 1, 3 * lanes + 2):
        for columns in (1, 2, 3, 4, 7, lanes, 2 * lanes + 3):
            x = np.resize(any_bits(rng, size), (2, rows, columns))
            y = np.zeros((2, columns, rows), x.dtype)
            copied(isa, (x, x), (y, y.transpose(0, 2, 1)), 1)


@each_isa
@pytest.mark.parametrize("size", DTYPES)
def test_runs_and_repeated_elements(isa: str, size: int) -> None:
    rng = np.random.default_rng(size)
    for n in (1, 2, 3, 5, 8, 15, 16, 17, 33, 64, 130, 1000):
        x = np.resize(any_bits(rng, size), (7, n))
        y = np.zeros((7, n + 3), x.dtype)
        copied(isa, (x, x), (y, y[:, :n]), 3)
        repeated = np.broadcast_to(x[:, :1], (7, n))
        copied(isa, (x, repeated), (y, y[:, :n]), 2)


@each_isa
@pytest.mark.parametrize("seed", range(25))
def test_any_layout(isa: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for size in DTYPES:
        rank = int(rng.integers(0, 9))
        sides = [1, 2, 3, 4] if rank > 4 else [1, 2, 3, 4, 9, 17, 21]
        shape = tuple(int(side) for side in rng.choice(sides, rank))
        x = filled(rng, shape, any_bits(rng, size), broadcast=True)
        y = output(rng, shape, x[0].dtype)
        copied(isa, x, y, int(rng.integers(1, 5)), threads=1 + seed % 2)


@each_isa
@pytest.mark.parametrize("shape", [(0,), (3, 0, 2), (0, 5)], ids=str)
def test_nothing_to_copy(isa: str, shape: tuple[int, ...]) -> None:
    x, y = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for threads in (1, 2):
        copied(isa, (x, x), (y, y), 1, threads)


SOUND: dict[str, Any] = {
    "size": 4,
    "rank": 2,
    "shape": np.array([3, 4]),
    "strides": np.array([4, 1, 4, 1]),
    "chunk_outer": 1,
}
HUGE = 2**62


@each_isa
@pytest.mark.parametrize(
    "change",
    [
        {"size": 3},
        {"size": 0},
        {"rank": 9},
        {"rank": -1},
        {"rank": 2**40},
        {"chunk_outer": 0},
        {"chunk_outer": -1},
        {"shape": np.array([3, 5])},
        {"shape": np.array([4, 4])},
        {"shape": np.array([-1, 4])},
        {"shape": np.array([HUGE, HUGE])},
        {"shape": np.array([2**32, 2**32])},
        {"strides": np.array([4, 1, 5, 1])},
        {"strides": np.array([4, 2, 4, 1])},
        {"strides": np.array([-4, 1, 4, 1])},
        {"strides": np.array([HUGE, 1, 4, 1])},
        {"strides": np.array([-(2**63), 1, 4, 1])},
        {"strides": np.array([4, 1, 0, 1])},  # rows of y on each other
        {"strides": np.array([4, 1, 1, 1])},
        {"shape": 0},
        {"strides": ref(5)},
        {"x": -1},
        {"x": ref(9)},
        {"x": 1},
        {"x": ref(9), "shape": np.array([3, 0])},
        {"y": ref(9), "shape": np.array([3, 0])},
        {"y": ref(4)},  # an input
        {"y": 2},
    ],
    ids=str,
)
def test_unsound_steps_are_refused(isa: str, change: dict[str, Any]) -> None:
    program = Program(isa)
    x = program.input(np.zeros((3, 4), np.float32))
    y = program.output((3, 4))
    places = {"x": x, "y": y}
    for name, place in places.items():
        if name in change and 0 < change[name] < 64:
            change = change | {name: place + change[name]}
    program.step("copy", **(places | SOUND | change))
    with pytest.raises(ModelFileError, match="step 0"):
        program.plan()


@each_isa
def test_axes_of_one_entry_have_any_stride(isa: str) -> None:
    program = Program(isa)
    x = program.input(np.arange(4, dtype=np.float32))
    y = program.output((4,))
    program.step(
        "copy",
        x=x,
        y=y,
        size=4,
        rank=2,
        shape=np.array([1, 4]),
        strides=np.array([-(2**63), 1, 2**63 - 1, 1]),
        chunk_outer=5,
    )
    np.testing.assert_array_equal(program.run()[0], np.arange(4))


@each_isa
def test_of_rank_0_the_tables_are_not_read(isa: str) -> None:
    program = Program(isa)
    x = program.input(np.full(1, 7, np.float32))
    y = program.output((1,))
    program.step("copy", x=x, y=y, size=4, rank=0, shape=ref(99), strides=-1, chunk_outer=-1)
    np.testing.assert_array_equal(program.run()[0], [7])

"""Step `resize` on every ISA: as sums over taps in NumPy, around the lane counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgecv import _simd
from edgecv.errors import ModelFileError
from tests.kernels.simd_blocked import F32, BlockStep
from tests.kernels.simd_program import Array, each_isa, ref

Taps = tuple[Array, Array]


def nearest(size: int, out: int) -> Taps:
    index = np.minimum(np.arange(out) * size // out, size - 1)
    return index[:, None].astype(np.int32), np.ones((out, 1), F32)


def linear(size: int, out: int, aligned: bool = False) -> Taps:
    places = (
        np.arange(out) * (size - 1) / max(out - 1, 1)
        if aligned
        else (np.arange(out) + 0.5) * size / out - 0.5
    )
    places = places.clip(0, size - 1)
    first = np.floor(places).astype(np.int32)
    part = (places - first).astype(F32)
    index = np.stack([first, first + 1], 1)
    # What has no weight is not read: it may be outside.
    return index.astype(np.int32), np.stack([1 - part, part], 1).astype(F32)


def many(size: int, out: int, taps: int) -> Taps:
    rng = np.random.default_rng(taps)
    index = rng.integers(0, size, (out, taps)).astype(np.int32)
    weight = rng.standard_normal((out, taps)).astype(F32)
    unread = rng.random((out, taps)) < 0.2
    weight[unread] = 0
    index[unread] = 2**31 - 1
    return index, weight


def matrix(taps: Taps, size: int) -> Array:
    index, weight = taps
    rows = np.zeros((len(index), size))
    for i, j in np.argwhere(weight != 0):
        rows[i, index[i, j]] += weight[i, j]
    return rows


CASES: dict[str, tuple[tuple[int, int], Taps, Taps]] = {
    "nearest-x2": ((5, 7), nearest(5, 10), nearest(7, 14)),
    "nearest-down": ((9, 8), nearest(9, 4), nearest(8, 3)),
    "nearest-same": ((3, 3), nearest(3, 3), nearest(3, 3)),
    "linear-x2": ((5, 7), linear(5, 10), linear(7, 14)),
    "linear-aligned": ((5, 7), linear(5, 9, True), linear(7, 13, True)),
    "linear-down": ((20, 21), linear(20, 6), linear(21, 5)),
    "linear-one": ((1, 1), linear(1, 3), linear(1, 4)),
    "linear-by-nearest": ((6, 5), linear(6, 9), nearest(5, 10)),
    "nearest-by-linear": ((6, 5), nearest(6, 12), linear(5, 7)),
    "cubic": ((8, 9), many(8, 11, 4), many(9, 13, 4)),
    "cubic-down": ((30, 40), many(30, 5, 4), many(40, 5, 4)),
    "three-by-five": ((8, 9), many(8, 11, 3), many(9, 7, 5)),
    "antialias": ((30, 20), many(30, 7, 9), many(20, 6, 8)),
    "one-weighted": ((4, 4), many(4, 6, 1), many(4, 5, 1)),
}


def run_resize(isa: str, x: Array, y_taps: Taps, x_taps: Taps, **changes: int | Array) -> Array:
    out = len(y_taps[0]), len(x_taps[0])
    step = BlockStep(isa, x, out)
    fields = {
        "in_h": x.shape[1],
        "in_w": x.shape[2],
        "out_h": out[0],
        "out_w": out[1],
        "y_taps": y_taps[0].shape[1],
        "y_index": y_taps[0],
        "y_weight": y_taps[1],
        "x_taps": x_taps[0].shape[1],
        "x_index": x_taps[0],
        "x_weight": x_taps[1],
        "chunk_blocks": 1,
        "chunk_rows": out[0],
    }
    return step.run("resize", **(fields | changes))


@each_isa
@pytest.mark.parametrize("name", CASES)
def test_resize(isa: str, name: str) -> None:
    (height, width), y_taps, x_taps = CASES[name]
    lanes = _simd.lanes(isa)
    rng = np.random.default_rng(0)
    for channels in (1, lanes, 2 * lanes + 1):
        x = rng.standard_normal((channels, height, width)).astype(F32)
        want = matrix(y_taps, height) @ x.astype(np.float64) @ matrix(x_taps, width).T
        got = run_resize(isa, x, y_taps, x_taps)
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-6 * max(1, np.abs(want).max()))
        for chunk_rows in (1, 3):
            cut = run_resize(isa, x, y_taps, x_taps, chunk_rows=chunk_rows, chunk_blocks=2)
            assert cut.tobytes() == got.tobytes()


@each_isa
@pytest.mark.parametrize("taps", [linear(4, 7, True), linear(9, 3, True)], ids=["up", "down"])
def test_what_has_no_weight_is_not_read(isa: str, taps: Taps) -> None:
    size = taps[0].max()
    x = np.ones((3, size, size), F32)
    x[1, 1, 1] = np.inf
    read = [(index[weight != 0] == 1).any() for index, weight in zip(*taps, strict=True)]
    got = run_resize(isa, x, taps, taps)
    assert np.isfinite(got[[0, 2]]).all()
    np.testing.assert_array_equal(got[1], np.where(np.outer(read, read), np.inf, 1.0).astype(F32))


@each_isa
@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"y_index": np.array([[5]], np.int32)}, "tap"),
        ({"x_index": np.array([[-1]], np.int32)}, "tap"),
        ({"y_taps": 2**20}, "tap"),
        ({"y_taps": 0}, "taps"),
        ({"x_taps": 2**31 - 1, "out_w": 2**31 - 1}, "outside"),
        ({"in_h": 6}, "outside its memory"),
        ({"out_w": 2}, "outside its memory"),
        ({"chunk_rows": 0}, "chunks"),
        ({"n_blocks": 2}, "outside its memory"),
        ({"x_weight": ref(1, 2**40)}, "tap"),
    ],
)
def test_an_unsound_resize(isa: str, change: dict[str, int | Array], problem: str) -> None:
    x = np.zeros((1, 5, 5), F32)
    step = BlockStep(isa, x, (1, 1))
    index, weight = np.full((1, 1), 4, np.int32), np.full((1, 1), 0.5, F32)
    fields: dict[str, Any] = {
        "blocks": step.table,
        "n_blocks": 1,
        "y_index": index,
        "x_index": index,
        "y_weight": weight,
    }
    fields |= {"x_weight": weight, "in_h": 5, "in_w": 5}
    fields |= dict.fromkeys(("out_h", "out_w", "y_taps", "x_taps", "chunk_blocks", "chunk_rows"), 1)
    step.program.step("resize", **fields)
    step.program.plan()
    step.program.steps.clear()
    step.program.labels.clear()
    step.program.step("resize", **(fields | change))
    with pytest.raises(ModelFileError, match=problem):
        step.program.plan()

"""Steps `pool` and `spatial` on every ISA: as a loop over windows in NumPy, around the lane counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgecv import _simd
from edgecv.errors import ModelFileError
from tests.kernels.simd_blocked import F32, BlockStep
from tests.kernels.simd_program import Array, each_isa, from_blocked, ref

# in, kernel, stride, dilation, pads before and after, whether pads count
Axis = tuple[int, int, int, int, int, int]
AXES: dict[str, Axis] = {
    "2-s2": (12, 2, 2, 1, 0, 0),
    "3-s2-pad1": (13, 3, 2, 1, 1, 1),
    "3-s1-pad1": (9, 3, 1, 1, 1, 1),
    "1": (5, 1, 1, 1, 0, 0),
    "3-s2-ceil": (8, 3, 2, 1, 0, 1),
    "3-dilation2": (11, 3, 1, 2, 2, 2),
    "5-s1": (17, 5, 1, 1, 2, 2),
    "9-s1": (13, 9, 1, 1, 4, 4),
    "13-s1": (13, 13, 1, 1, 6, 6),
    "13-s1-few": (4, 13, 1, 1, 6, 6),
    "5-s3": (20, 5, 3, 1, 1, 2),
    "4-dilation3": (19, 4, 2, 3, 3, 3),
    "whole": (7, 7, 1, 1, 0, 0),
    "wide-pad": (3, 2, 1, 1, 3, 3),
}
PAIRS = [(name, name) for name in AXES] + [("2-s2", "13-s1"), ("5-s1", "1"), ("whole", "3-s2-pad1")]
SPATIAL = ["sum", "mean", "max", "min", "sum_square"]


def windows(axis: Axis, counts_pads: bool) -> Array:
    """int32 (out, 3): first, end, count of each window of an axis."""
    size, kernel, stride, dilation, before, after = axis
    extent = (kernel - 1) * dilation + 1
    out = (size + before + after - extent) // stride + 1
    table = []
    for i in range(out):
        taps = [t for k in range(kernel) if 0 <= (t := i * stride - before + k * dilation) < size]
        table.append((taps[0], taps[-1] + 1, kernel if counts_pads else len(taps)) if taps else (0, 0, 0))
    return np.array(table, np.int32)


def pooled(x: Array, kind: str, rows: Array, columns: Array, dilation: tuple[int, int]) -> Array:
    y = np.full((x.shape[0], len(rows), len(columns)), -np.inf if kind == "max" else 0.0)
    for i, (top, bottom, row_count) in enumerate(rows):
        for j, (left, right, column_count) in enumerate(columns):
            window = x[:, top : bottom : dilation[0], left : right : dilation[1]].astype(np.float64)
            if window[0].size:
                divisor = row_count * column_count
                y[:, i, j] = window.max((1, 2)) if kind == "max" else window.sum((1, 2)) / divisor
    return y


def run_pool(
    isa: str,
    x: Array,
    kind: str,
    rows: Array,
    columns: Array,
    dilation: tuple[int, int] = (1, 1),
    **extra: int,
) -> Array:
    fields = {"chunk_blocks": 1, "chunk_rows": len(rows), **extra}
    step = BlockStep(isa, x, (len(rows), len(columns)))
    sides = {"in_h": x.shape[1], "in_w": x.shape[2], "out_h": len(rows), "out_w": len(columns)}
    dilations = {"dilation_y": dilation[0], "dilation_x": dilation[1]}
    return step.run("pool", kind=kind, rows=rows, columns=columns, **dilations, **sides, **fields)


@each_isa
@pytest.mark.parametrize(("y", "x"), PAIRS, ids=[f"{y}-by-{x}" for y, x in PAIRS])
@pytest.mark.parametrize("kind", ["max", "average", "average-with-pads"])
def test_pool(isa: str, y: str, x: str, kind: str) -> None:
    lanes = _simd.lanes(isa)
    rng = np.random.default_rng(0)
    dilation = AXES[y][3], AXES[x][3]
    rows, columns = (windows(AXES[name], kind == "average-with-pads") for name in (y, x))
    for channels in (1, lanes, 2 * lanes + 1):
        array = rng.standard_normal((channels, AXES[y][0], AXES[x][0])).astype(F32)
        kind_name = kind.removesuffix("-with-pads")
        got = run_pool(isa, array, kind_name, rows, columns, dilation)
        want = pooled(array, kind_name, rows, columns, dilation)
        if kind == "max":
            np.testing.assert_array_equal(got, want)
        else:
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


@each_isa
@pytest.mark.parametrize("kind", ["max", "average"])
@pytest.mark.parametrize("name", ["3-s1-pad1", "5-s1", "13-s1", "5-s3"])
def test_chunks_of_a_pool_give_the_same_bits(isa: str, name: str, kind: str) -> None:
    rng = np.random.default_rng(1)
    size = AXES[name][0]
    x = rng.standard_normal((2 * _simd.lanes(isa), size, size)).astype(F32)
    x[rng.random(x.shape) < 0.5] = 0.0
    x[rng.random(x.shape) < 0.7] = -0.0
    x[0] = -np.abs(x[0])
    table = windows(AXES[name], False)
    whole = run_pool(isa, x, kind, table, table)
    for chunk_rows in (1, 3, 4, 5):
        cut = run_pool(isa, x, kind, table, table, chunk_rows=chunk_rows, chunk_blocks=2)
        assert cut.tobytes() == whole.tobytes()


@each_isa
@pytest.mark.parametrize("name", ["3-s1-pad1", "13-s1"])
def test_a_maximum_passes_over_nan(isa: str, name: str) -> None:
    rng = np.random.default_rng(2)
    x = rng.standard_normal((3, AXES[name][0], AXES[name][0])).astype(F32)
    holes = x.copy()
    holes[rng.random(x.shape) < 0.2] = np.nan
    filled = np.where(np.isnan(holes), -np.inf, holes)
    table = windows(AXES[name], False)
    np.testing.assert_array_equal(
        run_pool(isa, holes, "max", table, table), pooled(filled, "max", table, table, (1, 1))
    )


@each_isa
@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"rows": np.array([[0, 10, 1]], np.int32)}, "window"),
        ({"rows": np.array([[-1, 2, 1]], np.int32)}, "window"),
        ({"columns": np.array([[8, 2**31 - 1, 1]], np.int32)}, "window"),
        ({"out_h": 2**40}, "no pixels"),
        ({"out_h": 100}, "outside its memory"),
        ({"in_h": 2**31 - 1, "in_w": 2**31 - 1}, "outside its memory"),
        ({"kind": 2}, "kind"),
        ({"dilation_x": 0}, "dilation"),
        ({"chunk_rows": 0}, "chunks"),
        ({"n_blocks": 2}, "outside its memory"),
        ({"n_blocks": -1}, "outside its memory"),
        ({"blocks": np.zeros((1, 2), np.int64)}, "outside its memory"),
        ({"blocks": ref(4)}, "outside its memory"),
    ],
)
def test_an_unsound_pool(isa: str, change: dict[str, int | Array], problem: str) -> None:
    step = BlockStep(isa, np.zeros((1, 9, 9), F32), (1, 1))
    table = np.array([[0, 9, 9]], np.int32)
    fields: dict[str, Any] = {"blocks": step.table, "kind": "max", "rows": table, "columns": table}
    ones = ("n_blocks", "dilation_y", "dilation_x", "out_h", "out_w", "chunk_blocks", "chunk_rows")
    fields |= dict.fromkeys(ones, 1) | {"in_h": 9, "in_w": 9}
    step.program.step("pool", **fields)
    step.program.plan()
    step.program.steps.clear()
    step.program.labels.clear()
    step.program.step("pool", **(fields | change))
    with pytest.raises(ModelFileError, match=problem):
        step.program.plan()


@each_isa
@pytest.mark.parametrize("kind", SPATIAL)
@pytest.mark.parametrize("hw", [(1, 1), (1, 7), (3, 3), (8, 8), (13, 13), (40, 41)])
def test_spatial(isa: str, kind: str, hw: tuple[int, int]) -> None:
    lanes = _simd.lanes(isa)
    rng = np.random.default_rng(hw[0])
    numpy_of: dict[str, Any] = {"sum": np.sum, "mean": np.mean, "max": np.max, "min": np.min}
    for channels in (1, 2 * lanes + 1):
        x = (rng.standard_normal((channels, *hw)) + 0.5).astype(F32)
        got = BlockStep(isa, x, (1, 1)).run("spatial", pixels=hw[0] * hw[1], kind=kind, chunk_blocks=2)
        wide = x.astype(np.float64).reshape(channels, -1)
        want = np.sum(wide**2, 1) if kind == "sum_square" else numpy_of[kind](wide, 1)
        tolerance = 0 if kind in ("max", "min") else 1e-6 * np.abs(wide).sum(1).max()
        np.testing.assert_allclose(got[:, 0, 0], want, rtol=0, atol=tolerance)


@each_isa
@pytest.mark.parametrize("kind", SPATIAL)
def test_spatial_keeps_nan(isa: str, kind: str) -> None:
    for place in range(20):
        x = np.ones((2, 4, 5), F32)
        x[1, place // 5, place % 5] = np.nan
        got = BlockStep(isa, x, (1, 1)).run("spatial", pixels=20, kind=kind, chunk_blocks=1)[:, 0, 0]
        assert np.isfinite(got[0])
        assert np.isnan(got[1])


@each_isa
@pytest.mark.parametrize(
    "change", [{"pixels": 10}, {"pixels": 0}, {"kind": "prod"}, {"chunk_blocks": 0}], ids=str
)
def test_an_unsound_spatial(isa: str, change: dict[str, int | str]) -> None:
    step = BlockStep(isa, np.zeros((1, 3, 3), F32), (1, 1))
    fields: dict[str, Any] = {
        "blocks": step.table,
        "n_blocks": 1,
        "pixels": 9,
        "kind": "max",
        "chunk_blocks": 1,
    }
    step.program.step("spatial", **(fields | change))
    with pytest.raises(ModelFileError):
        step.program.plan()


@each_isa
def test_threads_give_the_same_bits(isa: str) -> None:
    x = np.random.default_rng(3).standard_normal((5 * _simd.lanes(isa), 20, 20)).astype(F32)
    table = windows((20, 5, 1, 1, 2, 2), False)
    step = BlockStep(isa, x, (20, 20))
    sides = {"in_h": 20, "in_w": 20, "out_h": 20, "out_w": 20, "dilation_y": 1, "dilation_x": 1}
    tables: dict[str, Any] = {"rows": table, "columns": table, "chunk_blocks": 1, "chunk_rows": 7}
    step.program.step("pool", blocks=step.table, n_blocks=step.n, kind="average", **tables, **sides)
    context = step.program.context()
    one, two = (from_blocked(step.program.run(threads, context)[0], step.channels) for threads in (1, 2))
    assert one.tobytes() == two.tobytes()

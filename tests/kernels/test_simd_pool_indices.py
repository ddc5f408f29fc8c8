"""The step `pool_indices`: values and places against plain loops; unsound steps are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgecv import _isa
from edgecv.errors import ModelFileError
from tests.kernels.simd_program import Program, each_isa

ISA = _isa.built()[0]
PLANES, H, W, OUT_H, OUT_W = 2, 3, 4, 2, 2
SOUND: dict[str, Any] = {
    "planes": PLANES,
    "rows": np.array([[0, 2, 2], [1, 3, 2]], np.int32),
    "columns": np.array([[0, 3, 2], [2, 4, 2]], np.int32),
    "dilation_y": 1,
    "dilation_x": 2,
    "in_h": H,
    "in_w": W,
    "out_h": OUT_H,
    "out_w": OUT_W,
    "by_columns": 0,
}


def program_of(isa: str, array: np.ndarray, **changes: Any) -> Program:
    program = Program(isa)
    source = program.input(array)
    y = program.output((PLANES, OUT_H, OUT_W))
    indices = program.output((PLANES, OUT_H, OUT_W), np.int64)
    program.step("pool_indices", **({"x": source, "y": y, "indices": indices} | SOUND | changes))
    return program


@each_isa
@pytest.mark.parametrize("by_columns", [0, 1])
def test_values_and_places(isa: str, by_columns: int) -> None:
    x = np.random.default_rng(0).standard_normal((PLANES, H, W)).astype(np.float32)
    x[1, 1, 2] = np.nan
    values, indices = program_of(isa, x, by_columns=by_columns).run(threads=2)
    for place in np.ndindex(values.shape):
        plane, i, j = place
        rows = range(*SOUND["rows"][i, :2])
        columns = range(SOUND["columns"][j, 0], SOUND["columns"][j, 1], 2)
        taps = [(x[plane, r, c], c * H + r if by_columns else r * W + c) for r in rows for c in columns]
        best = max(taps, key=lambda tap: np.inf if np.isnan(tap[0]) else tap[0])
        np.testing.assert_array_equal(values[place], best[0])
        assert indices[place] == plane * H * W + best[1]


def test_an_empty_window_is_minus_infinity() -> None:
    rows = np.array([[0, 0, 0], [2, 2, 0]], np.int32)
    values, indices = program_of(ISA, np.zeros((PLANES, H, W), np.float32), rows=rows).run()
    assert (values == -np.inf).all()
    assert (indices == np.array([0, H * W])[:, None, None]).all()


@pytest.mark.parametrize(
    "change",
    [
        {"planes": PLANES + 1},
        {"planes": -1},
        {"in_h": H + 1},
        {"in_w": 1 << 40},
        {"out_h": 1 << 30},
        {"out_w": OUT_W + 1},
        {"dilation_y": 0},
        {"dilation_x": -1},
        {"rows": np.array([[0, 2, 2], [1, 4, 2]], np.int32)},
        {"columns": np.array([[-1, 3, 2], [2, 4, 2]], np.int32)},
        {"rows": 0},
        {"x": 0},
        {"y": 0},
        {"indices": 0},
    ],
    ids=str,
)
def test_unsound_steps_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ModelFileError, match="step 0"):
        program_of(ISA, np.zeros((PLANES, H, W), np.float32), **change).plan()

"""Reductions, softmax and what else goes along axes, against onnx.reference, on every ISA."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgecv.engine.lower.reduction import REDUCTIONS
from tests.engine.one_node import check, random, steps

AXES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "last": ((3, 4, 17), (2,)),
    "first": ((5, 3, 9), (0,)),
    "middle": ((3, 7, 5), (1,)),
    "apart": ((2, 3, 4, 5), (0, 2)),
    "pixels": ((2, 5, 6, 7), (2, 3)),
    "all": ((3, 4, 5), (0, 1, 2)),
    "negative": ((3, 4, 5), (-1, -3)),
}


@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize(("shape", "axes"), AXES.values(), ids=AXES)
@pytest.mark.parametrize("op", REDUCTIONS)
def test_reductions(op: str, shape: tuple[int, ...], axes: tuple[int, ...], keepdims: int) -> None:
    x = random(*shape)
    if op == "ReduceLogSum":
        x = np.abs(x) + np.float32(0.1)
    operands = {"axes": np.array(axes, np.int64)}
    check(op, {"x": x}, operands, keepdims=keepdims, tolerance=1e-5)


@pytest.mark.parametrize("op", ["ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceSumSquare"])
@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.float64])
def test_other_types(op: str, dtype: Any) -> None:
    x = random(4, 3, dtype=dtype) // 20 if np.dtype(dtype).kind == "i" else random(4, 3, dtype=dtype)
    folds = {"ReduceSum": np.sum, "ReduceMax": np.max, "ReduceMin": np.min, "ReduceProd": np.prod}
    fold = folds.get(op, lambda a, axis, keepdims: np.sum(a * a, axis=axis, keepdims=keepdims))
    expected = fold(x, axis=1, keepdims=True).astype(dtype)
    check(op, {"x": x}, {"axes": np.array([1])}, expected=[expected], tolerance=1e-12)


@pytest.mark.parametrize("op", ["ReduceMean", "ReduceMax", "ReduceMin", "ReduceSum", "ReduceSumSquare"])
@pytest.mark.parametrize("shape", [(1, 19, 7, 5), (2, 3, 9, 1), (1, 33, 11)], ids=str)
def test_pixels_of_blocks(op: str, shape: tuple[int, ...]) -> None:
    axes = np.arange(2, len(shape))
    programs = check(op, {"x": random(*shape)}, {"axes": axes}, blocked=True, tolerance=1e-5)
    for isa, compiled in programs.items():
        assert "spatial" in steps(compiled), isa


@pytest.mark.parametrize("op", ["GlobalAveragePool", "GlobalMaxPool"])
def test_global_pools(op: str) -> None:
    check(op, {"x": random(2, 21, 5, 4)}, blocked=True, tolerance=4e-6)
    x = random(2, 3, 9)
    fold = np.mean if op == "GlobalAveragePool" else np.max
    check(op, {"x": x}, expected=[fold(x, axis=2, keepdims=True)])


@pytest.mark.parametrize("p", [1, 2, 3])
def test_global_norms(p: int) -> None:
    x = random(1, 3, 4, 5)
    norms = (np.abs(x.astype(np.float64)) ** p).sum((2, 3), keepdims=True) ** (1 / p)
    check("GlobalLpPool", {"x": x}, expected=[norms.astype(np.float32)], p=p)


@pytest.mark.parametrize("last", [0, 1])
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
def test_places(op: str, axis: int, last: int) -> None:
    x = np.round(random(4, 5, 6) * 2)
    for keepdims in (0, 1):
        check(op, {"x": x}, axis=axis, keepdims=keepdims, select_last_index=last)


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax", "Hardmax"])
@pytest.mark.parametrize(
    ("shape", "axis"), [((3, 17), 1), ((2, 5, 9), 1), ((4, 3, 7), 0), ((1, 16, 4, 30), 1), ((6,), 0)], ids=str
)
def test_softmax(op: str, shape: tuple[int, ...], axis: int) -> None:
    check(op, {"x": 4 * random(*shape)}, axis=axis, tolerance=4e-6)


def test_softmax_of_blocks() -> None:
    check("Softmax", {"x": random(1, 20, 3, 5)}, blocked=True, axis=1)


@pytest.mark.parametrize("reverse", [0, 1])
@pytest.mark.parametrize("exclusive", [0, 1])
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_cumulative_sums(dtype: Any, axis: int, exclusive: int, reverse: int) -> None:
    x = random(3, 4, 5, dtype=dtype)
    check("CumSum", {"x": x}, {"axis": np.array(axis)}, exclusive=exclusive, reverse=reverse)


@pytest.mark.parametrize("largest", [0, 1])
@pytest.mark.parametrize("k", [1, 3, 7])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_the_largest(axis: int, k: int, largest: int) -> None:
    x = random(8, 7, 9)
    check("TopK", {"x": x}, {"k": np.array([k])}, outputs=2, axis=axis, largest=largest)


def test_the_largest_whole_numbers() -> None:
    x = random(5, 40, dtype=np.int64)
    check("TopK", {"x": x}, {"k": np.array([6])}, outputs=2, axis=1)

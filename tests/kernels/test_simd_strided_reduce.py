"""The reductions and softmaxes of ext/simd on every ISA, against NumPy in float64."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecv import _isa, _simd
from edgecv.errors import ModelFileError
from tests.kernels.simd_program import Program, each_isa, ref
from tests.kernels.strided_operands import (
    FLOATS,
    INTEGERS,
    NAMES,
    axes,
    element_strides,
    fill_of,
    filled,
    layout,
    offset_of,
    read,
    write,
)

Array = NDArray[Any]
Operand = tuple[Array, Array]
KINDS = _simd.CHOICES["reduce_kind"]
SOFTMAXES = _simd.CHOICES["softmax_kind"]
FIRST_ISA = _isa.built()[0]


def whole(array: Array) -> Operand:
    return array, array


def check_around(got: Array, base: Array, view: Array) -> Array:
    """The view of what came back; around it nothing was written."""
    result = np.ndarray(view.shape, base.dtype, got, offset_of(view, base), view.strides)
    around = fill_of(base.shape, base.dtype)
    np.ndarray(view.shape, base.dtype, around, offset_of(view, base), view.strides)[...] = result
    assert around.tobytes() == got.tobytes()
    return result.copy()


def reduced(
    isa: str, kind: str, x: Operand, kept: int, y: Operand | None = None, *, last: int = 0, **options: Any
) -> Array:
    """The last axes of a view, from `kept` on, to one element."""
    base, view = x
    dtype = next(name for name in NAMES if np.dtype(NAMES[name]) == base.dtype)
    y_dtype = np.int64 if kind.startswith("arg") else base.dtype
    if y is None:
        y = whole(np.zeros(view.shape[:kept], y_dtype))
    program = Program(isa)
    source = read(program, base, view)
    fields = axes(view.shape, view)
    strides = [*element_strides(view), *element_strides(y[1]), *[0] * (view.ndim - kept)]
    threads = options.pop("threads", 1)
    program.step(
        "reduce_nd",
        x=source,
        y=write(program, *y),
        kind=kind,
        dtype=dtype,
        last=last,
        kept=kept,
        **(fields | {"strides": np.array(strides), "chunk_outer": 3} | options),
    )
    (got,) = program.run(threads)
    return check_around(got, *y)


def log_sum_exp(x: Array, axis: tuple[int, ...]) -> Array:
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(np.sum(np.exp(x), axis)))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "sum": np.sum,
    "mean": np.mean,
    "max": np.max,
    "min": np.min,
    "prod": np.prod,
    "sum_square": lambda x, axis: np.sum(x * x, axis),
    "l1": lambda x, axis: np.sum(np.abs(x), axis),
    "l2": lambda x, axis: np.sqrt(np.sum(x * x, axis)),
    "log_sum": lambda x, axis: np.log(np.sum(x, axis)),
    "log_sum_exp": log_sum_exp,
    "argmax": lambda x, axis: np.argmax(x, axis[0]),
    "argmin": lambda x, axis: np.argmin(x, axis[0]),
}


def expected_of(kind: str, view: Array, kept: int) -> Array:
    return np.asarray(FUNCTIONS[kind](view.astype(np.float64), tuple(range(kept, view.ndim))))


def lengths(isa: str) -> list[int]:
    lanes = _simd.lanes(isa)
    return [1, 2, 3, lanes - 1, lanes, lanes + 1, 4 * lanes, 5 * lanes + 3, 9 * lanes + 1, 1030]


@each_isa
@pytest.mark.parametrize("kind", KINDS)
def test_rows_and_columns(isa: str, kind: str) -> None:
    """Of any length; the reduced axis contiguous, the kept one, and neither."""
    rng = np.random.default_rng(KINDS.index(kind))
    for n, m in [*product(lengths(isa), (1, 5)), (3, 600), (270, 530)]:
        x = rng.uniform(0.5, 1.5, (m, n)).astype(np.float32)
        columns, apart = np.ascontiguousarray(x.T), np.repeat(x, 2, axis=1)
        for operand in (whole(x), (columns, columns.T), (apart, apart[:, ::2])):
            got = reduced(isa, kind, operand, 1)
            np.testing.assert_allclose(got, expected_of(kind, x, 1), rtol=4e-6 * max(1, n / 100), atol=1e-6)


@each_isa
@pytest.mark.parametrize("seed", range(12))
def test_any_layout_and_any_chunk(isa: str, seed: int) -> None:
    """The same bits however the kept axes are cut."""
    rng = np.random.default_rng(seed)
    rank = int(rng.integers(1, 7))
    kept = int(rng.integers(0, rank + 1))
    shape = tuple(int(side) for side in rng.choice([1, 2, 3, 4, 19] if rank < 5 else [1, 2, 3], rank))
    values = rng.uniform(0.5, 1.5, 500).astype(np.float32)
    x = filled(rng, shape, values, broadcast=True)
    for kind in KINDS:
        if kind.startswith("arg") and rank - kept != 1:
            continue
        dtype = np.int64 if kind.startswith("arg") else np.float32
        results = []
        for chunk_outer, threads in [(1, 1), (2, 2), (1000, 1)]:
            y = layout(rng, shape[:kept], dtype)
            results.append(reduced(isa, kind, x, kept, y, chunk_outer=chunk_outer, threads=threads))
        np.testing.assert_allclose(
            results[0], expected_of(kind, x[1], kept), rtol=4e-5, atol=1e-6, err_msg=kind
        )
        assert results[0].tobytes() == results[1].tobytes() == results[2].tobytes()


@each_isa
def test_long_sums(isa: str) -> None:
    """Of a picture's pixels, rows and columns: partial sums keep what one sum would lose."""
    x = np.random.default_rng(0).uniform(0.9, 1.1, (2, 300_001)).astype(np.float32)
    columns = np.ascontiguousarray(x.T)
    for operand in (whole(x), (columns, columns.T)):
        np.testing.assert_allclose(reduced(isa, "mean", operand, 1), x.astype(float).mean(1), rtol=2e-6)


@each_isa
@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.startswith("arg")])
def test_nothing_to_reduce(isa: str, kind: str) -> None:
    """The identities; of integers the least and the largest that there are."""
    identity = {
        "mean": np.nan,
        "max": -np.inf,
        "min": np.inf,
        "prod": 1,
        "log_sum": -np.inf,
        "log_sum_exp": -np.inf,
    }
    for shape in [(3, 0), (3, 0, 2)]:
        for dtype in ("f32", "f64", "f16"):
            got = reduced(isa, kind, whole(np.zeros(shape, NAMES[dtype])), 1)
            np.testing.assert_array_equal(got, np.full(3, identity.get(kind, 0), NAMES[dtype]))
        if kind in ("max", "min", "sum", "prod"):
            for dtype in INTEGERS:
                info = np.iinfo(NAMES[dtype])
                least = {"max": info.min, "min": info.max, "prod": 1}.get(kind, 0)
                assert (reduced(isa, kind, whole(np.zeros(shape, NAMES[dtype])), 1) == least).all()
    assert reduced(isa, kind, whole(np.zeros((0, 3), np.float32)), 1).shape == (0,)


@each_isa
def test_numbers_that_are_none(isa: str) -> None:
    """NaN and infinities as NumPy has them, in each place of a row and of a column."""
    for n in (1, 5, 17, 70):
        for value in (np.nan, np.inf, -np.inf):
            x = np.ones((n, n), np.float32)
            np.fill_diagonal(x, value)
            for operand in (whole(x), (x, x.T)):
                for kind in KINDS:
                    with np.errstate(all="ignore"):
                        expected = expected_of(kind, operand[1], 1)
                    if kind == "log_sum_exp" and value == np.inf:
                        expected = np.full(n, np.inf)
                    np.testing.assert_allclose(
                        reduced(isa, kind, operand, 1), expected, rtol=1e-6, err_msg=kind
                    )
    x = np.full((3, 4), -np.inf, np.float32)
    np.testing.assert_array_equal(reduced(isa, "log_sum_exp", whole(x), 1), np.full(3, -np.inf))
    x = np.array([[1000, 1000], [-1000, -1000]], np.float32)
    np.testing.assert_allclose(reduced(isa, "log_sum_exp", whole(x), 1), x[:, 0] + np.log(2), rtol=1e-6)


@each_isa
@pytest.mark.parametrize("dtype", ["f32", "f64", "i32", "u8"])
def test_the_first_and_the_last_of_equals(isa: str, dtype: str) -> None:
    rng = np.random.default_rng(0)
    for n in (1, 3, 18, 90):
        x: Array = rng.integers(0, 3, (40, n)).astype(NAMES[dtype])
        if dtype[0] == "f":
            x[::3, rng.integers(0, n, 3)] = np.nan
        columns = np.ascontiguousarray(x.T)
        for kind, function in (("argmax", np.argmax), ("argmin", np.argmin)):
            last = n - 1 - function(x[:, ::-1], 1)
            for operand in (whole(x), (columns, columns.T)):
                np.testing.assert_array_equal(reduced(isa, kind, operand, 1), function(x, 1))
                np.testing.assert_array_equal(reduced(isa, kind, operand, 1, last=1), last)


@pytest.mark.parametrize("dtype", [dtype for dtype in NAMES if dtype != "f32"])
def test_each_kind_on_each_dtype(dtype: str) -> None:
    """Those of integers wrap, and cut what is not whole."""
    rng = np.random.default_rng(3)
    for kind in [kind for kind in KINDS if _simd.reduce_supported(kind, dtype)]:
        for shape, kept in [((3, 4, 7), 1), ((5, 600), 1), ((2, 3, 4), 0), ((3, 4, 5), 2)]:
            if kind.startswith("arg") and kept != len(shape) - 1:
                continue
            low = 1 if dtype[0] == "u" or kind == "log_sum" else -3
            if dtype == "boolean":
                values = np.array([False, True])
            elif dtype in FLOATS:
                values = rng.uniform(0.5, 1.5, 50).astype(NAMES[dtype])
            else:
                values = rng.integers(low, 4, 50).astype(NAMES[dtype])
            if kind == "log_sum":
                values = np.abs(values)
            x = filled(rng, shape, values, broadcast=True)
            got = reduced(FIRST_ISA, kind, x, kept)
            over = tuple(range(kept, len(shape)))
            if kind in ("max", "min", "argmax", "argmin"):
                expected = np.asarray(FUNCTIONS[kind](x[1], over))
            elif dtype in FLOATS:
                expected = expected_of(kind, x[1], kept).astype(NAMES[dtype])
            elif kind in ("sum", "prod", "sum_square", "l1"):
                exact = np.asarray(FUNCTIONS[kind](x[1].astype(object), over))
                bits = np.dtype(NAMES[dtype]).itemsize * 8
                cut = np.array([int(value) % 2**bits for value in exact.flat], np.uint64)
                expected = cut.astype(f"u{bits // 8}").view(NAMES[dtype]).reshape(exact.shape)
            else:
                expected = np.trunc(expected_of(kind, x[1], kept)).astype(NAMES[dtype])
            tolerance = {"f16": 1e-3, "f64": 1e-12}.get(dtype, 0)
            np.testing.assert_allclose(
                got.astype(float), expected.astype(float), rtol=tolerance, err_msg=kind
            )


def test_sums_of_integers_wrap() -> None:
    x = np.array([[2**63 - 1, 1], [-(2**63), -1]])
    np.testing.assert_array_equal(reduced(FIRST_ISA, "sum", whole(x), 1), [-(2**63), 2**63 - 1])
    np.testing.assert_array_equal(reduced(FIRST_ISA, "l1", whole(x), 1), [-(2**63), -(2**63) + 1])


# ---- Softmax


def softmaxed(
    isa: str, kind: str, x: Operand, y: Operand | None = None, *, threads: int = 1, **options: Any
) -> Array:
    """Along the last axis of a view."""
    base, view = x
    if y is None:
        y = whole(np.zeros(view.shape, np.float32))
    program = Program(isa)
    source = read(program, base, view)
    fields = axes(view.shape, view, y[1]) | {"chunk_outer": 3} | options
    program.step("softmax_nd", x=source, y=write(program, *y), kind=kind, **fields)
    (got,) = program.run(threads)
    return check_around(got, *y)


def softmax_of(kind: str, x: Array) -> Array:
    x = x.astype(np.float64)
    with np.errstate(all="ignore"):
        shifted = x - x.max(-1, keepdims=True)
        if kind == "softmax":
            e = np.exp(shifted)
            return np.asarray(e / e.sum(-1, keepdims=True))
        if kind == "log_softmax":
            return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))
    return np.asarray(np.arange(x.shape[-1]) == x.argmax(-1)[..., None], float)


@each_isa
@pytest.mark.parametrize("kind", SOFTMAXES)
def test_softmax_of_rows_and_columns(isa: str, kind: str) -> None:
    rng = np.random.default_rng(0)
    for n, m in [*product([*lengths(isa), 32, 33], (1, 6)), (2, 700), (16, 130), (40, 530)]:
        x = rng.normal(0, 5, (m, n)).astype(np.float32)
        columns, apart = np.ascontiguousarray(x.T), np.repeat(x, 2, axis=1)
        results = np.zeros((n, m), np.float32)
        for operand, y in [
            (whole(x), None),
            ((columns, columns.T), None),
            ((columns, columns.T), (results, results.T)),
            ((apart, apart[:, ::2]), None),
            (whole(x), (results, results.T)),
        ]:
            got = softmaxed(isa, kind, operand, y)
            np.testing.assert_allclose(got, softmax_of(kind, x), rtol=3e-6, atol=6e-6)


@each_isa
@pytest.mark.parametrize("seed", range(12))
def test_softmax_of_any_layout_and_any_chunk(isa: str, seed: int) -> None:
    """The same bits however the axes before the last are cut."""
    rng = np.random.default_rng(seed)
    rank = int(rng.integers(1, 7))
    shape = tuple(int(side) for side in rng.choice([1, 2, 3, 4, 19, 40] if rank < 4 else [1, 2, 3, 5], rank))
    x = filled(rng, shape, rng.normal(0, 4, 500).astype(np.float32), broadcast=True)
    for kind in SOFTMAXES:
        results = []
        for chunk_outer, threads in [(1, 1), (2, 2), (1000, 1)]:
            y = layout(rng, shape, np.float32)
            results.append(softmaxed(isa, kind, x, y, chunk_outer=chunk_outer, threads=threads))
        np.testing.assert_allclose(results[0], softmax_of(kind, x[1]), rtol=3e-6, atol=3e-6, err_msg=kind)
        if all(side > 0 for side in element_strides(x[1])):
            assert results[0].tobytes() == results[1].tobytes() == results[2].tobytes()


@each_isa
@pytest.mark.parametrize("kind", SOFTMAXES)
def test_softmax_of_numbers_that_are_none(isa: str, kind: str) -> None:
    """Rows with NaN, infinities and numbers whose exponentials a float32 cannot hold."""
    for n in (3, 50):
        x = np.zeros((7, n), np.float32)
        x[0, 1] = np.nan
        x[1, 2] = np.inf
        x[2, 1] = -np.inf
        x[3] = -np.inf
        x[4] = 1e30
        x[5] = -3e38
        x[6] = np.linspace(-500, 1000, n)
        columns = np.ascontiguousarray(x.T)
        for operand in (whole(x), (columns, columns.T)):
            got = softmaxed(isa, kind, operand)
            np.testing.assert_allclose(got, softmax_of(kind, x), rtol=1e-6, atol=1e-12)


@each_isa
@pytest.mark.parametrize(
    ("op", "change"),
    [
        ("reduce_nd", {"kind": 12}),
        ("reduce_nd", {"kind": "sum", "dtype": "boolean"}),
        ("reduce_nd", {"kept": 3}),
        ("reduce_nd", {"kept": -1}),
        ("reduce_nd", {"kind": "argmax", "kept": 0}),
        ("reduce_nd", {"kind": "argmax", "kept": 2}),
        ("reduce_nd", {"kind": "argmin", "shape": np.array([3, 0])}),
        ("reduce_nd", {"kind": "argmin"}),  # the result has no room for int64
        ("reduce_nd", {"chunk_outer": 0}),
        ("reduce_nd", {"strides": np.array([4, 1, 0, 0])}),
        ("reduce_nd", {"shape": np.array([3, 5])}),
        ("reduce_nd", {"shape": np.array([3, 0]), "x": ref(99)}),
        ("reduce_nd", {"shape": np.array([0, 4]), "y": ref(99)}),
        ("softmax_nd", {"rank": 0}),
        ("softmax_nd", {"kind": 3}),
        ("softmax_nd", {"chunk_outer": 0}),
        ("softmax_nd", {"strides": np.array([4, 1, 4, 1])}),
    ],
    ids=str,
)
def test_unsound_steps_are_refused(isa: str, op: str, change: dict[str, Any]) -> None:
    program = Program(isa)
    x = program.input(np.zeros((3, 4), np.float32))
    fields: dict[str, Any] = {
        "x": x,
        "y": program.output((3,)),
        "rank": 2,
        "shape": np.array([3, 4]),
        "chunk_outer": 1,
    }
    if op == "reduce_nd":
        fields |= {"dtype": "f32", "kept": 1, "strides": np.array([4, 1, 1, 0])}
    program.step(op, **(fields | {"kind": 0, "strides": np.array([4, 1, 1, 0])} | change))
    with pytest.raises(ModelFileError, match="step 0"):
        program.plan()

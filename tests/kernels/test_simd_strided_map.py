"""The operations of map_nd on every ISA, against NumPy in a wider type."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgecv import _isa, _simd
from edgecv.errors import InputError, ModelFileError
from tests.kernels.simd_program import Program, each_isa, ref
from tests.kernels.strided_operands import (
    FLOATS,
    INTEGERS,
    NAMES,
    filled,
    integers,
    mapped,
    wrapped,
)

Array = NDArray[Any]
OPS = _simd.CHOICES["map_op"]
ACTIVATIONS = _simd.CHOICES["activation"]
LOGIC = ["not_", "and_", "or_", "xor_"]
COMPARISONS = ["equal", "less", "less_equal", "greater", "greater_equal"]
TESTS_OF_FLOATS = ["is_nan", "is_inf"]
OF_NUMBERS = [
    "add",
    "sub",
    "mul",
    "div",
    "max",
    "min",
    "pow",
    "prelu",
    "affine",
    "neg",
    "abs",
    "sign",
    "mod",
    "fmod",
]
OF_FLOATS = [
    op
    for op in OPS
    if op not in [*LOGIC, *COMPARISONS, *TESTS_OF_FLOATS, *OF_NUMBERS, "where", "cast", "first"]
]
PAIRS = [
    (op, x, y) for op, x, y in product(OPS, NAMES, NAMES) if op != "cast" and _simd.map_supported(op, x, y)
]
FIRST_ISA = _isa.built()[0]
TOLERANCE = {"f16": (1.5e-3, 1e-6), "f32": (4e-6, 2e-6), "f64": (1e-12, 1e-14)}

erf = np.vectorize(math.erf, otypes=[float])


def softplus(x: Array) -> Array:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "first": lambda a: a,
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "max": np.maximum,
    "min": np.minimum,
    "pow": np.power,
    "prelu": lambda a, b: np.where(a < 0, a * b, a),
    "affine": lambda a, b, c: a * b + c,
    "neg": np.negative,
    "abs": np.abs,
    "sqrt": np.sqrt,
    "exp": np.exp,
    "log": np.log,
    "reciprocal": lambda a: 1 / a,
    "sigmoid": sigmoid,
    "tanh": np.tanh,
    "erf": erf,
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.rint,
    "sign": np.sign,
    "sin": np.sin,
    "cos": np.cos,
    "softplus": softplus,
    "not_": np.logical_not,
    "and_": np.logical_and,
    "or_": np.logical_or,
    "xor_": np.logical_xor,
    "equal": np.equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "where": np.where,
    "mod": np.mod,
    "fmod": np.fmod,
    "is_nan": np.isnan,
    "is_inf": np.isinf,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
}
# Where a function has its values, and a float16 its result; the others are tried from -4 to 4.
DOMAINS = {
    "sqrt": (0, 9),
    "log": (0.01, 9),
    "asin": (-1, 1),
    "acos": (-1, 1),
    "acosh": (1, 9),
    "atanh": (-0.9, 0.9),
}
TWO = ["add", "sub", "mul", "div", "max", "min", "pow", "prelu", "mod", "fmod", *COMPARISONS, *LOGIC[1:]]
OPERANDS = {"affine": 3, "where": 3} | dict.fromkeys(TWO, 2)


def quotient(a: int, b: int) -> int:
    """Cut towards zero."""
    return abs(a) // abs(b) * (-1 if (a < 0) != (b < 0) else 1)


def whole_power(a: int, b: int) -> int:
    if b >= 0:
        return int(int(a) ** int(b))
    return (1 if b % 2 == 0 else a) if abs(a) == 1 else 0


EXACT: dict[str, Callable[..., int]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": quotient,
    "mod": lambda a, b: a % b,
    "fmod": lambda a, b: a - b * quotient(a, b),
    "max": max,
    "min": min,
    "pow": whole_power,
    "prelu": lambda a, b: a * b if a < 0 else a,
    "affine": lambda a, b, c: a * b + c,
    "neg": lambda a: -a,
    "abs": abs,
    "sign": lambda a: (a > 0) - (a < 0),
}


def test_the_pairs_that_are_supported() -> None:
    """What a compiler may count on."""
    of_numbers = {(op, dtype, dtype) for op in OF_NUMBERS for dtype in [*INTEGERS, *FLOATS]}
    of_floats = {(op, dtype, dtype) for op in OF_FLOATS for dtype in FLOATS}
    of_bools = {(op, "boolean", "boolean") for op in LOGIC}
    comparing = {(op, dtype, "boolean") for op in COMPARISONS for dtype in [*INTEGERS, *FLOATS]}
    comparing |= {("equal", "boolean", "boolean")}
    of_nans = {(op, dtype, "boolean") for op in TESTS_OF_FLOATS for dtype in FLOATS}
    moving = {(op, dtype, dtype) for op in ("first", "where") for dtype in NAMES}
    assert set(PAIRS) == of_numbers | of_floats | of_bools | comparing | of_nans | moving
    assert all(_simd.map_supported("cast", x, y) for x in NAMES for y in NAMES)
    assert not _simd.map_supported("add", "f32", "f64")
    with pytest.raises(InputError, match="map_op: expected one of first"):
        _simd.map_supported("plus", "f32", "f32")


@each_isa
@pytest.mark.parametrize("op", [op for op in OPS if op not in ("cast", "activation")])
def test_each_operation_on_each_dtype(isa: str, op: str) -> None:
    rng = np.random.default_rng(OPS.index(op))
    for _, dtype, y_dtype in [pair for pair in PAIRS if pair[0] == op]:
        # Of other dtypes the code is the same for all ISAs.
        if isa != FIRST_ISA and dtype not in ("f16", "f32"):
            continue
        for shape in [(2, 3, 5), (70, 3), (3, 130), (1100,), ()]:
            if dtype == "boolean":
                values = np.array([False, True])
            elif dtype in INTEGERS:
                values = integers(rng, dtype)
            else:
                low, high = DOMAINS.get(op, (-4, 4))
                values = rng.uniform(low, high, 500).astype(NAMES[dtype])
            operands = [filled(rng, shape, values, broadcast=True) for _ in range(OPERANDS.get(op, 1))]
            if op in ("div", "mod", "fmod") and dtype in INTEGERS:
                operands[1] = filled(rng, shape, values[values != 0], broadcast=True)
            elif op == "pow":
                exponents: Array = np.array([0, 1, 2, 3, 5, 7, 0 if dtype[0] == "u" else -2], NAMES[dtype])
                if dtype in FLOATS:
                    operands[0] = filled(rng, shape, np.abs(values) + NAMES[dtype](0.1))
                operands[1] = filled(rng, shape, exponents, broadcast=True)
            elif op == "where":
                operands[0] = filled(rng, shape, np.array([False, True]), broadcast=True)
            elif op in TESTS_OF_FLOATS:
                operands = [filled(rng, shape, np.array([0, 1, np.inf, -np.inf, np.nan], NAMES[dtype]))]
            flags: dict[str, Any] = {"alpha": 1.0, "beta": 1.0} if op == "is_inf" else {}
            got = mapped(isa, rng, op, operands, y_dtype, dtype=dtype, **flags)
            views = [view for _, view in operands]
            if dtype in INTEGERS and op in EXACT:
                exact = np.frompyfunc(EXACT[op], len(views), 1)(*[view.astype(object) for view in views])
                np.testing.assert_array_equal(got, wrapped(np.asarray(exact), dtype), err_msg=dtype)
            elif dtype in FLOATS and op not in ("first", "where"):
                wide = FUNCTIONS[op](*[view.astype(np.float64) for view in views])
                rtol, atol = TOLERANCE[dtype]
                if op in ("mod", "fmod"):
                    wide = FUNCTIONS[op](
                        *[view.astype(np.float32 if dtype == "f16" else view.dtype) for view in views]
                    )
                np.testing.assert_allclose(got.astype(float), wide, rtol=rtol, atol=atol, err_msg=dtype)
            else:
                np.testing.assert_array_equal(got, FUNCTIONS[op](*views), err_msg=dtype)


REFERENCES: dict[str, Callable[[Array], Array]] = {
    "none": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "clip": lambda x: np.clip(x, -1.5, 2.0),
    "leaky_relu": lambda x: np.where(x < 0, -1.5 * x, x),
    "sigmoid": sigmoid,
    "silu": lambda x: x * sigmoid(x),
    "hard_sigmoid": lambda x: np.clip(-1.5 * x + 2.0, 0, 1),
    "hard_swish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "tanh": np.tanh,
    "mish": lambda x: x * np.tanh(softplus(x)),
    "gelu": lambda x: 0.5 * x * (1 + erf(x / math.sqrt(2))),
    "gelu_tanh": lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "elu": lambda x: np.where(x > 0, x, -1.5 * np.expm1(x)),
    "selu": lambda x: 2.0 * np.where(x > 0, x, -1.5 * np.expm1(x)),
    "softplus": softplus,
    "exp": np.exp,
    "softsign": lambda x: x / (1 + np.abs(x)),
}


@each_isa
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_each_activation(isa: str, activation: str) -> None:
    rng = np.random.default_rng(ACTIVATIONS.index(activation))
    for dtype, (rtol, atol) in TOLERANCE.items():
        for shape in [(5, 3), (3, 130), (2, 700)]:
            x = filled(rng, shape, rng.uniform(-6, 6, 500).astype(NAMES[dtype]))
            got = mapped(
                isa, rng, "activation", [x], dtype, activation=activation, alpha=-1.5, beta=2.0, threads=2
            )
            expected = REFERENCES[activation](x[1].astype(np.float64))
            np.testing.assert_allclose(got.astype(float), expected, rtol=rtol, atol=8 * atol)


def as_integer(value: float, dtype: str) -> int:
    """As `cast` defines it: towards zero, held to 64 bits, cut."""
    if math.isnan(value):
        return 0
    most = 2**64 - 1 if dtype == "u64" else 2**63 - 1
    if math.isinf(value):
        return most if value > 0 else -(2**63)
    return min(max(int(value), -(2**63)), most)


@pytest.mark.parametrize("dtype", NAMES)
def test_casts(dtype: str) -> None:
    rng = np.random.default_rng(list(NAMES).index(dtype))
    if dtype in FLOATS:
        some = [
            0,
            -0.0,
            0.5,
            -0.5,
            0.99,
            -1.5,
            2.5,
            127,
            128,
            255,
            256,
            300,
            -129,
            1e-7,
            6e-8,
            2049,
            65504,
            65520,
        ]
        wild = [np.nan, np.inf, -np.inf, 3e9, -3e9, 1e19, 1e30, -1e30]
        with np.errstate(over="ignore"):
            values: Array = np.array([*some, *wild, *rng.normal(0, 1000, 400)]).astype(NAMES[dtype])
    elif dtype == "boolean":
        values = np.array([False, True])
    else:
        values = np.concatenate([integers(rng, dtype), rng.integers(0, 2**63, 400).astype(NAMES[dtype])])
    for y_dtype in NAMES:
        x = filled(rng, (7, 90), values, broadcast=True)
        got = mapped(FIRST_ISA, rng, "cast", [x], y_dtype, dtype=dtype)
        if dtype in FLOATS and y_dtype in INTEGERS:
            whole = np.array([as_integer(float(value), y_dtype) for value in x[1].flat], object)
            expected = wrapped(whole.reshape(x[1].shape), y_dtype)
        else:
            with np.errstate(over="ignore"):
                middle = x[1].astype(np.float64) if y_dtype == "f16" else x[1]
                expected = middle.astype(NAMES[y_dtype])
        np.testing.assert_array_equal(got, expected, err_msg=y_dtype)


def test_casts_to_float16_round_once() -> None:
    """Halves between two float16, and a hair beside them that only a float64 has."""
    rng = np.random.default_rng(0)
    bits = np.arange(0x7C00, dtype=np.uint16)
    half = bits.view(np.float16).astype(np.float64)
    middle = (half[:-1] + half[1:]) / 2
    values = np.concatenate([half, middle, middle * (1 + 2e-16), middle * (1 - 2e-16), -middle])
    got = mapped(FIRST_ISA, rng, "cast", [(values, values)], "f16")
    np.testing.assert_array_equal(got.view(np.uint16), values.astype(np.float16).view(np.uint16))
    wide = mapped(FIRST_ISA, rng, "cast", [(got, got)], "f32")
    np.testing.assert_array_equal(wide, values.astype(np.float16).astype(np.float32))


@each_isa
@pytest.mark.parametrize("dtype", FLOATS)
def test_numbers_that_are_none(isa: str, dtype: str) -> None:
    """NaN goes through; signs of zero and infinities are NumPy's, also past the last whole vector."""
    rng = np.random.default_rng(1)
    wild: Array = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 2.5, -2.5], NAMES[dtype])
    a, b = np.repeat(wild, 9), np.tile(wild, 9)
    for op in (
        "add",
        "mul",
        "div",
        "max",
        "min",
        "abs",
        "neg",
        "sign",
        "floor",
        "ceil",
        "round",
        "sqrt",
        "mod",
        "fmod",
    ):
        operands = [(a, a), (b, b)][: OPERANDS.get(op, 1)]
        with np.errstate(all="ignore"):
            expected = FUNCTIONS[op](*[view for view, _ in operands])
        got = mapped(isa, rng, op, operands, dtype)
        if op in ("max", "min", "sign"):  # which zero is free
            got, expected = got + NAMES[dtype](0), expected + NAMES[dtype](0)
        np.testing.assert_array_equal(np.isnan(got), np.isnan(expected), err_msg=op)
        sound = ~np.isnan(expected)
        np.testing.assert_array_equal(got[sound], expected[sound], err_msg=op)
        if op not in ("max", "min", "sign", "mod", "fmod"):
            np.testing.assert_array_equal(np.signbit(got[sound]), np.signbit(expected[sound]), err_msg=op)
    for op in COMPARISONS:
        got = mapped(isa, rng, op, [(a, a), (b, b)], "boolean")
        np.testing.assert_array_equal(got, FUNCTIONS[op](a, b), err_msg=op)
    for alpha, beta in product((0.0, 1.0), repeat=2):
        got = mapped(isa, rng, "is_inf", [(a, a)], "boolean", alpha=alpha, beta=beta)
        expected = (np.isposinf(a) & bool(alpha)) | (np.isneginf(a) & bool(beta))
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("op", ["div", "mod", "fmod"])
def test_a_division_by_zero_is_an_error(op: str, dtype: str) -> None:
    rng = np.random.default_rng(2)
    a: Array = np.full(600, 7, NAMES[dtype])
    b = a.copy()
    b[577] = 0
    with pytest.raises(InputError, match="zero"):
        mapped(FIRST_ISA, rng, op, [(a, a), (b, b)], dtype, chunk_outer=600)


def test_booleans_of_any_byte() -> None:
    """A bool is true where its byte is not 0."""
    rng = np.random.default_rng(3)
    a = rng.integers(0, 4, 100).astype(np.uint8)
    b = rng.integers(0, 4, 100).astype(np.uint8)
    x, y = a.view(np.bool_), b.view(np.bool_)
    for op in [*LOGIC, "equal"]:
        got = mapped(FIRST_ISA, rng, op, [(x, x), (y, y)][: OPERANDS.get(op, 1)], "boolean")
        operands = [a != 0, b != 0][: OPERANDS.get(op, 1)]
        np.testing.assert_array_equal(got.view(np.uint8), FUNCTIONS[op](*operands))
    got = mapped(FIRST_ISA, rng, "where", [(x, x), (a, a), (b, b)], "u8")
    np.testing.assert_array_equal(got, np.where(a != 0, a, b))


@each_isa
@pytest.mark.parametrize("seed", range(12))
def test_any_layout_and_any_chunk(isa: str, seed: int) -> None:
    """The same bits, of a function whose vectors have a tail of their own."""
    rng = np.random.default_rng(seed)
    rank = int(rng.integers(1, 7))
    shape = tuple(int(side) for side in rng.choice([1, 2, 3, 4, 19] if rank < 5 else [1, 2, 3], rank))
    values = rng.uniform(-4, 4, 500).astype(np.float32)
    operands = [filled(rng, shape, values, broadcast=True) for _ in range(3)]
    results = []
    for chunk_outer, threads in [(1, 1), (2, 2), (1000, 1)]:
        results.append(mapped(isa, rng, "affine", operands, "f32", chunk_outer=chunk_outer, threads=threads))
        results.append(
            mapped(isa, rng, "sigmoid", operands[:1], "f32", chunk_outer=chunk_outer, threads=threads)
        )
    a, b, c = (view.astype(float) for _, view in operands)
    np.testing.assert_allclose(results[0], a * b + c, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(results[1], sigmoid(a), rtol=1e-5)
    for i in (2, 3, 4, 5):
        assert results[i].tobytes() == results[i % 2].tobytes()


@each_isa
def test_an_operand_that_is_the_result(isa: str) -> None:
    """In place, of lengths around the lane count."""
    lanes = _simd.lanes(isa)
    for n in [1, lanes - 1, lanes, lanes + 1, 3 * lanes + 2, 1500]:
        x = np.linspace(-3, 3, n, dtype=np.float32)
        program = Program(isa)
        place = program.input(x)
        arena = program.arena(4 * n)
        y = program.output((n,))
        line: dict[str, Any] = {"rank": 1, "shape": np.array([n]), "chunk_outer": 700}
        ones = np.ones(4, np.int64)
        program.step("copy", x=place, y=arena, size=4, strides=ones[:2], **line)
        for op in ("sigmoid", "add"):
            program.step(
                "map_nd", a=arena, b=arena, y=arena, op=op, dtype="f32", y_dtype="f32", strides=ones, **line
            )
        program.step("copy", x=arena, y=y, size=4, strides=ones[:2], **line)
        # A sigmoid is right to about 1e-6 of 1.
        np.testing.assert_allclose(program.run()[0], 2 * sigmoid(x.astype(float)), rtol=0, atol=2e-6)


@each_isa
@pytest.mark.parametrize(
    "change",
    [
        {"op": 99},
        {"op": -1},
        {"dtype": 12},
        {"y_dtype": -1},
        {"y_dtype": 1},
        {"op": "and_"},
        {"activation": 17},
        {"a": 0},
        {"b": ref(5, 1 << 40)},
        {"strides": np.array([1, -1, 1, 1])},
        {"strides": np.array([1, 1, 1, 0])},
    ],
    ids=str,
)
def test_unsound_steps_are_refused(isa: str, change: dict[str, Any]) -> None:
    program = Program(isa)
    x = program.input(np.zeros(4, np.float32))
    fields: dict[str, Any] = {
        "a": x,
        "b": x,
        "y": program.output((4,)),
        "op": "add",
        "dtype": "f32",
        "y_dtype": "f32",
    }
    fields |= {"rank": 1, "shape": np.array([4]), "strides": np.ones(4, np.int64), "chunk_outer": 1}
    program.step("map_nd", **(fields | change))
    with pytest.raises(ModelFileError, match="step 0"):
        program.plan()

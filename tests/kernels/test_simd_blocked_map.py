"""Step `map` on every ISA: every op and activation against NumPy in float64, around the lane counts."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgecv import _simd
from edgecv.errors import ModelFileError
from tests.kernels.simd_blocked import F32, SPECIAL, refs
from tests.kernels.simd_program import Array, Program, each_isa, from_blocked, to_blocked

Function = Callable[..., Array]
ERF: Function = np.vectorize(math.erf, otypes=[np.float64])

UNARY: dict[str, Function] = {
    "first": lambda a: a,
    "neg": np.negative,
    "abs": np.abs,
    "sqrt": np.sqrt,
    "exp": np.exp,
    "log": np.log,
    "reciprocal": np.reciprocal,
    "sigmoid": lambda a: 1 / (1 + np.exp(-a)),
    "tanh": np.tanh,
    "erf": ERF,
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.round,
    "sign": np.sign,
    "sin": np.sin,
    "cos": np.cos,
    "softplus": lambda a: np.logaddexp(0, a),
    "activation": lambda a: a,
}
BINARY: dict[str, Function] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "max": np.maximum,
    "min": np.minimum,
    "pow": np.power,
    "prelu": lambda a, b: np.where(a < 0, a * b, a),
}
# Those that IEEE 754 defines to the last bit.
EXACT = {"first", "neg", "abs", "sqrt", "reciprocal", "floor", "ceil", "round", "sign", "activation"}
EXACT |= {"add", "sub", "mul", "div", "max", "min", "prelu"}

ACTIVATIONS: dict[str, Function] = {
    "none": lambda v, a, b: v,
    "relu": lambda v, a, b: np.maximum(v, 0),
    "clip": lambda v, a, b: np.clip(v, a, b),
    "leaky_relu": lambda v, a, b: np.where(v < 0, a * v, v),
    "sigmoid": lambda v, a, b: 1 / (1 + np.exp(-v)),
    "silu": lambda v, a, b: v / (1 + np.exp(-v)),
    "hard_sigmoid": lambda v, a, b: np.clip(a * v + b, 0, 1),
    "hard_swish": lambda v, a, b: v * np.clip(v / 6 + 0.5, 0, 1),
    "tanh": lambda v, a, b: np.tanh(v),
    "mish": lambda v, a, b: v * np.tanh(np.logaddexp(0, v)),
    "gelu": lambda v, a, b: 0.5 * v * (1 + ERF(v / math.sqrt(2))),
    "gelu_tanh": lambda v, a, b: 0.5 * v * (1 + np.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3))),
    "elu": lambda v, a, b: np.where(v > 0, v, a * np.expm1(np.minimum(v, 0))),
    "selu": lambda v, a, b: b * np.where(v > 0, v, a * np.expm1(np.minimum(v, 0))),
    "softplus": lambda v, a, b: np.logaddexp(0, v),
    "exp": lambda v, a, b: np.exp(v),
    "softsign": lambda v, a, b: v / (1 + np.abs(v)),
}
SIDES = [(1, 1), (1, 3), (2, 2), (5, 27), (16, 17)]


def blocked_map(
    isa: str,
    op: str,
    operands: list[Array],
    activation: str = "none",
    alpha: float = 0.0,
    beta: float = 0.0,
    in_place: bool = False,
) -> Array:
    """Operands (channels, H, W); one of a single pixel is repeated. In place: over the first one."""
    program = Program(isa)
    lanes = program.lanes
    blocked = [to_blocked(x, lanes) for x in operands]
    shape = blocked[0].shape
    pixels = shape[1] * shape[2]
    sources = [program.input(x) for x in blocked]
    y = program.output(shape)
    table = np.zeros((shape[0], 4), np.int64)
    distances = {}
    for k, x in enumerate(blocked):
        packed = x.shape == shape
        distances[f"{'abc'[k]}_pixel"] = lanes if packed else 0
        table[:, k] = refs(program, sources[k], shape[0], lanes * (pixels if packed else 1))
    table[:, 3] = refs(program, y, shape[0], pixels * lanes)
    fields = {"n_blocks": shape[0], "pixels": pixels, "chunk_blocks": 2}
    if in_place:
        start = np.stack([table[:, 0], table[:, 3], table[:, 3], table[:, 3]], 1)
        program.step("map", operands=start, op="first", a_pixel=lanes, **fields)
        table[:, 0] = table[:, 3]
    program.step(
        "map", operands=table, op=op, activation=activation, alpha=alpha, beta=beta, **distances, **fields
    )
    return from_blocked(program.run()[0], operands[0].shape[0])


def values(rng: np.random.Generator, shape: tuple[int, ...], special: bool) -> Array:
    x: Array = (rng.standard_normal(shape) * rng.choice([0.01, 1, 20], shape)).astype(F32)
    if special:
        flat = x.reshape(-1)
        flat[: SPECIAL.size] = SPECIAL[: flat.size]
        rng.shuffle(flat)
    return x


def assert_close(got: Array, want: Array, exact: bool, scale: Array | float = 1e-30) -> None:
    """To the bit, or to 2e-6 of the value or of `scale`; the same infinities and NaN."""
    with np.errstate(over="ignore"):
        rounded = want.astype(F32)
    if exact:
        np.testing.assert_array_equal(got, rounded)
        return
    # Runs flush denormals.
    rounded = np.where(np.abs(rounded) < np.finfo(F32).tiny, 0, rounded)
    finite = np.isfinite(rounded)
    np.testing.assert_array_equal(got[~finite], rounded[~finite])
    error = np.abs(got[finite] - want[finite])
    bound = 2e-6 * np.maximum(np.abs(want), scale)[finite] + np.finfo(F32).tiny
    assert (error <= bound).all(), (error / bound).max()


@each_isa
@pytest.mark.parametrize("op", UNARY)
@pytest.mark.parametrize("special", [False, True], ids=["plain", "special"])
def test_unary(isa: str, op: str, special: bool) -> None:
    rng = np.random.default_rng(0)
    for channels in (1, _simd.lanes(isa) + 1):
        for hw in SIDES:
            x = values(rng, (channels, *hw), special)
            if op == "log" and not special:
                x = np.concatenate([np.abs(x[:1]), 1 + x[1:] / 1000])
            with np.errstate(all="ignore"):
                want = UNARY[op](x.astype(np.float64))
            scale = 1.0 if op in ("sigmoid", "softplus", "sin", "cos") else 1e-30
            assert_close(blocked_map(isa, op, [x]), want, op in EXACT, scale)


@each_isa
@pytest.mark.parametrize("op", BINARY)
@pytest.mark.parametrize("repeated", ["none", "a", "b"])
@pytest.mark.parametrize("special", [False, True], ids=["plain", "special"])
def test_binary(isa: str, op: str, repeated: str, special: bool) -> None:
    rng = np.random.default_rng(1)
    channels = 2 * _simd.lanes(isa) + 1
    for hw in SIDES:
        a, b = values(rng, (channels, *hw), special), values(rng, (channels, *hw), special)
        if repeated == "b":
            b = b[:, :1, :1]
        elif repeated == "a" and op in ("add", "mul", "max", "min"):
            a, b = b, a[:, :1, :1]
        if op == "pow":
            b = rng.choice([-1, 0, 0.5, 1, 2, 3], b.shape).astype(F32)
        with np.errstate(all="ignore"):
            want = BINARY[op](a.astype(np.float64), b.astype(np.float64))
        assert_close(blocked_map(isa, op, [a, b]), want, op in EXACT)


@each_isa
def test_squares(isa: str) -> None:
    x = values(np.random.default_rng(2), (5, 3, 7), True)
    two = np.full((5, 1, 1), 2, F32)
    with np.errstate(all="ignore"):
        assert_close(blocked_map(isa, "pow", [x, two]), x * x, True)


@each_isa
def test_a_repeated_first_operand(isa: str) -> None:
    """a holds one pixel, b all of them: the shape of the result is b's."""
    rng = np.random.default_rng(3)
    program = Program(isa)
    lanes = program.lanes
    a, b = rng.standard_normal((lanes,)).astype(F32), rng.standard_normal((6, lanes)).astype(F32)
    table = np.array([[program.input(a), program.input(b), 0, program.output((6, lanes))]], np.int64)
    program.step("map", operands=table, n_blocks=1, pixels=6, op="sub", b_pixel=lanes, chunk_blocks=1)
    np.testing.assert_array_equal(program.run()[0], a - b)


@each_isa
@pytest.mark.parametrize("repeated", [False, True], ids=["packed", "one-pixel"])
def test_affine(isa: str, repeated: bool) -> None:
    rng = np.random.default_rng(4)
    channels = 2 * _simd.lanes(isa) + 1
    for hw in SIDES:
        shape = (channels, 1, 1) if repeated else (channels, *hw)
        a, b, c = (values(rng, s, False) for s in ((channels, *hw), shape, shape))
        want = a.astype(np.float64) * b + c
        assert_close(blocked_map(isa, "affine", [a, b, c]), want, False, np.abs(a * b))


@each_isa
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("op", ["first", "activation", "add"])
def test_activations(isa: str, activation: str, op: str) -> None:
    rng = np.random.default_rng(5)
    alpha, beta = {"clip": (-1.5, 2.5), "selu": (1.67326319, 1.05070102), "hard_sigmoid": (0.2, 0.5)}.get(
        activation, (0.3, 0.0)
    )
    channels = _simd.lanes(isa) + 1
    for hw in SIDES:
        operands = [values(rng, (channels, *hw), True) for _ in range(1 + (op == "add"))]
        with np.errstate(all="ignore"):
            v = sum(operands[1:], operands[0])
            want = ACTIVATIONS[activation](v.astype(np.float64), alpha, beta)
            # What x times 0 hides: the limits at minus infinity are 0.
            if activation in ("silu", "hard_swish", "mish", "gelu", "gelu_tanh"):
                want = np.where(v == -np.inf, 0, want)
            if activation == "softsign":
                want = np.where(np.isinf(v), np.sign(v), want)
        scale = np.where(np.isfinite(v), np.maximum(np.abs(v), 1), 1)
        for in_place in (False, True):
            got = blocked_map(isa, op, operands, activation, alpha, beta, in_place)
            assert_close(got, want, False, scale)


@each_isa
@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"op": "not_"}, "op is unknown"),
        ({"op": -1}, "op is unknown"),
        ({"activation": 99}, "activation"),
        ({"pixels": -1}, "negative"),
        ({"pixels": 10}, "outside its memory"),
        ({"pixels": 2**61}, "outside its memory"),
        ({"a_pixel": 1}, "packed"),
        ({"b_pixel": -4}, "packed"),
        ({"c_pixel": 3, "op": "affine"}, "packed"),
        ({"op": "affine"}, None),
        ({"n_blocks": 2}, "outside"),
        ({"chunk_blocks": 0}, "chunks"),
    ],
    ids=str,
)
def test_an_unsound_map(isa: str, change: dict[str, int | str], problem: str | None) -> None:
    program = Program(isa)
    x = program.input(np.zeros((9, program.lanes), F32))
    y = program.output((9, program.lanes))
    fields: dict[str, Any] = {
        "operands": np.array([[x, x, x, y]], np.int64),
        "n_blocks": 1,
        "pixels": 9,
        "op": "add",
    }
    fields |= {"a_pixel": program.lanes, "b_pixel": program.lanes, "chunk_blocks": 1} | change
    program.step("map", **fields)
    if problem is None:
        program.plan()
    else:
        with pytest.raises(ModelFileError, match=problem):
            program.plan()


@each_isa
def test_a_map_writes_to_no_input(isa: str) -> None:
    program = Program(isa)
    x = program.input(np.zeros((9, program.lanes), F32))
    table = np.array([[x, x, 0, x]], np.int64)
    program.step("map", operands=table, n_blocks=1, pixels=9, op="add", chunk_blocks=1)
    with pytest.raises(ModelFileError, match="result"):
        program.plan()

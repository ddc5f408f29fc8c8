"""Operands that the caller brings: shapes, which belong to a plan by value, and weights, which do not."""

from __future__ import annotations

import numpy as np
import pytest

from edgecv.errors import InputError
from tests.backends.simd_sessions import Array, assert_right, noise, opened
from tests.engine.written import network as network_of

# ---- Operands that say shapes

BY_VALUE: dict[str, tuple[str, list[dict[str, Array]]]] = {
    "Reshape": (
        "(float[2, 3, 4] x, int64[k] s) => (float[a, b] y) { y = Reshape(x, s) }",
        [{"s": np.array([6, 4])}, {"s": np.array([2, -1])}, {"s": np.array([0, 12])}],
    ),
    "Slice": (
        "(float[2, 8, 5, 5] x, int64[1] a, int64[1] b) => (float[i, j, k, l] y)"
        " { axes = Constant<value_ints = [1]>() y = Slice(x, a, b, axes) }",
        [{"a": np.array([0]), "b": np.array([3])}, {"a": np.array([-5]), "b": np.array([-1])}],
    ),
    "Resize": (
        "(float[1, 3, 4, 4] x, int64[4] s) => (float[i, j, k, l] y)"
        ' { y = Resize<mode = "nearest", coordinate_transformation_mode = "asymmetric",'
        ' nearest_mode = "floor">(x, , , s) }',
        [{"s": np.array([1, 3, 8, 8])}, {"s": np.array([1, 3, 4, 12])}],
    ),
    "Pad": (
        "(float[1, 3, 4, 4] x, int64[8] p) => (float[i, j, k, l] y) { y = Pad(x, p) }",
        [{"p": np.array([0, 0, 1, 1, 0, 0, 1, 1])}, {"p": np.array([0, 1, 0, 0, 0, 0, 2, 0])}],
    ),
    "Tile": (
        "(float[2, 3] x, int64[2] r) => (float[a, b] y) { y = Tile(x, r) }",
        [{"r": np.array([1, 2])}, {"r": np.array([3, 1])}],
    ),
    "TopK": (
        "(float[2, 9] x, int64[1] k) => (float[a, b] y, int64[a, b] i) { y, i = TopK(x, k) }",
        [{"k": np.array([3])}, {"k": np.array([9])}],
    ),
    "a shape that is computed": (
        "(float[2, 12] x, int64[1] n) => (float[a, b] y)"
        " { minus = Constant<value_ints = [-1]>() s = Concat<axis = 0>(n, minus) y = Reshape(x, s) }",
        [{"n": np.array([3])}, {"n": np.array([8])}],
    ),
}


@pytest.mark.parametrize("name", BY_VALUE)
def test_a_plan_is_made_for_the_values_of_operands(name: str) -> None:
    text, values = BY_VALUE[name]
    network = network_of(text)
    shape = tuple(n for n in network.facts.inputs[0].shape if isinstance(n, int))
    x = noise(*shape)
    with opened(network) as session:
        for operands in values:
            inputs = {"x": x, **operands}
            with pytest.raises(InputError, match=r"with these values of .* are not prepared.*replan=True"):
                session.run(inputs)
            assert_right(network, session.run(inputs, replan=True), inputs)
        for operands in values:
            inputs = {"x": 2 * x, **operands}
            assert_right(network, session.run(inputs), inputs)


# ---- Weights that are inputs

RUNTIME_WEIGHTS: dict[str, tuple[str, dict[str, tuple[int, ...]]]] = {
    "Conv": (
        "(float[2, 5, 6, 7] x, float[9, 5, 3, 3] w, float[9] b) => (float[2, 9, 6, 7] y)"
        " { c = Conv<pads = [1, 1, 1, 1]>(x, w, b) y = Relu(c) }",
        {"x": (2, 5, 6, 7), "w": (9, 5, 3, 3), "b": (9,)},
    ),
    "Conv in groups": (
        "(float[1, 6, 6, 7] x, float[18, 2, 1, 1] w) => (float[1, 18, 6, 7] y) { y = Conv<group = 3>(x, w) }",
        {"x": (1, 6, 6, 7), "w": (18, 2, 1, 1)},
    ),
    "depthwise Conv": (
        "(float[1, 19, 6, 7] x, float[19, 1, 3, 3] w, float[19] b) => (float[1, 19, 4, 5] y)"
        " { y = Conv<group = 19>(x, w, b) }",
        {"x": (1, 19, 6, 7), "w": (19, 1, 3, 3), "b": (19,)},
    ),
    "bias of Conv": (
        "(float[1, 3, 4, 4] x, float[9] b) => (float[1, 9, 4, 4] y)"
        " { w = ConstantOfShape<value: tensor = float[1] {0.5}>(s) y = Conv(x, w, b) }",
        {"x": (1, 3, 4, 4), "b": (9,)},
    ),
    "ConvTranspose": (
        "(float[1, 5, 4, 4] x, float[5, 6, 4, 4] w, float[6] b) => (float[1, 6, 8, 8] y)"
        " { y = ConvTranspose<strides = [2, 2], pads = [1, 1, 1, 1]>(x, w, b) }",
        {"x": (1, 5, 4, 4), "w": (5, 6, 4, 4), "b": (6,)},
    ),
    "Gemm": (
        "(float[3, 20] x, float[17, 20] w, float[17] b) => (float[3, 17] y)"
        " { y = Gemm<transB = 1>(x, w, b) }",
        {"x": (3, 20), "w": (17, 20), "b": (17,)},
    ),
    "MatMul": (
        "(float[2, 3, 20] x, float[2, 20, 17] w) => (float[2, 3, 17] y) { y = MatMul(x, w) }",
        {"x": (2, 3, 20), "w": (2, 20, 17)},
    ),
    "BatchNormalization": (
        "(float[2, 9, 4] x, float[9] w, float[9] b, float[9] m, float[9] v) => (float[2, 9, 4] y)"
        " { u = Mul(v, v) y = BatchNormalization(x, w, b, m, u) }",
        {"x": (2, 9, 4), "w": (9,), "b": (9,), "m": (9,), "v": (9,)},
    ),
}


@pytest.mark.parametrize("name", RUNTIME_WEIGHTS)
def test_weights_that_are_inputs(name: str) -> None:
    text, shapes = RUNTIME_WEIGHTS[name]
    network = network_of(text, **({"s": np.array([9, 3, 1, 1])} if name == "bias of Conv" else {}))
    with opened(network) as session:
        for seed in range(3):
            inputs = {k: noise(*shape, seed=10 * seed + i) for i, (k, shape) in enumerate(shapes.items())}
            assert_right(network, session.run(inputs), inputs)

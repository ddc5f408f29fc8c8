"""Operators that compute, for random networks; each adds itself and what it needs to a sketch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tests.engine.random_graphs import (
    CHANNELS,
    Refused,
    Sketch,
    Value,
    broadcasts,
    divisors,
    operator,
    window_of,
)

# ---- Convolutions and products


@operator
def conv(s: Sketch) -> None:
    x = s.of_rank(4, 4, 3)
    window = window_of(s, x.shape[2:])
    _conv(s, x, s.one_of(divisors(x.shape[1])), s.one_of(CHANNELS), window)


@operator
def pointwise(s: Sketch) -> None:
    x = s.of_rank(4, 3)
    _conv(s, x, 1, s.one_of(CHANNELS), {"kernel_shape": [1] * (len(x.shape) - 2)})


@operator
def depthwise(s: Sketch) -> None:
    x = s.of_rank(4, 3)
    _conv(s, x, x.shape[1], x.shape[1] * s.one_of((1, 1, 2)), window_of(s, x.shape[2:]))


def _conv(s: Sketch, x: Value, group: int, outputs: int, window: dict[str, list[int]]) -> Value:
    outputs = -(-outputs // group) * group
    inputs = x.shape[1] // group
    shape = (outputs, inputs, *window["kernel_shape"])
    operands: list[Value | str] = [x, s.weight(s.normal(shape, 1 / math.sqrt(math.prod(shape[1:]))))]
    if s.flag():
        operands.append(s.weight(s.normal((outputs,))))
    attributes: dict[str, Any] = {"group": group, **window}
    return s.add("Conv", operands, **attributes)[0]


@operator
def residual(s: Sketch) -> None:
    """x + conv(x), in either order, with or without an activation."""
    x = s.image()
    size = s.one_of((1, 3))
    window = {"kernel_shape": [size, size], "pads": [size // 2] * 4}
    y = _conv(s, x, s.one_of((1, x.shape[1])), x.shape[1], window)
    y = s.add("Add", [x, y] if s.flag() else [y, x])[0]
    if s.flag():
        s.add(s.one_of(("Relu", "HardSwish", "Sigmoid")), [y])


@operator
def squeeze_excite(s: Sketch) -> None:
    x = s.image()
    y = s.add("GlobalAveragePool", [x])[0]
    y = _conv(s, y, 1, x.shape[1], {"kernel_shape": [1, 1]})
    y = s.add("Sigmoid", [y])[0]
    s.add("Mul", [x, y] if s.flag() else [y, x])


@operator
def conv_transpose(s: Sketch) -> None:
    x = s.of_rank(4, 4, 3)
    axes = len(x.shape) - 2
    # Of groups the reference knows only those of one channel, without bias.
    group = s.one_of((1, x.shape[1]))
    each = s.one_of((1, 2, 3, 4, 8, 9, 17)) if group == 1 else 1
    kernel = [s.number(1, 4) for _ in range(axes)]
    strides = [s.number(1, 3) for _ in range(axes)]
    dilations = [s.one_of((1, 1, 2)) for _ in range(axes)]
    pads = [s.number(0, (k - 1) * d) for k, d in zip(kernel, dilations, strict=True)] * 2
    padding = [s.number(0, st_ - 1) for st_ in strides]
    sizes = [
        st_ * (n - 1) + p + (k - 1) * d + 1 - 2 * b
        for n, k, st_, d, p, b in zip(x.shape[2:], kernel, strides, dilations, padding, pads, strict=False)
    ]
    if min(sizes) < 1:
        pads = [0] * (2 * axes)
    shape = (x.shape[1], each, *kernel)
    scale = 1 / math.sqrt(x.shape[1] // group * math.prod(kernel))
    operands: list[Value | str] = [x, s.weight(s.normal(shape, scale))]
    if group == 1 and s.flag():
        operands.append(s.weight(s.normal((each,))))
    s.add(
        "ConvTranspose", operands, group=group, kernel_shape=kernel, strides=strides, dilations=dilations,
        pads=pads, output_padding=padding,
    )  # fmt: skip


@operator
def matmul(s: Sketch) -> None:
    x = s.value(lambda v: len(v.shape) >= 2)
    k = x.shape[-1]
    operand: Value | str
    if s.flag():
        lead = s.one_of(((), x.shape[:-2], (1,) * (len(x.shape) - 2)))
        operand = s.weight(s.normal((*lead, k, s.one_of(CHANNELS)), 1 / math.sqrt(k)))
        y = s.add("MatMul", [x, operand])[0]
        if s.flag():
            s.add("Add", [y, s.weight(s.normal((y.shape[-1],)))])
    else:
        scaled = s.add("Mul", [x, s.weight(np.float32(1 / math.sqrt(k)))])[0]
        order = [*range(len(x.shape) - 2), len(x.shape) - 1, len(x.shape) - 2]
        turned = s.add("Transpose", [x], exact=True, perm=order)[0]
        s.add("MatMul", [scaled, turned] if s.flag() else [turned, scaled])


@operator
def gemm(s: Sketch) -> None:
    x = s.of_rank(2)
    turned_a, turned_b = s.number(0, 1), s.number(0, 1)
    m, k = x.shape[::-1] if turned_a else x.shape
    n = s.one_of(CHANNELS)
    b = s.normal((n, k) if turned_b else (k, n), 1 / math.sqrt(k))
    operands: list[Value | str] = [x, s.weight(b)]
    c = s.one_of((None, (n,), (1, n), (m, 1), (m, n), ()))
    if c is not None:
        operands.append(s.weight(s.normal(c)))
    s.add(
        "Gemm",
        operands,
        transA=turned_a,
        transB=turned_b,
        alpha=s.one_of((1.0, 0.5)),
        beta=s.one_of((1.0, 2.0)),
    )


@operator
def linear(s: Sketch) -> None:
    """Flatten and Gemm, as classifiers end."""
    x = s.of_rank(4, 3)
    y = s.add("Flatten", [x], exact=True, axis=1)[0]
    k, n = y.shape[1], s.one_of(CHANNELS)
    s.add("Gemm", [y, s.weight(s.normal((n, k), 1 / math.sqrt(k))), s.weight(s.normal((n,)))], transB=1)


# ---- Element by element

ACTIVATIONS: dict[str, dict[str, float]] = {
    "Relu": {},
    "LeakyRelu": {"alpha": 0.1},
    "Sigmoid": {},
    "HardSigmoid": {},
    "HardSwish": {},
    "Tanh": {},
    "Elu": {},
    "Selu": {},
    "Softplus": {},
    "Softsign": {},
    "Celu": {},
    "ThresholdedRelu": {"alpha": -5.0},
    "Abs": {},
    "Neg": {},
    "Erf": {},
    "Sin": {},
    "Cos": {},
    "Atan": {},
    "Mish": {},
}
EXACT = ("Relu", "Abs", "Neg", "ThresholdedRelu")


@operator
def activation(s: Sketch) -> None:
    op = s.one_of(list(ACTIVATIONS))
    attributes: dict[str, Any] = {**ACTIVATIONS[op]}
    s.add(op, [s.value()], exact=op in EXACT, **attributes)


@operator
def silu(s: Sketch) -> None:
    x = s.value()
    gate = s.add(s.one_of(("Sigmoid", "HardSigmoid", "Tanh")), [x])[0]
    s.add("Mul", [x, gate] if s.flag() else [gate, x])


@operator
def clip(s: Sketch) -> None:
    operands: list[Value | str] = [s.value(), s.weight(np.float32(-0.5))]
    if s.flag():
        operands.append(s.weight(np.float32(1.25)))
    s.add("Clip", operands, exact=True)


@operator
def guarded(s: Sketch) -> None:
    """Operators that need their input in a range."""
    kind = s.one_of(("Sqrt", "Log", "Reciprocal", "Exp", "Pow", "Div"))
    if kind == "Exp":
        s.add("Exp", [s.add("Tanh", [s.value()])[0]])
        return
    x = s.add("Add", [s.add("Abs", [s.value()], exact=True)[0], s.weight(np.float32(0.5))])[0]
    if kind == "Pow":
        s.add("Pow", [x, s.weight(np.float32(s.one_of((2.0, 0.5, 1.0, -1.0, 1.5))))])
    elif kind == "Div":
        y = s.value(lambda v: broadcasts(v.shape, x.shape))
        s.add("Div", [y, x])
    else:
        s.add(kind, [x])


@operator
def rounding(s: Sketch) -> None:
    x = s.value(lambda v: v.is_exact)
    s.add(s.one_of(("Floor", "Ceil", "Round", "Sign")), [x], exact=True)


BINARY = ("Add", "Sub", "Mul", "Max", "Min")


@operator
def with_constant(s: Sketch) -> None:
    x = s.value(lambda v: len(v.shape) > 0)
    rank = len(x.shape)
    kept = [s.flag() for _ in range(rank)]
    shape = [n if keep else 1 for n, keep in zip(x.shape, kept, strict=True)]
    while len(shape) > 0 and shape[0] == 1 and s.flag():
        shape.pop(0)
    if s.flag() and rank > 1:
        # The form that channels take.
        shape = [x.shape[1], *[1] * (rank - 2)]
    op = s.one_of(("Add", "Sub", "Mul", "Max", "Min", "Div", "PRelu"))
    values = s.normal(shape)
    if op == "Div":
        values = np.sign(values) + values
    w = s.weight(values)
    if op == "PRelu" and len(shape) > rank:
        raise Refused
    swapped = op in BINARY and s.flag()
    s.add(op, [w, x] if swapped else [x, w])


@operator
def between(s: Sketch) -> None:
    """Two tensors, one of which may be repeated along axes."""
    x = s.value()
    y = s.value(lambda v: broadcasts(v.shape, x.shape))
    op = s.one_of(BINARY)
    s.add(op, [x, y] if s.flag() else [y, x])


@operator
def several(s: Sketch) -> None:
    x = s.value()
    others = [
        s.value(lambda v: broadcasts(v.shape, x.shape) and len(v.shape) <= len(x.shape)) for _ in range(2)
    ]
    if any(v.shape != x.shape and others[0].shape != others[1].shape for v in others):
        raise Refused
    s.add(s.one_of(("Sum", "Mean", "Max", "Min")), [x, *others])


@operator
def where(s: Sketch) -> None:
    x = s.value(lambda v: v.is_exact)
    y = s.value(lambda v: broadcasts(v.shape, x.shape))
    test = s.add(
        s.one_of(("Greater", "Less", "GreaterOrEqual", "Equal")), [x, s.weight(np.float32(0.25))], exact=True
    )
    s.add("Where", [test[0], x, y] if s.flag() else [test[0], y, x])


# ---- Normalization


@operator
def batch_norm(s: Sketch) -> None:
    x = s.value(lambda v: len(v.shape) >= 2)
    n = x.shape[1]
    parts = [1 + s.normal((n,), 0.2), s.normal((n,)), s.normal((n,)), 0.5 + np.abs(s.normal((n,)))]
    s.add("BatchNormalization", [x, *(s.weight(p) for p in parts)])


@operator
def normalization(s: Sketch) -> None:
    x = s.value(lambda v: len(v.shape) >= 3)
    if s.flag():
        n = x.shape[1]
        s.add("InstanceNormalization", [x, s.weight(s.normal((n,))), s.weight(s.normal((n,)))], epsilon=0.1)
    else:
        axis = s.number(1, len(x.shape) - 1)
        shape = x.shape[axis:]
        s.add(
            "LayerNormalization",
            [x, s.weight(s.normal(shape)), s.weight(s.normal(shape))],
            axis=axis,
            epsilon=0.1,
        )

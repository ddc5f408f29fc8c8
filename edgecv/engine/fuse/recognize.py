"""Activations in the spellings of exporters become one node each: edgecv::Activation, float32.

Products are compared as sets of factors and a number, so that the order in which an exporter multiplies, and
where it puts the number, do not matter.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from edgecv.engine.fuse.fused import DOMAIN, activation
from edgecv.graph.rewrite import (
    Pass,
    Rewrite,
    attribute,
    constant,
    given,
    is_constant,
    is_float32,
    made_by,
    scalar,
    shape,
    single_use,
)

# How far numbers of a spelling may be from the exact ones: exporters write them with 5 to 9 digits.
_TOLERANCE = 1e-4


def _is_near(number: float | None, exact: float) -> bool:
    return number is not None and math.isclose(number, exact, rel_tol=_TOLERANCE)


# ---- Operators that are activations

_Numbers = tuple[str, float, float]


def _of_alpha(kind: str, default: float) -> Callable[[ir.Node], _Numbers]:
    return lambda node: (kind, attribute(node, "alpha", default), 0.0)


def _of_none(kind: str) -> Callable[[ir.Node], _Numbers]:
    return lambda node: (kind, 0.0, 0.0)


def _clip(node: ir.Node) -> _Numbers | None:
    bounds = []
    for index, default in ((1, -math.inf), (2, math.inf)):
        value = given(node, index)
        bound = default if value is None else scalar(value)
        if bound is None:
            return None
        bounds.append(bound)
    if bounds == [0.0, math.inf]:
        return "relu", 0.0, 0.0
    return "clip", bounds[0], bounds[1]


def _prelu(node: ir.Node) -> _Numbers | None:
    slopes = constant(node.inputs[1])
    if slopes is None or not slopes.size or (slopes != slopes.flat[0]).any():
        return None
    return "leaky_relu", float(slopes.flat[0]), 0.0


def _extreme(node: ir.Node) -> _Numbers | None:
    bound = scalar(node.inputs[1])
    if bound is None or math.isnan(bound):
        return None
    if node.op_type == "Min":
        return "clip", -math.inf, bound
    return ("relu", 0.0, 0.0) if bound == 0 else ("clip", bound, math.inf)


def _gelu(node: ir.Node) -> _Numbers:
    return ("gelu_tanh" if attribute(node, "approximate", "none") == "tanh" else "gelu"), 0.0, 0.0


def _swish(node: ir.Node) -> _Numbers | None:
    return ("silu", 0.0, 0.0) if attribute(node, "alpha", 1.0) == 1 else None


OPERATORS_OF_ONNX: dict[str, Callable[[ir.Node], _Numbers | None]] = {
    "Relu": _of_none("relu"),
    "Clip": _clip,
    "Max": _extreme,
    "Min": _extreme,
    "LeakyRelu": _of_alpha("leaky_relu", 0.01),
    "PRelu": _prelu,
    "Sigmoid": _of_none("sigmoid"),
    "HardSigmoid": lambda n: ("hard_sigmoid", attribute(n, "alpha", 0.2), attribute(n, "beta", 0.5)),
    "HardSwish": _of_none("hard_swish"),
    "Tanh": _of_none("tanh"),
    "Mish": _of_none("mish"),
    "Gelu": _gelu,
    "Swish": _swish,
    "Elu": _of_alpha("elu", 1.0),
    # The defaults of ONNX, Operators.md, Selu.
    "Selu": lambda n: (
        "selu",
        attribute(n, "alpha", 1.67326319217681884765625),
        attribute(n, "gamma", 1.05070102214813232421875),
    ),
    "Softplus": _of_none("softplus"),
    "Softsign": _of_none("softsign"),
    "Exp": _of_none("exp"),
}


def recognize_operators(rewrite: Rewrite) -> None:
    """Operators of ONNX that are activations become edgecv::Activation, clips in a row one."""
    for node in rewrite.nodes(*OPERATORS_OF_ONNX):
        x = node.inputs[0]
        if x is None or not is_float32(x) or is_constant(x) or shape(x) != shape(node.outputs[0]):
            continue
        found = OPERATORS_OF_ONNX[node.op_type](node)
        if found is None:
            if node.op_type in ("Clip", "PRelu"):
                rewrite.miss(node, f"{node.op_type} with operands of each channel, or known only at run time")
            continue
        kind, alpha, beta = found
        inner = _activation(x)
        if kind in ("clip", "relu") and inner is not None and single_use(x) is node:
            both = _clips(inner, found)
            if both is not None:
                kind, alpha, beta = both
                assert inner.inputs[0] is not None
                x = inner.inputs[0]
        rewrite.replace(node.outputs[0], activation(rewrite, node, kind, x, alpha, beta))


def _clips(inner: ir.Node, outer: _Numbers) -> _Numbers | None:
    """Two bounds in a row as one."""
    bounds = [
        {"relu": (0.0, math.inf), "clip": (alpha, beta)}.get(kind)
        for kind, alpha, beta in (
            (attribute(inner, "activation"), attribute(inner, "alpha"), attribute(inner, "beta")),
            outer,
        )
    ]
    if bounds[0] is None or bounds[1] is None:
        return None
    low, high = (min(max(bound, bounds[1][0]), bounds[1][1]) for bound in bounds[0])
    return ("relu", 0.0, 0.0) if (low, high) == (0.0, math.inf) else ("clip", low, high)


def _activation(value: ir.Value | None, kind: str = "") -> ir.Node | None:
    node = made_by(value, "Activation", domain=DOMAIN)
    return node if node is not None and kind in ("", attribute(node, "activation")) else None


# ---- Sums and products


def _product(value: ir.Value, *, is_outer: bool = True) -> tuple[float, list[ir.Value]]:
    """A number and the factors of a product; values that are read elsewhere too are factors themselves."""
    node = made_by(value, "Mul", "Div")
    if node is None or not (is_outer or single_use(value) is not None):
        return 1.0, [value]
    left, right = node.inputs
    assert left is not None
    assert right is not None
    number = scalar(right)
    if number is not None and not (node.op_type == "Div" and number == 0):
        inner, factors = _product(left, is_outer=False)
        return (inner * number if node.op_type == "Mul" else inner / number), factors
    if node.op_type == "Div" or is_constant(right) or is_constant(left):
        return 1.0, [value]
    number_left, factors_left = _product(left, is_outer=False)
    number_right, factors_right = _product(right, is_outer=False)
    return number_left * number_right, [*factors_left, *factors_right]


def _sum(value: ir.Value | None) -> tuple[ir.Value, float] | None:
    """x and a number, of x + number that nothing else reads."""
    node = made_by(value, "Add")
    if node is None or value is None or single_use(value) is None:
        return None
    number = scalar(node.inputs[1])
    return None if number is None or node.inputs[0] is None else (node.inputs[0], number)


def _scaled(value: ir.Value, x: ir.Value) -> float | None:
    """The number of number * x."""
    number, factors = _product(value, is_outer=False)
    return number if len(factors) == 1 and factors[0] is x else None


def recognize_products(rewrite: Rewrite) -> None:
    """SiLU, HardSwish, HardSigmoid, Mish and GELU, spelled out as products, become edgecv::Activation."""
    for node in rewrite.nodes("Mul", "Div"):
        y = node.outputs[0]
        if not is_float32(y):
            continue
        number, factors = _product(y)
        found: tuple[str, ir.Value, float, float] | None = None
        if len(factors) == 1 and number != 1:
            found = _hard_sigmoid(number, factors[0])
        elif len(factors) == 2:
            found = _gated(number, *factors) or _gated(number, *factors[::-1])
        if found is not None and shape(found[1]) == shape(y):
            kind, x, alpha, beta = found
            new = activation(rewrite, node, kind, x, alpha, beta)
            rewrite.replace(y, new, what=f"{kind}, spelled out")


def _hard_sigmoid(number: float, value: ir.Value) -> tuple[str, ir.Value, float, float] | None:
    """clip(x + b, 0, 1 / number) * number."""
    clip = _activation(value, "clip")
    if clip is None or single_use(value) is None or attribute(clip, "alpha") != 0 or number <= 0:
        return None
    found = _sum(clip.inputs[0])
    if found is None or not _is_near(number * attribute(clip, "beta"), 1):
        return None
    x, shift = found
    return "hard_sigmoid", x, number, shift * number


def _gated(number: float, x: ir.Value, gate: ir.Value) -> tuple[str, ir.Value, float, float] | None:
    """The activation that number * x * gate(x) is."""
    if single_use(gate) is None:
        return None
    inner = _activation(gate)
    kind = _gated_by_sum(number, x, gate) if inner is None else _gated_by_activation(number, x, inner)
    return None if kind is None else (kind, x, 0.0, 0.0)


def _gated_by_activation(number: float, x: ir.Value, gate: ir.Node) -> str | None:
    kind, source = attribute(gate, "activation"), gate.inputs[0]
    alpha, beta = attribute(gate, "alpha"), attribute(gate, "beta")
    if kind == "sigmoid" and source is x and _is_near(number, 1):
        return "silu"
    if kind == "hard_sigmoid" and source is x and _is_near(number, 1):
        return "hard_swish" if _is_near(alpha, 1 / 6) and _is_near(beta, 0.5) else None
    if kind == "clip" and alpha == 0 and _is_near(beta, 6) and _is_near(number, 1 / 6):
        found = _sum(source)
        return "hard_swish" if found is not None and found[0] is x and _is_near(found[1], 3) else None
    if kind == "tanh" and _is_near(number, 1):
        soft = _activation(source, "softplus")
        return "mish" if soft is not None and soft.inputs[0] is x else None
    return None


def _gated_by_sum(number: float, x: ir.Value, gate: ir.Value) -> str | None:
    found = _sum(gate)
    if found is None or not _is_near(found[1], 1) or not _is_near(number, 0.5):
        return None
    erf = made_by(found[0], "Erf")
    if erf is not None and erf.inputs[0] is not None:
        return "gelu" if _is_near(_scaled(erf.inputs[0], x), math.sqrt(0.5)) else None
    tanh = _activation(found[0], "tanh")
    if tanh is not None and tanh.inputs[0] is not None and _is_gelu_argument(tanh.inputs[0], x):
        return "gelu_tanh"
    return None


# Hendrycks and Gimpel, Gaussian Error Linear Units (2016).
_CUBE = 0.044715


def _is_gelu_argument(value: ir.Value, x: ir.Value) -> bool:
    """sqrt(2 / pi) (x + 0.044715 x^3), or the same as x (1 + 0.044715 x^2)."""
    number, factors = _product(value, is_outer=False)
    if not _is_near(number, math.sqrt(2 / math.pi)):
        return False
    if len(factors) == 2:
        rest = next((f for f in factors if f is not x), None)
        found = None if rest is None else _sum(rest)
        return found is not None and _is_near(found[1], 1) and _is_power(found[0], x, 2)
    add = made_by(factors[0], "Add") if len(factors) == 1 else None
    if add is None:
        return False
    left, right = add.inputs
    return (left is x and _is_power(right, x, 3)) or (right is x and _is_power(left, x, 3))


def _is_power(value: ir.Value | None, x: ir.Value, exponent: int) -> bool:
    """Whether a value is 0.044715 x^exponent."""
    if value is None:
        return False
    number, factors = _product(value, is_outer=False)
    powers = 0
    for factor in factors:
        raised = made_by(factor, "Pow")
        if factor is x:
            powers += 1
        elif raised is not None and raised.inputs[0] is x and scalar(raised.inputs[1]) is not None:
            powers += int(scalar(raised.inputs[1]) or 0)
        else:
            return False
    return _is_near(number, _CUBE) and powers == exponent


# ---- Spellings of their parts


def recognize_parts(rewrite: Rewrite) -> None:
    """Sigmoid as 1 / (1 + exp(-x)), Softplus as log(1 + exp(x)), LeakyRelu as max(x, a x) become one node."""
    for node in rewrite.nodes("Div", "Reciprocal", "Log", "Max"):
        y = node.outputs[0]
        if not is_float32(y):
            continue
        if node.op_type == "Max":
            _leaky(rewrite, node)
            continue
        below = node.inputs[1] if node.op_type == "Div" else node.inputs[0]
        x = _exponent(below)
        if x is None:
            continue
        if node.op_type == "Log":
            if shape(x) == shape(y):
                rewrite.replace(y, activation(rewrite, node, "softplus", x), what="log(1 + exp(x))")
            continue
        negative = made_by(x, "Neg")
        times = made_by(x, "Mul")
        source = negative.inputs[0] if negative is not None else None
        if times is not None and scalar(times.inputs[1]) == -1:
            source = times.inputs[0]
        if source is None:
            continue
        gate = activation(rewrite, node, "sigmoid", source)
        above = node.inputs[0] if node.op_type == "Div" else None
        if above is not None and scalar(above) != 1:
            gate = rewrite.value(node, "Mul", [above, gate], like=y)
        if shape(gate) == shape(y):
            rewrite.replace(y, gate, what="1 / (1 + exp(-x)): sigmoid")
        elif gate.producer() is not None:
            rewrite.drop(gate.producer())  # type: ignore[arg-type]


def _exponent(value: ir.Value | None) -> ir.Value | None:
    """x of exp(x) + 1 that nothing else reads."""
    found = _sum(value)
    if found is None or found[1] != 1:
        return None
    exp = made_by(found[0], "Exp") or _activation(found[0], "exp")
    return None if exp is None else exp.inputs[0]


def _leaky(rewrite: Rewrite, node: ir.Node) -> None:
    for x, scaled in (tuple(node.inputs), tuple(node.inputs)[::-1]):
        product = made_by(scaled, "Mul")
        if x is None or scaled is None or product is None or product.inputs[0] is not x:
            continue
        slope = scalar(product.inputs[1])
        if slope is not None and 0 <= slope <= 1 and single_use(scaled) is node:
            new = activation(rewrite, node, "leaky_relu", x, float(np.float32(slope)))
            rewrite.replace(node.outputs[0], new, what="max(x, a x): leaky_relu")
            return


PARTS = Pass("spelled out", recognize_parts)
OPERATORS = Pass("activation operators", recognize_operators)
PRODUCTS = Pass("activation products", recognize_products)

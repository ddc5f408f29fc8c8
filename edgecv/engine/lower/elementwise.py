"""Operators that act element by element."""

from __future__ import annotations

import numpy as np

from edgecv.engine.lower.base import Lowering, Node, lowers
from edgecv.engine.lower.maps import PREDICATES, Activation, activation_of, emit, scalar

# ONNX operator -> map_op of `_simd.CHOICES`, of one, two or three operands.
MAPS = {
    "Add": "add",
    "Sub": "sub",
    "Mul": "mul",
    "Div": "div",
    "PRelu": "prelu",
    "Neg": "neg",
    "Abs": "abs",
    "Sqrt": "sqrt",
    "Exp": "exp",
    "Log": "log",
    "Reciprocal": "reciprocal",
    "Erf": "erf",
    "Floor": "floor",
    "Ceil": "ceil",
    "Round": "round",
    "Sign": "sign",
    "Sin": "sin",
    "Cos": "cos",
    "Tan": "tan",
    "Asin": "asin",
    "Acos": "acos",
    "Atan": "atan",
    "Sinh": "sinh",
    "Cosh": "cosh",
    "Asinh": "asinh",
    "Acosh": "acosh",
    "Atanh": "atanh",
    "Not": "not_",
    "And": "and_",
    "Or": "or_",
    "Xor": "xor_",
    "Equal": "equal",
    "Less": "less",
    "LessOrEqual": "less_equal",
    "Greater": "greater",
    "GreaterOrEqual": "greater_equal",
    "IsNaN": "is_nan",
    "Where": "where",
}
# ONNX operator -> (activation, default alpha, default beta).
ACTIVATIONS: dict[str, tuple[str, float, float]] = {
    "Relu": ("relu", 0.0, 0.0),
    "LeakyRelu": ("leaky_relu", 0.01, 0.0),
    "Sigmoid": ("sigmoid", 0.0, 0.0),
    "HardSigmoid": ("hard_sigmoid", 0.2, 0.5),
    "HardSwish": ("hard_swish", 0.0, 0.0),
    "Tanh": ("tanh", 0.0, 0.0),
    "Mish": ("mish", 0.0, 0.0),
    "Elu": ("elu", 1.0, 0.0),
    "Selu": ("selu", 1.67326319217681884765625, 1.05070102214813232421875),
    "Softplus": ("softplus", 0.0, 0.0),
    "Softsign": ("softsign", 0.0, 0.0),
}


@lowers(*MAPS, "edgecv::Add", "edgecv::Sub", "edgecv::Mul", "edgecv::Div")
def arithmetic(lowering: Lowering, node: Node) -> None:
    """One operation on broadcast operands."""
    op = MAPS[node.op]
    dtype = np.dtype(np.bool_) if op in PREDICATES else node.input(1 if op == "where" else 0).dtype
    operands = [tensor for tensor in node.inputs if tensor is not None]
    emit(lowering, node, op, operands, dtype, activation_of(node))


@lowers("edgecv::Affine")
def affine(lowering: Lowering, node: Node) -> None:
    """x scale + shift, by constants."""
    operands = [node.input(0), node.input(1), node.input(2)]
    emit(lowering, node, "affine", operands, operands[0].dtype, activation_of(node))


@lowers("Max", "Min", "Sum", "Mean", "edgecv::Max", "edgecv::Min")
def variadic(lowering: Lowering, node: Node) -> None:
    """Max, Min, Sum and Mean of any number of operands, two at a time."""
    op = {"Max": "max", "Min": "min"}.get(node.op, "add")
    operands = [tensor for tensor in node.inputs if tensor is not None]
    result = operands[0]
    if len(operands) == 1:
        emit(lowering, node, "first", operands, result.dtype, activation_of(node))
    for i, operand in enumerate(operands[1:], 1):
        is_last = i == len(operands) - 1
        name = node.outputs[0] if is_last and node.op != "Mean" else f"{node.outputs[0]} ({i})"
        after = activation_of(node) if is_last else Activation()
        result = emit(lowering, node, op, [result, operand], result.dtype, after, name)
    if node.op == "Mean" and len(operands) > 1:
        count = scalar(len(operands), result.dtype)
        emit(lowering, node, "div", [result, count], result.dtype, Activation())


@lowers(*ACTIVATIONS)
def activation(lowering: Lowering, node: Node) -> None:
    """An activation that follows nothing it could be fused into."""
    name, alpha, beta = ACTIVATIONS[node.op]
    if node.op == "Selu":
        alpha, beta = node.attribute("alpha", alpha), node.attribute("gamma", beta)
    else:
        alpha, beta = node.attribute("alpha", alpha), node.attribute("beta", beta)
    x = node.input(0)
    emit(lowering, node, "first", [x], x.dtype, Activation(name, float(alpha), float(beta)))


@lowers("Gelu")
def gelu(lowering: Lowering, node: Node) -> None:
    """Gelu, exact or by tanh."""
    name = "gelu_tanh" if node.attribute("approximate", "none") == "tanh" else "gelu"
    x = node.input(0)
    emit(lowering, node, "first", [x], x.dtype, Activation(name))


@lowers("Pow")
def power(lowering: Lowering, node: Node) -> None:
    """Powers, of the type of the base; the exponents may be of another."""
    base, exponent = node.input(0), node.input(1)
    if base.dtype == exponent.dtype:
        emit(lowering, node, "pow", [base, exponent], base.dtype, Activation())
        return
    # Whole numbers to powers that are not are computed as the latter, or wider.
    dtype = base.dtype if base.dtype.kind == "f" else np.result_type(base.dtype, exponent.dtype)
    operands = [
        t if t.dtype == dtype else emit(lowering, node, "cast", [t], dtype, Activation(), f"{t.name} (wide)")
        for t in (base, exponent)
    ]
    if dtype == base.dtype:
        emit(lowering, node, "pow", operands, dtype, Activation())
        return
    result = emit(lowering, node, "pow", operands, dtype, Activation(), f"{node.name} (wide)")
    emit(lowering, node, "cast", [result], base.dtype, Activation())


@lowers("IsInf")
def is_infinite(lowering: Lowering, node: Node) -> None:
    """Where x is infinite, of the signs that are asked for."""
    signs = (float(node.attribute(f"detect_{sign}", 1)) for sign in ("positive", "negative"))
    emit(lowering, node, "is_inf", [node.input(0)], np.dtype(np.bool_), Activation("none", *signs))


@lowers("edgecv::Activation")
def lone_activation(lowering: Lowering, node: Node) -> None:
    """An activation that a pass has recognized."""
    emit(lowering, node, "first", [node.input(0)], np.dtype(np.float32), activation_of(node))


@lowers("ThresholdedRelu")
def thresholded_relu(lowering: Lowering, node: Node) -> None:
    """x where x > alpha, else 0."""
    x = node.input(0)
    alpha = scalar(node.attribute("alpha", 1.0), x.dtype)
    is_over = emit(
        lowering, node, "greater", [x, alpha], np.dtype(np.bool_), Activation(), f"{node.name} (over)"
    )
    emit(lowering, node, "where", [is_over, x, scalar(0, x.dtype)], x.dtype, Activation())


@lowers("Clip")
def clip(lowering: Lowering, node: Node) -> None:
    """Between two bounds, either of which may be left out, known or not."""
    x = node.input(0)
    low, high = node.optional(1), node.optional(2)
    constants = [None if t is None else t.constant for t in (low, high)]
    is_known = all(t is None or c is not None for t, c in zip((low, high), constants, strict=True))
    if x.dtype == np.float32 and is_known:
        bounds = [
            float(c) if c is not None else float(d)
            for c, d in zip(constants, (-np.finfo(np.float32).max, np.finfo(np.float32).max), strict=True)
        ]
        if bounds[0] <= bounds[1]:
            emit(lowering, node, "first", [x], x.dtype, Activation("clip", bounds[0], bounds[1]))
            return
    operands = [(op, t) for op, t in (("max", low), ("min", high)) if t is not None]
    if not operands:
        emit(lowering, node, "first", [x], x.dtype, Activation())
    for i, (op, bound) in enumerate(operands):
        is_last = i == len(operands) - 1
        x = emit(
            lowering,
            node,
            op,
            [x, bound],
            x.dtype,
            Activation(),
            node.outputs[0] if is_last else f"{node.name} (low)",
        )


@lowers("Mod")
def mod(lowering: Lowering, node: Node) -> None:
    """The remainder: Python's, or C's where `fmod` is set."""
    op = "fmod" if node.attribute("fmod", 0) else "mod"
    operands = [node.input(0), node.input(1)]
    emit(lowering, node, op, operands, operands[0].dtype, Activation())

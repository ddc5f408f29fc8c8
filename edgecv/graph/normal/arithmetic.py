"""Normal forms of sums, products and normalizations: two operands, constants on the right, matrices as Gemm.

Each rule leaves a node alone that is in its normal form already; `normalize` has the table.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgecv.graph.normal.reindex import reshaped
from edgecv.graph.rewrite import (
    Rewrite,
    attribute,
    constant,
    given,
    is_constant,
    is_float32,
    rank,
    scalar,
    shape,
)


def variadic(rewrite: Rewrite, node: ir.Node) -> None:
    """Sum, Mean, Max, Min: Add, Max and Min of two; a mean is a sum times a number."""
    inputs = [value for value in node.inputs if value is not None]
    pair = {"Sum": "Add", "Mean": "Add"}.get(node.op_type, node.op_type)
    if pair == node.op_type and len(inputs) == 2:
        constant_right(rewrite, node)
        return
    if len(inputs) == 1:
        rewrite.replace(node.outputs[0], inputs[0], what=f"{node.op_type} of one")
        return
    total = inputs[0]
    for value in inputs[1:]:
        total = rewrite.value(node, pair, [total, value])
    if node.op_type == "Mean":
        kind = inputs[0].dtype.numpy() if inputs[0].dtype else np.float32
        count = rewrite.constant(np.array(1 / len(inputs), kind), f"{node.name}/count")
        total = rewrite.value(node, "Mul", [total, count])
    rewrite.replace(node.outputs[0], total, what=f"{node.op_type} of {len(inputs)} by twos")


def constant_right(rewrite: Rewrite, node: ir.Node) -> None:
    """A constant operand of Add, Mul, Max and Min is the second."""
    left, right = node.inputs
    if left is not None and right is not None and is_constant(left) and not is_constant(right):
        node.replace_input_with(0, right)
        node.replace_input_with(1, left)
        rewrite.changed = True


# What turns a last bit into a whole number: 6 / 3 must be 2 before it.
_STEPS = frozenset(
    ("Floor", "Ceil", "Round", "Cast", "Mod", "Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual")
)


def difference(rewrite: Rewrite, node: ir.Node) -> None:
    """Sub of a constant: Add of its negative; Div by one: Mul by its inverse."""
    x, array = node.inputs[0], constant(node.inputs[1])
    if x is None or array is None or not is_float32(x):
        return
    if node.op_type == "Div" and any(use.node.op_type in _STEPS for use in node.outputs[0].uses()):
        return
    with np.errstate(all="ignore"):
        inverse = -array if node.op_type == "Sub" else (1 / array.astype(np.float64)).astype(np.float32)
    # The inverse of a denormal number, or of a huge one, has lost what the quotient keeps.
    if not np.isfinite(inverse).all() or (node.op_type == "Div" and np.abs(inverse).min(initial=1) < 1e-37):
        return
    operand = rewrite.constant(inverse, f"{node.name}/operand")
    op = "Add" if node.op_type == "Sub" else "Mul"
    new = rewrite.value(node, op, [x, operand], like=node.outputs[0])
    rewrite.replace(node.outputs[0], new)


def power(rewrite: Rewrite, node: ir.Node) -> None:
    """Pow by 2, 1/2, 1 and -1: Mul, Sqrt, nothing, Reciprocal."""
    x, exponent = node.inputs[0], scalar(node.inputs[1])
    if x is None or exponent is None or not is_float32(x) or shape(x) != shape(node.outputs[0]):
        return
    if exponent == 2:
        new = rewrite.value(node, "Mul", [x, x])
    elif exponent in (0.5, -1):
        new = rewrite.value(node, "Sqrt" if exponent == 0.5 else "Reciprocal", [x])
    elif exponent == 1:
        new = x
    else:
        return
    rewrite.replace(node.outputs[0], new, what=f"the power of {exponent:g}")


def gemm(rewrite: Rewrite, node: ir.Node) -> None:
    """alpha, beta 1 and transA, transB 0: folded into constants, else nodes of their own."""
    a, b = node.inputs[:2]
    c = given(node, 2)
    alpha, beta = attribute(node, "alpha", 1.0), attribute(node, "beta", 1.0)
    turns = attribute(node, "transA", 0), attribute(node, "transB", 0)
    if a is None or b is None:
        return
    if not node.attributes and not (c is not None and beta == 0):
        return
    operands = [_turned(rewrite, node, v) if turn else v for v, turn in zip((a, b), turns, strict=True)]
    if alpha != 1:
        operands[1] = _times(rewrite, node, operands[1], alpha)
    if c is not None:
        c = None if beta == 0 else _times(rewrite, node, c, beta) if beta != 1 else c
    inputs = [*operands, c] if c is not None else operands
    new = rewrite.value(node, "Gemm", inputs, like=node.outputs[0])
    rewrite.replace(node.outputs[0], new)


def _turned(rewrite: Rewrite, node: ir.Node, value: ir.Value) -> ir.Value:
    array = constant(value)
    if array is not None:
        return rewrite.constant(array.T, f"{value.name}/turned")
    return rewrite.value(node, "Transpose", [value], {"perm": [1, 0]})


def _times(rewrite: Rewrite, node: ir.Node, value: ir.Value, factor: float) -> ir.Value:
    array = constant(value)
    if array is not None and array.dtype == np.float32:
        product = (array.astype(np.float64) * factor).astype(np.float32)
        return rewrite.constant(product, f"{value.name}/scaled")
    kind = value.dtype.numpy() if value.dtype else np.float32
    operand = rewrite.constant(np.array(factor, kind), f"{node.name}/factor")
    return rewrite.value(node, "Mul", [value, operand])


def matmul(rewrite: Rewrite, node: ir.Node) -> None:
    """A product with one matrix: Gemm of all rows of the left operand; vectors are matrices of one row."""
    a, b = node.inputs
    y = node.outputs[0]
    of_a, of_b, made = shape(a), shape(b), shape(y)
    if a is None or b is None or not of_a or not of_b or made is None or not is_float32(a):
        return
    if len(of_b) == 1:
        b, of_b = reshaped(rewrite, node, b, (of_b[0], 1)), (of_b[0], 1)
    if len(of_b) != 2 or 0 in of_a:
        if len(of_a) == 1:
            rows = reshaped(rewrite, node, a, (1, of_a[0]))
            product = rewrite.value(node, "MatMul", [rows, b])
            rewrite.replace(y, reshaped(rewrite, node, product, made), what="a vector is a matrix of one row")
        return
    flat = a if len(of_a) == 2 else reshaped(rewrite, node, a, (int(np.prod(of_a[:-1])), of_a[-1]))
    product = rewrite.value(node, "Gemm", [flat, b])
    result = product if shape(product) == made else reshaped(rewrite, node, product, made)
    rewrite.replace(y, result, what="a product with one matrix: Gemm")


# ---- Normalizations, written out as their definitions in ONNX, Operators.md


def instance_normalization(rewrite: Rewrite, node: ir.Node) -> None:
    """InstanceNormalization, written out."""
    x, scale, bias = node.inputs
    axes = rank(x)
    if x is None or axes is None or scale is None or bias is None:
        return
    channels = shape(scale)
    if channels is None:
        return
    wide = (channels[0], *(1,) * (axes - 2))
    pixels = list(range(2, axes))
    mean = rewrite.value(node, "ReduceMean", [x, rewrite.operand(pixels, f"{node.name}/axes")])
    centered = rewrite.value(node, "Sub", [x, mean])
    squares = rewrite.value(node, "Mul", [centered, centered])
    variance = rewrite.value(node, "ReduceMean", [squares, rewrite.operand(pixels, f"{node.name}/axes")])
    kind = x.dtype.numpy() if x.dtype else np.float32
    epsilon = rewrite.constant(np.array(attribute(node, "epsilon", 1e-5), kind), f"{node.name}/epsilon")
    deviation = rewrite.value(node, "Sqrt", [rewrite.value(node, "Add", [variance, epsilon])])
    factor = rewrite.value(node, "Div", [reshaped(rewrite, node, scale, wide), deviation])
    scaled = rewrite.value(node, "Mul", [centered, factor])
    result = rewrite.value(node, "Add", [scaled, reshaped(rewrite, node, bias, wide)])
    rewrite.replace(node.outputs[0], result, what="InstanceNormalization written out")


def lp_normalization(rewrite: Rewrite, node: ir.Node) -> None:
    """LpNormalization, written out: zeros stay zeros."""
    x, count = node.inputs[0], rank(node.inputs[0])
    if x is None or count is None or not is_float32(x):
        return
    axis = attribute(node, "axis", -1) % count
    kind = "ReduceL1" if attribute(node, "p", 2) == 1 else "ReduceL2"
    norm = rewrite.value(node, kind, [x, rewrite.operand([axis], f"{node.name}/axes")])
    least = rewrite.constant(np.array(np.finfo(np.float32).tiny), f"{node.name}/least")
    result = rewrite.value(node, "Div", [x, rewrite.value(node, "Max", [norm, least])])
    rewrite.replace(node.outputs[0], result, what="LpNormalization written out")

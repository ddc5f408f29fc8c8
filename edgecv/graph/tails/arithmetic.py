"""Rules of the operators that compute: sums and products, bounds, conditions, the best of some classes."""

from __future__ import annotations

import math

import numpy as np

from edgecv import extras
from edgecv.graph.rewrite import attribute, constant, given
from edgecv.graph.tails.expressions import (
    CLASS,
    NATURAL,
    All,
    Applied,
    At,
    Best,
    Choice,
    Clipped,
    Compare,
    Expression,
    Largest,
    Unproven,
    Var,
    least,
    number,
    of,
    split,
)
from edgecv.graph.tails.reader import (
    Index,
    Reader,
    axes_operand,
    axis_of,
    broadcast_index,
    broadcast_sizes,
    product,
    rule,
    same_sizes,
)

with extras.required("models"):
    import onnx_ir as ir

# Columns of a constant matrix that makes boxes of boxes.
_MOST_COLUMNS = 16


def operands(reader: Reader, node: ir.Node, index: Index) -> list[Expression]:
    """What stands in each operand for one element of the broadcast result."""
    return [
        reader.element(one, broadcast_index(reader, one, index)) for one in node.inputs if one is not None
    ]


def _is_integer(value: ir.Value | None) -> bool:
    return value is not None and value.dtype is not None and value.dtype.is_integer()


@rule("Add", "Sub", "Mul", "Sum", sizes=broadcast_sizes)
def _add(reader: Reader, node: ir.Node, value: ir.Value, index: Index) -> Expression:
    found = operands(reader, node, index)
    result = found[0]
    for one in found[1:]:
        if node.op_type == "Mul":
            result = result * one
        else:
            result = result - one if node.op_type == "Sub" else result + one
    return result


@rule("Div", "Mod", sizes=broadcast_sizes)
def _div(reader: Reader, node: ir.Node, value: ir.Value, index: Index) -> Expression:
    x, by = operands(reader, node, index)
    divisor = by.number
    if not divisor:
        raise Unproven(f"{node.name!r} ({node.op_type}) divides by what is not constant")
    if not _is_integer(value):
        if node.op_type == "Mod":
            raise Unproven(f"{node.name!r} (Mod) of floats")
        return x.times(1 / divisor)
    if divisor < 0:
        raise Unproven(f"{node.name!r} ({node.op_type}) divides by a negative number")
    return split(x, int(divisor))[node.op_type == "Mod"]


@rule("Neg", sizes=same_sizes)
def _neg(reader: Reader, node: ir.Node, value: ir.Value, index: Index) -> Expression:
    return reader.element(node.inputs[0], index).times(-1)


@rule("Min", "Max", sizes=broadcast_sizes)
def _min(reader: Reader, node: ir.Node, value: ir.Value, index: Index) -> Expression:
    found = operands(reader, node, index)
    if len(found) == 1:
        return found[0]
    numbers = [one.number for one in found]
    if node.op_type == "Min" and _is_integer(value):
        return least(frozenset(found))
    rest = [one for one in found if one.number is None]
    known = [n for n in numbers if n is not None]
    if len(rest) > 1:
        raise Unproven(f"{node.name!r} ({node.op_type}) compares rows")
    if not rest:
        return number(min(known) if node.op_type == "Min" else max(known))
    low, high = (-math.inf, min(known)) if node.op_type == "Min" else (max(known), math.inf)
    return _clipped(rest[0], low, high)


@rule("Clip", "Relu", sizes=same_sizes)
def _clip(reader: Reader, node: ir.Node, value: ir.Value, index: Index) -> Expression:
    low, high = (0.0 if node.op_type == "Relu" else -math.inf), math.inf
    if node.op_type == "Clip":
        bounds = []
        for position, open_bound in ((1, low), (2, high)):
            operand = given(node, position)
            found = number(open_bound) if operand is None else reader.items(operand)[0]
            if found.number is None:
                raise Unproven(f"{node.name!r} (Clip): its bounds are not constant")
            bounds.append(found.number)
        low, high = bounds
    return _clipped(reader.element(node.inputs[0], index), low, high)


def _clipped(body: Expression, low: float, high: float) -> Expression:
    inner = body.atom
    if isinstance(inner, Clipped) and low <= inner.high and inner.low <= high:
        return of(Clipped(inner.body, max(low, inner.low), min(high, inner.high)))
    return of(Clipped(body, low, high))


@rule("Exp", sizes=same_sizes)
def _exp(reader: Reader, node: ir.Node, value: ir.Value, index: Index) -> Expression:
    return of(Applied(node.op_type, reader.element(node.inputs[0], index)))


def _matmul_sizes(reader: Reader, node: ir.Node, value: ir.Value) -> Index:
    x, by = reader.sizes(node.inputs[0]), reader.sizes(node.inputs[1])
    return (*x[:-1], by[-1])


@rule("MatMul", sizes=_matmul_sizes)
def _matmul(reader: Reader, node: ir.Node, value: ir.Value, index: Index) -> Expression:
    matrix, column = constant(node.inputs[1]), index[-1].whole
    if matrix is None or matrix.ndim != 2 or len(matrix) > _MOST_COLUMNS or column is None:
        raise Unproven(f"{node.name!r} (MatMul) is not by a small constant matrix")
    result = number(0)
    for row, factor in enumerate(matrix[:, column]):
        if factor:
            x = reader.element(node.inputs[0], (*index[:-1], number(row)))
            result = result + x.times(float(factor))
    return result


# ---- Conditions


@rule("Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal", sizes=broadcast_sizes)
def _compare(reader: Reader, node: ir.Node, value: ir.Value, index: Index) -> Expression:
    left, right = operands(reader, node, index)
    kind = {"Greater": ">", "Less": ">", "Equal": "=="}.get(node.op_type, ">=")
    if node.op_type.startswith("Less"):
        left, right = right, left
    least_difference, most_difference = _bounds(left - right)
    if least_difference > 0 or most_difference < 0 or least_difference == most_difference:
        difference = least_difference if least_difference > 0 else most_difference
        return number({">": difference > 0, ">=": difference >= 0, "==": difference == 0}[kind])
    if (kind == ">" and most_difference <= 0) or (kind == ">=" and least_difference >= 0):
        return number(kind == ">=")
    return of(Compare(kind, left, right))


def _bounds(formula: Expression) -> tuple[float, float]:
    """Between which numbers it lies, given that counts and indices are not negative."""
    low = high = formula.constant
    for term, factor in formula.terms.items():
        if not term:
            continue
        counts = all(isinstance(atom, NATURAL) for atom, _ in term)
        low = low if counts and factor > 0 else -math.inf
        high = high if counts and factor < 0 else math.inf
    return low, high


@rule("And", sizes=broadcast_sizes)
def _and(reader: Reader, node: ir.Node, value: ir.Value, index: Index) -> Expression:
    parts: set[Expression] = set()
    unproven = None
    for operand in node.inputs:
        try:
            one = reader.element(operand, broadcast_index(reader, operand, index))
        except Unproven as reason:
            unproven = reason
            continue
        if one.number == 0:
            # Whatever the other is.
            return number(0)
        inner = one.atom
        parts |= inner.parts if isinstance(inner, All) else {one}
    if unproven is not None:
        raise unproven
    return of(All(frozenset(parts)))


@rule("Xor", sizes=broadcast_sizes)
def _xor(reader: Reader, node: ir.Node, value: ir.Value, index: Index) -> Expression:
    left, right = (one.number for one in operands(reader, node, index))
    if left is None or right is None:
        raise Unproven(f"{node.name!r} (Xor) of what the run computes")
    return number(left != right)


@rule("Not", sizes=same_sizes)
def _not(reader: Reader, node: ir.Node, value: ir.Value, index: Index) -> Expression:
    x = reader.element(node.inputs[0], index)
    if x.number is not None:
        return number(not x.number)
    inner = x.atom
    if isinstance(inner, At):
        nearer = reader.step(inner)
        inner = None if nearer is None else nearer.atom
    if not isinstance(inner, Compare) or inner.kind == "==":
        raise Unproven(f"{node.name!r} (Not) of what is no comparison")
    return of(Compare(">=" if inner.kind == ">" else ">", inner.right, inner.left))


@rule("Where", sizes=broadcast_sizes)
def _where(reader: Reader, node: ir.Node, value: ir.Value, index: Index) -> Expression:
    condition, yes, no = operands(reader, node, index)
    if condition.number is not None:
        return yes if condition.number else no
    return of(Choice(condition, yes, no))


# ---- The best of some


def _reduced_axes(reader: Reader, node: ir.Node) -> tuple[int, ...]:
    rank = reader.rank(node.inputs[0])
    if node.op_type == "ArgMax":
        return (axis_of(node, rank),)
    return axes_operand(node, 1, rank) or tuple(range(rank))


def _reduced_sizes(reader: Reader, node: ir.Node, value: ir.Value) -> Index:
    axes, keeps = _reduced_axes(reader, node), attribute(node, "keepdims", 1)
    sizes = reader.sizes(node.inputs[0])
    return tuple(number(1) if i in axes else n for i, n in enumerate(sizes) if keeps or i not in axes)


@rule("ReduceMax", "ArgMax", sizes=_reduced_sizes)
def _reduce_max(reader: Reader, node: ir.Node, value: ir.Value, index: Index) -> Expression:
    x, axes = node.inputs[0], _reduced_axes(reader, node)
    sizes = reader.sizes(x)
    if len(axes) == len(sizes) and len(sizes) > 1:
        assert x is not None
        return of(Largest(x.name or ""))
    if len(axes) != 1:
        raise Unproven(f"{node.name!r} ({node.op_type}) is over several axes")
    (axis,) = axes
    rest = iter(index)
    at = [
        number(0) if i == axis and not attribute(node, "keepdims", 1) else next(rest)
        for i in range(len(sizes))
    ]
    return best_of(reader, x, at, axis, is_index=node.op_type == "ArgMax")


def best_of(
    reader: Reader, x: ir.Value | None, at: list[Expression], axis: int, *, is_index: bool
) -> Expression:
    """The largest along an axis of a known size, or its index."""
    size = reader.sizes(x)[axis].whole
    if size is None:
        raise Unproven("the largest of the rows")
    if size == 1:
        return number(0) if is_index else reader.element(x, at)
    at[axis] = of(Var(CLASS, size))
    return of(Best(reader.element(x, at), size, is_index))


@rule("ReduceMin", "ReduceProd", sizes=_reduced_sizes)
def _reduce_sizes(reader: Reader, node: ir.Node, value: ir.Value, index: Index) -> Expression:
    if reader.rank(node.inputs[0]) != 1 or not _is_integer(value):
        raise Unproven(f"{node.name!r} ({node.op_type}) is not of sizes")
    items = reader.items(node.inputs[0])
    return least(frozenset(items)) if node.op_type == "ReduceMin" else product(items)


# ---- Sizes


def _shape_sizes(reader: Reader, node: ir.Node, value: ir.Value) -> Index:
    return (number(len(_shape_items(reader, node))),) if node.op_type == "Shape" else ()


def _shape_items(reader: Reader, node: ir.Node) -> Index:
    sizes = reader.sizes(node.inputs[0])
    return sizes[attribute(node, "start", 0) : attribute(node, "end", len(sizes))]


@rule("Shape", "Size", sizes=_shape_sizes)
def _shape(reader: Reader, node: ir.Node, value: ir.Value, index: Index) -> Expression:
    if node.op_type == "Shape":
        axis = index[0].whole
        if axis is None:
            raise Unproven(f"{node.name!r} (Shape) of an axis that is not known")
        return _shape_items(reader, node)[axis]
    return product(reader.sizes(node.inputs[0]))


def _filled_sizes(reader: Reader, node: ir.Node, value: ir.Value) -> Index:
    return reader.items(node.inputs[0])


@rule("ConstantOfShape", sizes=_filled_sizes)
def _filled(reader: Reader, node: ir.Node, value: ir.Value, index: Index) -> Expression:
    return number(float(np.asarray(attribute(node, "value", 0)).reshape(-1)[0]))


def _range_sizes(reader: Reader, node: ir.Node, value: ir.Value) -> Index:
    start, limit, delta = (reader.element(one, ()) for one in node.inputs)
    if delta != number(1):
        raise Unproven(f"{node.name!r} (Range) goes by other than 1")
    return (limit - start,)


@rule("Range", sizes=_range_sizes)
def _range(reader: Reader, node: ir.Node, value: ir.Value, index: Index) -> Expression:
    start, _, delta = (reader.element(one, ()) for one in node.inputs)
    return start + delta * index[0]

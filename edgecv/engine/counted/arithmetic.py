"""Operators on numbers that say sizes: what Shape gives of a counted value, and what networks make of it.

Each of the functions is an operator by NumPy on arrays of sizes, as far as a plan can tell its result; the
node itself stays, and computes the numbers of the run.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import numpy as np
import onnx_ir as ir

from edgecv.engine.counted.counting import MOST_NUMBERS, Counting
from edgecv.engine.counted.size import Numbers, Size, Unproven, greater, lesser, numbers, product
from edgecv.graph.rewrite import attribute

# Of each operand the numbers; None where it is left out.
_Operands = Sequence[Any]
_Rule = Callable[[ir.Node, _Operands], Any]


def evaluate(counting: Counting, node: ir.Node) -> Numbers | None:
    """The numbers of a node's one result; None where they cannot be told."""
    rule = RULES.get(node.op_type)
    operands = [None if v is None else counting.numbers_of(v) for v in node.inputs]
    is_left_out = any(v is not None and n is None for v, n in zip(node.inputs, operands, strict=True))
    if rule is None or is_left_out or not operands or operands[0] is None or len(node.outputs) != 1:
        return None
    try:
        found = np.asarray(rule(node, operands), object)
    except Unproven:
        return None
    return numbers(found) if found.size <= MOST_NUMBERS else None


def _plain(operands: _Operands, index: int) -> list[int]:
    """An operand in which no count is; [] where it is left out."""
    given = operands[index] if index < len(operands) else None
    found = [] if given is None else list(given.reshape(-1))
    if not all(size.is_known for size in found):
        raise Unproven("a count among axes")
    return [size.constant for size in found]


def _same(node: ir.Node, operands: _Operands) -> Any:
    return operands[0]


def _cast(node: ir.Node, operands: _Operands) -> Any:
    if ir.DataType(attribute(node, "to")) == ir.DataType.BOOL:
        return _compared(lambda a: not _is_equal(a, Size()))(node, operands)
    return operands[0]


def _reshape(node: ir.Node, operands: _Operands) -> Any:
    return np.reshape(operands[0], _plain(operands, 1))


def _squeeze(node: ir.Node, operands: _Operands) -> Any:
    return np.squeeze(operands[0], tuple(_plain(operands, 1)) or None)


def _unsqueeze(node: ir.Node, operands: _Operands) -> Any:
    return np.expand_dims(operands[0], tuple(_plain(operands, 1)))


def _gather(node: ir.Node, operands: _Operands) -> Any:
    taken = np.array(_plain(operands, 1), np.int64).reshape(operands[1].shape)
    return np.take(operands[0], taken, attribute(node, "axis", 0))


def _slice(node: ir.Node, operands: _Operands) -> Any:
    array, starts, ends = operands[0], _plain(operands, 1), _plain(operands, 2)
    axes, steps = _plain(operands, 3) or range(len(starts)), _plain(operands, 4) or [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        array = np.moveaxis(np.moveaxis(array, axis, 0)[start:end:step], 0, axis)
    return array


def _transpose(node: ir.Node, operands: _Operands) -> Any:
    return np.transpose(operands[0], attribute(node, "perm"))


def _constant_of_shape(node: ir.Node, operands: _Operands) -> Any:
    sizes, value = _plain(operands, 0), attribute(node, "value")
    if math.prod(sizes) > MOST_NUMBERS or value is None or value.dtype.kind not in "iub":
        raise Unproven("a tensor of data")
    return np.full(sizes, Size(int(value.reshape(-1)[0])), object)


def _concat(node: ir.Node, operands: _Operands) -> Any:
    return np.concatenate(operands, attribute(node, "axis"))


def _pairwise(combine: Callable[[Size, Size], Size]) -> _Rule:
    ufunc = np.frompyfunc(combine, 2, 1)
    return lambda node, operands: reduce(ufunc, operands)


def _divided(node: ir.Node, operands: _Operands) -> Any:
    dtype = node.outputs[0].dtype
    is_whole = dtype is not None and dtype.numpy().kind in "iu"

    def divide(a: Size, b: Size) -> Size:
        quotient = a // b
        if not is_whole and quotient * b != a:
            raise Unproven("no whole number")
        return quotient

    return _pairwise(divide)(node, operands)


def _folded(combine: Callable[[Sequence[Size]], Size]) -> _Rule:
    def fold(node: ir.Node, operands: _Operands) -> Any:
        axes = _plain(operands, 1)
        if (
            operands[0].ndim != 1
            or not operands[0].size
            or (attribute(node, "noop_with_empty_axes", 0) and not axes)
        ):
            raise Unproven("not of all the numbers of a list")
        total = combine(operands[0].tolist())
        return [total] if attribute(node, "keepdims", 1) else total

    return fold


def _is_equal(a: Size, b: Size) -> bool:
    if a == b:
        return True
    if _is_less(a, b) or _is_less(b, a):
        return False
    raise Unproven(f"whether {a} is {b}")


def _is_less(a: Size, b: Size) -> bool:
    if (a + Size(1)).is_at_most(b):
        return True
    if b.is_at_most(a):
        return False
    raise Unproven(f"whether {a} is less than {b}")


def _compared(compare: Callable[..., bool]) -> _Rule:
    def of(*sizes: Size) -> Size:
        return Size(int(compare(*sizes)))

    return lambda node, operands: np.frompyfunc(of, len(operands), 1)(*operands)


def _where(node: ir.Node, operands: _Operands) -> Any:
    mask = np.array(_plain(operands, 0), bool).reshape(operands[0].shape)
    return np.where(mask, operands[1], operands[2])


def _expand(node: ir.Node, operands: _Operands) -> Any:
    sizes = _plain(operands, 1)
    return np.broadcast_to(operands[0], np.broadcast_shapes(operands[0].shape, tuple(sizes)))


RULES: dict[str, _Rule] = {
    **dict.fromkeys(("Identity", "Floor", "Ceil", "Round"), _same),
    "Cast": _cast,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Gather": _gather,
    "Slice": _slice,
    "Transpose": _transpose,
    "ConstantOfShape": _constant_of_shape,
    "Concat": _concat,
    "Add": _pairwise(operator.add),
    "Sub": _pairwise(operator.sub),
    "Mul": _pairwise(operator.mul),
    "Div": _divided,
    "Min": _pairwise(lesser),
    "Max": _pairwise(greater),
    "Neg": lambda node, operands: -operands[0],
    "ReduceMin": _folded(lambda sizes: reduce(lesser, sizes)),
    "ReduceMax": _folded(lambda sizes: reduce(greater, sizes)),
    "ReduceSum": _folded(lambda sizes: reduce(operator.add, sizes)),
    "ReduceProd": _folded(product),
    "Equal": _compared(_is_equal),
    "Less": _compared(_is_less),
    "Greater": _compared(lambda a, b: _is_less(b, a)),
    "LessOrEqual": _compared(lambda a, b: not _is_less(b, a)),
    "GreaterOrEqual": _compared(lambda a, b: not _is_less(a, b)),
    "Not": _compared(lambda a: _is_equal(a, Size())),
    "And": _compared(lambda a, b: not _is_equal(a, Size()) and not _is_equal(b, Size())),
    "Or": _compared(lambda a, b: not _is_equal(a, Size()) or not _is_equal(b, Size())),
    "Where": _where,
    "Expand": _expand,
}

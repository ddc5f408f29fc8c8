"""Operators on quantized numbers, written out in float32 by their definitions.

A quantized number stands for (number - zero point) scale, and a number becomes a quantized one by
round(number / scale) + zero point, held to the range of the type (ONNX, Operators.md). What QLinearConv and
its kin compute is the operator of the numbers that the operands stand for, quantized again. Sums of whole
numbers (ConvInteger, MatMulInteger) are exact in float32 up to 2^24; longer ones are taken in parts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from edgecv.graph.normal import windows
from edgecv.graph.normal.reindex import reshaped
from edgecv.graph.rewrite import (
    Array,
    Rewrite,
    attribute,
    attributes,
    constant,
    given,
    is_float32,
    rank,
    shape,
)

_REAL = {"to": int(ir.DataType.FLOAT)}
_INT32 = {"to": int(ir.DataType.INT32)}
# Whole numbers up to here are float32 numbers.
_EXACT = 1 << 24


def is_plain(rewrite: Rewrite, node: ir.Node, scales: Sequence[ir.Value | None]) -> bool:
    """Whether all scales are of float32; a miss where they are not."""
    if all(is_float32(scale) and shape(scale) is not None for scale in scales):
        return True
    rewrite.miss(node, "quantization by scales of another type than float32")
    return False


def from_whole(
    rewrite: Rewrite,
    node: ir.Node,
    x: ir.Value | None,
    scale: ir.Value | None,
    zero: ir.Value | None,
    axis: int = 0,
) -> ir.Value:
    """What quantized numbers stand for, in front of a node. axis: of scales that are a vector."""
    numbers = _centered(rewrite, node, x, zero, axis)
    return rewrite.value(node, "Mul", [numbers, _along(rewrite, node, scale, axis, rank(x) or 0)])


def to_whole(
    rewrite: Rewrite,
    node: ir.Node,
    x: ir.Value | None,
    scale: ir.Value | None,
    zero: ir.Value | None,
    kind: ir.DataType,
    axis: int = 0,
) -> ir.Value:
    """Numbers quantized to a type, in front of a node."""
    count = rank(x) or 0
    steps = rewrite.value(node, "Div", [x, _along(rewrite, node, scale, axis, count)])
    steps = rewrite.value(node, "Round", [steps])
    if zero is not None:
        offset = rewrite.value(node, "Cast", [_along(rewrite, node, zero, axis, count)], _REAL)
        steps = rewrite.value(node, "Add", [steps, offset])
    limits = np.iinfo(kind.numpy())
    bounds = [_bound(rewrite, node, limits.min), _bound(rewrite, node, limits.max)]
    return rewrite.value(node, "Cast", [rewrite.value(node, "Clip", [steps, *bounds])], {"to": int(kind)})


def _centered(
    rewrite: Rewrite, node: ir.Node, x: ir.Value | None, zero: ir.Value | None, axis: int
) -> ir.Value:
    """Whole numbers less their zero point, as float32."""
    numbers = rewrite.value(node, "Cast", [x], _REAL)
    if zero is None:
        return numbers
    offset = _along(rewrite, node, zero, axis, rank(x) or 0)
    return rewrite.value(node, "Sub", [numbers, rewrite.value(node, "Cast", [offset], _REAL)])


def _along(rewrite: Rewrite, node: ir.Node, value: ir.Value | None, axis: int, count: int) -> ir.Value:
    """A parameter that broadcasts over a tensor of `count` axes: a vector lies along `axis`."""
    sizes = shape(value)
    assert value is not None
    assert sizes is not None
    if sizes == (1,):
        return reshaped(rewrite, node, value, ())
    if len(sizes) == 1 and count:
        return reshaped(rewrite, node, value, (sizes[0], *(1,) * (count - 1 - axis % count)))
    return value


# ---- Operators of ONNX


def quantize(rewrite: Rewrite, node: ir.Node) -> None:
    """QuantizeLinear, DequantizeLinear of one scale or one a channel, written out."""
    x, scale = node.inputs[0], node.inputs[1]
    count, of_scale, y = rank(x), shape(scale), node.outputs[0]
    if x is None or scale is None or count is None or of_scale is None or y.dtype is None:
        return
    if attribute(node, "block_size", 0) or len(of_scale) > 1 or not is_float32(scale):
        rewrite.miss(node, "quantization by blocks, or of another type than float32")
        return
    integral = y.dtype if node.op_type == "QuantizeLinear" else x.dtype
    if integral is None or integral.numpy().kind not in "iu" or integral.itemsize < 1:
        rewrite.miss(node, f"quantization to {integral}")
        return
    axis = attribute(node, "axis", 1)
    if node.op_type == "DequantizeLinear":
        result = from_whole(rewrite, node, x, scale, given(node, 2), axis)
    else:
        result = to_whole(rewrite, node, x, scale, given(node, 2), integral, axis)
    rewrite.replace(y, result, what=f"{node.op_type} written out")


def qlinear_conv(rewrite: Rewrite, node: ir.Node) -> None:
    """QLinearConv: Conv of what the operands stand for; the bias is in steps of the product of the scales."""
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero = node.inputs[:8]
    y, bias = node.outputs[0], given(node, 8)
    if y_zero is None or y_zero.dtype is None or None in (rank(x), rank(w)):
        return
    if not is_plain(rewrite, node, (x_scale, w_scale, y_scale)):
        return
    operands = [
        from_whole(rewrite, node, x, x_scale, x_zero),
        from_whole(rewrite, node, w, w_scale, w_zero),
    ]
    if bias is not None:
        step = rewrite.value(
            node,
            "Mul",
            [_along(rewrite, node, x_scale, 0, 1), _along(rewrite, node, w_scale, 0, 1)],
        )
        operands.append(rewrite.value(node, "Mul", [rewrite.value(node, "Cast", [bias], _REAL), step]))
    made = rewrite.value(node, "Conv", operands, attributes(node))
    result = to_whole(rewrite, node, made, y_scale, y_zero, y_zero.dtype)
    rewrite.replace(y, result, what="QLinearConv written out: Conv in float32")


def qlinear_matmul(rewrite: Rewrite, node: ir.Node) -> None:
    """QLinearMatMul: MatMul of what the operands stand for; vectors are of rows of A and Y, columns of B."""
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = node.inputs
    if y_zero is None or y_zero.dtype is None or not rank(a) or not rank(b):
        return
    if not is_plain(rewrite, node, (a_scale, b_scale, y_scale)):
        return
    left = from_whole(rewrite, node, a, a_scale, a_zero, _rows(a))
    right = from_whole(rewrite, node, b, b_scale, b_zero, -1)
    made = rewrite.value(node, "MatMul", [left, right])
    result = to_whole(rewrite, node, made, y_scale, y_zero, y_zero.dtype, _rows(made))
    rewrite.replace(node.outputs[0], result, what="QLinearMatMul written out: MatMul in float32")


def _rows(value: ir.Value | None) -> int:
    return -2 if (rank(value) or 0) > 1 else -1


def matmul_integer(rewrite: Rewrite, node: ir.Node) -> None:
    """MatMulInteger: MatMul of whole numbers in float32, in parts whose sums are exact."""
    a, b = node.inputs[:2]
    of_a, of_b = shape(a), shape(b)
    if a is None or b is None or not of_a or not of_b:
        return
    left = _centered(rewrite, node, a, given(node, 2), _rows(a))
    right = _centered(rewrite, node, b, given(node, 3), -1)
    down = max(len(of_b) - 2, 0)
    known = _known(b, given(node, 3), -1)
    parts = _parts(known, down, of_a[-1], _most(a, given(node, 2)), _most(b, given(node, 3)))
    # A term of 8 bits by 8 is far below the bound.
    assert parts is not None
    lefts = _split(rewrite, node, left, len(of_a) - 1, parts)
    pairs = zip(lefts, _split(rewrite, node, right, down, parts), strict=True)
    sums = [rewrite.value(node, "Cast", [rewrite.value(node, "MatMul", pair)], _INT32) for pair in pairs]
    _replace_by_sum(rewrite, node, sums)


def conv_integer(rewrite: Rewrite, node: ir.Node) -> None:
    """ConvInteger: Conv of whole numbers in float32, in parts whose sums are exact."""
    x, w = node.inputs[:2]
    of_x, of_w = shape(x), shape(w)
    if x is None or w is None or not of_x or not of_w:
        return
    known = _known(w, given(node, 3), 0)
    if known is not None:
        known = known.reshape(*of_w[:2], -1).sum(2)
    most = _most(w, given(node, 3)) * math.prod(of_w[2:])
    parts = _parts(known, 1, of_w[1], _most(x, given(node, 2)), most)
    if parts is None or (len(parts) > 1 and attribute(node, "group", 1) != 1):
        rewrite.miss(node, "its sums may exceed 2^24, up to which float32 is exact")
        return
    left = _centered(rewrite, node, x, given(node, 2), 0)
    right = _centered(rewrite, node, w, given(node, 3), 0)
    pairs = zip(_split(rewrite, node, left, 1, parts), _split(rewrite, node, right, 1, parts), strict=True)
    sums = [
        rewrite.value(node, "Cast", [rewrite.value(node, "Conv", pair, attributes(node))], _INT32)
        for pair in pairs
    ]
    _replace_by_sum(rewrite, node, sums)


def resize(rewrite: Rewrite, node: ir.Node) -> None:
    """Resize; that of 8 bits in float32, as quantized networks have it."""
    x, y = node.inputs[0], node.outputs[0]
    if x is None or x.dtype not in (ir.DataType.UINT8, ir.DataType.INT8):
        windows.resize(rewrite, node)
        return
    numbers = rewrite.value(node, "Cast", [x], _REAL)
    made = rewrite.value(node, "Resize", [numbers, *node.inputs[1:]], attributes(node))
    if attribute(node, "mode", "nearest") != "nearest":
        limits = np.iinfo(x.dtype.numpy())
        # A cubic goes beyond what it goes through.
        bounds = [_bound(rewrite, node, limits.min), _bound(rewrite, node, limits.max)]
        made = rewrite.value(node, "Clip", [made, *bounds])
    result = rewrite.value(node, "Cast", [made], {"to": int(x.dtype)})
    rewrite.replace(y, result, what="Resize of 8 bits in float32")


def _bound(rewrite: Rewrite, node: ir.Node, number: int) -> ir.Value:
    return rewrite.constant(np.array(number, np.float32), f"{node.name}/bound")


def _replace_by_sum(rewrite: Rewrite, node: ir.Node, sums: list[ir.Value]) -> None:
    total = sums[0]
    for part in sums[1:]:
        total = rewrite.value(node, "Add", [total, part])
    what = f"{node.op_type} written out in float32, in {len(sums)} exact parts"
    rewrite.replace(node.outputs[0], total, what=what)


def _most(value: ir.Value, zero: ir.Value | None) -> int:
    """The largest distance of a number of a type from its zero point."""
    limits = np.iinfo(value.dtype.numpy() if value.dtype else np.uint8)
    if zero is None:
        return int(max(-int(limits.min), int(limits.max)))
    array = constant(zero)
    if array is None:
        return int(limits.max) - int(limits.min)
    zeros = array.astype(np.int64)
    return int(max((int(limits.max) - zeros).max(initial=0), (zeros - int(limits.min)).max(initial=0)))


def _known(value: ir.Value, zero: ir.Value | None, axis: int) -> Array | None:
    """Distances of constant numbers from their zero points, int64."""
    array = constant(value)
    zeros = np.zeros((), np.int64) if zero is None else constant(zero)
    if array is None or zeros is None:
        return None
    if zeros.ndim == 1:
        axis %= array.ndim
        zeros = zeros.reshape(-1, *(1,) * (array.ndim - 1 - axis))
    distances: Array = np.abs(array.astype(np.int64) - zeros)
    return distances


def _parts(known: Array | None, axis: int, count: int, most_left: int, most_right: int) -> list[int] | None:
    """Sizes of parts of an axis of sums, of each of which all sums are exact; None where one term is not.

    known: distances of the right operand where they are known, with the axis of the sum at `axis`. Else each
    of the `count` terms is at most `most_left` times `most_right`.
    """
    if known is None:
        peaks = np.full((count, 1), most_left * most_right, np.int64)
    else:
        peaks = np.moveaxis(known, axis, 0).reshape(count, -1) * most_left
    if peaks.max(initial=0) > _EXACT:
        return None
    parts, start = [], 0
    total = np.zeros(peaks.shape[1], np.int64)
    for i, terms in enumerate(peaks):
        total = total + terms
        if total.max(initial=0) > _EXACT:
            parts.append(i - start)
            start, total = i, terms
    return [*parts, count - start]


def _split(
    rewrite: Rewrite, node: ir.Node, value: ir.Value, axis: int, parts: Sequence[int]
) -> list[ir.Value]:
    if len(parts) == 1:
        return [value]
    sizes = rewrite.operand(parts, f"{node.name}/parts")
    made = rewrite.node(node, "Split", [value, sizes], {"axis": axis}, outputs=len(parts))
    return list(made.outputs)

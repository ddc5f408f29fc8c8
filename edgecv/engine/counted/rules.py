"""Every operator that takes counted values, and what it makes of them; `claims.COUNTED` lists them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir

from edgecv.engine import claims
from edgecv.engine.counted import movement
from edgecv.engine.counted.counting import Counting, Sizes
from edgecv.engine.counted.movement import Made, broadcast, room
from edgecv.engine.counted.size import ONE, Size, Unproven, bounds, greater, lesser, product
from edgecv.graph.rewrite import attribute, given, infer, rank

_Rule = Callable[[Counting, ir.Node], Made]


# ---- What makes counts


def nonzero(counting: Counting, node: ir.Node) -> Made:
    """Coordinates of what is not zero, in counted columns."""
    x = node.inputs[0]
    if not rank(x):
        raise Unproven("whether a lone value is zero")
    places, count = counting.nonzero(node, _truths(counting, node, x))
    counting.rewrite.replace(node.outputs[0], places, what=f"at most {count.most} columns, counted")
    counting.note(places, [Size(rank(x) or 0), count])
    return None


def _truths(counting: Counting, node: ir.Node, x: ir.Value | None) -> ir.Value:
    """What is not zero; beyond counts nothing."""
    assert x is not None
    sizes = counting.sizes_of(x)
    if x.dtype != ir.DataType.BOOL:
        x = counting.rewrite.value(node, "Cast", [x], {"to": int(ir.DataType.BOOL)})
        counting.note(x, sizes)
    return counting.cleared(node, x, False)


def compress(counting: Counting, node: ir.Node) -> Made:
    """Entries of an axis where a condition is true: the places of what is true, and a Gather."""
    rewrite, (x, condition) = counting.rewrite, node.inputs
    sizes, (length,) = counting.sizes_of(x), counting.sizes_of(condition)
    axis = attribute(node, "axis")
    if axis is None:
        x = rewrite.value(node, "Reshape", [x, rewrite.operand([product(sizes).most], f"{node.name}/shape")])
        movement.check_order(sizes, (product(sizes),))
        axis, sizes = 0, (product(sizes),)
    axis %= len(sizes)
    if not length.is_at_most(sizes[axis]):
        raise Unproven(f"whether a condition of {length} is within {sizes[axis]}")
    places, count = counting.nonzero(node, _truths(counting, node, condition))
    flat = rewrite.value(node, "Reshape", [places, rewrite.operand([count.most], f"{node.name}/places")])
    taken = rewrite.value(node, "Gather", [x, flat], {"axis": axis}, like=node.outputs[0])
    rewrite.replace(node.outputs[0], taken, what=f"Compress: at most {count.most} entries, counted")
    counting.note(taken, (*sizes[:axis], count, *sizes[axis + 1 :]))
    return None


def non_max_suppression(counting: Counting, node: ir.Node) -> Made:
    """Counted rows (image, class, box). Scores beyond a count are NaN, which suppression never takes."""
    boxes, scores = node.inputs[:2]
    images, classes, n = counting.sizes_of(scores)
    if counting.sizes_of(boxes) != (images, n, Size(4)):
        raise Unproven(f"whether each of {n} scores has a box")
    (most,) = counting.operand(node, 2) or [Size()]
    if not most.is_known and not n.is_at_most(most):
        raise Unproven(f"how many boxes of a class it keeps: {most}")
    capacity = images.most * classes.most * min(max(most.most, 0), n.most)
    inputs = [boxes, counting.cleared(node, scores, np.nan), *node.inputs[2:]]
    if not most.is_known:
        inputs[2] = counting.rewrite.operand([most.most], f"{node.name}/most")
    bound = bounds((images, classes, lesser(n, greater(most, Size()))))
    kept, count = counting.source(
        node, node.op_type, inputs, (capacity, 3), capacity, bound, dict(node.attributes.items())
    )
    counting.rewrite.replace(node.outputs[0], kept, what=f"at most {capacity} rows, counted")
    counting.note(kept, [count, Size(3)])
    return None


# ---- What keeps counted axes


def elementwise(counting: Counting, node: ir.Node) -> Made:
    """Element by element: operands of the same count, or that are repeated."""
    divisor = given(node, 1)
    if node.op_type in ("Div", "Mod") and counting.is_counted(divisor) and _is_whole(divisor):
        counting.rewrite.set_input(node, 1, counting.cleared(node, divisor, 1))
    sizes = broadcast([counting.sizes_of(value) for value in node.inputs if value is not None])
    return [sizes] * len(node.outputs)


def _is_whole(value: ir.Value | None) -> bool:
    return value is not None and value.dtype is not None and value.dtype.numpy().kind in "iu"


def softmax(counting: Counting, node: ir.Node) -> Made:
    """Softmax, LogSoftmax, Hardmax: beyond a count is -infinity."""
    sizes = counting.sizes_of(node.inputs[0])
    _clear(counting, node, -np.inf, [attribute(node, "axis", -1) % len(sizes)])
    return [sizes]


def cumulative_sum(counting: Counting, node: ir.Node) -> Made:
    """Sums along an axis: beyond a count is 0."""
    sizes, (axis,) = counting.sizes_of(node.inputs[0]), counting.known(node, 1)
    _clear(counting, node, 0, [axis % len(sizes)])
    return [sizes]


def top_k(counting: Counting, node: ir.Node) -> Made:
    """The k largest or smallest, as many as there are: what is beyond a count comes last."""
    sizes, (k,) = counting.sizes_of(node.inputs[0]), counting.operand(node, 1)
    axis = attribute(node, "axis", -1) % len(sizes)
    made = lesser(k, sizes[axis])
    largest = bool(attribute(node, "largest", 1))
    # NaN comes behind infinity where the smallest is first.
    fill = _last(node, largest)
    _clear(counting, node, np.nan if isinstance(fill, float) and not largest else fill, [axis])
    room(counting, node, 1, [made])
    counting.natural.update(node.outputs[1:])
    return [(*sizes[:axis], made, *sizes[axis + 1 :])] * 2


_SUMS = ("ReduceSum", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum")


def reduction(counting: Counting, node: ir.Node) -> Made:
    """Along any axes: what is beyond a count changes nothing."""
    sizes = counting.sizes_of(node.inputs[0])
    axes = [axis % len(sizes) for axis in counting.known(node, 1)]
    if not axes and not attribute(node, "noop_with_empty_axes", 0):
        axes = list(range(len(sizes)))
    made = _reduced(node, sizes, axes)
    if not any(counting.is_counted(node.inputs[0]) and not sizes[axis].is_known for axis in axes):
        return [made]
    if node.op_type == "ReduceMean":
        return _mean(counting, node, product(sizes[axis] for axis in axes), made)
    if node.op_type in ("ReduceMax", "ReduceMin"):
        fill = _last(node, node.op_type == "ReduceMax")
    elif node.op_type in _SUMS:
        fill = 0
    elif node.op_type == "ReduceProd":
        fill = 1
    else:
        fill = -np.inf
    _clear(counting, node, fill, axes)
    return [made]


def _mean(counting: Counting, node: ir.Node, count: Size, made: Sizes) -> Made:
    rewrite, (x, *axes) = counting.rewrite, node.inputs
    if x is None or x.dtype is None or _is_whole(x):
        raise Unproven("a mean of whole numbers")
    total = rewrite.value(
        node, "ReduceSum", [counting.cleared(node, x, 0), *axes], dict(node.attributes.items())
    )
    number = rewrite.value(node, "Cast", [counting.value(node, count)], {"to": int(x.dtype)})
    if not made:
        number = rewrite.value(node, "Squeeze", [number, rewrite.operand([0], f"{node.name}/axes")])
    mean = rewrite.value(node, "Div", [total, number], like=node.outputs[0])
    rewrite.replace(node.outputs[0], mean)
    counting.note(mean, made)
    return None


def arg_reduction(counting: Counting, node: ir.Node) -> Made:
    """Where the largest or the smallest is: what is beyond a count comes last."""
    sizes = counting.sizes_of(node.inputs[0])
    axis = attribute(node, "axis", 0) % len(sizes)
    if attribute(node, "select_last_index", 0) and not sizes[axis].is_known:
        raise Unproven("the last of equals")
    _clear(counting, node, _last(node, node.op_type == "ArgMax"), [axis])
    counting.natural.update(node.outputs)
    return [_reduced(node, sizes, [axis])]


def _reduced(node: ir.Node, sizes: Sizes, axes: list[int]) -> Sizes:
    if attribute(node, "keepdims", 1):
        return tuple(ONE if axis in axes else size for axis, size in enumerate(sizes))
    return tuple(size for axis, size in enumerate(sizes) if axis not in axes)


def matmul(counting: Counting, node: ir.Node) -> Made:
    """Rows of the left and columns of the right operand may be counted."""
    a, b = (counting.sizes_of(value) for value in node.inputs)
    if len(a) < 2 or len(b) < 2 or a[-1] != b[-2] or not a[-1].is_known:
        raise Unproven(f"sums over {a[-1] if a else ONE}")
    return [(*broadcast([a[:-2], b[:-2]]), a[-2], b[-1])]


def gemm(counting: Counting, node: ir.Node) -> Made:
    """The same of two matrices."""
    a, b = (counting.sizes_of(value) for value in node.inputs[:2])
    a = a[::-1] if attribute(node, "transA", 0) else a
    b = b[::-1] if attribute(node, "transB", 0) else b
    if a[1] != b[0] or not a[1].is_known:
        raise Unproven(f"sums over {a[1]}")
    return [(a[0], b[1])]


def batch(counting: Counting, node: ir.Node) -> Made:
    """Images one by one: how many there are may be counted."""
    sizes = counting.sizes_of(node.inputs[0])
    if any(counting.is_counted(value) for value in node.inputs[1:]) or not all(s.is_known for s in sizes[1:]):
        raise Unproven("other sizes than the number of images")
    infer(node)
    return [(sizes[0], *counting.sizes_of(output)[1:]) for output in node.outputs]


def _clear(counting: Counting, node: ir.Node, fill: Any, axes: list[int]) -> None:
    """Put `fill` beyond the counts of these axes of the first operand."""
    x = node.inputs[0]
    if counting.is_counted(x):
        counting.rewrite.set_input(node, 0, counting.cleared(node, x, fill, axes))


def _last(node: ir.Node, largest: bool) -> Any:
    """What comes behind all others of the first operand's type, the largest first or the smallest."""
    x = node.inputs[0]
    dtype: np.dtype[Any] = np.dtype(np.float32) if x is None or x.dtype is None else x.dtype.numpy()
    if dtype.kind == "b":
        return not largest
    if dtype.kind == "f":
        return -np.inf if largest else np.inf
    return np.iinfo(dtype).min if largest else np.iinfo(dtype).max


RULES: dict[str, _Rule] = {
    "NonZero": nonzero,
    "Compress": compress,
    "NonMaxSuppression": non_max_suppression,
    "Transpose": movement.transpose,
    **dict.fromkeys(("Reshape", "Squeeze", "Unsqueeze", "Flatten"), movement.reshape),
    "Expand": movement.expand,
    "Tile": movement.tile,
    "ConstantOfShape": movement.constant_of_shape,
    "Range": movement.range_,
    "Shape": movement.shape_,
    "Size": movement.shape_,
    "Slice": movement.slice_,
    "Split": movement.split,
    "Concat": movement.concat,
    "Pad": movement.pad,
    "OneHot": movement.one_hot,
    "Gather": movement.gather,
    "GatherElements": movement.gather_elements,
    "GatherND": movement.gather_nd,
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax"), softmax),
    "CumSum": cumulative_sum,
    "TopK": top_k,
    **dict.fromkeys(
        (*_SUMS, "ReduceMax", "ReduceMin", "ReduceMean", "ReduceProd", "ReduceLogSumExp"), reduction
    ),
    **dict.fromkeys(("ArgMax", "ArgMin"), arg_reduction),
    "MatMul": matmul,
    "Gemm": gemm,
    **{operator: batch for operator, how in claims.COUNTED.items() if how == claims.BY_IMAGE},
    **{operator: elementwise for operator, how in claims.COUNTED.items() if how == claims.BY_ELEMENT},
}

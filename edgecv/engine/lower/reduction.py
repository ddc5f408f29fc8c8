"""Operators that fold, order or normalize along axes: reductions, softmax, cumulative sums, the largest k."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edgecv.engine.lower.base import Lowering, Node, Tensor, choice, collapsed, lowers, ref_of
from edgecv.engine.lower.compose import blockwise, new_like, shaped, step
from edgecv.engine.lower.maps import DTYPES
from edgecv.engine.lower.movement import set_view
from edgecv.engine.views import Planes, Shape, Strided

REDUCTIONS = {
    "ReduceSum": "sum",
    "ReduceMean": "mean",
    "ReduceMax": "max",
    "ReduceMin": "min",
    "ReduceProd": "prod",
    "ReduceSumSquare": "sum_square",
    "ReduceL1": "l1",
    "ReduceL2": "l2",
    "ReduceLogSum": "log_sum",
    "ReduceLogSumExp": "log_sum_exp",
}
# What the step `spatial` knows.
_SPATIAL = ("sum", "mean", "max", "min", "sum_square")


@lowers(*REDUCTIONS)
def reduction(lowering: Lowering, node: Node) -> None:
    """A reduction along any axes."""
    x = node.input(0)
    rank = len(x.shape)
    listed = node.numbers(1).tolist() if node.optional(1) is not None else []
    kind = REDUCTIONS[node.op]
    if not listed and node.attribute("noop_with_empty_axes", 0):
        axes: Sequence[int] = ()
    else:
        axes = sorted({axis % rank for axis in listed}) if listed else range(rank)
    result = reduce(lowering, node, kind, x, axes, node.outputs[0])
    if not node.attribute("keepdims", 1):
        result = shaped(lowering, result, _without(x.shape, axes))
    _finish(lowering, node, result)


@lowers("GlobalLpPool")
def global_norm(lowering: Lowering, node: Node) -> None:
    """The p-norm of all pixels, of a p that no reduction has."""
    x, p = node.input(0), float(node.attribute("p", 2))
    raised = step(lowering, node, "pow", [step(lowering, node, "abs", [x]), p])
    total = reduce(lowering, node, "sum", raised, range(2, len(x.shape)))
    step(lowering, node, "pow", [total, 1 / p], name=node.outputs[0])


@lowers("ArgMax", "ArgMin")
def arg_reduction(lowering: Lowering, node: Node) -> None:
    """Where the largest or the smallest is along an axis, int64."""
    x = node.input(0)
    axis = node.attribute("axis", 0) % len(x.shape)
    kind = "argmax" if node.op == "ArgMax" else "argmin"
    last = bool(node.attribute("select_last_index", 0))
    result = _strided(lowering, node, kind, x, (axis,), node.outputs[0], last)
    if not node.attribute("keepdims", 1):
        result = shaped(lowering, result, _without(x.shape, (axis,)))
    _finish(lowering, node, result)


def reduce(
    lowering: Lowering, node: Node, kind: str, x: Tensor, axes: Sequence[int], name: str = ""
) -> Tensor:
    """A reduction of `_simd.CHOICES["reduce_kind"]` along axes, which keep a size of 1."""
    name = name or f"{node.name} ({kind} {len(lowering.program.steps)})"
    if (
        kind in _SPATIAL
        and isinstance(x.view, Planes)
        and x.view.lanes == lowering.lanes
        and len(x.shape) in (3, 4)
        and tuple(axes) == tuple(range(2, len(x.shape)))
        and x.view.image() is not None
    ):
        return _spatial(lowering, node, kind, x, name)
    return _strided(lowering, node, kind, x, axes, name)


def _spatial(lowering: Lowering, node: Node, kind: str, x: Tensor, name: str) -> Tensor:
    image = lowering.as_blocked(x)
    if image is None:
        raise AssertionError("an image has blocks")
    result, blocks = blockwise(lowering, image, 1, 1, name)
    lowering.program.add(
        "spatial",
        node.name,
        blocks=lowering.program.refs(blocks),
        n_blocks=len(blocks),
        pixels=image.h * image.w,
        kind=choice("reduce_kind", kind),
        chunk_blocks=lowering.chunk(len(blocks), image.h * image.w),
    )
    if len(x.shape) == 3:
        narrow = result.reshape((*result.refs.shape, 1))
        if narrow is None:
            raise AssertionError("one pixel has any shape")
        result = narrow
    return lowering.set(name, result)


def _strided(
    lowering: Lowering, node: Node, kind: str, x: Tensor, axes: Sequence[int], name: str, last: bool = False
) -> Tensor:
    if x.dtype.name not in DTYPES:
        raise node.unsupported(f"input of {x.dtype}")
    view = lowering.as_strided(x)
    kept = [axis for axis in range(len(x.shape)) if axis not in axes]
    dtype = np.dtype(np.int64) if kind.startswith("arg") else x.dtype
    made = tuple(1 if i in axes else n for i, n in enumerate(x.shape))
    target = lowering.new_strided(name, made, dtype, gaps=True)
    if target.size:
        kept_shape, kept_strides = _part(view, target, kept)
        shape, strides = _part(view, target, axes)
        if kind.startswith("arg") and len(shape) != 1:
            raise AssertionError("one axis")
        lowering.program.add(
            "reduce_nd",
            node.name,
            x=ref_of(view),
            y=ref_of(target),
            kind=choice("reduce_kind", kind),
            dtype=choice("dtype", DTYPES[x.dtype.name]),
            last=int(last),
            rank=len(kept_shape) + len(shape),
            kept=len(kept_shape),
            shape=lowering.integers([*kept_shape, *shape]),
            strides=lowering.integers([*kept_strides[0], *strides[0], *kept_strides[1], *(0 for _ in shape)]),
            chunk_outer=lowering.chunk(kept_shape[0], math.prod((*kept_shape[1:], *shape)) * 0.2),
        )
    return lowering.set(name, target, dtype)


def _part(view: Strided, target: Strided, axes: Sequence[int]) -> tuple[Shape, tuple[Shape, ...]]:
    """Some of the axes, as few as walk the same elements."""
    shape = tuple(view.shape[axis] for axis in axes)
    sources = tuple(view.strides[axis] for axis in axes)
    kept = tuple(target.strides[axis] if target.shape[axis] == view.shape[axis] else 0 for axis in axes)
    if all(axis_target == 0 for axis_target in kept):
        sizes, (steps,) = collapsed(shape, sources)
        return sizes, (steps, (0,) * len(sizes))
    return collapsed(shape, sources, kept)


def _without(shape: Shape, axes: Sequence[int]) -> Shape:
    return tuple(n for axis, n in enumerate(shape) if axis not in axes)


def _finish(lowering: Lowering, node: Node, result: Tensor) -> None:
    view = result.view if result.view is not None else lowering.as_strided(result)
    set_view(lowering, node, view, result.dtype)


# ---- Softmax and its kin


@lowers("Softmax", "LogSoftmax", "Hardmax")
def softmax(lowering: Lowering, node: Node) -> None:
    """Along one axis."""
    x = node.input(0)
    rank = len(x.shape)
    axis = node.attribute("axis", -1) % rank
    kind = {"Softmax": "softmax", "LogSoftmax": "log_softmax", "Hardmax": "hardmax"}[node.op]
    view = lowering.as_strided(x)
    target = new_like(lowering, view, node.outputs[0])
    if target.size:
        order = sorted((i for i in range(rank) if i != axis), key=lambda i: -abs(view.strides[i]))
        shape, strides = collapsed(
            tuple(x.shape[i] for i in order),
            tuple(view.strides[i] for i in order),
            tuple(target.strides[i] for i in order),
        )
        shape += (x.shape[axis],)
        lowering.program.add(
            "softmax_nd",
            node.name,
            x=ref_of(view),
            y=ref_of(target),
            kind=choice("softmax_kind", kind),
            rank=len(shape),
            shape=lowering.integers(shape),
            strides=lowering.integers([*strides[0], view.strides[axis], *strides[1], target.strides[axis]]),
            chunk_outer=lowering.outer_chunk(shape, 1.0),
        )
    lowering.set(node.outputs[0], target)


# ---- Along one axis of contiguous elements


@lowers("CumSum")
def cumulative_sum(lowering: Lowering, node: Node) -> None:
    """Sums of all elements up to each along an axis, or from it on."""
    x = node.input(0)
    axis = int(node.numbers(1)[0]) % len(x.shape)
    target = lowering.new_strided(node.outputs[0], x.shape, x.dtype)
    if target.size:
        lowering.program.add(
            "cumsum",
            node.name,
            x=ref_of(lowering.as_contiguous(x)),
            y=ref_of(target),
            dtype=choice("dtype", DTYPES[x.dtype.name]),
            outer=math.prod(x.shape[:axis]),
            n=x.shape[axis],
            inner=math.prod(x.shape[axis + 1 :]),
            exclusive=node.attribute("exclusive", 0),
            reverse=node.attribute("reverse", 0),
        )
    lowering.set(node.outputs[0], target, x.dtype)


@lowers("TopK")
def top_k(lowering: Lowering, node: Node) -> None:
    """The k largest or smallest along an axis, and where they are."""
    x = node.input(0)
    rank = len(x.shape)
    axis = node.attribute("axis", -1) % rank
    k = int(node.numbers(1)[0])
    if not 0 <= k <= x.shape[axis]:
        raise node.unsupported(f"k {k}: the axis has {x.shape[axis]} elements")
    order = [*(i for i in range(rank) if i != axis), axis]
    turned = Tensor(x.name, (), x.dtype, view=lowering.as_strided(x).transpose(order))
    turned.shape = turned.view.shape  # type: ignore[union-attr]
    back = [order.index(i) for i in range(rank)]
    shape = (*turned.shape[:-1], k)
    results: list[Strided] = []
    for i, dtype in enumerate((x.dtype, np.dtype(np.int64))):
        name = node.outputs[i] if i < len(node.outputs) and axis == rank - 1 else ""
        results.append(lowering.new_strided(name, shape, dtype))
    if math.prod(shape):
        lowering.program.add(
            "topk",
            node.name,
            x=ref_of(lowering.as_contiguous(turned)),
            values=ref_of(results[0]),
            indices=ref_of(results[1]),
            dtype=choice("dtype", DTYPES[x.dtype.name]),
            outer=math.prod(shape[:-1]),
            n=x.shape[axis],
            k=k,
            largest=node.attribute("largest", 1),
            sorted=node.attribute("sorted", 1),
        )
    for name, result in zip(node.outputs, results, strict=False):
        if name:
            lowering.set(name, result.transpose(back), result.dtype)

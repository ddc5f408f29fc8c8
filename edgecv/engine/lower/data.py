"""Operators that read or write at places which indices tell, known or of the run."""

from __future__ import annotations

import math

import numpy as np

from edgecv.engine.lower.base import Array, Lowering, Node, Tensor, choice, lowers, ref_of
from edgecv.engine.lower.compose import known, shaped, step
from edgecv.engine.lower.maps import DTYPES, emit_strided
from edgecv.engine.lower.movement import reshaped, set_view
from edgecv.engine.lower.quantize import dtype_of
from edgecv.engine.views import Joined, Planes, Shape, Strided, View


@lowers("Gather")
def gather(lowering: Lowering, node: Node) -> None:
    """Entries of one axis: where the indices are known, planes are only listed."""
    x, indices = node.input(0), node.input(1)
    axis = node.attribute("axis", 0) % len(x.shape)
    if indices.constant is None:
        _gather_at_run(lowering, node)
        return
    take = np.asarray(indices.constant, np.int64)
    size = x.shape[axis]
    if take.size and (take.min() < -size or take.max() >= size):
        raise node.unsupported(f"indices from {take.min()} to {take.max()}: the axis has {size} entries")
    take = np.where(take < 0, take + size, take)
    view = x.view
    moved: View | None = view.index(axis, take) if isinstance(view, Planes) else None
    if isinstance(moved, Planes) and take.ndim != 1:
        # A number takes the axis away, and more axes than one come in its place.
        own = axis if axis < moved.at else axis - len(moved.spatial)
        at = moved.at + (take.ndim - 1 if own < moved.at else 0)
        moved = Planes(moved.refs, moved.spatial, at, moved.h, moved.w, moved.row, moved.pixel, moved.lanes)
    if moved is None:
        moved = _gathered(lowering, node, x, axis, take)
    set_view(lowering, node, moved, x.dtype)


def _gathered(lowering: Lowering, node: Node, x: Tensor, axis: int, take: Array) -> View:
    strided = lowering.as_strided(x)
    flat = take.reshape(-1)
    steps = np.unique(np.diff(flat)) if flat.size > 1 else np.ones(1, np.int64)
    if flat.size and len(steps) == 1:
        # An even walk is a slice, whichever way it goes.
        stride, first = int(steps[0]), int(flat[0])
        if stride == 0:
            one = strided.index(axis, slice(first, first + 1))
            shape = (*one.shape[:axis], flat.size, *one.shape[axis + 1 :])
            part: View = one.broadcast(shape)
        else:
            end = int(flat[-1]) + (1 if stride > 0 else -1)
            part = strided.index(axis, slice(first, None if end < 0 else end, stride))
    else:
        part = Joined(tuple(strided.index(axis, slice(i, i + 1)) for i in flat.tolist()), axis)
    if take.ndim == 1:
        return part
    shape = x.shape[:axis] + take.shape + x.shape[axis + 1 :]
    return reshaped(lowering, Tensor(f"{node.name} (gathered)", part.shape, x.dtype, view=part), shape)


def _gather_at_run(lowering: Lowering, node: Node) -> None:
    """Gather by indices that are not known before the run."""
    x, indices = node.input(0), node.input(1)
    axis = node.attribute("axis", 0) % len(x.shape)
    shape = x.shape[:axis] + indices.shape + x.shape[axis + 1 :]
    _gather(
        lowering,
        node,
        "take",
        shape,
        outer=math.prod(x.shape[:axis]),
        axis=x.shape[axis],
        inner=math.prod(x.shape[axis + 1 :]),
        n=indices.size,
    )


@lowers("GatherElements")
def gather_elements(lowering: Lowering, node: Node) -> None:
    """Each element from its own place along an axis."""
    x, indices = node.input(0), node.input(1)
    _gather(
        lowering,
        node,
        "elements",
        indices.shape,
        axis=node.attribute("axis", 0) % len(x.shape),
        rank=len(x.shape),
        x_shape=x.shape,
        y_shape=indices.shape,
    )


@lowers("GatherND")
def gather_nd(lowering: Lowering, node: Node) -> None:
    """Slices at places of several axes."""
    x, indices = node.input(0), node.input(1)
    batches = node.attribute("batch_dims", 0)
    depth = indices.shape[-1]
    if not 0 < depth <= len(x.shape) - batches:
        raise node.unsupported(f"indices of shape {indices.shape} into {x.shape}")
    _gather(
        lowering,
        node,
        "nd",
        indices.shape[:-1] + x.shape[batches + depth :],
        outer=math.prod(x.shape[:batches]),
        n=math.prod(indices.shape[batches:-1]),
        depth=depth,
        rank=len(x.shape) - batches,
        x_shape=x.shape[batches:],
    )


def _gather(
    lowering: Lowering,
    node: Node,
    kind: str,
    shape: Shape,
    *,
    x_shape: Shape = (),
    y_shape: Shape = (),
    **fields: int,
) -> None:
    x = node.input(0)
    indices = _whole_numbers(lowering, node, node.input(1))
    target = lowering.new_strided(node.outputs[0], shape, x.dtype)
    if target.size:
        values = dict.fromkeys(("outer", "axis", "inner", "n", "depth", "rank"), 0) | fields
        lowering.program.add(
            "gather_nd",
            node.name,
            x=ref_of(lowering.as_contiguous(x)),
            indices=ref_of(indices),
            y=ref_of(target),
            kind=choice("gather_kind", kind),
            size=x.dtype.itemsize,
            index_dtype=choice("dtype", DTYPES[indices.dtype.name]),
            x_shape=lowering.integers(x_shape),
            y_shape=lowering.integers(y_shape),
            **values,
        )
    lowering.set(node.outputs[0], target, x.dtype)


@lowers("ScatterElements")
def scatter_elements(lowering: Lowering, node: Node) -> None:
    """Updates written each to its own place along an axis."""
    x, indices = node.input(0), node.input(1)
    axis = node.attribute("axis", 0) % len(x.shape)
    _scatter(lowering, node, "elements", axis=axis, n=indices.size, depth=0)


@lowers("ScatterND")
def scatter_nd(lowering: Lowering, node: Node) -> None:
    """Slices written at places of several axes."""
    x, indices = node.input(0), node.input(1)
    if not 0 < indices.shape[-1] <= len(x.shape):
        raise node.unsupported(f"indices of shape {indices.shape} into {x.shape}")
    _scatter(lowering, node, "nd", axis=0, n=math.prod(indices.shape[:-1]), depth=indices.shape[-1])


def _scatter(lowering: Lowering, node: Node, kind: str, **fields: int) -> None:
    x, updates = node.input(0), node.input(2)
    indices = _whole_numbers(lowering, node, node.input(1))
    target = lowering.new_strided(node.outputs[0], x.shape, x.dtype)
    if target.size:
        lowering.program.add(
            "scatter_nd",
            node.name,
            x=ref_of(lowering.as_contiguous(x)),
            indices=ref_of(indices),
            updates=ref_of(lowering.as_contiguous(updates)),
            y=ref_of(target),
            kind=choice("gather_kind", kind),
            reduction=choice("scatter_reduction", node.attribute("reduction", "none")),
            dtype=choice("dtype", DTYPES[x.dtype.name]),
            index_dtype=choice("dtype", DTYPES[indices.dtype.name]),
            rank=len(x.shape),
            x_shape=lowering.integers(x.shape),
            indices_shape=lowering.integers(node.input(1).shape),
            **fields,
        )
    lowering.set(node.outputs[0], target, x.dtype)


def _whole_numbers(lowering: Lowering, node: Node, tensor: Tensor) -> Strided:
    if tensor.dtype not in (np.int32, np.int64):
        raise node.unsupported(f"indices of {tensor.dtype}: expected int32 or int64")
    return lowering.as_contiguous(tensor)


@lowers("OneHot")
def one_hot(lowering: Lowering, node: Node) -> None:
    """values[1] where an index is met, values[0] elsewhere; an index outside is met nowhere."""
    indices, values = node.input(0), node.input(2)
    depth = int(node.numbers(1)[0])
    if indices.dtype.name not in DTYPES or values.dtype.name not in DTYPES:
        raise node.unsupported(f"indices of {indices.dtype}, values of {values.dtype}")
    rank = len(indices.shape) + 1
    axis = node.attribute("axis", -1) % rank
    wide = shaped(lowering, indices, (*indices.shape[:axis], 1, *indices.shape[axis:]))
    line = (1,) * axis + (depth,) + (1,) * (rank - axis - 1)
    numbers = np.arange(depth).astype(indices.dtype).reshape(line)
    is_met = step(lowering, node, "equal", [wide, known(numbers)], np.bool_)
    if indices.dtype.kind != "u":
        is_met_below = step(
            lowering, node, "equal", [wide, known((numbers - depth).astype(indices.dtype))], np.bool_
        )
        is_met = step(lowering, node, "or_", [is_met, is_met_below], np.bool_)
    pair = lowering.as_strided(values)
    target = lowering.new_strided(node.outputs[0], is_met.shape, values.dtype)
    off, on = (pair.index(0, slice(i, i + 1)).reshape(()) for i in (0, 1))
    if off is None or on is None:
        raise AssertionError("one value")
    views = [lowering.as_strided(is_met), on.broadcast(target.shape), off.broadcast(target.shape)]
    emit_strided(lowering, node, "where", views, target)
    lowering.set(node.outputs[0], target, values.dtype)


@lowers("Trilu")
def triangle(lowering: Lowering, node: Node) -> None:
    """The upper or the lower triangle of matrices, zeros elsewhere."""
    x = node.input(0)
    k = int(node.numbers(1)[0]) if node.optional(1) is not None else 0
    ones = np.ones(x.shape[-2:], np.bool_)
    mask = np.triu(ones, k) if node.attribute("upper", 1) else np.tril(ones, k)
    step(lowering, node, "where", [known(mask), x, known(np.zeros((), x.dtype))], x.dtype, node.outputs[0])


@lowers("EyeLike")
def eye_like(lowering: Lowering, node: Node) -> None:
    """Ones on a diagonal: of x only the shape counts."""
    x = node.input(0)
    number = node.attribute("dtype")
    dtype = x.dtype if number is None else dtype_of(node, number)
    eye = np.eye(x.shape[0], x.shape[1], k=node.attribute("k", 0)).astype(dtype)
    lowering.tensors[node.outputs[0]] = Tensor(node.outputs[0], x.shape, dtype, eye)


@lowers("ConstantOfShape")
def constant_of_shape(lowering: Lowering, node: Node) -> None:
    """One value repeated, where it is too large to be a constant of the program."""
    value = node.attribute("value")
    array = np.zeros(1, np.float32) if value is None else np.asarray(value.numpy()).reshape(1)
    one = lowering.as_strided(known(array)).reshape(())
    if one is None:
        raise AssertionError("one value")
    set_view(lowering, node, one.broadcast(tuple(node.numbers(0).tolist())), array.dtype)


@lowers("edgecv::NonMaxSuppression")
def non_max_suppression(lowering: Lowering, node: Node) -> None:
    """(image, class, box) of the boxes that are kept, and how many there are."""
    boxes, scores = node.input(0), node.input(1)
    batches, classes, n = scores.shape
    most = int(node.numbers(2)[0]) if node.optional(2) is not None else 0
    most = min(max(most, 0), n)
    iou, score = _threshold(node, 3), _threshold(node, 4)
    rows, count = _rows_and_count(lowering, node)
    lowering.program.add(
        "nms",
        node.name,
        boxes=ref_of(lowering.as_contiguous(boxes)),
        scores=ref_of(lowering.as_contiguous(scores)),
        y=ref_of(rows),
        count=ref_of(count),
        batches=batches,
        classes=classes,
        n=n,
        most=most,
        capacity=rows.shape[0],
        iou=0.0 if iou is None else iou,
        score=0.0 if score is None else score,
        has_score=int(score is not None),
        center=node.attribute("center_point_box", 0),
    )


@lowers("edgecv::NonZero")
def nonzero(lowering: Lowering, node: Node) -> None:
    """The coordinates of what is true, and how many there are."""
    x = node.input(0)
    places, count = _rows_and_count(lowering, node)
    lowering.program.add(
        "nonzero",
        node.name,
        x=ref_of(lowering.as_contiguous(x)),
        y=ref_of(places),
        count=ref_of(count),
        rank=len(x.shape),
        shape=lowering.integers(x.shape),
        capacity=places.shape[1],
    )


def _rows_and_count(lowering: Lowering, node: Node) -> tuple[Strided, Strided]:
    """Storage for int64 that is found, of the room that the graph gives it, and for how much is found."""
    made = [lowering.new_strided(node.outputs[i], node.shape(i), np.dtype(np.int64)) for i in range(2)]
    for name, target in zip(node.outputs, made, strict=True):
        lowering.set(name, target, np.int64)
    return made[0], made[1]


@lowers("edgecv::Counted")
def counted(lowering: Lowering, node: Node) -> None:
    """What comes in; of an output of the graph, where its results end."""
    x, name = node.input(0), node.outputs[0]
    set_view(lowering, node, x.view if x.view is not None else lowering.as_strided(x), x.dtype)
    lowering.counts[name] = (node.attribute("axis"), lowering.as_contiguous(node.input(1)))


def _threshold(node: Node, index: int) -> float | None:
    return None if node.optional(index) is None else float(node.numbers(index, np.float32)[0])

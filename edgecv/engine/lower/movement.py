"""Operators that only say where elements are: they change views, and copy where a view cannot tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgecv.engine.lower.base import MAX_RANK, Array, Lowering, Node, Tensor, lowers
from edgecv.engine.views import Joined, Planes, Shape, Strided, View


def reshaped(lowering: Lowering, tensor: Tensor, shape: Shape) -> View:
    """The same elements in the same order under other axes."""
    if len(shape) > MAX_RANK:
        raise AssertionError(f"rank {len(shape)}")
    view = tensor.view
    if isinstance(view, Planes):
        moved = view.reshape(shape)
        if moved is not None:
            return moved
    strided = lowering.as_strided(tensor).reshape(shape)
    if strided is not None:
        return strided
    plain = lowering.as_contiguous(tensor).reshape(shape)
    if plain is None:
        raise AssertionError("a contiguous tensor takes any shape")
    return plain


@lowers("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity")
def reshape(lowering: Lowering, node: Node) -> None:
    """Everything that keeps elements and their order; the shape is known from inference."""
    x = node.input(0)
    set_view(lowering, node, reshaped(lowering, x, node.shape()), x.dtype)


@lowers("Dropout")
def dropout(lowering: Lowering, node: Node) -> None:
    """What comes in, and a mask that keeps all of it: training is not for a plan."""
    x = node.input(0)
    view = x.view if x.view is not None else lowering.as_strided(x)
    set_view(lowering, node, view, x.dtype)
    if len(node.outputs) > 1 and node.outputs[1]:
        mask = np.ones(x.shape, np.bool_)
        lowering.tensors[node.outputs[1]] = Tensor(node.outputs[1], x.shape, mask.dtype, mask)


@lowers("Transpose")
def transpose(lowering: Lowering, node: Node) -> None:
    """The axes in another order."""
    x = node.input(0)
    order = list(node.attribute("perm") or range(len(x.shape))[::-1])
    set_view(lowering, node, _transposed(x.view, order) or _moved(lowering, node, x, order), x.dtype)


def _transposed(view: View | None, order: Sequence[int]) -> View | None:
    """The axes in another order without a copy; None where planes or pieces cannot tell it."""
    if not isinstance(view, Joined):
        return view.transpose(order) if view is not None else None
    parts = [_transposed(part, order) for part in view.parts]
    known = tuple(part for part in parts if part is not None)
    return Joined(known, list(order).index(view.axis)) if len(known) == len(parts) else None


def _moved(lowering: Lowering, node: Node, x: Tensor, order: Sequence[int]) -> Strided:
    """The axes in another order: what does not lie in strides yet is written where and as it is wanted."""
    is_wanted = node.outputs[0] in lowering.targets
    if x.view is None or isinstance(x.view, Strided) or "strided" in x.forms or not is_wanted:
        return lowering.as_strided(x).transpose(order)
    target = lowering.new_strided(node.outputs[0], tuple(x.shape[axis] for axis in order), x.dtype, gaps=True)
    back = [list(order).index(axis) for axis in range(len(order))]
    lowering.write(x.view, target.transpose(back), f"{x.name} (strides)")
    return target


@lowers("Split")
def split(lowering: Lowering, node: Node) -> None:
    """Parts along one axis; their sizes are known from inference."""
    x = node.input(0)
    axis = node.attribute("axis", 0) % len(x.shape)
    start = 0
    for i in range(len(node.outputs)):
        size = node.shape(i)[axis]
        if node.outputs[i]:
            view = indexed(lowering, x, axis, slice(start, start + size))
            set_view(lowering, node, view, x.dtype, i)
        start += size


@lowers("Slice")
def slice_(lowering: Lowering, node: Node) -> None:
    """Ranges along axes, forwards or backwards."""
    x = node.input(0)
    starts, ends = node.numbers(1).tolist(), node.numbers(2).tolist()
    axes = node.numbers(3).tolist() if node.optional(3) else list(range(len(starts)))
    steps = node.numbers(4).tolist() if node.optional(4) else [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        axis %= len(x.shape)
        take = _range_of(start, end, step, x.shape[axis])
        x = Tensor(x.name, (), x.dtype, view=indexed(lowering, x, axis, take))
        x.shape = x.view.shape  # type: ignore[union-attr]
    if x.view is None:
        x.view = lowering.as_strided(x)
    set_view(lowering, node, x.view, x.dtype)


def _range_of(start: int, end: int, step: int, size: int) -> slice:
    """ONNX's start, end and step as Python's: ends are held to the axis, also when going backwards."""
    low, high = (0, size) if step > 0 else (-1, size - 1)
    start = min(max(start + size if start < 0 else start, 0), size if step > 0 else size - 1)
    end = min(max(end + size if end < 0 else end, low), high)
    return slice(start, None if end < 0 else end, step)


def indexed(lowering: Lowering, tensor: Tensor, axis: int, take: slice) -> View:
    """A range of one axis."""
    view = tensor.view
    if isinstance(view, Planes):
        moved = view.index(axis, take)
        if moved is not None:
            return moved
    return lowering.as_strided(tensor).index(axis, take)


@lowers("Concat")
def concat(lowering: Lowering, node: Node) -> None:
    """Parts after one another: planes are only listed, other parts stay where they are until read."""
    parts = [t for t in node.inputs if t is not None and t.size > 0]
    if not parts:
        parts = [node.input(0)]
    axis = node.attribute("axis") % len(parts[0].shape)
    dtype = parts[0].dtype
    own = [t.view if t.view is not None else lowering.as_strided(t) for t in parts]
    target = lowering.targets.get(node.outputs[0])
    if target is not None:
        missing = _missing(own, target, axis)
        # A target with gaps is for what nothing else reads: in the caller's array, all ends up there anyway.
        is_only_there = not target.is_contiguous and lowering.is_given_out(target)
        if not missing or (len(missing) < len(own) and is_only_there):
            for view, taken in _neighbors_as_one(missing, axis):
                lowering.write(view, target.index(axis, taken), f"{node.name} (output)")
            set_view(lowering, node, target, dtype)
            return
    views = [_planes_or_other(view) for view in own]
    planes = [view for view in views if isinstance(view, Planes)]
    if len(planes) == len(views):
        joined = Planes.concatenate(planes, axis)
        is_read = node.outputs[0] not in lowering.leaving
        if joined is None and any(p.lanes for p in planes) and axis == 1 and is_read:
            blocked = [lowering.as_blocked(t) for t in parts]
            if all(b is not None for b in blocked):
                joined = Planes.concatenate([b for b in blocked if b is not None], axis)
        if joined is not None:
            set_view(lowering, node, joined, dtype)
            return
    flat: list[View] = []
    for view in own:
        flat.extend(view.parts if isinstance(view, Joined) and view.axis == axis else [view])
    set_view(lowering, node, flat[0] if len(flat) == 1 else Joined(tuple(flat), axis), dtype)


def _missing(views: Sequence[View], target: Strided, axis: int) -> list[tuple[View, slice]]:
    """The parts that have not been made at their places in the whole, and what they take of its axis."""
    missing: list[tuple[View, slice]] = []
    start = 0
    for view in views:
        taken = slice(start, start + view.shape[axis])
        if not isinstance(view, Strided) or not view.lies_as(target.index(axis, taken)):
            missing.append((view, taken))
        start = taken.stop
    return missing


def _neighbors_as_one(parts: Sequence[tuple[View, slice]], axis: int) -> list[tuple[View, slice]]:
    """Parts of a whole, those that follow one another and lie alike as one: they need one step."""
    found: list[tuple[View, slice]] = []
    for view, taken in parts:
        before, ahead = found[-1] if found else (None, slice(0, 0))
        joined = None
        if isinstance(view, Planes) and isinstance(before, Planes) and ahead.stop == taken.start:
            joined = Planes.concatenate([before, view], axis)
        if joined is None:
            found.append((view, taken))
        else:
            found[-1] = (joined, slice(ahead.start, taken.stop))
    return found


def _planes_or_other(view: View) -> View:
    if isinstance(view, Strided) and len(view.shape) == 4:
        return view.planes() or view
    return view


@lowers("Expand")
def expand(lowering: Lowering, node: Node) -> None:
    """Repeats along axes of size 1."""
    x = node.input(0)
    shape = node.shape()
    set_view(lowering, node, lowering.as_strided(x).broadcast(shape), x.dtype)


@lowers("Tile")
def tile(lowering: Lowering, node: Node) -> None:
    """Repeats along any axis: an axis of repeats before each, then one copy."""
    x = node.input(0)
    repeats = node.numbers(1).tolist()
    if all(n == 1 for n in repeats):
        set_view(lowering, node, reshaped(lowering, x, x.shape), x.dtype)
        return
    view = lowering.as_strided(x)
    axes = [(n, size) for n, size in zip(repeats, x.shape, strict=True)]
    kept = [(n, size, stride) for (n, size), stride in zip(axes, view.strides, strict=True)]
    shape = tuple(s for n, size, _ in kept for s in ([size] if n == 1 else [n, size]))
    strides = tuple(s for n, _, stride in kept for s in ([stride] if n == 1 else [0, stride]))
    target = lowering.new_strided(node.outputs[0], tuple(n * size for n, size in axes), x.dtype)
    split_target = target.reshape(shape)
    if split_target is None:
        raise AssertionError("a contiguous tensor takes any shape")
    lowering.copy(Strided(view.ref, view.dtype, shape, strides), split_target, node.name)
    lowering.set(node.outputs[0], target, x.dtype)


@lowers("DepthToSpace")
def depth_to_space(lowering: Lowering, node: Node) -> None:
    """Channels to pixels, in DCR or CRD order."""
    x, b = node.input(0), node.attribute("blocksize")
    n, c, h, w = x.shape
    is_dcr = node.attribute("mode", "DCR") == "DCR"
    split_shape = (n, b, b, c // (b * b), h, w) if is_dcr else (n, c // (b * b), b, b, h, w)
    order = (0, 3, 4, 1, 5, 2) if is_dcr else (0, 1, 4, 2, 5, 3)
    _reorder(lowering, node, x, split_shape, order, (n, c // (b * b), h * b, w * b))


@lowers("SpaceToDepth")
def space_to_depth(lowering: Lowering, node: Node) -> None:
    """Pixels to channels."""
    x, b = node.input(0), node.attribute("blocksize")
    n, c, h, w = x.shape
    _reorder(
        lowering, node, x, (n, c, h // b, b, w // b, b), (0, 3, 5, 1, 2, 4), (n, c * b * b, h // b, w // b)
    )


def _reorder(
    lowering: Lowering, node: Node, x: Tensor, split_shape: Shape, order: Sequence[int], shape: Shape
) -> None:
    view = reshaped(lowering, x, split_shape)
    moved = view.transpose(order) if isinstance(view, Planes) else None
    if moved is None:
        tensor = Tensor(x.name, split_shape, x.dtype, view=view)
        moved_strided = lowering.as_strided(tensor).transpose(order)
        set_view(
            lowering,
            node,
            reshaped(lowering, Tensor(node.name, moved_strided.shape, x.dtype, view=moved_strided), shape),
            x.dtype,
        )
        return
    set_view(
        lowering,
        node,
        reshaped(lowering, Tensor(node.name, moved.shape, x.dtype, view=moved), shape),
        x.dtype,
    )


@lowers("Pad")
def pad(lowering: Lowering, node: Node) -> None:
    """Constant, edge, reflected or wrapped borders; a negative pad cuts."""
    x = node.input(0)
    pads = node.numbers(1).tolist()
    axes = node.numbers(3).tolist() if node.optional(3) else list(range(len(x.shape)))
    begin, end = [0] * len(x.shape), [0] * len(x.shape)
    for i, axis in enumerate(axes):
        begin[axis], end[axis] = pads[i], pads[i + len(axes)]
    view: Strided = lowering.as_strided(x)
    for axis, (b, e) in enumerate(zip(begin, end, strict=True)):
        view = view.index(axis, slice(max(-b, 0), view.shape[axis] - max(-e, 0)))
    begin, end = [max(b, 0) for b in begin], [max(e, 0) for e in end]
    shape = tuple(b + n + e for b, n, e in zip(begin, view.shape, end, strict=True))
    target = lowering.new_strided(node.outputs[0], shape, x.dtype)
    mode = node.attribute("mode", "constant")
    if mode == "constant":
        _fill(lowering, node, x, target)
        inner = target
        for axis, (b, n) in enumerate(zip(begin, view.shape, strict=True)):
            inner = inner.index(axis, slice(b, b + n))
        lowering.copy(view, inner, node.name)
    else:
        _mirror(lowering, node, view, target, begin, mode)
    lowering.set(node.outputs[0], target, x.dtype)


def _fill(lowering: Lowering, node: Node, x: Tensor, target: Strided) -> None:
    given = node.optional(2)
    if given is None:
        value = lowering.program.constant(np.zeros(1, x.dtype))
        source = Strided(value.ref, x.dtype, (), ())
    else:
        flat = lowering.as_strided(given).reshape(())
        if flat is None:
            raise AssertionError("one value")
        source = flat
    lowering.copy(source.broadcast(target.shape), target, f"{node.name} (fill)")


def _mirror(
    lowering: Lowering, node: Node, view: Strided, target: Strided, begin: Sequence[int], mode: str
) -> None:
    """Every output index maps to an input index; runs of indices that step evenly are copied at once."""
    pieces: list[list[tuple[int, int, int, int]]] = []
    for axis, b in enumerate(begin):
        n = view.shape[axis]
        index = np.arange(target.shape[axis]) - b
        if mode == "edge":
            source = np.clip(index, 0, n - 1)
        elif mode == "wrap":
            source = index % n
        elif mode == "reflect":
            period = max(2 * (n - 1), 1)
            source = np.abs((index + n - 1) % period - (n - 1)) if n > 1 else np.zeros_like(index)
        else:
            raise node.unsupported(f"mode {mode!r}: expected constant, edge, reflect or wrap")
        pieces.append(_even_runs(source))
    _copy_runs(lowering, node, view, target, pieces, 0)


def _even_runs(source: Array) -> list[tuple[int, int, int, int]]:
    """(first output, count, first input, step) of runs."""
    runs: list[tuple[int, int, int, int]] = []
    i, values = 0, source.tolist()
    while i < len(values):
        step = values[i + 1] - values[i] if i + 1 < len(values) else 1
        step = step if step in (-1, 0, 1) else 1
        count = 1
        while i + count < len(values) and values[i + count] - values[i + count - 1] == step:
            count += 1
        runs.append((i, count, values[i], step))
        i += count
    return runs


def _copy_runs(
    lowering: Lowering,
    node: Node,
    view: Strided,
    target: Strided,
    pieces: list[list[tuple[int, int, int, int]]],
    axis: int,
) -> None:
    if axis == len(pieces):
        lowering.copy(view, target, node.name)
        return
    for out, count, first, step in pieces[axis]:
        if step == 0:
            one = view.index(axis, slice(first, first + 1))
            part = one.broadcast((*one.shape[:axis], count, *one.shape[axis + 1 :]))
        else:
            end = first + count * step
            part = view.index(axis, slice(first, None if end < 0 else end, step))
        _copy_runs(lowering, node, part, target.index(axis, slice(out, out + count)), pieces, axis + 1)


def set_view(lowering: Lowering, node: Node, view: View, dtype: Any, output: int = 0) -> None:
    """Say how a result lies that no step has made."""
    lowering.set(node.outputs[output], view, dtype)

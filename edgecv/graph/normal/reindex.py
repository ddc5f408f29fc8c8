"""Normal forms of operators that only move elements: constant operands, axes counted from the front.

Each rule leaves a node alone that is in its normal form already; `normalize` has the table.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgecv.graph.rewrite import (
    Rewrite,
    attribute,
    constant,
    given,
    infer,
    integers,
    made_by,
    rank,
    shape,
)


def reshape(rewrite: Rewrite, node: ir.Node) -> None:
    """Reshape, Flatten, Squeeze, Unsqueeze: Reshape to a constant shape without 0 and -1."""
    x, y = node.inputs[0], node.outputs[0]
    sizes = shape(y)
    if x is None or sizes is None:
        return
    inner = made_by(x, "Reshape")
    if inner is not None and inner.inputs[0] is not None and inner.inputs[0].shape is not None:
        x = inner.inputs[0]
    elif node.op_type == "Reshape" and integers(node.inputs[1]) == sizes and _allows_zero(node, sizes):
        return
    rewrite.replace(y, reshaped(rewrite, node, x, sizes), what=f"{node.op_type} to {list(sizes)}")


def _allows_zero(node: ir.Node, sizes: tuple[int, ...]) -> bool:
    return bool(attribute(node, "allowzero", 0)) == (0 in sizes)


def reshaped(rewrite: Rewrite, before: ir.Node, x: ir.Value, sizes: tuple[int, ...]) -> ir.Value:
    """A Reshape in front of a node."""
    target = rewrite.operand(sizes, f"{before.name}/shape")
    return rewrite.value(before, "Reshape", [x, target], {"allowzero": 1} if 0 in sizes else {})


def transpose(rewrite: Rewrite, node: ir.Node) -> None:
    """perm explicit, two in a row one; a Reshape where only axes of size 1 move."""
    x, y = node.inputs[0], node.outputs[0]
    axes = rank(x)
    if x is None or axes is None:
        return
    order = attribute(node, "perm")
    if order is None:
        order = list(range(axes))[::-1]
        node.attributes["perm"] = ir.AttrInt64s("perm", order)
        rewrite.changed = True
    inner = made_by(x, "Transpose")
    if inner is not None and attribute(inner, "perm") is not None:
        first = attribute(inner, "perm")
        both = [first[axis] for axis in order]
        new = rewrite.value(node, "Transpose", [inner.inputs[0]], {"perm": both}, like=y)
        rewrite.replace(y, new, what="two transpositions in a row are one", nodes=[inner, node])
        return
    sizes = shape(x)
    if sizes is not None:
        moved = [axis for axis in order if sizes[axis] != 1]
        if moved == sorted(moved) and order != sorted(order):
            new = reshaped(rewrite, node, x, tuple(sizes[axis] for axis in order))
            rewrite.replace(y, new, what="moves only axes of size 1: a Reshape")


def slice_(rewrite: Rewrite, node: ir.Node) -> None:
    """starts, ends, axes and steps constant; starts and ends clamped to the size (a walk to the front of the
    axis backwards ends at -size - 1); axes ascending, those taken whole left out."""
    x = node.inputs[0]
    sizes = shape(x)
    starts, ends = integers(node.inputs[1]), integers(node.inputs[2])
    axes = _optional(node, 3)
    steps = _optional(node, 4)
    if sizes is None or starts is None or ends is None or axes is None or steps is None:
        return
    axes = axes or tuple(range(len(starts)))
    steps = steps or (1,) * len(starts)
    rows: list[tuple[int, int, int, int]] = []
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        axis %= len(sizes)
        size = sizes[axis]
        first, last, _ = slice(start, end, step).indices(size)
        if step < 0 and last < 0:
            last = -size - 1
        if (first, last, step) != (0, size, 1):
            rows.append((axis, first, last, step))
    rows.sort()
    if len(rows) == 1 and _slice_of_part(rewrite, node, *rows[0]):
        return
    wanted = [tuple(row[i] for row in rows) for i in (1, 2, 0, 3)]
    if len(node.inputs) == 5 and [integers(node.inputs[i]) for i in (1, 2, 3, 4)] == wanted:
        return
    for index, (name, numbers) in enumerate(zip(("starts", "ends", "axes", "steps"), wanted, strict=True), 1):
        rewrite.set_input(node, index, rewrite.operand(numbers, f"{node.name}/{name}"))
    infer(node)


def _slice_of_part(rewrite: Rewrite, node: ir.Node, axis: int, first: int, last: int, step: int) -> bool:
    """Read one operand of a Concat where the Slice takes from no other."""
    joined = made_by(node.inputs[0], "Concat")
    if joined is None or attribute(joined, "axis") != axis or step < 1 or first >= last:
        return False
    start = 0
    for part in joined.inputs:
        sizes = shape(part)
        if part is None or sizes is None:
            return False
        if start <= first and last <= start + sizes[axis]:
            operands = [
                rewrite.operand([number], f"{node.name}/{name}")
                for name, number in zip(
                    ("starts", "ends", "axes", "steps"),
                    (first - start, last - start, axis, step),
                    strict=True,
                )
            ]
            new = rewrite.value(node, "Slice", [part, *operands], like=node.outputs[0])
            rewrite.replace(
                node.outputs[0], new, what="a Slice of one part of a Concat", nodes=[joined, node]
            )
            return True
        start += sizes[axis]
    return False


def _optional(node: ir.Node, index: int) -> tuple[int, ...] | None:
    """Whole numbers of an operand; () where it is left out, None where it is not constant."""
    value = given(node, index)
    return () if value is None else integers(value)


def pad(rewrite: Rewrite, node: ir.Node) -> None:
    """pads constant, of all axes and not negative; value given; no axes."""
    x, y = node.inputs[0], node.outputs[0]
    axes_count = rank(x)
    pads, axes = integers(node.inputs[1]), _optional(node, 3)
    if x is None or axes_count is None or pads is None or axes is None or x.dtype is None:
        return
    value = given(node, 2)
    if (
        len(node.inputs) == 3
        and value is not None
        and "mode" in node.attributes
        and min(pads, default=0) >= 0
    ):
        return
    listed = [axis % axes_count for axis in axes] or list(range(axes_count))
    full = np.zeros((2, axes_count), np.int64)
    full[:, listed] = np.reshape(pads, (2, -1))
    if full.min(initial=0) < 0:
        sizes = shape(x)
        if sizes is None:
            return
        cut = np.minimum(full, 0)
        starts = [int(-n) for n in cut[0]]
        ends = [int(size + n) for size, n in zip(sizes, cut[1], strict=True)]
        operands = [
            rewrite.operand(numbers, f"{node.name}/{name}")
            for name, numbers in (("starts", starts), ("ends", ends), ("axes", range(axes_count)))
        ]
        x = rewrite.value(node, "Slice", [x, *operands])
        full = np.maximum(full, 0)
    if value is None:
        value = rewrite.constant(
            np.zeros((), x.dtype.numpy() if x.dtype else np.float32), f"{node.name}/value"
        )
    sizes_of_pad = rewrite.operand([int(n) for n in full.reshape(-1)], f"{node.name}/pads")
    mode = attribute(node, "mode", "constant")
    new = rewrite.value(node, "Pad", [x, sizes_of_pad, value], {"mode": mode}, like=y)
    rewrite.replace(y, new)


def expand(rewrite: Rewrite, node: ir.Node) -> None:
    """Expand: the shape is that of the output; Tile: the same where it only repeats axes of size 1."""
    x, y = node.inputs[0], node.outputs[0]
    sizes, source = shape(y), shape(x)
    if sizes is None or source is None:
        return
    if node.op_type == "Expand":
        if integers(node.inputs[1]) != sizes:
            rewrite.set_input(node, 1, rewrite.operand(sizes, f"{node.name}/shape"))
    elif all(before in (1, after) for before, after in zip(source, sizes, strict=True)):
        target = rewrite.operand(sizes, f"{node.name}/shape")
        new = rewrite.value(node, "Expand", [x, target], like=y)
        rewrite.replace(y, new, what="Tile of axes of size 1: Expand")


def split(rewrite: Rewrite, node: ir.Node) -> None:
    """Sizes as a constant input, axis from the front."""
    x = node.inputs[0]
    axes = rank(x)
    if x is None or axes is None:
        return
    front_axis(rewrite, node)
    axis = attribute(node, "axis")
    if given(node, 1) is not None:
        return
    sizes = [shape(output) for output in node.outputs]
    if any(found is None for found in sizes):
        return
    numbers = [found[axis] for found in sizes if found is not None]
    node.attributes.pop("num_outputs", None)
    rewrite.set_input(node, 1, rewrite.operand(numbers, f"{node.name}/split"))


_AXIS_DEFAULTS = {
    "Split": 0,
    "Gather": 0,
    "GatherElements": 0,
    "ScatterElements": 0,
    "ArgMax": 0,
    "ArgMin": 0,
}


def front_axis(rewrite: Rewrite, node: ir.Node) -> None:
    """axis explicit and counted from the front."""
    source = node.inputs[0]
    axes = rank(source)
    if axes is None or (node.op_type == "OneHot" and source is not None):
        return
    axis = attribute(node, "axis", _AXIS_DEFAULTS.get(node.op_type, -1))
    wanted = axis % max(axes, 1)
    if attribute(node, "axis") != wanted:
        node.attributes["axis"] = ir.AttrInt64("axis", wanted)
        rewrite.changed = True


def gather(rewrite: Rewrite, node: ir.Node) -> None:
    """axis from the front; constant indices too."""
    front_axis(rewrite, node)
    sizes = shape(node.inputs[0])
    indices = constant(node.inputs[1])
    if sizes is None or indices is None or node.op_type != "Gather" or not indices.size or indices.min() >= 0:
        return
    size = sizes[attribute(node, "axis")]
    wanted = np.where(indices < 0, indices + size, indices).astype(np.int64)
    if wanted.min() >= 0:
        rewrite.set_input(node, 1, rewrite.constant(wanted, f"{node.name}/indices"))


def concat(rewrite: Rewrite, node: ir.Node) -> None:
    """axis from the front; what is empty left out."""
    front_axis(rewrite, node)
    kept = [value for value in node.inputs if value is not None and not _is_empty(value)]
    if kept and len(kept) < len(node.inputs) and all(shape(value) is not None for value in kept):
        new = rewrite.value(node, "Concat", kept, {"axis": attribute(node, "axis")}, like=node.outputs[0])
        rewrite.replace(node.outputs[0], new, what="Concat without what is empty")


def _is_empty(value: ir.Value) -> bool:
    sizes = shape(value)
    return sizes is not None and 0 in sizes

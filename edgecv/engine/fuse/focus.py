"""A picture taken apart into smaller ones of every second pixel, then convolved: one strided convolution.

YOLOv5 and YOLOX begin so ("Focus"); others spell it SpaceToDepth. A kernel of k x k over parts of every s-th
pixel is one of s k x s k over the picture, its steps s times as long, its padding s times as wide.
"""

from __future__ import annotations

import msgspec
import numpy as np
import onnx_ir as ir

from edgecv.graph.rewrite import (
    Pass,
    Rewrite,
    attribute,
    attributes,
    constant,
    integers,
    made_by,
    shape,
    single_use,
)


class _Parts(msgspec.Struct, frozen=True):
    """Channel i of a value is channel[i] of source at pixels (row[i] + step_y y, column[i] + step_x x)."""

    source: ir.Value
    channel: np.ndarray
    row: np.ndarray
    column: np.ndarray
    step: tuple[int, int]


def focus(rewrite: Rewrite) -> None:
    """Slices of every second pixel, joined and convolved, become one convolution of longer steps."""
    for node in rewrite.nodes("Conv"):
        x = node.inputs[0]
        joined = None if x is None else x.producer()
        if x is None or joined is None or joined.op_type not in ("Concat", "Reshape") or joined.domain:
            continue
        parts = _parts(x)
        if parts is None:
            continue
        weights, sizes = constant(node.inputs[1]), shape(parts.source)
        why = ""
        if weights is None:
            why = "the weights are known only at run time"
        elif attribute(node, "group", 1) != 1 or any(d != 1 for d in attribute(node, "dilations", ())):
            why = "the convolution is grouped or dilated"
        elif single_use(x) is not node:
            why = "the parts are read elsewhere too"
        elif sizes is None or any(n % s for n, s in zip(sizes[2:], parts.step, strict=True)):
            why = "the picture's sides are no multiple of the steps"
        elif weights.shape[1] != sizes[1] * parts.step[0] * parts.step[1]:
            why = "not every pixel is taken once, which would cost more"
        if why:
            rewrite.miss(node, why)
            continue
        assert weights is not None
        assert sizes is not None
        steps = np.array(parts.step)
        kernel = np.array(weights.shape[2:])
        wide = np.zeros((weights.shape[0], sizes[1], *(kernel * steps)), weights.dtype)
        for i, (channel, row, column) in enumerate(zip(parts.channel, parts.row, parts.column, strict=True)):
            wide[:, channel, row :: steps[0], column :: steps[1]] += weights[:, i]
        changed = attributes(node)
        for name in ("strides", "kernel_shape"):
            changed[name] = ir.AttrInt64s(name, [int(n) for n in np.array(attribute(node, name)) * steps])
        pads = [int(n) for n in np.array(attribute(node, "pads")) * np.tile(steps, 2)]
        changed["pads"] = ir.AttrInt64s("pads", pads)
        operands = [parts.source, rewrite.constant(wide, f"{node.name}/weights"), *node.inputs[2:]]
        new = rewrite.value(node, "Conv", operands, changed, like=node.outputs[0])
        side = "x".join(str(n) for n in wide.shape[2:])
        what = f"{joined.op_type} of parts and a convolution: one of {side}"
        rewrite.replace(node.outputs[0], new, what=what, nodes=[joined, node])


def _parts(value: ir.Value) -> _Parts | None:
    node = value.producer()
    if node is None:
        return None
    if node.op_type == "Reshape":
        return _of_blocks(node)
    if attribute(node, "axis") != 1:
        return None
    found = [_slice(operand) for operand in node.inputs]
    first = found[0]
    if first is None or any(f is None or f.source is not first.source or f.step != first.step for f in found):
        return None
    if first.step == (1, 1):
        return None
    kept = [f for f in found if f is not None]
    return _Parts(
        first.source,
        np.concatenate([f.channel for f in kept]),
        np.concatenate([f.row for f in kept]),
        np.concatenate([f.column for f in kept]),
        first.step,
    )


def _slice(value: ir.Value | None) -> _Parts | None:
    """A value that is every so many pixels of another, by one Slice or several."""
    start, step = [0, 0], [1, 1]
    while value is not None and (node := made_by(value, "Slice")) is not None:
        source, numbers = node.inputs[0], [integers(operand) for operand in node.inputs[1:5]]
        sizes = shape(source)
        if sizes is None or len(sizes) != 4 or len(numbers) < 4 or any(n is None for n in numbers):
            return None
        for first, end, axis, stride in zip(*numbers, strict=True):
            if axis not in (2, 3) or stride < 1 or end != sizes[axis] or first >= stride:
                return None
            # This Slice's pixel i is pixel first + stride i of its source.
            start[axis - 2] = first + stride * start[axis - 2]
            step[axis - 2] *= stride
        value = source
    sizes = shape(value)
    if value is None or sizes is None or len(sizes) != 4:
        return None
    ones = np.ones(sizes[1], np.int64)
    return _Parts(value, np.arange(sizes[1]), ones * start[0], ones * start[1], (step[0], step[1]))


def _of_blocks(node: ir.Node) -> _Parts | None:
    """SpaceToDepth written out: Reshape to (n, c, h, b, w, b), Transpose, Reshape to (n, c b b, h, w)."""
    turned = made_by(node.inputs[0], "Transpose")
    split = None if turned is None else made_by(turned.inputs[0], "Reshape")
    if turned is None or split is None or split.inputs[0] is None:
        return None
    source, six = shape(split.inputs[0]), shape(split.outputs[0])
    order, made = attribute(turned, "perm"), shape(node.outputs[0])
    if source is None or six is None or len(source) != 4 or len(six) != 6 or made is None:
        return None
    batch, channels, high, down, wide, across = six
    if source != (batch, channels, high * down, wide * across) or made != (
        batch,
        channels * down * across,
        high,
        wide,
    ):
        return None
    if order[0] != 0 or list(order[4:]) != [2, 4]:
        return None
    axes = [(1, 3, 5).index(axis) for axis in order[1:4]]
    places = np.indices((channels, down, across)).transpose(0, *(axis + 1 for axis in axes)).reshape(3, -1)
    return _Parts(split.inputs[0], places[0], places[1], places[2], (down, across))


FOCUS = Pass("focus", focus)

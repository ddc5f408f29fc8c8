"""Pooling over one, two or three axes of pixels, and its reversal."""

from __future__ import annotations

import math

import msgspec
import numpy as np
from msgspec.structs import replace

from edgecv.engine.lower.base import Lowering, Node, Tensor, choice, lowers, ref_of
from edgecv.engine.lower.compose import FLOAT, blockwise, cast, shaped
from edgecv.engine.lower.movement import set_view
from edgecv.engine.rows import of_blocks
from edgecv.engine.views import Shape, Strided


class Window(msgspec.Struct, frozen=True):
    """Windows along one axis. made: how many; counts_pad: whether an average counts the padding."""

    size: int
    stride: int
    dilation: int
    begin: int
    end: int
    made: int
    counts_pad: bool = False

    def table(self, n: int) -> np.ndarray:
        """For each window of n elements: the first, the end, and what it counts; int32 (made, 3)."""
        first = np.arange(self.made) * self.stride - self.begin
        taps = first[:, None] + np.arange(self.size) * self.dilation
        inside = (taps >= 0) & (taps < n)
        counted = taps < n + self.end if self.counts_pad else inside
        # Where padding is skipped, whole dilations are.
        skipped = np.maximum(-(first // self.dilation), 0)
        low = first + skipped * self.dilation
        high = np.where(inside, taps + 1, 0).max(1)
        empty = ~inside.any(1)
        columns = (np.where(empty, 0, low), np.where(empty, 0, high), counted.sum(1))
        return np.stack(columns, 1).astype(np.int32)


def windows_of(node: Node, shape: Shape, made: Shape) -> list[Window]:
    """The windows along each axis of pixels. made: the output's shape."""
    axes = len(shape) - 2
    if node.attribute("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise node.unsupported(f"auto_pad {node.attribute('auto_pad')}: expected explicit pads")
    kernel = node.attribute("kernel_shape")
    strides = node.attribute("strides") or (1,) * axes
    dilations = node.attribute("dilations") or (1,) * axes
    pads = node.attribute("pads") or (0,) * (2 * axes)
    counts = bool(node.attribute("count_include_pad", 0))
    return [
        Window(kernel[i], strides[i], dilations[i], pads[i], pads[axes + i], made[2 + i], counts)
        for i in range(axes)
    ]


@lowers("MaxPool")
def max_pool(lowering: Lowering, node: Node) -> None:
    """The largest of each window and, where asked for, where it is."""
    x = node.input(0)
    windows = windows_of(node, x.shape, node.shape())
    if len(node.outputs) > 1 and node.outputs[1]:
        _with_indices(lowering, node, x, windows)
        return
    # Integers of eight bits are exact as float32.
    result = _pooled(lowering, node, "max", cast(lowering, node, x, FLOAT), windows)
    if x.dtype == np.float32:
        _set(lowering, node, result)
    else:
        cast(lowering, node, result, x.dtype, node.outputs[0])


@lowers("AveragePool")
def average_pool(lowering: Lowering, node: Node) -> None:
    """The mean of each window; whether it counts the padding tells an attribute."""
    x = node.input(0)
    windows = windows_of(node, x.shape, node.shape())
    _set(lowering, node, _pooled(lowering, node, "average", x, windows))


def _set(lowering: Lowering, node: Node, result: Tensor) -> None:
    if result.view is None:
        raise AssertionError("a result has a view")
    set_view(lowering, node, result.view, result.dtype)


def _pooled(lowering: Lowering, node: Node, kind: str, x: Tensor, windows: list[Window]) -> Tensor:
    """The last two axes in one step; one before them in a step of its own, over what that gives."""
    n, c, *pixels = x.shape
    # An axis of one pixel where there is only one.
    one = Window(1, 1, 1, 0, 0, 1)
    rows, columns = windows[-2] if len(windows) > 1 else one, windows[-1]
    depth = pixels[0] if len(pixels) == 3 else 1
    h, w = pixels[-2] if len(pixels) > 1 else 1, pixels[-1]
    result = _step(lowering, node, kind, shaped(lowering, x, (n, c * depth, h, w)), rows, columns)
    if len(windows) == 3:
        first = windows[0]
        flat = shaped(lowering, result, (n, c, depth, rows.made * columns.made))
        every = replace(one, made=rows.made * columns.made)
        result = _step(lowering, node, kind, flat, first, every)
    return shaped(lowering, result, (n, c, *(window.made for window in windows)))


def _step(lowering: Lowering, node: Node, kind: str, x: Tensor, rows: Window, columns: Window) -> Tensor:
    image = lowering.as_blocked(x)
    if image is None:
        raise AssertionError("four axes are an image")
    result, blocks = blockwise(lowering, image, rows.made, columns.made, node.outputs[0])
    work = columns.made * min(rows.size * columns.size, rows.size + columns.size + 2)
    chunk_blocks, chunk_rows = lowering.blocks_and_rows(len(blocks), rows.made, work)
    windows = rows.table(image.h)
    # An empty window needs no row.
    first, end, _ = np.where(windows[:, :1] < windows[:, 1:2], windows, 0).astype(np.int64).T
    lowering.program.add(
        "pool",
        node.name,
        of_blocks(blocks, (image.h, image.w), (rows.made, columns.made), first, end),
        blocks=lowering.program.refs(blocks),
        n_blocks=len(blocks),
        kind=choice("pool_kind", kind),
        rows=lowering.program.constant(windows),
        columns=lowering.program.constant(columns.table(image.w)),
        dilation_y=rows.dilation,
        dilation_x=columns.dilation,
        in_h=image.h,
        in_w=image.w,
        out_h=rows.made,
        out_w=columns.made,
        chunk_blocks=chunk_blocks,
        chunk_rows=chunk_rows,
    )
    return Tensor(f"{node.outputs[0]} (pooled)", result.shape, FLOAT, view=result)


def _with_indices(lowering: Lowering, node: Node, x: Tensor, windows: list[Window]) -> None:
    one = Window(1, 1, 1, 0, 0, 1)
    rows, columns = windows[0] if len(windows) > 1 else one, windows[-1]
    h, w = x.shape[2] if len(windows) > 1 else 1, x.shape[-1]
    shape = (*x.shape[:2], *(window.made for window in windows))
    values = lowering.new_strided(node.outputs[0], shape, x.dtype)
    indices = lowering.new_strided(node.outputs[1], shape, np.dtype(np.int64))
    lowering.program.add(
        "pool_indices",
        node.name,
        x=ref_of(lowering.as_contiguous(x)),
        y=ref_of(values),
        indices=ref_of(indices),
        planes=math.prod(x.shape[:2]),
        rows=lowering.program.constant(rows.table(h)),
        columns=lowering.program.constant(columns.table(w)),
        dilation_y=rows.dilation,
        dilation_x=columns.dilation,
        in_h=h,
        in_w=w,
        out_h=rows.made,
        out_w=columns.made,
        by_columns=node.attribute("storage_order", 0),
    )
    if node.outputs[0]:
        lowering.set(node.outputs[0], values)
    lowering.set(node.outputs[1], indices, np.int64)


@lowers("MaxUnpool")
def max_unpool(lowering: Lowering, node: Node) -> None:
    """Values back to where MaxPool found them, zeros elsewhere."""
    x, indices = node.input(0), node.input(1)
    axes = len(x.shape) - 2
    kernel = node.attribute("kernel_shape")
    strides = node.attribute("strides") or (1,) * axes
    pads = node.attribute("pads") or (0,) * (2 * axes)
    inner = (
        *x.shape[:2],
        *((x.shape[2 + i] - 1) * strides[i] - pads[i] - pads[axes + i] + kernel[i] for i in range(axes)),
    )
    shape: Shape = inner
    if node.optional(2) is not None:
        shape = tuple(int(n) for n in node.numbers(2))
    # The indices count in the shape that the attributes tell; a larger one has it in its corner.
    name = node.outputs[0]
    small = lowering.new_strided(name if shape == inner else "", inner, x.dtype)
    lowering.program.add(
        "unpool",
        node.name,
        x=ref_of(lowering.as_contiguous(x)),
        indices=ref_of(lowering.as_contiguous(indices)),
        y=ref_of(small),
        n=x.size,
        y_n=small.size,
    )
    lowering.set(name, small if shape == inner else _in_corner(lowering, node, small, shape))


def _in_corner(lowering: Lowering, node: Node, small: Strided, shape: Shape) -> Strided:
    if any(whole < part for whole, part in zip(shape, small.shape, strict=True)):
        raise node.unsupported(f"output_shape {shape}: expected at least {small.shape}")
    target = lowering.new_strided(node.outputs[0], shape, small.dtype)
    zero = lowering.program.constant(np.zeros(1, small.dtype))
    lowering.copy(Strided(zero.ref, small.dtype, (), ()).broadcast(shape), target, f"{node.name} (fill)")
    corner = target
    for axis, n in enumerate(small.shape):
        corner = corner.index(axis, slice(0, n))
    lowering.copy(small, corner, node.name)
    return target

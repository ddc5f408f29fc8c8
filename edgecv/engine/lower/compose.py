"""What operators that are made of others share: operands under other shapes, tables of blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgecv.engine.lower.base import Lowering, Node, Tensor, blocks_of
from edgecv.engine.lower.maps import Activation, emit, scalar
from edgecv.engine.lower.movement import reshaped
from edgecv.engine.refs import Ints, in_lanes, moved
from edgecv.engine.views import Planes, Shape, Strided

FLOAT = np.dtype(np.float32)


def known(value: Any, name: str = "constant") -> Tensor:
    """An array as an operand."""
    array = np.asarray(value)
    return Tensor(name, array.shape, array.dtype, array)


def shaped(lowering: Lowering, tensor: Tensor, shape: Shape) -> Tensor:
    """The same elements in the same order under other axes."""
    if tensor.shape == shape:
        return tensor
    if tensor.constant is not None:
        return known(tensor.constant.reshape(shape), tensor.name)
    return Tensor(tensor.name, shape, tensor.dtype, view=reshaped(lowering, tensor, shape))


def along(lowering: Lowering, tensor: Tensor, axis: int, rank: int) -> Tensor:
    """A vector laid along one axis of `rank`, to be broadcast along the others; a single value as it is."""
    if not tensor.shape or tensor.size == 1:
        return shaped(lowering, tensor, ())
    return shaped(lowering, tensor, (1,) * axis + (tensor.size,) + (1,) * (rank - axis - 1))


def step(
    lowering: Lowering,
    node: Node,
    op: str,
    operands: Sequence[Tensor | float],
    dtype: Any = FLOAT,
    name: str | None = None,
) -> Tensor:
    """One operation of those that make a node up; numbers are operands too. name: of the result, if any."""
    first = next(t for t in operands if isinstance(t, Tensor))
    tensors = [t if isinstance(t, Tensor) else scalar(t, first.dtype) for t in operands]
    name = name or f"{node.name} ({op} {len(lowering.program.steps)})"
    return emit(lowering, node, op, tensors, np.dtype(dtype), Activation(), name)


def cast(lowering: Lowering, node: Node, tensor: Tensor, dtype: Any, name: str | None = None) -> Tensor:
    """The tensor with other elements; itself where it has these."""
    if tensor.dtype == dtype and name is None:
        return tensor
    op = "first" if tensor.dtype == dtype else "cast"
    return step(lowering, node, op, [tensor], dtype, name)


def new_like(lowering: Lowering, view: Strided, name: str) -> Strided:
    """Fresh storage for a result of the same shape, axes in the same order in memory: both are walked evenly.

    Row-major where it is an output of the graph.
    """
    if name in lowering.targets:
        return lowering.new_strided(name, view.shape, view.dtype, gaps=True)
    order = sorted(range(len(view.shape)), key=lambda axis: -abs(view.strides[axis]))
    fresh = lowering.new_strided(name, tuple(view.shape[axis] for axis in order), view.dtype)
    return fresh.transpose([order.index(axis) for axis in range(len(order))])


def blockwise(lowering: Lowering, image: Planes, h: int, w: int, name: str) -> tuple[Planes, Ints]:
    """Room for a result of h x w pixels for each block of a blocked image, channels where they are there.

    Returns the result's planes and the Refs (blocks of the batch, 2): of the image's block, of the result's.
    """
    lanes = lowering.lanes
    needed = -(-image.refs.shape[1] // lanes)
    # Lanes that are not wanted cost what is read and written of them; a copy of those that are costs, where
    # pixels stay as many, three times its blocks.
    spare = 6 * image.h * image.w / (image.h * image.w + h * w)
    image = lowering.in_few_blocks(image, needed * (1 + spare), f"{name} (input)")
    pairs: list[Ints] = []
    results: list[Ints] = []
    for refs in image.refs:
        blocks, block_of = blocks_of(refs, lanes)
        made = lowering.new_blocks(len(blocks), h, w, name)
        pairs.append(np.stack([blocks, made], 1))
        results.append(moved(made[block_of], in_lanes(refs, lanes)[1]))
    return lowering.in_blocks(np.stack(results), h, w), np.concatenate(pairs)

"""Steps that act element by element: on blocks where operands lie in blocks, else on strides."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from msgspec.structs import replace

from edgecv import _simd
from edgecv.engine.lower.base import (
    Lowering,
    Node,
    Tensor,
    blocks_of,
    choice,
    collapsed,
    has_twins,
    ref_of,
)
from edgecv.engine.lower.movement import reshaped
from edgecv.engine.program import Ref
from edgecv.engine.refs import Ints, address_of, in_lanes, moved, storage_of, storages_of, walk
from edgecv.engine.views import Planes, Shape, Strided

# NumPy's names of element types -> those of `_simd.CHOICES["dtype"]`.
DTYPES = {
    "float32": "f32",
    "float64": "f64",
    "float16": "f16",
    "int8": "i8",
    "int16": "i16",
    "int32": "i32",
    "int64": "i64",
    "uint8": "u8",
    "uint16": "u16",
    "uint32": "u32",
    "uint64": "u64",
    "bool": "boolean",
}
# Operations whose result is a truth, and others that blocks do not have.
PREDICATES = {
    "not_",
    "and_",
    "or_",
    "xor_",
    "equal",
    "less",
    "less_equal",
    "greater",
    "greater_equal",
    "is_nan",
}
_ONLY_STRIDED = frozenset(
    (
        *("where", "cast", "mod", "fmod", "is_nan", "is_inf", "tan", "asin"),
        *("acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh"),
    )
)


class Activation(msgspec.Struct, frozen=True):
    """What is applied to a result: a name of `_simd.CHOICES["activation"]` and its parameters."""

    name: str = "none"
    alpha: float = 0.0
    beta: float = 0.0


_NONE = Activation()


def activation_of(node: Node) -> Activation:
    """The activation that a pass has fused into a node."""
    return Activation(
        node.attribute("activation", "none"),
        float(node.attribute("alpha", 0.0)),
        float(node.attribute("beta", 0.0)),
    )


def scalar(value: float, dtype: Any) -> Tensor:
    """A number as an operand."""
    constant = np.asarray(value, dtype)
    return Tensor(f"{value}", (), constant.dtype, constant)


def emit(
    lowering: Lowering,
    node: Node,
    op: str,
    operands: list[Tensor],
    dtype: np.dtype[Any],
    after: Activation,
    name: str = "",
) -> Tensor:
    """Append the steps of one operation; returns its result, named as the node's unless told."""
    name = name or node.outputs[0]
    if op == "where":
        return _strided(lowering, node, op, operands, dtype, after, name)
    shape = np.broadcast_shapes(*(t.shape for t in operands))
    is_blocked_op = op not in PREDICATES and op not in _ONLY_STRIDED
    if is_blocked_op and all(t.dtype == np.float32 for t in operands) and len(shape) in (3, 4):
        view = _blocked(lowering, node, op, operands, shape, after, name)
        if view is not None:
            return lowering.set(name, view)
    return _strided(lowering, node, op, operands, dtype, after, name)


def _blocked(
    lowering: Lowering,
    node: Node,
    op: str,
    operands: list[Tensor],
    shape: Shape,
    after: Activation,
    name: str,
) -> Planes | None:
    """The operation on blocks; None where operands do not lie, or do not fit, that way."""
    lanes = lowering.lanes
    lead = next(
        (t for t in operands if t.shape == shape and isinstance(t.view, Planes) and t.view.lanes == lanes),
        None,
    )
    image = lowering.as_blocked(lead) if lead is not None and lead.view.image() is not None else None  # type: ignore[union-attr]
    if lead is None or image is None:
        return None
    if not all(t is lead or _fits(t, shape) for t in operands):
        return None
    is_sparse = any(len(blocks_of(refs, lanes)[0]) * lanes >= 2 * len(refs) + lanes for refs in image.refs)
    # Channels that are the same planes would be given the same operands.
    is_shared = has_twins(image) and any(t is not lead for t in operands)
    if is_sparse or is_shared:
        image = lowering.regroup(image, lead.name)
    results = []
    for i, refs in enumerate(image.refs):
        blocks, block_of = blocks_of(refs, lanes)
        _, lane = in_lanes(refs, lanes)
        table = np.zeros((len(blocks), 4), np.int64)
        distances = [0, 0, 0]
        for k, operand in enumerate(operands):
            if operand is lead:
                table[:, k], distances[k] = blocks, lanes
            else:
                table[:, k], distances[k] = _operand(
                    lowering, operand, shape, image, i, block_of, lane, len(blocks)
                )
        table[:, 3] = made = lowering.new_blocks(len(blocks), image.h, image.w, name)
        results.append(moved(made[block_of], lane))
        is_whole = np.array_equal(address_of(blocks), address_of(made)) and len(storages_of(blocks)) == 1
        if is_whole and _is_read_in_place(table[:, :3], blocks):
            storage_at = lowering.program.storage_at
            lowering.program.may_share(storage_at(int(made[0])), storage_at(int(blocks[0])))
        lowering.program.add(
            "map",
            node.name,
            operands=lowering.program.refs(table),
            n_blocks=len(blocks),
            pixels=image.h * image.w,
            op=choice("map_op", op),
            a_pixel=distances[0],
            b_pixel=distances[1],
            c_pixel=distances[2],
            activation=choice("activation", after.name),
            alpha=after.alpha,
            beta=after.beta,
            chunk_blocks=lowering.chunk(len(blocks), image.h * image.w),
            flops=float(len(refs) * image.h * image.w),
        )
    return replace(lowering.in_blocks(np.stack(results), image.h, image.w), spatial=image.spatial)


def _is_read_in_place(operands: Ints, blocks: Ints) -> bool:
    """Whether no operand is read from the lead's storage but where the lead itself is."""
    own = storage_of(operands) == storage_of(blocks[0])
    return bool((operands == blocks[:, None])[own].all())


def _fits(tensor: Tensor, shape: Shape) -> bool:
    """Whether an operand is the whole shape, or one value for each channel or for all."""
    padded = (1,) * (len(shape) - len(tensor.shape)) + tensor.shape
    if padded == shape:
        return tensor.constant is not None or isinstance(tensor.view, Planes)
    if tensor.size == 1 and tensor.constant is not None:
        return True
    is_per_channel = all(n == 1 for n in padded[2:]) and padded[1] in (1, shape[1])
    return is_per_channel and (tensor.constant is not None or padded[1] == shape[1])


def _operand(
    lowering: Lowering,
    tensor: Tensor,
    shape: Shape,
    image: Planes,
    index: int,
    block_of: Ints,
    lane: Ints,
    blocks: int,
) -> tuple[Ints, int]:
    """The Refs of an operand's blocks, arranged as the lead's, and the distance between its pixels."""
    lanes = lowering.lanes
    padded = (1,) * (len(shape) - len(tensor.shape)) + tensor.shape
    is_whole = padded == shape and image.h * image.w > 1
    if tensor.constant is not None:
        pixels = image.h * image.w if is_whole else 1
        source = np.asarray(tensor.constant, np.float32).reshape(padded)
        values = np.broadcast_to(source, shape[:2] + padded[2:])[index].reshape(shape[1], pixels)
        spread = np.zeros((blocks, pixels, lanes), np.float32)
        spread[block_of, :, lane] = values
        start = lowering.program.constant(spread, tensor.name).ref
        return walk(start, (blocks,), (pixels * lanes,)), lanes if is_whole else 0
    if tensor.shape != padded:
        # Axes in front that are left out are of size 1: its first axis is not that of images.
        tensor = Tensor(tensor.name, padded, tensor.dtype, view=reshaped(lowering, tensor, padded))
    view = lowering.as_blocked(tensor)
    if view is None:
        raise AssertionError("an operand with channels has planes")
    refs = view.refs[index if view.refs.shape[0] > 1 else 0]
    starts, own_lane = in_lanes(refs, lanes)
    found = np.full(blocks, -1, np.int64)
    found[block_of] = starts
    if not ((found[block_of] == starts) & (own_lane == lane)).all():
        view = _arranged(
            lowering, view, index if view.refs.shape[0] > 1 else 0, block_of, lane, blocks, tensor.name
        )
        found = view.refs[0][::lanes]
    return np.where(found < 0, found.max(), found), lanes if is_whole else 0


def _arranged(
    lowering: Lowering, view: Planes, index: int, block_of: Ints, lane: Ints, blocks: int, name: str
) -> Planes:
    """A copy of one image whose channels lie where the lead's do."""
    fresh = lowering.new_blocked(1, blocks * lowering.lanes, view.h, view.w, name)
    order = fresh.refs[0][block_of * lowering.lanes + lane]
    lowering.copy_planes(view, view.refs[index], fresh, order, f"{name} (arranged)")
    return fresh


def _strided(
    lowering: Lowering,
    node: Node,
    op: str,
    operands: list[Tensor],
    dtype: np.dtype[Any],
    after: Activation,
    name: str,
) -> Tensor:
    shape = np.broadcast_shapes(*(t.shape for t in operands))
    views = [lowering.as_strided(t).broadcast(shape) for t in operands]
    target = lowering.new_strided(name, shape, dtype, gaps=True)
    emit_strided(lowering, node, op, views, target, after)
    return lowering.set(name, target, dtype)


def emit_strided(
    lowering: Lowering,
    node: Node,
    op: str,
    views: list[Strided],
    target: Strided,
    after: Activation = _NONE,
) -> None:
    """The steps of one operation on operands of one shape."""
    if target.size == 0:
        return
    if after.name != "none" and op == "first":
        op = "activation"
    elif after.name != "none":
        emit_strided(lowering, node, op, views, target)
        op, views = "activation", [target]
    dtype = views[1 if op == "where" else 0].dtype
    if dtype.name not in DTYPES or target.dtype.name not in DTYPES:
        raise node.unsupported(f"input of {dtype}")
    kind, y_kind = DTYPES[dtype.name], DTYPES[target.dtype.name]
    if not _simd.map_supported(op, kind, y_kind):
        raise node.unsupported(f"input of {dtype}")
    padded = [
        views[k] if k < len(views) else replace(views[0], strides=(0,) * len(target.shape)) for k in range(3)
    ]
    sizes, strides = collapsed(target.shape, *(v.strides for v in padded), target.strides)
    refs = [ref_of(views[k]) if k < len(views) else Ref() for k in range(3)]
    lowering.program.add(
        "map_nd",
        node.name,
        a=refs[0],
        b=refs[1],
        c=refs[2],
        y=ref_of(target),
        op=choice("map_op", op),
        dtype=choice("dtype", kind),
        y_dtype=choice("dtype", y_kind),
        activation=choice("activation", after.name),
        alpha=after.alpha,
        beta=after.beta,
        rank=len(sizes),
        shape=lowering.integers(sizes),
        strides=lowering.integers([s for each in strides for s in each]),
        chunk_outer=lowering.outer_chunk(sizes, 0.2),
        flops=float(target.size),
    )

"""Resize, in every mode: both axes of pixels in one step on blocks, any other axis by a step of its own."""

from __future__ import annotations

import math

import numpy as np

from edgecv.engine.interpolation import Axis, Rules, Taps, taps_of
from edgecv.engine.lower.base import Lowering, Node, Tensor, lowers
from edgecv.engine.lower.compose import FLOAT, blockwise, known, shaped, step
from edgecv.engine.views import Planes, Shape


@lowers("Resize")
def resize(lowering: Lowering, node: Node) -> None:
    """Taps of each axis whose elements change, pixels first."""
    x = node.input(0)
    made = node.shape()
    rules = _rules(node)
    tables: dict[int, Taps] = {}
    for i, axis in enumerate(_axes(node, x.shape, made)):
        try:
            taps = taps_of(axis, rules)
        except ValueError as error:
            raise node.unsupported(f"{error}: not one of the operator's") from None
        if not taps.copies(axis.size):
            tables[i] = taps
    result = x
    rank = len(x.shape)
    # The axes of pixels first: where they shrink, all others have less to do.
    pairs = [(first, first + 1) for first in range(rank - 2, -1, -2)] + [(-1, 0)] * (rank % 2)
    for y, column in pairs:
        if y in tables or column in tables:
            result = _along(lowering, node, result, y, column, tables)
    outside = _outside(made, tables)
    value = float(node.attribute("extrapolation_value", 0.0))
    if outside is not None and value != 0:
        result = step(lowering, node, "add", [result, known(outside * np.float32(value))])
    if result.view is None:
        result.view = lowering.as_strided(result)
    lowering.set(node.outputs[0], result.view)


def _rules(node: Node) -> Rules:
    rules = Rules(
        node.attribute("mode", "nearest"),
        node.attribute("coordinate_transformation_mode", "half_pixel"),
        node.attribute("nearest_mode", "round_prefer_floor"),
        float(node.attribute("cubic_coeff_a", -0.75)),
        bool(node.attribute("exclude_outside", 0)),
        bool(node.attribute("antialias", 0)),
    )
    if rules.antialias and rules.mode == "nearest":
        raise node.unsupported("antialias with mode 'nearest'")
    return rules


def _axes(node: Node, source: Shape, made: Shape) -> list[Axis]:
    rank = len(source)
    listed = [axis % rank for axis in node.attribute("axes") or range(rank)]
    roi, scales, sizes = (_numbers(node, index) for index in (1, 2, 3))
    if scales is not None:
        given = [float(scale) for scale in scales]
    elif sizes is not None:
        given = [float(size) / source[axis] for size, axis in zip(sizes, listed, strict=True)]
        policy = node.attribute("keep_aspect_ratio_policy", "stretch")
        if policy not in ("stretch", "not_larger", "not_smaller"):
            raise node.unsupported(f"keep_aspect_ratio_policy {policy!r}")
        if policy != "stretch":
            given = [min(given) if policy == "not_larger" else max(given)] * len(given)
    else:
        raise node.unsupported("neither scales nor sizes")
    is_crop = node.attribute("coordinate_transformation_mode") == "tf_crop_and_resize"
    if is_crop and roi is None:
        raise node.unsupported("tf_crop_and_resize without a roi")
    axes = [Axis(before, after, 1.0) for before, after in zip(source, made, strict=True)]
    for i, (axis, scale) in enumerate(zip(listed, given, strict=True)):
        start, end = (roi[i], roi[len(listed) + i]) if is_crop and roi is not None else (0.0, 1.0)
        axes[axis] = Axis(source[axis], made[axis], scale, float(start), float(end))
        if source[axis] == made[axis] and math.isclose(scale, 1.0) and (start, end) == (0.0, 1.0):
            axes[axis] = Axis(source[axis], made[axis], 1.0)
    return axes


def _numbers(node: Node, index: int) -> np.ndarray | None:
    tensor = node.optional(index)
    if tensor is None or tensor.size == 0:
        return None
    return node.numbers(index, np.float64)


def _along(lowering: Lowering, node: Node, x: Tensor, y: int, column: int, tables: dict[int, Taps]) -> Tensor:
    """Resize two neighboring axes (the first of them -1: only one), which stand as h and w."""
    whole = x.shape
    start = max(y, 0)
    h = whole[y] if y >= 0 else 1
    after = math.prod(whole[column + 1 :])
    made = list(whole)
    for axis in (y, column):
        if axis in tables:
            made[axis] = tables[axis].index.shape[0]
    if after == 1:
        # A batch of images stays one.
        lead = (whole[0], math.prod(whole[1:start])) if start > 1 else (1, math.prod(whole[:start]))
        image = shaped(lowering, x, (*lead, h, whole[column]))
        result = _resized(lowering, node, image, tables.get(y), tables.get(column))
    else:
        result = x
        for axis in (y, column):
            if axis in tables:
                lead_size = math.prod(result.shape[:axis])
                size, inner = result.shape[axis], math.prod(result.shape[axis + 1 :])
                image = shaped(lowering, result, (1, lead_size, size, inner))
                shape = (*result.shape[:axis], tables[axis].index.shape[0], *result.shape[axis + 1 :])
                result = shaped(lowering, _resized(lowering, node, image, tables[axis], None), shape)
    return shaped(lowering, result, tuple(made))


def _resized(lowering: Lowering, node: Node, x: Tensor, rows: Taps | None, columns: Taps | None) -> Tensor:
    """One step on the blocks of (n, c, h, w)."""
    image = lowering.as_blocked(x)
    if image is None:
        raise AssertionError("four axes are an image")
    rows, columns = rows or _copy(image.h), columns or _copy(image.w)
    out_h, out_w = rows.index.shape[0], columns.index.shape[0]
    result, blocks = blockwise(lowering, image, out_h, out_w, node.outputs[0])
    work = out_w * (rows.index.shape[1] + columns.index.shape[1])
    chunk_blocks, chunk_rows = lowering.blocks_and_rows(len(blocks), out_h, work)
    lowering.program.add(
        "resize",
        node.name,
        blocks=lowering.program.refs(blocks),
        n_blocks=len(blocks),
        in_h=image.h,
        in_w=image.w,
        out_h=out_h,
        out_w=out_w,
        y_taps=rows.index.shape[1],
        y_index=lowering.program.constant(rows.index),
        y_weight=lowering.program.constant(rows.weight),
        x_taps=columns.index.shape[1],
        x_index=lowering.program.constant(columns.index),
        x_weight=lowering.program.constant(columns.weight),
        chunk_blocks=chunk_blocks,
        chunk_rows=chunk_rows,
    )
    return _tensor(node, result)


def _tensor(node: Node, planes: Planes) -> Tensor:
    return Tensor(f"{node.outputs[0]} (resized)", planes.shape, FLOAT, view=planes)


def _copy(size: int) -> Taps:
    return Taps(
        np.arange(size, dtype=np.int32)[:, None],
        np.ones((size, 1), np.float32),
        np.zeros(size, np.bool_),
    )


def _outside(shape: Shape, tables: dict[int, Taps]) -> np.ndarray | None:
    """1 where an element lies outside along any axis; None where none does."""
    result = np.zeros((1,) * len(shape), np.bool_)
    for axis, taps in tables.items():
        if taps.outside.any():
            line = (1,) * axis + (-1,) + (1,) * (len(shape) - axis - 1)
            result = result | taps.outside.reshape(line)
    return result.astype(np.float32) if result.any() else None

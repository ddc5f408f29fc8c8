"""Casts, and quantization by its definition: in float32, element by element."""

from __future__ import annotations

import numpy as np

from edgecv import extras
from edgecv.engine.lower.base import Lowering, Node, Tensor, lowers
from edgecv.engine.lower.compose import FLOAT, along, cast, shaped, step
from edgecv.engine.lower.movement import set_view
from edgecv.engine.views import Shape

with extras.required("models"):
    import onnx
    from onnx import helper


@lowers("Cast", "CastLike")
def cast_to(lowering: Lowering, node: Node) -> None:
    """Elements as another type."""
    x = node.input(0)
    dtype = node.input(1).dtype if node.op == "CastLike" else dtype_of(node, node.attribute("to"))
    if x.dtype == dtype:
        set_view(lowering, node, x.view if x.view is not None else lowering.as_strided(x), dtype)
        return
    cast(lowering, node, x, dtype, node.outputs[0])


def dtype_of(node: Node, number: int) -> np.dtype[np.generic]:
    """NumPy's name of one of ONNX's element types."""
    if number == onnx.TensorProto.STRING:
        raise node.unsupported("strings")
    return np.dtype(helper.tensor_dtype_to_np_dtype(number))


@lowers("QuantizeLinear")
def quantize(lowering: Lowering, node: Node) -> None:
    """round(x / scale) + zero point, held to the range of the type."""
    x, scale, zero = node.input(0), node.input(1), node.optional(2)
    number = node.attribute("output_dtype", 0) or onnx.TensorProto.UINT8
    dtype = zero.dtype if zero is not None else dtype_of(node, number)
    shape, parts = _pieces(lowering, node, x, scale, zero)
    whole = shaped(lowering, cast(lowering, node, x, FLOAT), shape)
    value = step(lowering, node, "round", [step(lowering, node, "div", [whole, parts[0]])])
    _stored(lowering, node, value, parts[1], dtype, x.shape, node.outputs[0])


@lowers("DequantizeLinear")
def dequantize(lowering: Lowering, node: Node) -> None:
    """(x - zero point) scale."""
    x, scale, zero = node.input(0), node.input(1), node.optional(2)
    shape, parts = _pieces(lowering, node, x, scale, zero)
    value = cast(lowering, node, shaped(lowering, x, shape), FLOAT)
    if parts[1] is not None:
        value = step(lowering, node, "sub", [value, parts[1]])
    result = shaped(lowering, step(lowering, node, "mul", [value, parts[0]]), x.shape)
    if result.view is None:
        raise AssertionError("a result has a view")
    set_view(lowering, node, result.view, FLOAT)


def _pieces(
    lowering: Lowering, node: Node, x: Tensor, scale: Tensor, zero: Tensor | None
) -> tuple[Shape, tuple[Tensor, Tensor | None]]:
    """The shape to look at x in, and scale and zero point as float32 that broadcast over it."""
    rank = len(x.shape)
    axis = node.attribute("axis", 1) % rank if rank else 0
    block = node.attribute("block_size", 0)
    zero = None if zero is None else cast(lowering, node, zero, FLOAT)
    if not block:
        offset = None if zero is None else along(lowering, zero, axis, rank)
        return x.shape, (along(lowering, scale, axis, rank), offset)
    pieces = x.shape[axis] // block
    shape = (*x.shape[:axis], pieces, block, *x.shape[axis + 1 :])
    each = (*x.shape[:axis], pieces, 1, *x.shape[axis + 1 :])
    offset = None if zero is None else shaped(lowering, zero, each)
    return shape, (shaped(lowering, scale, each), offset)


def _stored(
    lowering: Lowering,
    node: Node,
    value: Tensor,
    offset: Tensor | None,
    dtype: np.dtype[np.generic],
    shape: Shape,
    name: str,
) -> Tensor:
    """Whole float32 numbers plus an offset as integers of a type, held to its range."""
    if offset is not None:
        value = step(lowering, node, "add", [value, offset])
    bounds = np.iinfo(dtype.name)
    value = step(lowering, node, "max", [value, float(bounds.min)])
    value = step(lowering, node, "min", [value, float(bounds.max)])
    return cast(lowering, node, shaped(lowering, value, shape), dtype, name)

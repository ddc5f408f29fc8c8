"""Products of matrices, by the step that runs convolutions: its pixels are the rows of the left operand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from msgspec.structs import replace

from edgecv.engine.lower.base import Array, Lowering, Node, Tensor, lowers
from edgecv.engine.lower.compose import shaped, step
from edgecv.engine.lower.convolution import epilogue_of
from edgecv.engine.lower.maps import Activation, emit
from edgecv.engine.lower.tiles import (
    Epilogue,
    Grid,
    Packed,
    Sums,
    Target,
    Weights,
    convolve,
    known_or_strided,
    pack,
    run_step,
)
from edgecv.engine.refs import FLOAT_BYTES, Ints, moved
from edgecv.engine.views import Planes, Shape, Strided

# Rows that lie in blocks are taken one by one up to here; more of them are copied together.
_FEW_ROWS = 8


@lowers("Gemm", "edgecv::Gemm")
def gemm(lowering: Lowering, node: Node) -> None:
    """A B + C of two matrices; C is a row, a column or a matrix."""
    a, b, c = node.input(0), node.input(1), node.optional(2)
    _require_float(node, a, b)
    if node.attribute("transA", 0):
        a = _turned(lowering, a)
    if node.attribute("transB", 0):
        b = _turned(lowering, b)
    # An activation's parameters have the names that Gemm's own have in ONNX.
    is_fused = "activation" in node.attributes
    alpha, beta = (1.0, 1.0) if is_fused else (node.attribute("alpha", 1.0), node.attribute("beta", 1.0))
    epilogue = epilogue_of(node) if is_fused else Epilogue()
    m, n = a.shape[0], b.shape[1]
    bias = _row(lowering, c, n) if alpha == beta == 1 else None
    is_done = alpha == 1 and (c is None or bias is not None)
    after = epilogue if is_done else Epilogue()
    result = _product(lowering, node, a, b, bias, after, (m, n))
    if not is_done:
        if alpha != 1:
            result = step(lowering, node, "mul", [result, float(alpha)])
        activation = Activation(epilogue.activation, epilogue.alpha, epilogue.beta)
        operands = [result]
        if c is not None:
            operands.append(c if beta == 1 else step(lowering, node, "mul", [c, float(beta)]))
        op = "add" if c is not None else "first"
        emit(lowering, node, op, operands, result.dtype, activation)
        return
    _set(lowering, node, result)


@lowers("MatMul", "edgecv::MatMul")
def matmul(lowering: Lowering, node: Node) -> None:
    """Products of matrices in the last two axes, broadcast along those before."""
    a, b = node.input(0), node.input(1)
    _require_float(node, a, b)
    if len(a.shape) == 1:
        a = shaped(lowering, a, (1, *a.shape))
    if len(b.shape) == 1:
        b = shaped(lowering, b, (*b.shape, 1))
    m, k, n = a.shape[-2], a.shape[-1], b.shape[-1]
    epilogue = epilogue_of(node)
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    shape = _without_vectors(node, lead, m, n)
    if math.prod(b.shape[:-2]) == 1:
        planes = _on_pixels(lowering, node, a, shaped(lowering, b, (k, n)), None, epilogue)
        if planes is not None and planes.shape == shape:
            lowering.set(node.outputs[0], planes)
            return
        # One matrix on the right: all rows on the left are rows of one matrix.
        rows = shaped(lowering, a, (math.prod(a.shape[:-1]), k))
        matrix = shaped(lowering, b, (k, n))
        result = _product(lowering, node, rows, matrix, None, epilogue, (rows.shape[0], n))
        _set(lowering, node, shaped(lowering, result, shape))
        return
    result = _stack(lowering, node, a, b, epilogue, (*lead, m, n))
    _set(lowering, node, shaped(lowering, result, shape))


def _without_vectors(node: Node, lead: Shape, m: int, n: int) -> Shape:
    """The result's shape: an operand that was a vector has left no axis."""
    rows = () if len(node.input(0).shape) == 1 else (m,)
    columns = () if len(node.input(1).shape) == 1 else (n,)
    return (*lead, *rows, *columns)


def _require_float(node: Node, *operands: Tensor) -> None:
    for tensor in operands:
        if tensor.dtype != np.float32:
            raise node.unsupported(f"operand of {tensor.dtype}: expected float32")


def _set(lowering: Lowering, node: Node, result: Tensor) -> None:
    if result.view is None:
        raise AssertionError("a result has a view")
    lowering.set(node.outputs[0], result.view)


def _turned(lowering: Lowering, tensor: Tensor) -> Tensor:
    shape = tensor.shape[::-1]
    if tensor.constant is not None:
        return Tensor(tensor.name, shape, tensor.dtype, tensor.constant.T)
    return Tensor(tensor.name, shape, tensor.dtype, view=lowering.as_strided(tensor).transpose((1, 0)))


def _row(lowering: Lowering, c: Tensor | None, n: int) -> Weights | None:
    """C as a bias, where it is the same for every row."""
    if c is None or math.prod(c.shape[:-1]) != 1:
        return None
    if c.constant is not None:
        return np.broadcast_to(np.asarray(c.constant, np.float32).reshape(-1), (n,))
    flat = lowering.as_strided(c).reshape((c.size,))
    return None if flat is None else flat.broadcast((n,))


def _weights(lowering: Lowering, b: Tensor) -> Weights:
    """A matrix (k, n) as the weights of a 1x1 convolution."""
    value = known_or_strided(lowering, b)
    if isinstance(value, Strided):
        return value.apply(lambda a: a.T[:, :, None, None])
    if value is None:
        raise AssertionError("an operand")
    turned: Array = np.asarray(value, np.float32).T[:, :, None, None]
    return turned


class _Rows(msgspec.Struct, frozen=True):
    """The result's storage: rows of whole blocks. pitch: floats from one to the next."""

    start: int
    pitch: int

    def target(self, lanes: int, row: int = 0) -> Target:
        return Target(moved(self.start, row * self.pitch), self.pitch, 0, lanes)


def _product(
    lowering: Lowering,
    node: Node,
    a: Tensor,
    b: Tensor,
    bias: Weights | None,
    epilogue: Epilogue,
    shape: tuple[int, int],
) -> Tensor:
    """The product of two matrices: an image whose pixels are rows, or rows with a pitch."""
    planes = _on_pixels(lowering, node, a, b, bias, epilogue)
    if planes is not None:
        return Tensor(node.outputs[0], shape, a.dtype, view=planes)
    packed = pack(lowering, _weights(lowering, b), bias, 1, node.name)
    pitch = packed.blocks * lowering.lanes
    storage = lowering.program.arena(shape[0] * pitch * FLOAT_BYTES, node.outputs[0])
    rows = _Rows(storage.ref, pitch)
    _multiply(lowering, node, a, packed, epilogue, rows)
    view = Strided(storage.ref, a.dtype, shape, (pitch, 1))
    return Tensor(node.outputs[0], shape, a.dtype, view=view)


def _multiply(
    lowering: Lowering, node: Node, a: Tensor, packed: Packed, epilogue: Epilogue, rows: _Rows
) -> None:
    """The steps of all rows of the left operand."""
    m, _ = a.shape
    view = a.view
    if (
        isinstance(view, Planes)
        and view.h * view.w == 1
        and m <= _FEW_ROWS
        and lowering.program.are_together(view.refs)
    ):
        # Single pixels of an image are read where they lie.
        for i, refs in enumerate(view.refs.reshape(a.shape)):
            sums = Sums(node.name, packed, rows.target(lowering.lanes, i), epilogue)
            _one_run(lowering, sums, refs, 1, 0)
        return
    left = lowering.as_strided(a)
    if left.strides[0] < 0:
        # Rows are walked forwards.
        left = lowering.as_contiguous(a)
    sums = Sums(node.name, packed, rows.target(lowering.lanes), epilogue)
    _one_run(lowering, sums, left.along(1), m, left.strides[0])


def _one_run(lowering: Lowering, sums: Sums, refs: Ints, pixels: int, x_pixel: int) -> None:
    """One step `conv` over rows; refs: of the elements of the first."""
    if pixels == 0 or not sums.packed.tiles:
        return
    base, table = lowering.program.distances(refs)
    tiles: list[tuple[int, int, int, int]] = [
        (tile.blocks, len(refs), 0, start)
        for tile, start in zip(sums.packed.tiles, sums.packed.starts, strict=True)
    ]
    run_step(lowering, sums, tiles, table, x=base, runs=1, pixels=pixels, x_pixel=x_pixel, x_run=0)


def product(lowering: Lowering, node: Node, a: Tensor, b: Tensor) -> Tensor:
    """Products of two stacks of matrices of the same length, (n, rows, k) and (n, k, columns)."""
    return _stack(lowering, node, a, b, Epilogue(), (a.shape[0], a.shape[1], b.shape[2]))


def _stack(lowering: Lowering, node: Node, a: Tensor, b: Tensor, epilogue: Epilogue, shape: Shape) -> Tensor:
    """One product for each matrix of the stacks; equal ones on the right are packed once."""
    *lead, m, n = shape
    left = lowering.as_strided(a).broadcast((*lead, *a.shape[-2:]))
    pitch = -(-n // lowering.lanes) * lowering.lanes
    storage = lowering.program.arena(math.prod(lead) * m * pitch * FLOAT_BYTES, node.outputs[0])
    packs: dict[tuple[int, ...], Packed] = {}
    for number, index in enumerate(np.ndindex(*lead)):
        own = _own_index(index, b.shape[:-2])
        if own not in packs:
            matrix = _matrix_of(lowering, b, own)
            packs[own] = pack(lowering, _weights(lowering, matrix), None, 1, node.name)
        picked = left
        for i in index:
            picked = picked.index(0, i)
        operand = Tensor(a.name, picked.shape, a.dtype, view=picked)
        rows = _Rows(moved(storage.ref, number * m * pitch), pitch)
        _multiply(lowering, node, operand, packs[own], epilogue, rows)
    whole = Strided.contiguous(storage.ref, a.dtype, (*lead, m, pitch))
    view = whole.index(len(lead) + 1, slice(0, n))
    return Tensor(node.outputs[0], shape, a.dtype, view=view)


def _own_index(index: Sequence[int], lead: Shape) -> tuple[int, ...]:
    """Where a broadcast operand has what stands at an index of the whole."""
    own = index[len(index) - len(lead) :]
    return tuple(0 if n == 1 else i for i, n in zip(own, lead, strict=True))


def _matrix_of(lowering: Lowering, b: Tensor, index: tuple[int, ...]) -> Tensor:
    if b.constant is not None:
        value = b.constant[index]
        return Tensor(b.name, value.shape, value.dtype, value)
    view = lowering.as_strided(b)
    for i in index:
        view = view.index(0, i)
    return Tensor(b.name, view.shape, b.dtype, view=view)


def _on_pixels(
    lowering: Lowering, node: Node, a: Tensor, b: Tensor, bias: Weights | None, epilogue: Epilogue
) -> Planes | None:
    """The product with one matrix as a 1x1 convolution; None where rows on the left are not pixels."""
    view = a.view
    axis = len(a.shape) - 2
    if not isinstance(view, Planes) or (view.at, view.spatial) != (axis, (a.shape[axis],)):
        return None
    if not lowering.program.are_together(view.refs):
        return None
    packed = pack(lowering, _weights(lowering, b), bias, 1, node.name)
    batch = math.prod(a.shape[:axis])
    image = replace(view, refs=view.refs.reshape(batch, a.shape[-1]), at=2, spatial=(view.h, view.w))
    whole = lowering.new_blocked(batch, packed.blocks * lowering.lanes, view.h, view.w, node.outputs[0])
    grid = Grid(view.h, view.w, 1, 1, 0, 0, (0,), (0,))
    block = view.h * view.w * lowering.lanes
    for i, refs in enumerate(image.refs):
        target = Target(int(whole.refs[i, 0]), whole.pixel, whole.row, block)
        convolve(lowering, image, refs, grid, Sums(node.name, packed, target, epilogue))
    refs = whole.refs[:, packed.where].reshape(*a.shape[:axis], b.shape[1])
    return replace(whole, refs=refs, at=axis, spatial=(a.shape[axis],))

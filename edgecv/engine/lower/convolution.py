"""Convolutions: dense, grouped, depthwise and transposed."""

from __future__ import annotations

import msgspec
import numpy as np
from msgspec.structs import replace

from edgecv.engine.lower.base import (
    Array,
    Lowering,
    Node,
    Tensor,
    blocks_of,
    choice,
    collapsed,
    has_twins,
    lowers,
)
from edgecv.engine.lower.pairs import CHANNELS, in_order, pack_pairs, taps_step
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
)
from edgecv.engine.refs import Ints, address_of, floats_between, in_lanes, moved, storage_of
from edgecv.engine.rows import Windows, of_blocks
from edgecv.engine.views import Planes, Strided


class Kernel(msgspec.Struct, frozen=True):
    """Attributes of a convolution over (h, w)."""

    size: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    begin: tuple[int, int]
    end: tuple[int, int]

    def made(self, h: int, w: int) -> tuple[int, int]:
        """How many windows there are along both axes of an image of h x w pixels."""
        rows, columns = (
            (n + b + e - (k - 1) * d - 1) // s + 1
            for n, b, e, k, d, s in zip(
                (h, w), self.begin, self.end, self.size, self.dilations, self.strides, strict=True
            )
        )
        return rows, columns


def kernel_of(node: Node, weights: tuple[int, ...]) -> Kernel:
    """The geometry that a node's attributes tell, one axis of pixels as (1, w)."""
    axes = len(weights) - 2
    if node.attribute("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise node.unsupported(f"auto_pad {node.attribute('auto_pad')}: expected explicit pads")
    strides = tuple(node.attribute("strides") or (1,) * axes)
    dilations = tuple(node.attribute("dilations") or (1,) * axes)
    pads = tuple(node.attribute("pads") or (0,) * (2 * axes))
    begin, end = pads[:axes], pads[axes:]
    one, none = (1,) * (2 - axes), (0,) * (2 - axes)
    return Kernel(
        *((one + tuple(weights[2:])), one + strides, one + dilations, none + begin, none + end)  # type: ignore[arg-type]
    )


def epilogue_of(node: Node) -> Epilogue:
    """What passes have fused into a node."""
    return Epilogue(
        node.attribute("activation", "none"),
        float(node.attribute("alpha", 0.0)),
        float(node.attribute("beta", 0.0)),
        node.optional(len(node.inputs) - 1) if node.attribute("has_residual", 0) else None,
    )


@lowers("Conv", "edgecv::Conv")
def conv(lowering: Lowering, node: Node) -> None:
    """Conv over one or two axes of pixels; weights known or not."""
    x, weights = node.input(0), node.input(1)
    bias = node.optional(2) if len(node.inputs) > 2 else None
    image = _image_of(lowering, node, x)
    kernel = kernel_of(node, weights.shape)
    group, epilogue = node.attribute("group", 1), epilogue_of(node)
    out = kernel.made(image.h, image.w)
    channels, outputs = image.refs.shape[1], weights.shape[0]
    is_known = weights.constant is not None and (bias is None or bias.constant is not None)
    if 1 < group == channels == outputs and is_known and epilogue.residual is None:
        result = _depthwise(lowering, node, x, kernel, out, epilogue)
    else:
        grid = Grid(
            out[0],
            out[1],
            *kernel.strides,
            *kernel.begin,
            tuple(range(0, kernel.size[0] * kernel.dilations[0], kernel.dilations[0])),
            tuple(range(0, kernel.size[1] * kernel.dilations[1], kernel.dilations[1])),
        )
        image = _readable(lowering, x, image, grid)
        image, packed = _packed(lowering, node, image, grid, (weights, bias), group)
        rows = _wanted_rows(lowering, node, packed, epilogue, out) if is_known else None
        if rows is not None:
            view, targets = rows
            for refs, target in zip(image.refs, targets, strict=True):
                convolve(lowering, image, refs, grid, Sums(node.name, packed, target, epilogue))
            lowering.set(node.outputs[0], view)
            return
        result = _empty_result(lowering, node, packed, image.refs.shape[0], out[0], out[1])
        residuals = _residuals(lowering, node, epilogue, image, result)
        for i, refs in enumerate(image.refs):
            target = _target(lowering, result, packed, i)
            sums = Sums(node.name, packed, target, epilogue, residuals[i])
            convolve(lowering, image, refs, grid, sums)
    _finish(lowering, node, x, result)


@lowers("ConvTranspose", "edgecv::ConvTranspose")
def conv_transpose(lowering: Lowering, node: Node) -> None:
    """ConvTranspose: for each phase of the output grid, the convolution of the taps that reach it."""
    x, weights = node.input(0), node.input(1)
    bias = node.optional(2) if len(node.inputs) > 2 else None
    image = _image_of(lowering, node, x)
    kernel = kernel_of(node, weights.shape)
    group, epilogue = node.attribute("group", 1), epilogue_of(node)
    if epilogue.residual is not None:
        raise node.unsupported("a residual: expected none")
    axes = len(x.shape) - 2
    extra = (0,) * (2 - axes) + tuple(node.attribute("output_padding") or (0,) * axes)
    out_h, out_w = (
        s * (n - 1) + p + (k - 1) * d + 1 - b - e
        for n, s, p, k, d, b, e in zip(
            (image.h, image.w),
            kernel.strides,
            extra,
            kernel.size,
            kernel.dilations,
            kernel.begin,
            kernel.end,
            strict=True,
        )
    )
    values = _with_two_axes(known_or_strided(lowering, weights))
    turned = _grouped_transpose(values, group)
    biases = known_or_strided(lowering, bias)
    batch, outputs = image.refs.shape[0], weights.shape[1] * group
    result: Planes | None = None
    for first_y, ys, rows in _phases(kernel, 0, out_h):
        for first_x, xs, columns in _phases(kernel, 1, out_w):
            picked = _pick_taps(node, turned, rows, columns)
            packed = pack(lowering, picked, biases, group, node.name)
            if result is None:
                result = _empty_result(lowering, node, packed, batch, out_h, out_w)
            count_h = -(-(out_h - first_y) // kernel.strides[0])
            count_w = -(-(out_w - first_x) // kernel.strides[1])
            grid = Grid(count_h, count_w, 1, 1, 0, 0, ys, xs)
            source = _readable(lowering, x, image, grid)
            for i, refs in enumerate(source.refs):
                whole = _target(lowering, result, packed, i)
                target = Target(
                    moved(whole.start, first_y * whole.row + first_x * whole.pixel),
                    whole.pixel * kernel.strides[1],
                    whole.row * kernel.strides[0],
                    whole.block,
                )
                convolve(lowering, source, refs, grid, Sums(node.name, packed, target, epilogue))
    if result is None or result.refs.shape[1] != outputs:
        raise AssertionError("a transposed convolution without phases")
    _finish(lowering, node, x, result)


def _packed(
    lowering: Lowering,
    node: Node,
    image: Planes,
    grid: Grid,
    operands: tuple[Tensor, Tensor | None],
    group: int,
) -> tuple[Planes, Packed]:
    """Weights and bias as suits the image, whose channels then are in the order of the weights'."""
    weights = _with_two_axes(known_or_strided(lowering, operands[0]))
    bias = known_or_strided(lowering, operands[1])
    if isinstance(weights, Strided) or isinstance(bias, Strided):
        return image, pack(lowering, weights, bias, group, node.name)
    step = taps_step(lowering, image, weights, group, grid)
    if step is None:
        return image, pack(lowering, weights, bias, group, node.name)
    if step == CHANNELS:
        image, weights = in_order(image, weights)
    return image, pack_pairs(lowering, weights, bias, step, node.name)


def _image_of(lowering: Lowering, node: Node, x: Tensor) -> Planes:
    image = lowering.as_image(x)
    if image is None:
        raise node.unsupported(f"input of shape {x.shape}: expected (n, c, w) or (n, c, h, w)")
    return image


def _readable(lowering: Lowering, x: Tensor, image: Planes, grid: Grid) -> Planes:
    """The image where a convolution can read it: blocks, or planes whose pixels are neighbors."""
    is_together = lowering.program.are_together(image.refs)
    is_plain = image.lanes or image.pixel == 1 or not grid.reaches_out(image.h, image.w)
    is_forward = image.row >= 0 and image.pixel >= 0
    if is_together and is_plain and is_forward:
        return image
    blocked = lowering.as_blocked(x)
    if blocked is None:
        raise AssertionError("an image has blocks")
    return blocked


def _with_two_axes(weights: Weights | None) -> Weights:
    if weights is None:
        raise AssertionError("weights")
    if isinstance(weights, Strided):
        return weights.apply(lambda a: a[:, :, None]) if len(weights.shape) == 3 else weights
    values = np.asarray(weights, np.float32)
    return values[:, :, None] if values.ndim == 3 else values


def _empty_result(lowering: Lowering, node: Node, packed: Packed, batch: int, h: int, w: int) -> Planes:
    """Fresh blocks for all output blocks, and the planes of the channels among them."""
    whole = lowering.new_blocked(batch, packed.blocks * lowering.lanes, h, w, node.outputs[0])
    return replace(whole, refs=whole.refs[:, packed.where])


def _wanted_rows(
    lowering: Lowering, node: Node, packed: Packed, epilogue: Epilogue, out: tuple[int, int]
) -> tuple[Strided, list[Target]] | None:
    """Where the caller wants the channels of each pixel side by side: the whole, and where each image goes.

    None where nobody does, or vectors would write more than the channels. Of single pixels, blocks are that.
    """
    view = lowering.targets.get(node.outputs[0])
    channels, pixels = len(packed.where), out[0] * out[1]
    if view is None or view.dtype != np.float32 or not lowering.is_given_out(view) or pixels == 1:
        return None
    if epilogue.residual is not None or channels != packed.blocks * lowering.lanes:
        return None
    sizes, (strides,) = collapsed(view.shape[2:], view.strides[2:])
    is_flat = sizes == (pixels,) and view.strides[1] == 1 and strides[0] >= channels
    if not is_flat or not np.array_equal(packed.where, np.arange(channels)):
        return None
    pitch = strides[0]
    return view, [Target(int(start), pitch, out[1] * pitch, lowering.lanes) for start in view.along(0)]


def _target(lowering: Lowering, result: Planes, packed: Packed, image: int) -> Target:
    block = result.h * result.w * lowering.lanes
    first_block, lane = divmod(int(packed.where[0]), lowering.lanes)
    start = moved(int(result.refs[image, 0]), -(first_block * block + lane))
    return Target(start, result.pixel, result.row, block)


def _residuals(
    lowering: Lowering, node: Node, epilogue: Epilogue, image: Planes, result: Planes
) -> list[int]:
    """For each image, where a residual lies that is laid out as the result; 0 where there is none."""
    batch = result.refs.shape[0]
    if epilogue.residual is None:
        return [0] * batch
    view = lowering.as_blocked(epilogue.residual)
    if view is None or (view.h, view.w) != (result.h, result.w):
        raise node.unsupported("a residual of another shape than the result")
    shifts = view.refs - result.refs
    if not (shifts == shifts[:, :1]).all():
        fresh = replace(
            lowering.new_blocked(
                batch, _span(lowering, result), result.h, result.w, f"{node.name} (residual)"
            ),
        )
        order = (result.refs - result.refs[:, :1]) + fresh.refs[:, :1]
        for i in range(batch):
            lowering.copy_planes(view, view.refs[i], fresh, order[i], f"{node.name} (residual)")
        shifts = order - result.refs
    starts = [int(s) for s in shifts[:, 0] + result.refs[:, 0]]
    for i, start in enumerate(starts):
        is_input = bool((storage_of(image.refs[i]) == storage_of(start)).any())
        if address_of(start) == 0 and not is_input:
            storage_at = lowering.program.storage_at
            lowering.program.may_share(storage_at(int(result.refs[i, 0])), storage_at(start))
    return starts


def _span(lowering: Lowering, result: Planes) -> int:
    """Channels that the blocks of a result have room for."""
    first = result.refs[0]
    return floats_between(int(first.min()), int(first.max())) // (result.h * result.w) + lowering.lanes


def _finish(lowering: Lowering, node: Node, x: Tensor, result: Planes) -> None:
    spatial = (result.w,) if len(x.shape) == 3 else (result.h, result.w)
    lowering.set(node.outputs[0], replace(result, spatial=spatial))


def _depthwise(
    lowering: Lowering, node: Node, x: Tensor, kernel: Kernel, out: tuple[int, int], epilogue: Epilogue
) -> Planes:
    lanes = lowering.lanes
    image = lowering.as_blocked(x)
    if image is None:
        raise AssertionError("an image has blocks")
    channels = image.refs.shape[1]
    needed = -(-channels // lanes)
    # Lanes that are not wanted cost less than to copy scattered ones, up to a point.
    name = f"{node.name} (input)"
    image = (
        lowering.regroup(image, name) if has_twins(image) else lowering.in_few_blocks(image, 3 * needed, name)
    )
    weights = np.asarray(node.input(1).constant, np.float32).reshape(channels, -1)
    bias = node.optional(2)
    biases = np.zeros(channels, np.float32) if bias is None else np.asarray(bias.constant, np.float32)
    results = []
    for refs in image.refs:
        blocks, block_of = blocks_of(refs, lanes)
        _, lane = in_lanes(refs, lanes)
        made = lowering.new_blocks(len(blocks), *out, node.outputs[0])
        results.append(moved(made[block_of], lane))
        chunk_blocks, chunk_rows = lowering.blocks_and_rows(len(blocks), out[0], out[1] * weights.shape[1])
        table = np.stack([blocks, made], 1)
        extent = (kernel.size[0] - 1) * kernel.dilations[0] + 1
        rows = Windows.even(out[0], kernel.strides[0], kernel.begin[0], extent)
        spread, spread_bias = _spread(weights, biases, block_of, lane, len(blocks), lanes)
        lowering.program.add(
            "depthwise",
            node.name,
            of_blocks(table, (image.h, image.w), out, *rows),
            blocks=lowering.program.refs(table),
            n_blocks=len(blocks),
            weights=lowering.program.packed(spread, node.name),
            bias=lowering.program.constant(spread_bias, node.name),
            kernel_h=kernel.size[0],
            kernel_w=kernel.size[1],
            stride_y=kernel.strides[0],
            stride_x=kernel.strides[1],
            dilation_y=kernel.dilations[0],
            dilation_x=kernel.dilations[1],
            pad_top=kernel.begin[0],
            pad_left=kernel.begin[1],
            in_h=image.h,
            in_w=image.w,
            out_h=out[0],
            out_w=out[1],
            activation=choice("activation", epilogue.activation),
            alpha=epilogue.alpha,
            beta=epilogue.beta,
            chunk_blocks=chunk_blocks,
            chunk_rows=chunk_rows,
            flops=2.0 * weights.size * out[0] * out[1],
        )
    return lowering.in_blocks(np.stack(results), *out)


def _spread(
    weights: Array, biases: Array, block_of: Ints, lane: Ints, blocks: int, lanes: int
) -> tuple[Array, Array]:
    """Weights (blocks, taps, lanes) and bias (blocks, lanes) with zeros for lanes that hold no channel."""
    spread = np.zeros((blocks, weights.shape[1], lanes), np.float32)
    spread[block_of, :, lane] = weights
    spread_bias = np.zeros((blocks, lanes), np.float32)
    spread_bias[block_of, lane] = biases
    return spread, spread_bias


def _grouped_transpose(weights: Weights, group: int) -> Weights:
    """Weights (inputs, outputs of a group, h, w) as (outputs, inputs of a group, h, w)."""
    inputs, each, h, w = weights.shape

    def turn(a: Array) -> Array:
        split = a.reshape(group, inputs // group, each, h, w).transpose(0, 2, 1, 3, 4)
        return split.reshape(group * each, inputs // group, h, w)

    if isinstance(weights, Strided):
        if group > 1:
            return weights
        return weights.apply(lambda a: a.transpose(1, 0, 2, 3))
    return turn(weights)


def _phases(kernel: Kernel, axis: int, size: int) -> list[tuple[int, tuple[int, ...], list[int]]]:
    """For each phase: its first output, where its taps lie from an output's origin, and which they are.

    Output o = i stride - begin + k dilation; of phase r, o = q stride + r, so that i = q + (r + begin - k
    dilation) / stride for the k that divide.
    """
    stride, dilation = kernel.strides[axis], kernel.dilations[axis]
    result = []
    for phase in range(min(stride, size)):
        found = [
            ((phase + kernel.begin[axis] - k * dilation) // stride, k)
            for k in range(kernel.size[axis])
            if (phase + kernel.begin[axis] - k * dilation) % stride == 0
        ]
        result.append((phase, tuple(i for i, _ in found), [k for _, k in found]))
    return result


def _pick_taps(node: Node, weights: Weights, rows: list[int], columns: list[int]) -> Weights:
    if not isinstance(weights, Strided):
        return np.ascontiguousarray(weights[:, :, rows][:, :, :, columns])
    steps = [_as_slice(node, chosen) for chosen in (rows, columns)]
    return weights.apply(lambda a: a[:, :, steps[0], steps[1]])


def _as_slice(node: Node, chosen: list[int]) -> slice:
    if not chosen:
        return slice(0, 0)
    step = chosen[1] - chosen[0] if len(chosen) > 1 else 1
    if chosen != list(range(chosen[0], chosen[-1] + 1, step)):
        raise node.unsupported("weights that are not known before the run, with these dilations")
    return slice(chosen[0], chosen[-1] + 1, step)

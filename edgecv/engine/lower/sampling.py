"""Operators that look at pixels in places which data tell: regions, grids, deformed convolutions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from msgspec.structs import replace

from edgecv.engine.lower.base import Lowering, Node, Tensor, blocks_of, choice, lowers, ref_of
from edgecv.engine.lower.compose import blockwise, shaped
from edgecv.engine.lower.convolution import kernel_of
from edgecv.engine.lower.movement import reshaped, set_view
from edgecv.engine.lower.tiles import Epilogue, Grid, Sums, Target, convolve, known_or_strided, pack
from edgecv.engine.program import Ref
from edgecv.engine.refs import Ints, in_lanes, moved
from edgecv.engine.views import Planes

# Taps of a point along an axis.
_TAPS = {"nearest": 1, "linear": 2, "cubic": 4}
# Bins of a region that a chunk has of all its blocks, in floats: they stay in a near cache.
_CHUNK_BINS = 1 << 14


@lowers("RoiAlign")
def roi_align(lowering: Lowering, node: Node) -> None:
    """Of each bin of a region the mean, or the largest, of samples between pixels."""
    _pool_rois(
        lowering,
        node,
        {"avg": "align_average", "max": "align_max"}[node.attribute("mode", "avg")],
        (node.attribute("output_height", 1), node.attribute("output_width", 1)),
        Ref(lowering.as_contiguous(node.input(2)).ref),
        samples=max(node.attribute("sampling_ratio", 0), 0),
        half_pixel=int(node.attribute("coordinate_transformation_mode", "half_pixel") == "half_pixel"),
    )


@lowers("MaxRoiPool")
def max_roi_pool(lowering: Lowering, node: Node) -> None:
    """The largest pixel of each bin of a region, whose image is the first of its numbers."""
    h, w = node.attribute("pooled_shape")
    _pool_rois(lowering, node, "window_max", (h, w), Ref(), samples=0, half_pixel=0)


def _pool_rois(
    lowering: Lowering, node: Node, kind: str, out: tuple[int, int], indices: Ref, **fields: int
) -> None:
    x, rois = node.input(0), node.input(1)
    batch, channels, h, w = x.shape
    target = lowering.new_strided(node.outputs[0], (rois.shape[0], channels, *out), x.dtype)
    if target.size:
        refs = _blocks_in_order(lowering, node, x)
        n_blocks = refs.shape[1]
        bins = math.prod(out)
        # As of 2 x 2 samples between 2 x 2 pixels each: how many there are, data tell.
        taps = 16 * bins
        most = max(_CHUNK_BINS // (bins * lowering.lanes), 1)
        lowering.program.add(
            "roi_pool",
            node.name,
            flops=2.0 * taps * rois.shape[0] * channels,
            blocks=lowering.program.refs(refs),
            batch=batch,
            n_blocks=n_blocks,
            channels=channels,
            in_h=h,
            in_w=w,
            rois=ref_of(lowering.as_contiguous(rois)),
            indices=indices,
            n_rois=rois.shape[0],
            y=ref_of(target),
            out_h=out[0],
            out_w=out[1],
            kind=choice("roi_kind", kind),
            scale=float(node.attribute("spatial_scale", 1.0)),
            chunk_blocks=min(n_blocks, most, lowering.chunk(rois.shape[0] * n_blocks, taps)),
            **fields,
        )
    lowering.set(node.outputs[0], target)


def _blocks_in_order(lowering: Lowering, node: Node, x: Tensor) -> Ints:
    """The Refs of blocks (batch, blocks) that have the channels in order."""
    image = _blocked(lowering, x)
    numbers = np.arange(image.refs.shape[1])
    for refs in image.refs:
        places = blocks_of(refs, lowering.lanes)[1] * lowering.lanes + in_lanes(refs, lowering.lanes)[1]
        if not np.array_equal(places, numbers):
            image = lowering.regroup(image, f"{node.name} (input)")
            break
    return image.refs[:, :: lowering.lanes]


def _blocked(lowering: Lowering, x: Tensor) -> Planes:
    image = lowering.as_blocked(x)
    if image is None:
        raise AssertionError("four axes are an image")
    return image


@lowers("GridSample")
def grid_sample(lowering: Lowering, node: Node) -> None:
    """Pixels at points of a grid, which counts from -1 to 1 along one to three axes."""
    x, grid = node.input(0), node.input(1)
    axes = len(x.shape) - 2
    depth, h, w = (1,) * (3 - axes) + x.shape[2:]
    out_h, out_w = math.prod(grid.shape[1:-2]), grid.shape[-2]
    shape = (*x.shape[:2], *grid.shape[1:-1])
    mode = node.attribute("mode", "linear")
    if not math.prod(shape):
        lowering.set(node.outputs[0], lowering.new_strided(node.outputs[0], shape, x.dtype))
        return
    image = _blocked(lowering, shaped(lowering, x, (*x.shape[:2], depth * h, w)))
    points = lowering.as_contiguous(grid)
    results = [
        _sample(
            lowering,
            node,
            one,
            (depth, h, w),
            (out_h, out_w),
            _TAPS[mode] ** axes,
            points=Ref(moved(points.ref, i * out_h * out_w * axes)),
            point=axes,
            axis=1,
            axes=axes,
            mask=Ref(),
            frame=choice("sample_frame", "centers" if node.attribute("align_corners", 0) else "edges"),
            mode=choice("sample_mode", mode),
            padding=choice("sample_padding", node.attribute("padding_mode", "zeros")),
            top=0,
            left=0,
            stride_y=0,
            stride_x=0,
        )
        for i, one in enumerate(_images(image))
    ]
    result = lowering.in_blocks(np.concatenate([one.refs for one in results]), out_h, out_w)
    flat = Tensor(f"{node.outputs[0]} (sampled)", result.shape, x.dtype, view=result)
    set_view(lowering, node, reshaped(lowering, flat, shape), x.dtype)


def _images(image: Planes) -> Iterator[Planes]:
    """Each image of a batch as a batch of its own."""
    return (replace(image, refs=image.refs[i : i + 1]) for i in range(len(image.refs)))


def _sample(
    lowering: Lowering,
    node: Node,
    image: Planes,
    sides: tuple[int, int, int],
    out: tuple[int, int],
    taps: int,
    **fields: Any,
) -> Planes:
    """One step `sample` over a blocked image; taps: of a point, at most."""
    result, blocks = blockwise(lowering, image, *out, node.outputs[0])
    n = math.prod(out)
    lowering.program.add(
        "sample",
        node.name,
        flops=2.0 * taps * n * image.refs.shape[1],
        blocks=lowering.program.refs(blocks),
        n_blocks=len(blocks),
        in_d=sides[0],
        in_h=sides[1],
        in_w=sides[2],
        out_h=out[0],
        out_w=out[1],
        chunk_points=lowering.chunk(n, (len(blocks) + 4) * taps),
        **fields,
    )
    return result


@lowers("DeformConv")
def deform_conv(lowering: Lowering, node: Node) -> None:
    """What each weight is to see in columns, pixels beside their own places; then a product of matrices."""
    x, weights, offsets = node.input(0), node.input(1), node.input(2)
    bias, mask = node.optional(3), node.optional(4)
    kernel = kernel_of(node, weights.shape)
    (rows, columns), (out_h, out_w) = kernel.size, offsets.shape[2:]
    channels, groups = x.shape[1], node.attribute("offset_group", 1)
    if not (x.shape[0] * out_h * out_w * weights.shape[0]):
        shape = (x.shape[0], weights.shape[0], out_h, out_w)
        lowering.set(node.outputs[0], lowering.new_strided(node.outputs[0], shape, x.dtype))
        return
    each, n = channels // groups, out_h * out_w
    image = _blocked(lowering, x)
    planes = lowering.as_contiguous(offsets).ref
    masks = lowering.as_contiguous(mask).ref if mask is not None else None
    refs = np.empty((x.shape[0], channels, rows * columns), np.int64)
    for i, group, tap in np.ndindex(x.shape[0], groups, rows * columns):
        part = slice(group * each, (group + 1) * each)
        number = (i * groups + group) * rows * columns + tap
        row, column = divmod(tap, columns)
        made = _sample(
            lowering,
            node,
            replace(image, refs=image.refs[i : i + 1, part]),
            (1, image.h, image.w),
            (out_h, out_w),
            4,
            # Of a tap the plane of distances along y comes first.
            points=Ref(moved(planes, (2 * number + 1) * n)),
            point=1,
            axis=-n,
            axes=2,
            mask=Ref() if masks is None else Ref(moved(masks, number * n)),
            frame=choice("sample_frame", "pixels"),
            mode=choice("sample_mode", "linear"),
            padding=choice("sample_padding", "zeros"),
            top=row * kernel.dilations[0] - kernel.begin[0],
            left=column * kernel.dilations[1] - kernel.begin[1],
            stride_y=kernel.strides[0],
            stride_x=kernel.strides[1],
        )
        refs[i, part, tap] = made.refs[0]
    seen = lowering.in_blocks(refs.reshape(x.shape[0], -1), out_h, out_w)
    matrix = shaped(lowering, weights, (weights.shape[0], weights.shape[1] * rows * columns, 1, 1))
    lowering.set(node.outputs[0], _product(lowering, node, seen, matrix, bias))


def _product(lowering: Lowering, node: Node, image: Planes, weights: Tensor, bias: Tensor | None) -> Planes:
    """A convolution of single pixels."""
    known, group = known_or_strided(lowering, weights), node.attribute("group", 1)
    if known is None:
        raise AssertionError("an operand")
    packed = pack(lowering, known, known_or_strided(lowering, bias), group, node.name)
    batch, lanes = image.refs.shape[0], lowering.lanes
    whole = lowering.new_blocked(batch, packed.blocks * lanes, image.h, image.w, node.outputs[0])
    grid = Grid(image.h, image.w, 1, 1, 0, 0, (0,), (0,))
    for i, refs in enumerate(image.refs):
        target = Target(int(whole.refs[i, 0]), whole.pixel, whole.row, image.h * whole.row)
        convolve(lowering, image, refs, grid, Sums(node.name, packed, target, Epilogue()))
    return replace(whole, refs=whole.refs[:, packed.where])

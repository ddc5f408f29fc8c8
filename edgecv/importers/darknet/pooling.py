"""Layers over a neighborhood: maxpool, local_avgpool, avgpool, normalization, softmax.

Their arithmetic: maxpool_layer.c, avgpool_layer.c, normalization_layer.c and softmax_layer.c of
AlexeyAB/darknet.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgecv.importers.darknet.cfg import Section
from edgecv.importers.darknet.layers import MAX_CHANNELS, MAX_SIDE, Emitter, Layer, Planner, Site, Size
from edgecv.types import FloatArray


def maxpool(site: Site) -> Layer:
    """The largest of each window; with `maxpool_depth`, of every out_channels-th channel."""
    section = site.section
    section.refuse(("antialiasing",), "the blur that it adds is not converted")
    section.refuse(("maxpool_zero_nonmax",), "it keeps the map and empties it, which ONNX lacks")
    if not section.flag("maxpool_depth"):
        return _pool(site, "MaxPool")
    _window(section)
    channels, height, width = site.input
    kept = section.integer("out_channels", 1, 1, MAX_CHANNELS)
    if channels % kept:
        raise section.error(f"{kept} does not divide its {channels} input channels", "out_channels")

    def emit(e: Emitter, values: Sequence[str], blobs: Sequence[FloatArray]) -> str:
        x = e.reshape(values[0], 1, channels // kept, kept * height, width)
        return e.reshape(e.op("ReduceMax", x, axes=[1], keepdims=1), 1, kept, height, width)

    return site.layer(Size(kept, height, width), emit)


def local_avgpool(site: Site) -> Layer:
    """The mean of each window, of what lies inside the map."""
    return _pool(site, "AveragePool")


def _pool(site: Site, kind: str) -> Layer:
    section = site.section
    channels, height, width = site.input
    size, stride_h, stride_w, padding = _window(section)
    # Darknet's padding is the sum of both sides, and the odd one goes to the right and bottom.
    before, after = padding // 2, padding - padding // 2
    if after >= size:
        raise section.error(f"{padding} leaves windows of {size} without a pixel of the map", "padding")

    def emit(e: Emitter, values: Sequence[str], blobs: Sequence[FloatArray]) -> str:
        return e.op(
            kind,
            e.reshape(values[0], 1, *site.input),
            kernel_shape=[size, size],
            strides=[stride_h, stride_w],
            pads=[before, before, after, after],
        )

    out_h, out_w = (
        (side + padding - size) // step + 1 for side, step in ((height, stride_h), (width, stride_w))
    )
    return site.layer(Size(channels, out_h, out_w), emit)


def _window(section: Section) -> tuple[int, int, int, int]:
    """Its size, its steps down and across, and the padding of both sides together."""
    stride = section.integer("stride", 1, 1, MAX_SIDE)
    stride_w = section.integer("stride_x", stride, 1, MAX_SIDE)
    stride_h = section.integer("stride_y", stride, 1, MAX_SIDE)
    size = section.integer("size", stride, 1, MAX_SIDE)
    return size, stride_h, stride_w, section.integer("padding", size - 1, 0, MAX_SIDE)


def avgpool(site: Site) -> Layer:
    """The mean of each channel."""

    def emit(e: Emitter, values: Sequence[str], blobs: Sequence[FloatArray]) -> str:
        return e.op("GlobalAveragePool", e.reshape(values[0], 1, *site.input))

    return site.layer(Size(site.input.c, 1, 1), emit)


def normalization(site: Site) -> Layer:
    """x * (kappa + alpha * sum of the squares of `size` neighboring channels)^-beta.

    Darknet moves its window over the channels and never counts channel size / 2 in; nor does this.
    """
    section = site.section
    channels, height, width = site.input
    size = section.integer("size", 5, 1, MAX_CHANNELS)
    alpha, beta, kappa = (
        section.number(key, default) for key, default in (("alpha", 0.0001), ("beta", 0.75), ("kappa", 1.0))
    )
    first = size // 2
    if first >= channels:
        raise section.error(f"{size} is a window beyond its {channels} input channels", "size")

    def emit(e: Emitter, values: Sequence[str], blobs: Sequence[FloatArray]) -> str:
        x = e.reshape(values[0], 1, *site.input)
        square = e.op("Mul", x, x)
        mean = e.op(
            "AveragePool",
            e.reshape(square, 1, 1, channels, height * width),
            kernel_shape=[size, 1],
            pads=[(size - 1) // 2, 0, first, 0],
            count_include_pad=1,
        )
        total = e.op("Mul", e.reshape(mean, 1, *site.input), e.number(size))
        total = e.op("Sub", total, e.slice(square, 1, first, first + 1))
        norm = e.op("Add", e.op("Mul", total, e.number(alpha)), e.number(kappa))
        return e.op("Mul", x, e.op("Pow", norm, e.number(-beta)))

    return site.layer(site.input, emit)


def softmax(site: Site) -> Layer:
    """exp(x / temperature) over its sum: of all inputs, of each group, or of the channels of each pixel."""
    section = site.section
    if section.has("tree"):
        raise section.error("a softmax over a tree of classes (YOLO9000) is not supported", "tree")
    channels, height, width = site.input
    count = site.input.numbers
    is_spatial = section.flag("spatial")
    groups = section.integer("groups", 1, 1, MAX_CHANNELS)
    temperature = section.number("temperature", 1)
    if temperature <= 0:
        raise section.error(f"expected a number over 0, got {temperature:g}", "temperature")
    if count % groups:
        raise section.error(f"{groups} groups do not divide its {count} inputs", "groups")

    def emit(e: Emitter, values: Sequence[str], blobs: Sequence[FloatArray]) -> str:
        x = values[0]
        if temperature != 1:
            x = e.op("Div", x, e.number(temperature))
        if is_spatial:
            x = e.op("Transpose", e.reshape(x, 1, *site.input), perm=[0, 2, 3, 1])
            x = e.op("Softmax", e.reshape(x, height * width, channels), axis=1)
            x = e.reshape(x, 1, height, width, channels)
            return e.op("Transpose", x, perm=[0, 3, 1, 2])
        return e.reshape(e.op("Softmax", e.reshape(x, groups, count // groups), axis=1), 1, count)

    if is_spatial:
        return site.layer(site.input, emit)
    return site.layer(Size(count, 1, 1), emit, is_probability=groups == 1)


LAYERS: dict[str, Planner] = {
    "maxpool": maxpool,
    "local_avgpool": local_avgpool,
    "avgpool": avgpool,
    "normalization": normalization,
    "softmax": softmax,
}

"""Layers with weights: convolutional, depthwise_convolutional, connected, local, batchnorm.

Their arithmetic and the order of their arrays: convolutional_layer.c, connected_layer.c, local_layer.c,
batchnorm_layer.c and `load_weights_upto` of AlexeyAB/darknet; depthwise_convolutional_layer.c of
bei91/darknet_MobilenetV2.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgecv.importers.darknet.activations import activate, activation_of
from edgecv.importers.darknet.cfg import Section
from edgecv.importers.darknet.layers import (
    MAX_CHANNELS,
    MAX_NUMBERS,
    MAX_SIDE,
    Blob,
    Emitter,
    Layer,
    Planner,
    Site,
    Size,
)
from edgecv.types import FloatArray

# Versions of Darknet add 1e-5 or 1e-6 to the variance, or 1e-6 to its root. 1e-6 under the root is what
# OpenCV reads, by whose numbers these networks are known outside Darknet.
EPSILON = 1e-6

_CHANGES_WEIGHTS = ("sway", "rotate", "stretch", "stretch_sway")
_NOT_IN_FILE = ("dontload", "dontloadscales", "numload")


def convolutional(site: Site) -> Layer:
    """Convolution, batch normalization or bias, activation."""
    section = site.section
    section.refuse(("binary", "xnor"), "binary weights and inputs have no counterpart in ONNX")
    section.refuse(("antialiasing",), "the blur that it adds is not converted")
    section.refuse((*_CHANGES_WEIGHTS, "coordconv"), "it changes the convolution by a rule that ONNX lacks")
    filters = section.integer("filters", 1, 1, MAX_CHANNELS)
    groups = section.integer("groups", 1, 0, MAX_CHANNELS) or 1
    for what, channels in (("input channels", site.input.c), ("filters", filters)):
        if channels % groups:
            raise section.error(f"{groups} groups do not divide its {channels} {what}", "groups")
    return _convolution(site, filters, groups)


def depthwise_convolutional(site: Site) -> Layer:
    """Convolution of each channel by itself, batch normalization or bias, activation."""
    return _convolution(site, site.input.c, site.input.c)


def _convolution(site: Site, filters: int, groups: int) -> Layer:
    section = site.section
    _refuse_weights_elsewhere(section)
    size = section.integer("size", 1, 1, MAX_SIDE)
    stride = section.integer("stride", 1, 1, MAX_SIDE)
    stride_w = section.integer("stride_x", stride, 1, MAX_SIDE)
    stride_h = section.integer("stride_y", stride, 1, MAX_SIDE)
    dilation = section.integer("dilation", 1, 1, MAX_SIDE) if size > 1 else 1
    padding = section.integer("padding", 0, 0, MAX_SIDE)
    if section.flag("pad"):
        padding = size // 2
    activation = _activation(site)
    normalizes = section.flag("batch_normalize") or section.flag("cbn")
    is_flipped = section.kind == "convolutional" and section.flag("flipped")
    height, width = (
        _out_side(section, side, size, step, padding, dilation)
        for side, step in ((site.input.h, stride_h), (site.input.w, stride_w))
    )
    kernel = (filters, site.input.c // groups, size, size)

    def emit(e: Emitter, values: Sequence[str], blobs: Sequence[FloatArray]) -> str:
        weights = blobs[-1]
        if is_flipped:
            weights = weights.reshape(-1, filters).T.reshape(kernel)
        x = e.reshape(values[0], 1, *site.input)
        operands = [x, e.weights("weights", weights)]
        if not normalizes:
            operands.append(e.weights("bias", blobs[0]))
        x = e.op(
            "Conv",
            *operands,
            kernel_shape=[size, size],
            strides=[stride_h, stride_w],
            pads=[padding * dilation] * 4,
            dilations=[dilation] * 2,
            group=groups,
        )
        return activate(e, _normalized(e, x, blobs[:-1]) if normalizes else x, activation)

    blobs = [*_normalization(filters, normalizes), Blob("weights", kernel)]
    return site.layer(Size(filters, height, width), emit, blobs=blobs)


def connected(site: Site) -> Layer:
    """Every output from every input, batch normalization or bias, activation."""
    section = site.section
    _refuse_weights_elsewhere(section)
    outputs, inputs = section.integer("output", 1, 1, MAX_CHANNELS), site.input.numbers
    activation = _activation(site)
    normalizes = section.flag("batch_normalize")

    def emit(e: Emitter, values: Sequence[str], blobs: Sequence[FloatArray]) -> str:
        bias, weights, *statistics = blobs
        if e.transposed:
            weights = weights.reshape(inputs, outputs)
        operands = [e.reshape(values[0], 1, inputs), e.weights("weights", weights)]
        if not normalizes:
            operands.append(e.weights("bias", bias))
        x = e.op("Gemm", *operands, transB=0 if e.transposed else 1)
        return activate(e, _normalized(e, x, (bias, *statistics)) if normalizes else x, activation)

    bias, *statistics = _normalization(outputs, normalizes)
    blobs = [bias, Blob("weights", (outputs, inputs)), *statistics]
    return site.layer(Size(outputs, 1, 1), emit, blobs=blobs)


def local(site: Site) -> Layer:
    """A convolution with weights of its own at every place, one bias for each output, activation."""
    section = site.section
    _refuse_weights_elsewhere(section)
    channels, side_h, side_w = site.input
    filters = section.integer("filters", 1, 1, MAX_CHANNELS)
    size = section.integer("size", 1, 1, MAX_SIDE)
    stride = section.integer("stride", 1, 1, MAX_SIDE)
    pad = section.integer("pad", 0, 0, MAX_SIDE)
    activation = _activation(site)
    # Darknet sizes the output as if `pad` kept the side, and pads by its number.
    height, width = ((side - (1 if pad else size)) // stride + 1 for side in (side_h, side_w))
    if (height, width) != tuple((side + 2 * pad - size) // stride + 1 for side in (side_h, side_w)):
        raise section.error(f"padding of {pad} does not keep the size under windows of {size}", "pad")
    plane = Size(channels, side_h + 2 * pad, side_w + 2 * pad)
    if plane.numbers > MAX_NUMBERS:
        raise section.error(f"its padded input would have {plane.numbers} numbers, over {MAX_NUMBERS}", "pad")
    places, window = height * width, channels * size * size

    def emit(e: Emitter, values: Sequence[str], blobs: Sequence[FloatArray]) -> str:
        x = e.reshape(values[0], 1, *site.input)
        if pad:
            x = e.op("Pad", x, e.shape(0, 0, pad, pad, 0, 0, pad, pad))
        rows, columns = (np.arange(count, dtype=np.int32)[:, None] for count in (height, width))
        corner = (stride * (rows * plane.w + columns.T)).reshape(places, 1, 1)
        channel, down, across = np.unravel_index(np.arange(window, dtype=np.int32), (channels, size, size))
        inside = ((channel * plane.h + down) * plane.w + across).astype(np.int32)[:, None]
        index = e.weights("places", corner + inside)
        seen = e.op("Gather", e.reshape(x, plane.numbers), index, axis=0)
        x = e.op("MatMul", e.weights("weights", blobs[1]), seen)
        x = e.op("Transpose", e.reshape(x, places, filters), perm=[1, 0])
        x = e.op("Add", e.reshape(x, 1, filters, height, width), e.weights("bias", blobs[0]))
        return activate(e, x, activation)

    blobs = [Blob("bias", (1, filters, height, width)), Blob("weights", (places, filters, window))]
    return site.layer(Size(filters, height, width), emit, blobs=blobs)


def batchnorm(site: Site) -> Layer:
    """Batch normalization by itself."""
    _refuse_weights_elsewhere(site.section)

    def emit(e: Emitter, values: Sequence[str], blobs: Sequence[FloatArray]) -> str:
        if len(blobs) == 3:
            blobs = [np.zeros_like(blobs[0]), *blobs]
        return _normalized(e, e.reshape(values[0], 1, *site.input), blobs)

    return site.layer(site.input, emit, blobs=_normalization(site.input.c, True))


def _activation(site: Site) -> str:
    if not site.section.has("activation"):
        site.remarks.append(f"{site.section.label}: no activation stated: logistic, as Darknet takes it")
    return activation_of(site.section, "logistic")


def _refuse_weights_elsewhere(section: Section) -> None:
    section.refuse(_NOT_IN_FILE, "the layer's weights are not all in the file where they belong")
    if section.has("share_index"):
        raise section.error("weights shared with another layer are not supported", "share_index")


def _out_side(section: Section, side: int, size: int, stride: int, padding: int, dilation: int) -> int:
    """Darknet's size of the output, which leaves dilation out; where that differs it computes nonsense."""
    out = (side + 2 * padding - size) // stride + 1
    if out != (side + 2 * padding * dilation - dilation * (size - 1) - 1) // stride + 1:
        raise section.error(
            f"padding of {padding} does not keep the size under windows of {size} with dilation {dilation}",
            "dilation",
        )
    return out


def _normalization(channels: int, normalizes: bool) -> list[Blob]:
    names = ("bias", "scale", "mean", "variance") if normalizes else ("bias",)
    return [Blob(name, (channels,)) for name in names]


def _normalized(e: Emitter, x: str, blobs: Sequence[FloatArray]) -> str:
    bias, scale, mean, variance = blobs
    operands = (
        e.weights(name, blob)
        for name, blob in (("scale", scale), ("bias", bias), ("mean", mean), ("variance", variance))
    )
    return e.op("BatchNormalization", x, *operands, epsilon=EPSILON)


LAYERS: dict[str, Planner] = {
    "convolutional": convolutional,
    "depthwise_convolutional": depthwise_convolutional,
    "connected": connected,
    "local": local,
    "batchnorm": batchnorm,
}

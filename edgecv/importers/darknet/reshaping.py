"""Layers that move numbers: reorg, reorg3d, upsample, crop; and activation by itself.

Their arithmetic: reorg_old_layer.c, reorg_layer.c, upsample_layer.c, crop_layer.c and blas.c of
AlexeyAB/darknet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edgecv.importers.darknet.activations import activate, activation_of
from edgecv.importers.darknet.layers import MAX_SIDE, Emitter, Layer, Planner, Site, Size
from edgecv.types import FloatArray


def reorg(site: Site) -> Layer:
    """Blocks of stride x stride pixels into channels, in the order of YOLOv2.

    Darknet takes the map for one of c / stride^2 channels that is stride times larger, and gathers the
    blocks of that one: only so does every number lie where YOLOv2 was trained to find it. Reversed, it
    is the plain depth to space.
    """
    return _reorg(site, lambda here, out: here)


def reorg3d(site: Site) -> Layer:
    """The plain space to depth; reversed, the inverse of what [reorg] does."""
    return _reorg(site, lambda here, out: out)


def _reorg(site: Site, choose: Callable[[Size, Size], Size]) -> Layer:
    """choose: of the layer's input and output, the one that `reorg_cpu` of Darknet is told."""
    section, here = site.section, site.input
    section.refuse(("flatten", "extra"), "only the blocks of [reorg] have a counterpart in ONNX")
    step = section.integer("stride", 1, 1, MAX_SIDE)
    reverse = section.flag("reverse")
    if reverse:
        out = Size(here.c // step**2, here.h * step, here.w * step)
    else:
        out = Size(here.c * step**2, here.h // step, here.w // step)
    channels, height, width = choose(here, out)
    channels, rest = divmod(channels, step**2)
    if rest or out.numbers != here.numbers:
        raise section.error(f"{step} does not divide its input {here} into blocks", "stride")

    def emit(e: Emitter, values: Sequence[str], blobs: Sequence[FloatArray]) -> str:
        if reverse:
            x = e.reshape(values[0], step, step, channels, height, width)
            x = e.op("Transpose", x, perm=[2, 3, 0, 4, 1])
        else:
            x = e.reshape(values[0], channels, height, step, width, step)
            x = e.op("Transpose", x, perm=[2, 4, 0, 1, 3])
        return e.reshape(x, 1, *out)

    return site.layer(out, emit)


def upsample(site: Site) -> Layer:
    """Each pixel stride x stride times, times `scale`."""
    section, here = site.section, site.input
    if section.has("stride") and section.number("stride", 2) < 0:
        raise section.error("a stride below 0 (downsampling) is not supported", "stride")
    step = section.integer("stride", 2, 1, MAX_SIDE)
    scale = section.number("scale", 1)

    def emit(e: Emitter, values: Sequence[str], blobs: Sequence[FloatArray]) -> str:
        x = e.reshape(values[0], 1, *here)
        if step > 1:
            factors = np.array([1, 1, step, step], np.float32)
            x = e.op(
                "Resize",
                x,
                e.weights("region", np.zeros(0, np.float32)),
                e.weights("factors", factors),
                mode="nearest",
                coordinate_transformation_mode="asymmetric",
                nearest_mode="floor",
            )
        return x if scale == 1 else e.op("Mul", x, e.number(scale))

    return site.layer(Size(here.c, here.h * step, here.w * step), emit)


def crop(site: Site) -> Layer:
    """The middle of the map, times 2 less 1 unless `noadjust`; in training, a random part of it."""
    section, here = site.section, site.input
    height = section.integer("crop_height", 1, 1, here.h)
    width = section.integer("crop_width", 1, 1, here.w)
    adjusts = not section.flag("noadjust")
    top, left = (here.h - height) // 2, (here.w - width) // 2

    def emit(e: Emitter, values: Sequence[str], blobs: Sequence[FloatArray]) -> str:
        x = e.slice(e.reshape(values[0], 1, *here), 2, top, top + height)
        x = e.slice(x, 3, left, left + width)
        return e.op("Sub", e.op("Mul", x, e.number(2)), e.number(1)) if adjusts else x

    return site.layer(Size(here.c, height, width), emit)


def activation(site: Site) -> Layer:
    """An activation by itself."""
    name = activation_of(site.section, "linear")

    def emit(e: Emitter, values: Sequence[str], blobs: Sequence[FloatArray]) -> str:
        return activate(e, e.reshape(values[0], 1, *site.input), name)

    return site.layer(site.input, emit)


LAYERS: dict[str, Planner] = {
    "reorg": reorg,
    "reorg3d": reorg3d,
    "upsample": upsample,
    "crop": crop,
    "activation": activation,
}

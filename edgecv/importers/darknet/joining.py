"""Layers that join others: route, shortcut, sam, scale_channels.

Their arithmetic: route_layer.c, shortcut_layer.c, sam_layer.c, scale_channels_layer.c and blas.c of
AlexeyAB/darknet; a shortcut from a larger map: `shortcut_cpu` of pjreddie/darknet.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgecv.importers.darknet.activations import activate, activation_of
from edgecv.importers.darknet.layers import MAX_CHANNELS, Blob, Emitter, Layer, Planner, Site, Size
from edgecv.types import FloatArray

# Added to the sum by which a shortcut's weights are normalized.
_WEIGHT_EPSILON = np.float32(1e-4)


def route(site: Site) -> Layer:
    """Layers side by side in channels; of each only the group `group_id` of `groups` of its channels."""
    section = site.section
    reads = site.sources("layers")
    sizes = [site.size(source) for source in reads]
    groups = section.integer("groups", 1, 1, MAX_CHANNELS)
    group = section.integer("group_id", 0, 0, groups - 1)
    for size in sizes:
        if size[1:] != sizes[0][1:]:
            raise section.error(f"its inputs differ in size: {sizes[0]} and {size}", "layers")
        if size.c % groups:
            raise section.error(f"{groups} groups do not divide {size.c} input channels", "groups")

    def emit(e: Emitter, values: Sequence[str], blobs: Sequence[FloatArray]) -> str:
        parts = [
            e.slice(e.reshape(value, 1, *size), 1, group * size.c // groups, (group + 1) * size.c // groups)
            for value, size in zip(values, sizes, strict=True)
        ]
        return parts[0] if len(parts) == 1 else e.op("Concat", *parts, axis=1)

    channels = sum(size.c for size in sizes) // groups
    return site.layer(Size(channels, *sizes[0][1:]), emit, reads=reads)


def shortcut(site: Site) -> Layer:
    """The layer before plus others, channel by channel as far as both have them; activation.

    With `weights_type` each is weighted, by one number or by one for each channel, from the file.
    """
    section = site.section
    for key in ("alpha", "beta"):
        if section.number(key, 1) != 1:
            raise section.error("only 1 is supported: versions of Darknet read it differently", key)
    activation = activation_of(section, "linear")
    sources = site.sources("from")
    here = site.input
    steps = [_step(site, source, alone=len(sources) == 1) for source in sources]
    kind = section.text("weights_type", "none")
    normalization = section.text("weights_normalization", "none")
    if kind not in ("none", "per_feature", "per_layer", "per_channel"):
        raise section.error("expected none, per_feature or per_channel", "weights_type")
    if normalization not in ("none", "relu", "avg_relu", "softmax"):
        raise section.error("expected none, relu or softmax", "weights_normalization")
    count = len(sources) + 1
    blobs = [] if kind == "none" else [Blob("weights", (count, here.c if kind == "per_channel" else 1))]

    def emit(e: Emitter, values: Sequence[str], blobs: Sequence[FloatArray]) -> str:
        weights = _normalized(blobs[0], normalization) if blobs else None

        def weighted(x: str, index: int, channels: int) -> str:
            if weights is None:
                return x
            factor = weights[index, :channels].reshape(-1, 1, 1)
            return e.op("Mul", x, e.weights("weights", factor))

        total = weighted(e.reshape(values[0], 1, *here), 0, here.c)
        for number, (value, source) in enumerate(zip(values[1:], sources, strict=True), start=1):
            size, step = site.size(source), steps[number - 1]
            common = min(size.c, here.c)
            added = e.slice(e.reshape(value, 1, *size), 1, 0, common)
            for axis, limit in ((2, here.h), (3, here.w)):
                added = e.slice(added, axis, 0, limit * step, step)
            added = weighted(added, number, common)
            if common == here.c:
                total = e.op("Add", total, added)
            else:
                rest = e.slice(total, 1, common, here.c)
                total = e.op("Concat", e.op("Add", e.slice(total, 1, 0, common), added), rest, axis=1)
        return activate(e, total, activation)

    return site.layer(here, emit, blobs=blobs, reads=(site.previous, *sources))


def _step(site: Site, source: int, *, alone: bool) -> int:
    """Of how many rows and columns of a source one is added; over 1 where its map is larger."""
    here, there = site.input, site.size(source)
    if here[1:] == there[1:]:
        return 1
    step = there.w // here.w
    if not alone or step < 1 or step != there.h // here.h:
        raise site.section.error(f"it adds {there} to {here}: expected maps of one size", "from")
    return step


def _normalized(weights: FloatArray, how: str) -> FloatArray:
    """Weights of the inputs, float32 (inputs, channels or 1), as a share of their sum over the inputs."""
    if how == "none":
        return weights
    if how == "softmax":
        weights = np.exp(weights - weights.max(axis=0))
    weights = np.maximum(weights, np.float32(0))
    return np.asarray(weights / (weights.sum(axis=0) + _WEIGHT_EPSILON), np.float32)


def sam(site: Site) -> Layer:
    """The layer before times another of its size; activation."""
    section = site.section
    source = _one(site)
    if site.size(source) != site.input:
        raise section.error(f"it multiplies {site.input} by {site.size(source)}: expected one size", "from")
    return _product(site, source, site.input)


def scale_channels(site: Site) -> Layer:
    """Another layer times the one before: a number a channel, or with `scale_wh` one a pixel; activation."""
    section = site.section
    source = _one(site)
    there = site.size(source)
    expected = Size(1, there.h, there.w) if section.flag("scale_wh") else Size(there.c, 1, 1)
    if site.input != expected:
        raise section.error(f"it scales {there} by {site.input}: expected {expected}", "from")
    return _product(site, source, there)


def _one(site: Site) -> int:
    sources = site.sources("from")
    if len(sources) != 1:
        raise site.section.error(f"expected one layer, got {len(sources)}", "from")
    return sources[0]


def _product(site: Site, source: int, out: Size) -> Layer:
    activation = activation_of(site.section, "linear")
    sizes = (site.input, site.size(source))

    def emit(e: Emitter, values: Sequence[str], blobs: Sequence[FloatArray]) -> str:
        factors = [e.reshape(value, 1, *size) for value, size in zip(values, sizes, strict=True)]
        return activate(e, e.op("Mul", *factors), activation)

    return site.layer(out, emit, reads=(site.previous, source))


LAYERS: dict[str, Planner] = {
    "route": route,
    "shortcut": shortcut,
    "sam": sam,
    "scale_channels": scale_channels,
}

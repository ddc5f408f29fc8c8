"""What Darknet computes, written in NumPy from the format's definition, in double precision.

Nothing here is shared with edgecv.importers.darknet: the cfg is read by other means, and every layer
follows its C source (AlexeyAB/darknet; pjreddie/darknet where that is older) literally.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Options = dict[str, str]
Shape = tuple[int, int, int]

EPSILON = 1e-6
ENDS = ("yolo", "region", "detection")


def sections(cfg: str) -> list[tuple[str, Options]]:
    """(kind in its usual spelling, options) of each section, [net] first."""
    usual = {"conv": "convolutional", "lrn": "normalization", "reorg_old": "reorg"}
    found: list[tuple[str, Options]] = []
    for line in cfg.splitlines():
        text = line.split("#")[0].replace(" ", "")
        if text.startswith("["):
            kind = text.strip("[]")
            found.append((usual.get(kind, kind), {}))
        elif text:
            key, value = text.split("=")
            found[-1][1].setdefault(key, value)
    return found


def whole(options: Options, key: str, default: int = 0) -> int:
    return int(options.get(key, default))


def several(options: Options, key: str) -> list[int]:
    return [int(part) for part in options[key].split(",")]


def strides(options: Options) -> tuple[int, int]:
    """Of rows and columns."""
    stride = whole(options, "stride", 1)
    return whole(options, "stride_y", stride), whole(options, "stride_x", stride)


def conv_padding(options: Options) -> int:
    size = whole(options, "size", 1)
    return size // 2 if whole(options, "pad") else whole(options, "padding")


def pool_side(side: int, options: Options, stride: int) -> int:
    size = whole(options, "size", whole(options, "stride", 1))
    return (side + whole(options, "padding", size - 1) - size) // stride + 1


def local_side(side: int, options: Options) -> int:
    taken = 1 if whole(options, "pad") else whole(options, "size", 1)
    return (side - taken) // whole(options, "stride", 1) + 1


@dataclass
class Site:
    """One layer: its options, its number, the sizes and (when it runs) the values before it."""

    kind: str
    options: Options
    index: int
    shapes: list[Shape]
    values: list[Array]

    @property
    def shape(self) -> Shape:
        return self.shapes[self.index]

    @property
    def value(self) -> Array:
        return self.values[self.index]

    def others(self, key: str) -> list[int]:
        """Positions in `shapes` and `values`, whose first entry is the picture."""
        return [(n + self.index if n < 0 else n) + 1 for n in several(self.options, key)]


def out_shape(site: Site) -> Shape:
    """Channels, rows and columns of what a layer puts out."""
    c, h, w = site.shape
    o = site.options
    rows, columns = strides(o)
    match site.kind:
        case "convolutional" | "depthwise_convolutional":
            size, padding = whole(o, "size", 1), conv_padding(o)
            filters = c if "depthwise" in site.kind else whole(o, "filters", 1)
            return filters, (h + 2 * padding - size) // rows + 1, (w + 2 * padding - size) // columns + 1
        case "local":
            return whole(o, "filters", 1), local_side(h, o), local_side(w, o)
        case "connected":
            return whole(o, "output", 1), 1, 1
        case "maxpool" if whole(o, "maxpool_depth"):
            return whole(o, "out_channels", 1), h, w
        case "maxpool" | "local_avgpool":
            return c, pool_side(h, o, rows), pool_side(w, o, columns)
        case "avgpool":
            return c, 1, 1
        case "softmax" if not whole(o, "spatial"):
            return c * h * w, 1, 1
        case "upsample":
            stride = whole(o, "stride", 2)
            return c, h * stride, w * stride
        case "reorg" | "reorg3d":
            stride = whole(o, "stride", 1)
            if whole(o, "reverse"):
                return c // stride**2, h * stride, w * stride
            return c * stride**2, h // stride, w // stride
        case "crop":
            return c, whole(o, "crop_height"), whole(o, "crop_width")
        case "route":
            taken = [site.shapes[n] for n in site.others("layers")]
            return sum(s[0] for s in taken) // whole(o, "groups", 1), *taken[0][1:]
        case "scale_channels":
            return site.shapes[site.others("from")[0]]
        case _:
            return c, h, w


def blobs(site: Site) -> Iterator[tuple[str, tuple[int, ...]]]:
    """(role, shape) of a layer's arrays, in the file's order."""
    c, h, w = site.shape
    filters, rows, columns = out_shape(site)
    o = site.options
    statistics = [(role, (filters,)) for role in ("scale", "mean", "variance")]
    normalizes = whole(o, "batch_normalize")
    match site.kind:
        case "convolutional" | "depthwise_convolutional":
            groups = c if "depthwise" in site.kind else whole(o, "groups", 1)
            yield "bias", (filters,)
            yield from statistics if normalizes else ()
            yield "weights", (filters, c // groups, whole(o, "size", 1), whole(o, "size", 1))
        case "connected":
            yield "bias", (filters,)
            yield "weights", (filters, c * h * w)
            yield from statistics if normalizes else ()
        case "local":
            yield "bias", (filters * rows * columns,)
            yield "weights", (rows * columns, filters, c * whole(o, "size", 1) ** 2)
        case "batchnorm":
            yield "bias", (c,)
            yield from statistics
        case "shortcut" if o.get("weights_type", "none") != "none":
            per = c if o["weights_type"] == "per_channel" else 1
            yield "mixing", (len(site.others("from")) + 1, per)


def sites(cfg: str) -> Iterator[Site]:
    """The layers in turn; each sees the shapes before it, and what a caller adds to `values`."""
    (_, net), *rest = sections(cfg)
    shapes: list[Shape] = [(whole(net, "channels"), whole(net, "height"), whole(net, "width"))]
    values: list[Array] = []
    for index, (kind, options) in enumerate(rest):
        site = Site(kind, options, index, shapes, values)
        yield site
        shapes.append(out_shape(site))


def random_weights(cfg: str, seed: int = 0, version: tuple[int, int, int] = (0, 2, 5)) -> bytes:
    """A weights file of this version whose values keep a network's numbers in range."""
    rng = np.random.default_rng(seed)
    parts = [header(version)]
    for site in sites(cfg):
        for role, shape in blobs(site):
            if role in ("scale", "variance"):
                values = rng.uniform(0.5, 1.5, shape)
            elif role == "weights":
                values = rng.standard_normal(shape, np.float32) * (2 / np.prod(shape[1:])) ** 0.5
                if site.kind == "local":
                    values *= shape[1] ** 0.5
            else:
                values = rng.normal(0, 0.2, shape)
            parts.append(values.astype("<f4").tobytes())
    return b"".join(parts)


def header(version: tuple[int, int, int]) -> bytes:
    """Version numbers and the count of seen pictures."""
    major, minor, _ = version
    has_long_count = major * 10 + minor >= 2 and major < 1000 and minor < 1000
    return struct.pack("<3iq" if has_long_count else "<3ii", *version, 32013312)


def run(cfg: str, weights: bytes, picture: Array, *, header_bytes: int = 20) -> dict[str, Array]:
    """The network's raw outputs by name, batch 1: of detection layers what they read, else the last value.

    picture: (channels, height, width).
    """
    numbers = np.frombuffer(weights, "<f4", offset=header_bytes).astype(np.float64)
    offset = 0
    outputs: dict[str, Array] = {}
    last = ""
    for site in sites(cfg):
        if not site.values:
            site.values.append(picture.astype(np.float64))
        arrays = []
        for _, shape in blobs(site):
            count = int(np.prod(shape))
            arrays.append(numbers[offset : offset + count].reshape(shape))
            offset += count
        value = site.value if site.kind in (*ENDS, "dropout", "cost") else FORWARD[site.kind](site, *arrays)
        if site.kind in ENDS:
            outputs[f"{site.kind}_{site.index}"] = value
        site.values.append(value.reshape(out_shape(site)))
        last = f"{site.kind}_{site.index}" if site.kind not in ("dropout", "cost") else last
    assert offset == len(numbers)
    return outputs or {last: site.values[-1]}


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def stair(x: Array) -> Array:
    n = np.floor(x)
    return np.where(np.mod(n, 2) == 0, np.floor(x / 2), (x - n) + np.floor(x / 2))


def share(parts: Array) -> Array:
    return parts / (1e-4 + parts.sum(axis=0))


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "linear": lambda x: x,
    "logistic": sigmoid,
    "loggy": lambda x: 2 * sigmoid(x) - 1,
    "relu": lambda x: x * (x > 0),
    "relu6": lambda x: np.minimum(np.maximum(x, 0), 6),
    "elu": lambda x: (x >= 0) * x + (x < 0) * (np.exp(x) - 1),
    "selu": lambda x: (x >= 0) * 1.0507 * x + (x < 0) * 1.0507 * 1.6732 * (np.exp(x) - 1),
    "gelu": lambda x: 0.5 * x * (1 + np.tanh(0.797885 * x + 0.035677 * x**3)),
    "relie": lambda x: np.where(x > 0, x, 0.01 * x),
    "ramp": lambda x: x * (x > 0) + 0.1 * x,
    "leaky": lambda x: np.where(x > 0, x, 0.1 * x),
    "revleaky": lambda x: np.where(x > 0, x, 0.1 * x),
    "tanh": np.tanh,
    "plse": lambda x: np.where(x < -4, 0.01 * (x + 4), np.where(x > 4, 0.01 * (x - 4) + 1, 0.125 * x + 0.5)),
    "stair": stair,
    "hardtan": lambda x: np.where(x < -1, -1, np.where(x > 1, 1, x)),
    "lhtan": lambda x: np.where(x < 0, 0.001 * x, np.where(x > 1, 0.001 * (x - 1) + 1, x)),
    "swish": lambda x: x * sigmoid(x),
    "mish": lambda x: x * np.tanh(np.log(np.exp(x) + 1)),
    "hard_mish": lambda x: np.where(x > 0, x, np.where(x > -2, x * x / 2 + x, 0)),
    "normalize_channels": lambda x: share(np.maximum(x, 0)),
    "normalize_channels_softmax": lambda x: share(np.exp(x)),
    "normalize_channels_softmax_maxval": lambda x: share(np.exp(x - x.max(axis=0))),
}


def activate(site: Site, x: Array, default: str = "logistic") -> Array:
    return ACTIVATIONS[site.options.get("activation", default)](x)


def normalize(x: Array, bias: Array, scale: Array, mean: Array, variance: Array) -> Array:
    each = (len(bias), *[1] * (x.ndim - 1))
    scaled = (x - mean.reshape(each)) / np.sqrt(variance.reshape(each) + EPSILON) * scale.reshape(each)
    return scaled + bias.reshape(each)


def columns_of(
    x: Array, size: int, steps: tuple[int, int], padding: int, dilation: int, out: tuple[int, int]
) -> Array:
    """im2col: (channels * size * size, rows, columns)."""
    padded = np.pad(x, ((0, 0), (padding, padding), (padding, padding)))
    result = np.zeros((x.shape[0], size, size, *out))
    for i in range(size):
        for j in range(size):
            top, left = i * dilation, j * dilation
            rows = slice(top, top + (out[0] - 1) * steps[0] + 1, steps[0])
            columns = slice(left, left + (out[1] - 1) * steps[1] + 1, steps[1])
            result[:, i, j] = padded[:, rows, columns]
    return result.reshape(-1, *out)


def convolution(site: Site, bias: Array, *rest: Array) -> Array:
    *statistics, weights = rest
    filters, *out = out_shape(site)
    o = site.options
    size = whole(o, "size", 1)
    dilation = whole(o, "dilation", 1) if size > 1 else 1
    if whole(o, "flipped") and "depthwise" not in site.kind:
        weights = weights.reshape(-1).reshape(-1, filters).T.reshape(weights.shape)
    groups = site.shape[0] // weights.shape[1]
    each = filters // groups
    parts = []
    for group, x in enumerate(np.split(site.value, groups)):
        seen = columns_of(x, size, strides(o), conv_padding(o) * dilation, dilation, (out[0], out[1]))
        kernel = weights[group * each : (group + 1) * each].reshape(each, -1)
        parts.append((kernel @ seen.reshape(len(seen), -1)).reshape(each, *out))
    x = np.concatenate(parts)
    x = normalize(x, bias, *statistics) if statistics else x + bias.reshape(-1, 1, 1)
    return activate(site, x)


def connected(site: Site, bias: Array, weights: Array, *statistics: Array) -> Array:
    x = weights @ site.value.reshape(-1)
    return activate(site, normalize(x, bias, *statistics) if statistics else x + bias)


def local(site: Site, bias: Array, weights: Array) -> Array:
    _, rows, columns = out_shape(site)
    o = site.options
    step = whole(o, "stride", 1)
    seen = columns_of(site.value, whole(o, "size", 1), (step, step), whole(o, "pad"), 1, (rows, columns))
    seen = seen.reshape(len(seen), -1)
    places = [weights[place] @ seen[:, place] for place in range(rows * columns)]
    return activate(site, np.stack(places, axis=1).reshape(-1) + bias)


def pool(site: Site) -> Array:
    o = site.options
    c, rows, columns = out_shape(site)
    if whole(o, "maxpool_depth"):
        return np.stack([site.value[channel::c].max(axis=0) for channel in range(c)])
    size = whole(o, "size", whole(o, "stride", 1))
    offset = whole(o, "padding", size - 1) // 2
    step_h, step_w = strides(o)
    _, h, w = site.shape
    reduce = np.max if site.kind == "maxpool" else np.mean
    result = np.zeros((c, rows, columns))
    for i in range(rows):
        for j in range(columns):
            top, left = i * step_h - offset, j * step_w - offset
            window = site.value[:, max(top, 0) : min(top + size, h), max(left, 0) : min(left + size, w)]
            result[:, i, j] = reduce(window, axis=(1, 2))
    return result


def normalization(site: Site) -> Array:
    o = site.options
    alpha, beta, kappa = (float(o.get(k, d)) for k, d in (("alpha", 1e-4), ("beta", 0.75), ("kappa", 1)))
    size = whole(o, "size", 5)
    squares = site.value**2
    norms = np.full_like(squares, kappa)
    norms[0] += alpha * squares[: size // 2].sum(axis=0)
    for k in range(1, len(squares)):
        norms[k] = norms[k - 1]
        before, after = k - (size - 1) // 2 - 1, k + size // 2
        if before >= 0:
            norms[k] -= alpha * squares[before]
        if after < len(squares):
            norms[k] += alpha * squares[after]
    return site.value * norms**-beta


def softmax(site: Site) -> Array:
    o = site.options
    x = site.value / float(o.get("temperature", 1))
    parts = x if whole(o, "spatial") else x.reshape(whole(o, "groups", 1), -1).T
    powers = np.exp(parts - parts.max(axis=0))
    result = powers / powers.sum(axis=0)
    return result if whole(o, "spatial") else result.T.reshape(-1)


def route(site: Site) -> Array:
    groups, group = whole(site.options, "groups", 1), whole(site.options, "group_id")
    taken = [site.values[n] for n in site.others("layers")]
    return np.concatenate([np.split(value, groups)[group] for value in taken])


def shortcut(site: Site, mixing: Array | None = None) -> Array:
    others = [site.values[n] for n in site.others("from")]
    how = site.options.get("weights_normalization", "none")
    if mixing is None:
        mixing = np.ones((len(others) + 1, 1))
    elif how == "softmax":
        powers = np.exp(mixing - mixing.max(axis=0))
        mixing = powers / (powers.sum(axis=0) + 1e-4)
    elif how == "relu":
        mixing = np.maximum(mixing, 0) / (np.maximum(mixing, 0).sum(axis=0) + 1e-4)
    mixing = np.broadcast_to(mixing, (len(others) + 1, site.shape[0]))[:, :, None, None]
    result = site.value * mixing[0]
    _, h, w = site.shape
    for other, factor in zip(others, mixing[1:], strict=True):
        common = min(len(other), len(result))
        step = other.shape[2] // w
        added = other[:common, : h * step : step, : w * step : step]
        result[:common] += added * factor[:common]
    return activate(site, result, "linear")


def product(site: Site) -> Array:
    return activate(site, site.value * site.values[site.others("from")[0]], "linear")


def reorg(site: Site) -> Array:
    """`reorg_cpu`, number by number."""
    step, forward = whole(site.options, "stride", 1), whole(site.options, "reverse")
    c, h, w = site.shape if site.kind != "reorg3d" else out_shape(site)
    x, out = site.value.reshape(-1), np.empty(site.value.size)
    small = c // step**2
    for k in range(c):
        for j in range(h):
            for i in range(w):
                here = i + w * (j + h * k)
                across = i * step + (k // small) % step
                down = j * step + (k // small) // step
                there = across + w * step * (down + h * step * (k % small))
                if forward:
                    out[there] = x[here]
                else:
                    out[here] = x[there]
    return out


def upsample(site: Site) -> Array:
    stride = whole(site.options, "stride", 2)
    return site.value.repeat(stride, axis=1).repeat(stride, axis=2) * float(site.options.get("scale", 1))


def crop(site: Site) -> Array:
    _, rows, columns = out_shape(site)
    top, left = (site.shape[1] - rows) // 2, (site.shape[2] - columns) // 2
    part = site.value[:, top : top + rows, left : left + columns]
    return part if whole(site.options, "noadjust") else part * 2 - 1


FORWARD: dict[str, Callable[..., Array]] = {
    "convolutional": convolution,
    "depthwise_convolutional": convolution,
    "connected": connected,
    "local": local,
    "batchnorm": lambda site, *arrays: normalize(site.value, *arrays),
    "maxpool": pool,
    "local_avgpool": pool,
    "avgpool": lambda site: site.value.mean(axis=(1, 2)),
    "normalization": normalization,
    "softmax": softmax,
    "route": route,
    "shortcut": shortcut,
    "sam": product,
    "scale_channels": product,
    "reorg": reorg,
    "reorg3d": reorg,
    "upsample": upsample,
    "crop": crop,
    "activation": lambda site: activate(site, site.value, "linear"),
}

"""What each layer of Caffe computes, in NumPy from its definition, on networks of `nets.Net`.

Nothing here is shared with edgecv.importers. Blobs are (batch, channels, height, width) and computed in
double precision.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.importers.caffe.nets import LayerSpec, Net, pooled_size

Blob = NDArray[np.float64]


def run(net: Net, inputs: Mapping[str, NDArray[Any]], until: str | None = None) -> dict[str, Blob]:
    """What every blob holds at the end. until: the layer before which it stops."""
    blobs: dict[str, Any] = {name: value.astype(np.float64) for name, value in inputs.items()}
    for layer in net.layers:
        if layer.name == until:
            break
        if layer.type not in LAYERS:
            continue
        results = LAYERS[layer.type](layer, [blobs[name] for name in layer.bottoms])
        results = results if isinstance(results, tuple) else (results,)
        blobs.update(zip(layer.tops, results, strict=True))
    return blobs


def _pair(params: Mapping[str, Any], name: str, both: str, default: int) -> tuple[int, int]:
    if f"{name}_h" in params:
        return params[f"{name}_h"], params[f"{name}_w"]
    value = params.get(both, default)
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


def convolution(layer: LayerSpec, bottoms: list[Blob]) -> Blob:
    (x,), p = bottoms, layer.params
    weights = layer.blobs[0].astype(np.float64)
    stride, pad = _pair(p, "stride", "stride", 1), _pair(p, "pad", "pad", 0)
    dilation = _pair(p, "dilation", "hole" if "hole" in p else "dilation", 1)
    group = p.get("group", x.shape[1] if "epthwise" in layer.type else 1)
    kernel = weights.shape[2:]
    x = np.pad(x, ((0, 0), (0, 0), (pad[0],) * 2, (pad[1],) * 2))
    out = [(x.shape[2 + i] - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1 for i in (0, 1)]
    parts = []
    for part, w in zip(np.split(x, group, axis=1), np.split(weights, group), strict=True):
        total = np.zeros((x.shape[0], len(w), *out))
        for i in range(kernel[0]):
            for j in range(kernel[1]):
                top, left = i * dilation[0], j * dilation[1]
                window = part[
                    :,
                    :,
                    top : top + (out[0] - 1) * stride[0] + 1 : stride[0],
                    left : left + (out[1] - 1) * stride[1] + 1 : stride[1],
                ]
                total += np.einsum("nchw,oc->nohw", window, w[:, :, i, j], optimize=True)
        parts.append(total)
    result = np.concatenate(parts, axis=1)
    return result + layer.blobs[1].reshape(1, -1, 1, 1) if len(layer.blobs) > 1 else result


def deconvolution(layer: LayerSpec, bottoms: list[Blob]) -> Blob:
    (x,), p = bottoms, layer.params
    weights = layer.blobs[0].astype(np.float64)
    stride, pad = _pair(p, "stride", "stride", 1), _pair(p, "pad", "pad", 0)
    dilation, group = _pair(p, "dilation", "dilation", 1), p.get("group", 1)
    n, channels, height, width = x.shape
    kernel = weights.shape[2:]
    size = [(x.shape[2 + i] - 1) * stride[i] + dilation[i] * (kernel[i] - 1) + 1 for i in (0, 1)]
    each = weights.shape[1]
    total = np.zeros((n, each * group, *size))
    for c in range(channels):
        first = c // (channels // group) * each
        for i in range(kernel[0]):
            for j in range(kernel[1]):
                rows = slice(i * dilation[0], i * dilation[0] + (height - 1) * stride[0] + 1, stride[0])
                cols = slice(j * dilation[1], j * dilation[1] + (width - 1) * stride[1] + 1, stride[1])
                total[:, first : first + each, rows, cols] += x[:, c : c + 1] * weights[c, :, i, j].reshape(
                    1, -1, 1, 1
                )
    total = total[:, :, pad[0] : size[0] - pad[0], pad[1] : size[1] - pad[1]]
    return total + layer.blobs[1].reshape(1, -1, 1, 1) if len(layer.blobs) > 1 else total


def inner_product(layer: LayerSpec, bottoms: list[Blob]) -> Blob:
    (x,) = bottoms
    axis = layer.params.get("axis", 1) % x.ndim
    weights = layer.blobs[0].astype(np.float64)
    weights = weights.reshape(weights.shape[-2:])
    weights = weights if layer.params.get("transpose") else weights.T
    result = x.reshape(*x.shape[:axis], -1) @ weights
    return result + layer.blobs[1].reshape(-1) if len(layer.blobs) > 1 else result


def pooling(layer: LayerSpec, bottoms: list[Blob]) -> Blob | tuple[Blob, ...]:
    (x,), p = bottoms, layer.params
    n, channels, height, width = x.shape
    if p.get("global_pooling"):
        reduce = np.max if p["pool"] == "MAX" else np.mean
        return reduce(x, axis=(2, 3), keepdims=True)
    kernel, stride = _pair(p, "kernel", "kernel_size", 0), _pair(p, "stride", "stride", 1)
    pad = _pair(p, "pad", "pad", 0)
    floor = p.get("round_mode") == "FLOOR" or p.get("ceil_mode") is False
    rows, columns = (
        pooled_size(x.shape[2 + i], kernel[i], stride[i], pad[i], any(pad), floor) for i in (0, 1)
    )
    values, places = np.zeros((n, channels, rows, columns)), np.zeros((n, channels, rows, columns))
    for row in range(rows):
        for column in range(columns):
            top, left = row * stride[0] - pad[0], column * stride[1] - pad[1]
            bottom, right = min(top + kernel[0], height + pad[0]), min(left + kernel[1], width + pad[1])
            area = (bottom - top) * (right - left)
            top, left, bottom, right = max(top, 0), max(left, 0), min(bottom, height), min(right, width)
            window = x[:, :, top:bottom, left:right].reshape(n, channels, -1)
            if p.get("pool", "MAX") == "AVE":
                values[:, :, row, column] = window.sum(axis=2) / area
                continue
            values[:, :, row, column] = window.max(axis=2)
            best = window.argmax(axis=2)
            across = right - left
            places[:, :, row, column] = (top + best // across) * width + left + best % across
    return (values, places) if len(layer.tops) > 1 else values


def upsample(layer: LayerSpec, bottoms: list[Blob]) -> Blob:
    x, p = bottoms[0], layer.params
    n, channels, height, width = x.shape
    if len(bottoms) == 1:
        scale = p.get("scale", p.get("stride", 1))
        return x.repeat(scale, axis=2).repeat(scale, axis=3)
    size = (
        p.get("upsample_h", height * p.get("scale", 2) - p.get("pad_out_h", 0)),
        p.get("upsample_w", width * p.get("scale", 2) - p.get("pad_out_w", 0)),
    )
    result = np.zeros((n, channels, size[0] * size[1]))
    for image in range(n):
        for channel in range(channels):
            places = bottoms[1][image, channel].astype(int).ravel()
            for place, value in zip(places, x[image, channel].ravel(), strict=True):
                result[image, channel, place] = value
    return result.reshape(n, channels, *size)


def interp(layer: LayerSpec, bottoms: list[Blob]) -> Blob:
    x, p = bottoms[0], layer.params
    beg, end = p.get("pad_beg", 0), p.get("pad_end", 0)
    x = x[:, :, -beg or None : end or None, -beg or None : end or None]
    shrink, zoom = p.get("shrink_factor", 1), p.get("zoom_factor", 1)
    size = [(n - 1) // shrink + 1 for n in x.shape[2:]]
    size = [n + (n - 1) * (zoom - 1) for n in size]
    if "height" in p:
        size = [p["height"], p["width"]]
    if len(bottoms) > 1:
        size = list(bottoms[1].shape[2:])
    for axis in (2, 3):
        old, new = x.shape[axis], size[axis - 2]
        position = np.arange(new) * ((old - 1) / (new - 1) if new > 1 else 0)
        low = np.minimum(position.astype(int), old - 1)
        high = np.minimum(low + 1, old - 1)
        part = (position - low).reshape(-1, *(1,) * (3 - axis))
        x = np.take(x, low, axis) * (1 - part) + np.take(x, high, axis) * part
    return x


def batch_norm(layer: LayerSpec, bottoms: list[Blob]) -> Blob:
    (x,), p = bottoms, layer.params
    shape = (1, -1, *(1,) * (x.ndim - 2))
    if p.get("use_global_stats") is False:
        axes = (0, *range(2, x.ndim))
        mean, variance = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    else:
        factor = 0 if layer.blobs[2][0] == 0 else 1 / float(layer.blobs[2][0])
        mean, variance = (blob.astype(np.float64).reshape(shape) * factor for blob in layer.blobs[:2])
    y = (x - mean) / np.sqrt(variance + p.get("eps", 1e-5))
    return y * layer.blobs[3].reshape(shape) + layer.blobs[4].reshape(shape) if len(layer.blobs) > 3 else y


def bn(layer: LayerSpec, bottoms: list[Blob]) -> Blob:
    (x,), p = bottoms, layer.params
    scale, bias, *statistics = (blob.reshape(1, -1, 1, 1) for blob in layer.blobs)
    if statistics:
        x = (x - statistics[0]) / np.sqrt(statistics[1] + p.get("eps", 1e-5))
    elif p.get("bn_mode") != "INFERENCE":
        x = (x - x.mean((0, 2, 3), keepdims=True)) / np.sqrt(x.var((0, 2, 3), keepdims=True) + 1e-9)
    return x * scale + bias


def _from_axis(value: NDArray[Any], x: Blob, axis: int) -> NDArray[Any]:
    axis = axis % x.ndim if value.ndim else 0
    return value.reshape(*value.shape, *(1,) * (x.ndim - axis - value.ndim))


def scale(layer: LayerSpec, bottoms: list[Blob]) -> Blob:
    x, axis = bottoms[0], layer.params.get("axis", 1)
    operands = [*bottoms[1:], *layer.blobs]
    y = x * _from_axis(np.asarray(operands[0]), x, axis)
    return y + _from_axis(operands[1], x, axis) if layer.params.get("bias_term") else y


def bias(layer: LayerSpec, bottoms: list[Blob]) -> Blob:
    x = bottoms[0]
    return x + _from_axis(np.asarray([*bottoms[1:], *layer.blobs][0]), x, layer.params.get("axis", 1))


def lrn(layer: LayerSpec, bottoms: list[Blob]) -> Blob:
    (x,), p = bottoms, layer.params
    n, alpha, beta = p.get("local_size", 5), p.get("alpha", 1.0), p.get("beta", 0.75)
    if p.get("norm_region") == "WITHIN_CHANNEL":
        square = np.pad(x * x, ((0, 0), (0, 0), (n // 2,) * 2, (n // 2,) * 2))
        total = sum(square[:, :, i : i + x.shape[2], j : j + x.shape[3]] for i in range(n) for j in range(n))
        padded = [x.shape[2] + n // 2, x.shape[3] + n // 2]
        rows, columns = (
            np.array([min(i - n // 2 + n, padded[axis]) - (i - n // 2) for i in range(x.shape[2 + axis])])
            for axis in (0, 1)
        )
        return x * (1 + alpha * total / np.outer(rows, columns)) ** -beta
    square = np.pad(x * x, ((0, 0), (n // 2,) * 2, (0, 0), (0, 0)))
    total = sum(square[:, i : i + x.shape[1]] for i in range(n))
    return x * (p.get("k", 1.0) + alpha / n * total) ** -beta


def mvn(layer: LayerSpec, bottoms: list[Blob]) -> Blob:
    (x,), p = bottoms, layer.params
    axes = (1, 2, 3) if p.get("across_channels") else (2, 3)
    centered = x - x.mean(axes, keepdims=True)
    if p.get("normalize_variance") is False:
        return centered
    return centered / (np.sqrt((centered**2).mean(axes, keepdims=True)) + p.get("eps", 1e-9))


def normalize(layer: LayerSpec, bottoms: list[Blob]) -> Blob:
    (x,), p = bottoms, layer.params
    axes = (1, 2, 3) if p.get("across_spatial", True) else (1,)
    norm = np.sqrt((x * x).sum(axes, keepdims=True) + p.get("eps", 1e-10))
    return x / norm * layer.blobs[0].reshape(1, -1, 1, 1)


def softmax(layer: LayerSpec, bottoms: list[Blob]) -> Blob:
    (x,) = bottoms
    axis = layer.params.get("axis", 1)
    y = np.exp(x - x.max(axis, keepdims=True))
    return y / y.sum(axis, keepdims=True)


def concat(layer: LayerSpec, bottoms: list[Blob]) -> Blob:
    return np.concatenate(bottoms, layer.params.get("concat_dim", layer.params.get("axis", 1)))


def slice_(layer: LayerSpec, bottoms: list[Blob]) -> tuple[Blob, ...]:
    (x,), p = bottoms, layer.params
    axis = p.get("slice_dim", p.get("axis", 1))
    points = p.get("slice_point")
    return tuple(np.split(x, len(layer.tops) if points is None else points, axis))


def eltwise(layer: LayerSpec, bottoms: list[Blob]) -> Blob:
    operation = layer.params.get("operation", "SUM")
    if operation == "MAX":
        return np.max(bottoms, axis=0)
    if operation == "PROD":
        return np.prod(bottoms, axis=0)
    factors = layer.params.get("coeff", [1] * len(bottoms))
    return np.sum([f * x for f, x in zip(factors, bottoms, strict=True)], axis=0)


def axpy(layer: LayerSpec, bottoms: list[Blob]) -> Blob:
    factor, x, y = bottoms
    return factor.reshape(*x.shape[:2], 1, 1) * x + y


def flatten(layer: LayerSpec, bottoms: list[Blob]) -> Blob:
    (x,) = bottoms
    first, last = layer.params.get("axis", 1) % x.ndim, layer.params.get("end_axis", -1) % x.ndim
    return x.reshape(*x.shape[:first], -1, *x.shape[last + 1 :])


def reshape(layer: LayerSpec, bottoms: list[Blob]) -> Blob:
    (x,), p = bottoms, layer.params
    axis, dims = p.get("axis", 0), p["shape"]["dim"]
    first = axis if axis >= 0 else x.ndim + axis + 1
    last = x.ndim if p.get("num_axes", -1) == -1 else first + p["num_axes"]
    new = [x.shape[first + i] if size == 0 else size for i, size in enumerate(dims)]
    if -1 in new:
        given = math.prod(x.shape[first:last])
        new[new.index(-1)] = given // math.prod(size for size in new if size != -1)
    return x.reshape(*x.shape[:first], *new, *x.shape[last:])


def permute(layer: LayerSpec, bottoms: list[Blob]) -> Blob:
    order = list(layer.params["order"])
    return bottoms[0].transpose(order + [i for i in range(bottoms[0].ndim) if i not in order])


def crop(layer: LayerSpec, bottoms: list[Blob]) -> Blob:
    x, like = bottoms
    axis = layer.params.get("axis", 2) % x.ndim
    offsets = layer.params.get("offset", [0])
    offsets = offsets * (x.ndim - axis) if len(offsets) == 1 else offsets
    for i, offset in enumerate(offsets):
        x = np.take(x, range(offset, offset + like.shape[axis + i]), axis + i)
    return x


def tile(layer: LayerSpec, bottoms: list[Blob]) -> Blob:
    return np.concatenate([bottoms[0]] * layer.params["tiles"], layer.params.get("axis", 1))


def reduction(layer: LayerSpec, bottoms: list[Blob]) -> Blob:
    (x,), p = bottoms, layer.params
    axes = tuple(range(p.get("axis", 0) % x.ndim, x.ndim))
    operation = p.get("operation", "SUM")
    y = {"ASUM": np.abs(x), "SUMSQ": x * x}.get(operation, x)
    return np.asarray((y.mean(axes) if operation == "MEAN" else y.sum(axes)) * p.get("coeff", 1))


def arg_max(layer: LayerSpec, bottoms: list[Blob]) -> Blob:
    (x,), p = bottoms, layer.params
    k = p.get("top_k", 1)
    rows = np.moveaxis(x, p["axis"], -1) if "axis" in p else x.reshape(len(x), -1)
    flat = rows.reshape(-1, rows.shape[-1])
    best = [sorted(range(len(row)), key=lambda i, row=row: (row[i], i), reverse=True)[:k] for row in flat]
    values = np.take_along_axis(flat, np.array(best), 1)
    if "axis" in p:
        chosen = values if p.get("out_max_val") else np.array(best, np.float64)
        return np.moveaxis(chosen.reshape(*rows.shape[:-1], k), -1, p["axis"])
    stack = [np.array(best, np.float64)] + ([values] if p.get("out_max_val") else [])
    return np.stack(stack, axis=1).reshape(len(x), len(stack), k, *(1,) * max(x.ndim - 3, 0))


def shuffle_channel(layer: LayerSpec, bottoms: list[Blob]) -> Blob:
    (x,) = bottoms
    channels, group = x.shape[1], layer.params["group"]
    result = np.zeros_like(x)
    for channel in range(channels):
        g, i = divmod(channel, channels // group)
        result[:, i * group + g] = x[:, channel]
    return result


def prelu(layer: LayerSpec, bottoms: list[Blob]) -> Blob:
    slope = layer.blobs[0].reshape(-1, *(1,) * (bottoms[0].ndim - 2))
    return np.where(bottoms[0] > 0, bottoms[0], bottoms[0] * slope)


def _base(params: Mapping[str, Any]) -> float:
    return math.e if params.get("base", -1) == -1 else params["base"]


def _each(function: Callable[[Blob, Mapping[str, Any]], Blob]) -> Callable[..., Blob]:
    return lambda layer, bottoms: function(bottoms[0], layer.params)


def _inside(x: Blob, p: Mapping[str, Any]) -> Blob:
    return p.get("shift", 0) + p.get("scale", 1) * x


LAYERS: dict[str, Callable[[LayerSpec, list[Any]], Any]] = {
    "Convolution": convolution,
    "ConvolutionDepthwise": convolution,
    "DepthwiseConvolution": convolution,
    "Deconvolution": deconvolution,
    "InnerProduct": inner_product,
    "Pooling": pooling,
    "Upsample": upsample,
    "Interp": interp,
    "BatchNorm": batch_norm,
    "BN": bn,
    "Scale": scale,
    "Bias": bias,
    "LRN": lrn,
    "MVN": mvn,
    "Normalize": normalize,
    "NormalizeBBox": normalize,
    "Softmax": softmax,
    "Concat": concat,
    "Slice": slice_,
    "Split": lambda layer, bottoms: (bottoms[0],) * len(layer.tops),
    "Eltwise": eltwise,
    "Axpy": axpy,
    "Flatten": flatten,
    "Reshape": reshape,
    "Permute": permute,
    "Crop": crop,
    "Tile": tile,
    "Reduction": reduction,
    "ArgMax": arg_max,
    "ShuffleChannel": shuffle_channel,
    "PReLU": prelu,
    "ReLU": _each(lambda x, p: np.where(x > 0, x, x * p.get("negative_slope", 0))),
    "ReLU6": _each(lambda x, p: np.clip(x, 0, 6)),
    "Clip": _each(lambda x, p: np.clip(x, p["min"], p["max"])),
    "ELU": _each(lambda x, p: np.where(x > 0, x, p.get("alpha", 1) * np.expm1(np.minimum(x, 0)))),
    "Sigmoid": _each(lambda x, p: 1 / (1 + np.exp(-x))),
    "TanH": _each(lambda x, p: np.tanh(x)),
    "AbsVal": _each(lambda x, p: np.abs(x)),
    "BNLL": _each(lambda x, p: np.log1p(np.exp(x))),
    "Power": _each(lambda x, p: _inside(x, p) ** p.get("power", 1)),
    "Exp": _each(lambda x, p: _base(p) ** _inside(x, p)),
    "Log": _each(lambda x, p: np.log(_inside(x, p)) / math.log(_base(p))),
    "Threshold": _each(lambda x, p: (x > p.get("threshold", 0)).astype(np.float64)),
    "Swish": _each(lambda x, p: x / (1 + np.exp(-p.get("beta", 1) * x))),
    "Mish": _each(lambda x, p: x * np.tanh(np.log1p(np.exp(x)))),
    "Dropout": _each(lambda x, p: x if p.get("scale_train", True) else x * (1 - p.get("dropout_ratio", 0.5))),
}

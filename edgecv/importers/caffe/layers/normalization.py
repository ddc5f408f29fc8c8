"""BatchNorm, Scale and Bias, LRN, MVN, Normalize, Softmax."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgecv.importers.caffe.step import Converter, Step, Tensor
from edgecv.types import FloatArray

_INFERENCE = 1
_WITHIN_CHANNEL = 1


def batch_norm(step: Step) -> str:
    """(x - mean) / sqrt(variance + eps), both kept as sums with the weight of the sums beside them.

    NVIDIA's fork adds a scale and a bias. With `use_global_stats: false` the statistics are the map's.
    """
    p = step.message.batch_norm_param
    if p.HasField("use_global_stats") and not p.use_global_stats:
        return _standardize(step, [0, *range(2, len(step.shape))], p.eps, inside=True)
    channels = step.channels if len(step.shape) > 1 else 1
    each = (channels,)
    wanted = [("mean", each), ("variance", each), ("weight of the sums", (1,))]
    if p.scale_bias or p.HasField("scale_filler") or p.HasField("bias_filler"):
        wanted += [("scale", each), ("bias", each)]
    mean, variance, weight, *affine = step.blobs(*wanted)
    factor = np.float32(0 if weight[0] == 0 else 1 / weight[0])
    scale, bias = affine or (np.ones(each, np.float32), np.zeros(each, np.float32))
    with np.errstate(over="ignore", invalid="ignore"):
        return _normalize(step, scale, bias, mean * factor, variance * factor, p.eps)


def bn(step: Step) -> str:
    """BN of SegNet (scale and bias; statistics folded into them), and of PSPNet (with mean, variance)."""
    p = step.message.bn_param
    each = (step.channels,)
    if step.blob_count() == 4:
        roles = ("scale", "bias", "mean", "variance")
        scale, bias, mean, variance = step.blobs(*((role, each) for role in roles))
        return _normalize(step, scale, bias, mean, variance, p.var_eps if p.HasField("var_eps") else p.eps)
    scale, bias = step.blobs(("scale", each), ("bias", each))
    shape = (step.channels, *(1,) * (len(step.shape) - 2))
    value = step.input
    if p.bn_mode != _INFERENCE:
        value = _standardize(step, [0, *range(2, len(step.shape))], 1e-9, inside=True, part="standard")
    scaled = step.add("Mul", [value, step.constant(scale.reshape(shape), "scale")], part="scaled")
    return step.add("Add", [scaled, step.constant(bias.reshape(shape), "bias")])


def scale(step: Step) -> str:
    """x * scale, and + bias; the scale is a weight, or the second bottom."""
    p = step.message.scale_param
    factor, constants = _operand(step, p, "scale", "bias" if p.bias_term else None)
    if not p.bias_term:
        return step.add("Mul", [step.input, factor])
    product = step.add("Mul", [step.input, factor], part="scaled")
    return step.add("Add", [product, constants[-1]])


def bias(step: Step) -> str:
    """x + bias, a weight or the second bottom."""
    summand, _ = _operand(step, step.message.bias_param, "bias", None)
    return step.add("Add", [step.input, summand])


def lrn(step: Step) -> str:
    """x / (k + alpha * mean of squares) ^ beta, over channels or over a square of each channel."""
    p = step.message.lrn_param
    size = step.size(p.local_size, "local_size")
    if size % 2 == 0:
        raise step.error(f"local_size {size}: expected an odd number")
    if p.norm_region != _WITHIN_CHANNEL:
        return step.add("LRN", [step.input], alpha=p.alpha, beta=p.beta, bias=p.k, size=size)
    if len(step.shape) != 4:
        raise step.error(f"a bottom of shape {step.shape}: expected (batch, channels, height, width)")
    square = step.add("Mul", [step.input, step.input], part="square")
    mean = step.add(
        "AveragePool",
        [square],
        part="mean",
        kernel_shape=[size, size],
        pads=[size // 2] * 4,
        count_include_pad=1,
    )
    scaled = step.add("Mul", [mean, step.scalar(p.alpha, "alpha")], part="scaled")
    # Caffe adds 1 here, whatever `k` says.
    shifted = step.add("Add", [scaled, step.scalar(1.0, "one")], part="shifted")
    factor = step.add("Pow", [shifted, step.scalar(-p.beta, "beta")], part="factor")
    return step.add("Mul", [step.input, factor])


def mvn(step: Step) -> str:
    """x less its mean, and over its deviation; of each channel, or of all."""
    p = step.message.mvn_param
    axes = list(range(1 if p.across_channels else 2, len(step.shape)))
    if not axes:
        raise step.error(f"a bottom of shape {step.shape}: expected (batch, channels, height, width)")
    if p.normalize_variance:
        return _standardize(step, axes, p.eps, inside=False)
    mean = step.add("ReduceMean", [step.input], part="mean", axes=axes, keepdims=1)
    return step.add("Sub", [step.input, mean])


def normalize(step: Step) -> str:
    """Normalize of SSD: x / sqrt(sum of squares + eps) * scale, over channels or over all."""
    name = "normalize_bbox_param" if step.message.HasField("normalize_bbox_param") else "norm_param"
    p = getattr(step.message, name)
    if len(step.shape) < 2:
        raise step.error(f"a bottom of shape {step.shape}: expected (batch, channels...)")
    scales = 1 if p.channel_shared else step.channels
    (factor,) = step.blobs(("scale", (scales,)))
    factor = factor.reshape(scales, *(1,) * (len(step.shape) - 2))
    axes = list(range(1, len(step.shape))) if p.across_spatial else [1]
    squares = step.add("ReduceSumSquare", [step.input], part="squares", axes=axes, keepdims=1)
    shifted = step.add("Add", [squares, step.scalar(p.eps, "eps")], part="shifted")
    norm = step.add("Sqrt", [shifted], part="norm")
    unit = step.add("Div", [step.input, norm], part="unit")
    return step.add("Mul", [unit, step.constant(factor, "scale")])


def softmax(step: Step) -> str:
    """Of one axis."""
    axis, rank = step.axis(step.message.softmax_param.axis), len(step.shape)
    if all(size == 1 for size in step.shape[axis + 1 :]):
        return step.add("Softmax", [step.input], axis=axis)
    # The operator took every axis from the given one on for one, before version 13.
    order = [number for number in range(rank) if number != axis] + [axis]
    back = [order.index(number) for number in range(rank)]
    value = step.add("Transpose", [step.input], part="last", perm=order)
    value = step.add("Softmax", [value], part="softmax", axis=rank - 1)
    return step.add("Transpose", [value], perm=back)


def _normalize(
    step: Step, scale: FloatArray, bias: FloatArray, mean: FloatArray, variance: FloatArray, eps: float
) -> str:
    roles = {"scale": scale, "bias": bias, "mean": mean, "variance": variance}
    names = [step.constant(value, role) for role, value in roles.items()]
    return step.add("BatchNormalization", [step.input, *names], epsilon=eps)


def _standardize(step: Step, axes: list[int], eps: float, *, inside: bool, part: str = "") -> str:
    """(x - mean) / deviation over the axes. inside: whether eps is added to the variance."""
    mean = step.add("ReduceMean", [step.input], part="mean", axes=axes, keepdims=1)
    centered = step.add("Sub", [step.input, mean], part="centered")
    squares = step.add("Mul", [centered, centered], part="squares")
    spread = step.add("ReduceMean", [squares], part="variance", axes=axes, keepdims=1)
    small = step.scalar(eps, "eps")
    if inside:
        spread = step.add("Add", [spread, small], part="shifted")
        spread = step.add("Sqrt", [spread], part="deviation")
    else:
        spread = step.add("Sqrt", [spread], part="deviation")
        spread = step.add("Add", [spread, small], part="shifted")
    return step.add("Div", [centered, spread], part=part)


def _operand(step: Step, p: Any, role: str, also: str | None) -> tuple[str, list[str]]:
    """The factor or summand, shaped so that it broadcasts, and the constants among the operands.

    also: the role of a further weight of the same shape.
    """
    step.expect_bottoms(1, 2)
    shape = step.shape
    num_axes = p.num_axes
    second: Tensor | None = None
    if len(step.bottoms) == 2:
        _, second = step.tensors()
        covered = second.shape
        axis = 0 if not covered else step.axis(p.axis)
    else:
        axis = 0 if num_axes == 0 else step.axis(p.axis)
        if num_axes < -1 or axis + num_axes > len(shape):
            raise step.error(f"axis {p.axis} and num_axes {num_axes} of a bottom of {len(shape)} axes")
        covered = shape[axis:] if num_axes == -1 else shape[axis : axis + num_axes]
    if covered != shape[axis : axis + len(covered)]:
        raise step.error(f"bottoms of shapes {shape} and {covered}: expected the second from axis {axis} on")
    broadcast = (*covered, *(1,) * (len(shape) - axis - len(covered)))
    wanted = ([] if second else [(role, covered)]) + ([(also, covered)] if also else [])
    arrays = step.blobs(*wanted) if wanted else []
    constants = [
        step.constant(array.reshape(broadcast), name) for array, (name, _) in zip(arrays, wanted, strict=True)
    ]
    if second:
        return step.reshape(second.name, broadcast, part=role), constants
    return constants[0], constants


CONVERTERS: dict[str, Converter] = {
    "BatchNorm": batch_norm,
    "BN": bn,
    "Scale": scale,
    "Bias": bias,
    "LRN": lrn,
    "MVN": mvn,
    "Normalize": normalize,
    "NormalizeBBox": normalize,
    "Softmax": softmax,
}

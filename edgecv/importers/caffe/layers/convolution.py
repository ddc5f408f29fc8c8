"""Layers with a matrix of weights: Convolution, Deconvolution, InnerProduct."""

from __future__ import annotations

from typing import Any

from edgecv.importers.caffe.prototxt import Shape
from edgecv.importers.caffe.step import Converter, Step, count

_AXES = ("h", "w")


def convolution(step: Step) -> str:
    """Weights (outputs, channels / group, kernel...); rounds its size down."""
    step.expect_bottoms(1)
    p = step.message.convolution_param
    outputs, group, attributes = _geometry(step, p)
    if step.layer.type in _DEPTHWISE and not p.HasField("group"):
        group = attributes["group"] = step.channels
    if step.channels % group or outputs % group:
        raise step.error(f"group {group} divides neither or one of {step.channels} channels to {outputs}")
    weights = (outputs, step.channels // group, *attributes["kernel_shape"])
    return _apply(step, "Conv", p.bias_term, weights, outputs, attributes)


def deconvolution(step: Step) -> str:
    """Weights (channels, outputs / group, kernel...)."""
    step.expect_bottoms(1)
    p = step.message.convolution_param
    outputs, group, attributes = _geometry(step, p)
    if step.channels % group or outputs % group:
        raise step.error(f"group {group} divides neither or one of {step.channels} channels to {outputs}")
    weights = (step.channels, outputs // group, *attributes["kernel_shape"])
    return _apply(step, "ConvTranspose", p.bias_term, weights, outputs, attributes)


def inner_product(step: Step) -> str:
    """One product with all axes from `axis` on; the axes before it stay."""
    step.expect_bottoms(1)
    p = step.message.inner_product_param
    outputs = step.size(p.num_output, "num_output")
    axis = step.axis(p.axis)
    shape = step.shape
    inputs = count(shape[axis:])
    weights = (inputs, outputs) if p.transpose else (outputs, inputs)
    wanted: list[tuple[str, Shape]] = [("weights", weights)]
    if p.bias_term:
        wanted.append(("bias", (outputs,)))
    names = [step.constant(b, role) for b, (role, _) in zip(step.blobs(*wanted), wanted, strict=True)]
    result = (*shape[:axis], outputs)
    rows = step.input
    if len(shape) > 2 or axis != 1:
        rows = (
            step.add("Flatten", [rows], part="flat", axis=1)
            if axis == 1
            else step.reshape(rows, (count(shape[:axis]), inputs), part="rows")
        )
    part = "" if result == (count(shape[:axis]), outputs) else "product"
    product = step.add("Gemm", [rows, *names], part=part, transB=0 if p.transpose else 1)
    return step.reshape(product, result)


def _geometry(step: Step, p: Any) -> tuple[int, int, dict[str, Any]]:
    """Number of outputs, groups, and the attributes of the node."""
    if p.axis != 1:
        raise step.error(f"axis {p.axis}: expected 1, a convolution over all axes after the channels")
    rank = len(step.shape) - 2
    if rank < 1:
        raise step.error(f"a bottom of shape {step.shape}: expected (batch, channels, size...)")
    outputs, group = step.size(p.num_output, "num_output"), step.size(p.group, "group")
    kernel = _sizes(step, p, "kernel", list(p.kernel_size), rank, None)
    pads = _sizes(step, p, "pad", list(p.pad), rank, 0)
    return (
        outputs,
        group,
        {
            "kernel_shape": kernel,
            "strides": _sizes(step, p, "stride", list(p.stride), rank, 1),
            "pads": pads * 2,
            "dilations": _dilations(step, p, rank),
            "group": group,
        },
    )


def _dilations(step: Step, p: Any, rank: int) -> list[int]:
    """Of `dilation`, or of `hole` as DeepLab's fork calls it."""
    if p.hole or p.HasField("hole_h"):
        return _sizes(step, p, "hole", list(p.hole), rank, 1)
    return _sizes(step, p, "dilation", list(p.dilation), rank, 1)


def _sizes(step: Step, p: Any, what: str, given: list[int], rank: int, default: int | None) -> list[int]:
    """One number an axis, of a field that holds one for all or one each, or of its _h and _w."""
    single = [getattr(p, f"{what}_{axis}") for axis in _AXES if p.HasField(f"{what}_{axis}")]
    if single:
        if given or len(single) != 2 or rank != 2:
            raise step.error(f"{what}: expected {what}_h and {what}_w for two axes, or {what} alone")
        given = single
    if not given and default is not None:
        given = [default]
    if len(given) not in (1, rank):
        raise step.error(f"{what}: {len(given)} sizes for {rank} axes: expected one, or one each")
    least = 0 if what == "pad" else 1
    sizes = [step.size(value, what, least=least) for value in given]
    return sizes * rank if len(sizes) == 1 else sizes


def _apply(step: Step, op: str, bias: bool, shape: Shape, outputs: int, attributes: dict[str, Any]) -> str:
    wanted: list[tuple[str, Shape]] = [("weights", shape)]
    if bias:
        wanted.append(("bias", (outputs,)))
    names = [step.constant(b, role) for b, (role, _) in zip(step.blobs(*wanted), wanted, strict=True)]
    return step.add(op, [step.input, *names], **attributes)


_DEPTHWISE = ("ConvolutionDepthwise", "DepthwiseConvolution")

CONVERTERS: dict[str, Converter] = {
    "Convolution": convolution,
    **dict.fromkeys(_DEPTHWISE, convolution),
    "Deconvolution": deconvolution,
    "InnerProduct": inner_product,
}

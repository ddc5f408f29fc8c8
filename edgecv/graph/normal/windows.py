"""Normal forms of convolutions, pools, reductions and Resize: every attribute explicit, padding in numbers.

Each rule leaves a node alone that is in its normal form already; `normalize` has the table.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from edgecv.errors import ModelFileError
from edgecv.graph.normal.reindex import reshaped
from edgecv.graph.rewrite import (
    Rewrite,
    attribute,
    attributes,
    constant,
    given,
    integers,
    rank,
    shape,
)

Ints = tuple[int, ...]


def _set(rewrite: Rewrite, node: ir.Node, **numbers: Sequence[int] | int) -> None:
    """Write attributes of whole numbers, where they differ."""
    for name, value in numbers.items():
        wanted = value if isinstance(value, int) else list(value)
        if attribute(node, name) == wanted:
            continue
        node.attributes[name] = (
            ir.AttrInt64(name, value) if isinstance(value, int) else ir.AttrInt64s(name, list(value))
        )
        rewrite.changed = True


def same_pads(
    sizes: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    *,
    upper: bool,
) -> Ints:
    """What SAME_UPPER and SAME_LOWER stand for: begin of each axis, then end of each."""
    begin, end = [], []
    for size, k, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True):
        total = max(0, (-(-size // stride) - 1) * stride + (k - 1) * dilation + 1 - size)
        begin.append(total // 2 if upper else total - total // 2)
        end.append(total - begin[-1])
    return (*begin, *end)


def _lift(rewrite: Rewrite, node: ir.Node) -> bool:
    """A window over one axis becomes one over two, the first of size 1."""
    x, y = node.inputs[0], node.outputs[0]
    sizes, made = shape(x), shape(y)
    if x is None or sizes is None or made is None or len(sizes) != 3 or len(node.outputs) > 1:
        return False
    inputs: list[ir.Value | None] = [reshaped(rewrite, node, x, (*sizes[:2], 1, sizes[2])), *node.inputs[1:]]
    if len(inputs) > 1 and inputs[1] is not None:
        weights = inputs[1]
        array, of_weights = constant(weights), shape(weights)
        if of_weights is None:
            return False
        wide = (*of_weights[:2], 1, of_weights[2])
        inputs[1] = (
            rewrite.constant(array.reshape(wide), f"{weights.name}/wide")
            if array is not None
            else reshaped(rewrite, node, weights, wide)
        )
    changed = attributes(node)
    for name, filler in (("kernel_shape", 1), ("strides", 1), ("dilations", 1), ("output_padding", 0)):
        if name in changed:
            changed[name] = ir.AttrInt64s(name, [filler, *attribute(node, name)])
    if "output_shape" in changed:
        changed["output_shape"] = ir.AttrInt64s("output_shape", [1, attribute(node, "output_shape")[-1]])
    if "pads" in changed:
        begin, end = attribute(node, "pads")
        changed["pads"] = ir.AttrInt64s("pads", [0, begin, 0, end])
    flat = rewrite.node(node, node.op_type, inputs, changed)
    flat.outputs[0].shape = ir.Shape((*made[:2], 1, made[2]))
    rewrite.replace(y, reshaped(rewrite, node, flat.outputs[0], made), what="one axis of pixels becomes two")
    return True


def conv(rewrite: Rewrite, node: ir.Node) -> None:
    """Conv and ConvTranspose: kernel_shape, strides, dilations, group, pads explicit; no auto_pad."""
    x, weights = node.inputs[0], shape(node.inputs[1])
    axes = rank(x)
    if x is None or axes is None or _lift(rewrite, node):
        return
    _check_channels(node, shape(x), weights)
    ones = [1] * (axes - 2)
    kernel = attribute(node, "kernel_shape") or (list(weights[2:]) if weights else None)
    if kernel is None:
        return
    strides, dilations = attribute(node, "strides") or ones, attribute(node, "dilations") or ones
    _set(
        rewrite,
        node,
        kernel_shape=kernel,
        strides=strides,
        dilations=dilations,
        group=attribute(node, "group", 1),
    )
    auto, sizes = attribute(node, "auto_pad", "NOTSET"), shape(x)
    pads = attribute(node, "pads") or [0] * (2 * len(ones))
    if node.op_type == "ConvTranspose":
        _transposed(rewrite, node, auto, pads)
        return
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        if sizes is None:
            rewrite.miss(node, "the padding depends on sizes that are not known")
            return
        pads = list(same_pads(sizes[2:], kernel, strides, dilations, upper=auto == "SAME_UPPER"))
    elif auto == "VALID":
        pads = [0] * (2 * len(ones))
    _set(rewrite, node, pads=pads)
    node.attributes.pop("auto_pad", None)


def _check_channels(node: ir.Node, sizes: Ints | None, weights: Ints | None) -> None:
    """Raises ModelFileError for a wrong number of channels, which shape inference lets pass."""
    if sizes is None or weights is None:
        return
    expected = weights[0] if node.op_type == "ConvTranspose" else weights[1] * attribute(node, "group", 1)
    if sizes[1] != expected:
        raise ModelFileError(
            f"{node.name}: {node.op_type} of {sizes[1]} channels: expected {expected}, "
            f"as its weights {weights} have"
        )


def _transposed(rewrite: Rewrite, node: ir.Node, auto: str, pads: list[int]) -> None:
    sizes = shape(node.inputs[0])
    kernel, strides = attribute(node, "kernel_shape"), attribute(node, "strides")
    extra = attribute(node, "output_padding") or [0] * len(kernel)
    wanted = attribute(node, "output_shape")
    if auto == "NOTSET" and wanted is None:
        _set(rewrite, node, pads=pads, output_padding=extra)
        node.attributes.pop("auto_pad", None)
        return
    if sizes is None:
        rewrite.miss(node, "the padding depends on sizes that are not known")
        return
    full = [
        (size - 1) * stride + (k - 1) * dilation + 1
        for size, stride, k, dilation in zip(
            sizes[2:], strides, kernel, attribute(node, "dilations"), strict=True
        )
    ]
    if auto == "VALID":
        pads = [0] * (2 * len(kernel))
        wanted = wanted or [f + e for f, e in zip(full, extra, strict=True)]
    if wanted is None:
        wanted = [size * stride for size, stride in zip(sizes[2:], strides, strict=True)]
    wanted = wanted[-len(kernel) :]
    begin, end = [], []
    for i, (whole, size) in enumerate(zip(full, wanted, strict=True)):
        total = whole + extra[i] - size
        if total < 0:
            extra[i] -= total
            total = 0
        begin.append(total // 2 if auto == "SAME_UPPER" else total - total // 2)
        end.append(total - begin[-1])
    _set(rewrite, node, pads=[*begin, *end], output_padding=extra)
    node.attributes.pop("auto_pad", None)
    node.attributes.pop("output_shape", None)


def pool(rewrite: Rewrite, node: ir.Node) -> None:
    """MaxPool, AveragePool, LpPool: attributes explicit; a reduction where the window is the whole picture.

    ceil_mode becomes padding at the end, but where that would count in an average.
    """
    x, y = node.inputs[0], node.outputs[0]
    sizes, made = shape(x), shape(y)
    if x is None or sizes is None or made is None or _lift(rewrite, node):
        return
    kernel = attribute(node, "kernel_shape")
    ones = [1] * len(kernel)
    strides, dilations = attribute(node, "strides") or ones, attribute(node, "dilations") or ones
    auto, pads = attribute(node, "auto_pad", "NOTSET"), attribute(node, "pads") or [0] * (2 * len(kernel))
    ceil = attribute(node, "ceil_mode", 0)
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        pads, ceil = list(same_pads(sizes[2:], kernel, strides, dilations, upper=auto == "SAME_UPPER")), 0
    elif auto == "VALID":
        pads, ceil = [0] * (2 * len(kernel)), 0
    counts = attribute(node, "count_include_pad", 0)
    if ceil and not (counts or node.op_type == "LpPool"):
        axes = len(kernel)
        for i, size in enumerate(sizes[2:]):
            end = (made[2 + i] - 1) * strides[i] + (kernel[i] - 1) * dilations[i] + 1
            pads[axes + i] = max(pads[axes + i], end - size - pads[i])
        ceil = 0
    _set(rewrite, node, strides=strides, dilations=dilations, pads=pads, ceil_mode=ceil)
    node.attributes.pop("auto_pad", None)
    if node.op_type == "AveragePool":
        _set(rewrite, node, count_include_pad=counts)
    elif node.op_type == "MaxPool":
        _set(rewrite, node, storage_order=attribute(node, "storage_order", 0))
    is_whole = list(kernel) == list(sizes[2:]) and not any(pads) and all(n == 1 for n in made[2:])
    reduction = {"AveragePool": "ReduceMean", "MaxPool": "ReduceMax"}.get(node.op_type)
    if is_whole and reduction and len(node.outputs) == 1 and all(d == 1 for d in dilations):
        new = _reduced(rewrite, node, reduction, x, range(2, len(sizes)))
        rewrite.replace(y, new, what=f"{node.op_type} of the whole picture: {reduction}")
    elif node.op_type == "LpPool":
        _lp_pool(rewrite, node)


def _lp_pool(rewrite: Rewrite, node: ir.Node) -> None:
    """A power, an average that counts the padding, the root of it times the window's size."""
    if attribute(node, "ceil_mode") or node.inputs[0] is None or node.inputs[0].dtype != ir.DataType.FLOAT:
        return
    p, kernel = attribute(node, "p", 2), attribute(node, "kernel_shape")
    numbers = {
        name: rewrite.constant(np.array(value, np.float32), f"{node.name}/{name}")
        for name, value in (("p", p), ("1/p", 1 / p), ("size", np.prod(kernel)))
    }
    raised = rewrite.value(node, "Pow", [rewrite.value(node, "Abs", [node.inputs[0]]), numbers["p"]])
    windows = {k: v for k, v in attributes(node).items() if k not in ("p", "count_include_pad")}
    mean = rewrite.value(node, "AveragePool", [raised], {**windows, "count_include_pad": 1})
    total = rewrite.value(node, "Mul", [mean, numbers["size"]])
    rewrite.replace(node.outputs[0], rewrite.value(node, "Pow", [total, numbers["1/p"]]), what="written out")


def unpool(rewrite: Rewrite, node: ir.Node) -> None:
    """MaxUnpool: strides and pads explicit; the shape of the output where it is given."""
    axes = rank(node.inputs[0])
    wanted = integers(given(node, 2))
    y = node.outputs[0]
    if wanted is not None and shape(y) is None:
        y.shape = ir.Shape(wanted)
        rewrite.changed = True
    if axes is not None:
        ones = [1] * (axes - 2)
        strides, pads = attribute(node, "strides") or ones, attribute(node, "pads") or [0] * (2 * len(ones))
        _set(rewrite, node, strides=strides, pads=pads)


def global_pool(rewrite: Rewrite, node: ir.Node) -> None:
    """GlobalAveragePool, GlobalMaxPool, GlobalLpPool: a reduction over the pixels."""
    x = node.inputs[0]
    axes = rank(x)
    if x is None or axes is None:
        return
    kind = {"GlobalAveragePool": "ReduceMean", "GlobalMaxPool": "ReduceMax"}.get(node.op_type)
    if kind is None:
        kind = {1: "ReduceL1", 2: "ReduceL2"}.get(attribute(node, "p", 2))
    if kind is None:
        rewrite.miss(node, "GlobalLpPool of another norm than 1 and 2")
        return
    new = _reduced(rewrite, node, kind, x, range(2, axes))
    rewrite.replace(node.outputs[0], new, what=f"{node.op_type}: {kind}")


def _reduced(rewrite: Rewrite, before: ir.Node, kind: str, x: ir.Value, axes: Sequence[int]) -> ir.Value:
    operand = rewrite.operand(list(axes), f"{before.name}/axes")
    return rewrite.value(before, kind, [x, operand], {"keepdims": 1})


def reduce(rewrite: Rewrite, node: ir.Node) -> None:
    """Axes a constant input, all of them named, from the front, ascending; keepdims 1, a Reshape after it."""
    x, y = node.inputs[0], node.outputs[0]
    count = rank(x)
    if x is None or count is None:
        return
    operand = given(node, 1)
    axes = integers(operand) if operand is not None else ()
    if axes is None:
        return
    if not axes and attribute(node, "noop_with_empty_axes", 0):
        _without_axes(rewrite, node, x)
        return
    wanted = tuple(sorted({axis % count for axis in axes})) if axes else tuple(range(count))
    if attribute(node, "keepdims", 1) == 0:
        sizes = shape(y)
        if sizes is None:
            return
        new = _reduced(rewrite, node, node.op_type, x, wanted)
        rewrite.replace(y, reshaped(rewrite, node, new, sizes), what="axes kept, then a Reshape")
        return
    if operand is None or axes != wanted or "noop_with_empty_axes" in node.attributes:
        node.attributes.pop("noop_with_empty_axes", None)
        rewrite.set_input(node, 1, rewrite.operand(wanted, f"{node.name}/axes"))
    _set(rewrite, node, keepdims=1)


# What a reduction over no axis does to each element.
_OF_ONE = {"ReduceL1": "Abs", "ReduceL2": "Abs", "ReduceLogSum": "Log"}


def _without_axes(rewrite: Rewrite, node: ir.Node, x: ir.Value) -> None:
    y = node.outputs[0]
    if node.op_type == "ReduceSumSquare":
        new = rewrite.value(node, "Mul", [x, x])
    else:
        new = rewrite.value(node, _OF_ONE.get(node.op_type, "Identity"), [x])
    rewrite.replace(y, new, what=f"{node.op_type} over no axis")


def arg_reduce(rewrite: Rewrite, node: ir.Node) -> None:
    """ArgMax, ArgMin: axis from the front; keepdims 1, a Reshape after it."""
    x, y = node.inputs[0], node.outputs[0]
    count, sizes = rank(x), shape(y)
    if x is None or not count or sizes is None:
        return
    axis = attribute(node, "axis", 0) % count
    last = attribute(node, "select_last_index", 0)
    if attribute(node, "keepdims", 1):
        _set(rewrite, node, axis=axis, keepdims=1, select_last_index=last)
        return
    new = rewrite.value(node, node.op_type, [x], {"axis": axis, "keepdims": 1, "select_last_index": last})
    rewrite.replace(y, reshaped(rewrite, node, new, sizes), what="axis kept, then a Reshape")


# ---- Resize

_RESIZE_DEFAULTS: dict[str, str | int | float] = {
    "mode": "nearest",
    "coordinate_transformation_mode": "half_pixel",
    "nearest_mode": "round_prefer_floor",
    "cubic_coeff_a": -0.75,
    "exclude_outside": 0,
    "extrapolation_value": 0.0,
    "antialias": 0,
    "keep_aspect_ratio_policy": "stretch",
}


def resize(rewrite: Rewrite, node: ir.Node) -> None:
    """Attributes explicit; scales or sizes constant and of all axes; roi only where it is read.

    A policy that keeps the aspect ratio keeps its axes too: `resize_scales` reads them.
    """
    x, y = node.inputs[0], node.outputs[0]
    source, made = shape(x), shape(y)
    if x is None or source is None or made is None:
        return
    inputs = [*node.inputs, None, None, None][:4]
    is_crop = attribute(node, "coordinate_transformation_mode") == "tf_crop_and_resize"
    if all(name in node.attributes for name in _RESIZE_DEFAULTS) and "axes" not in node.attributes:
        scales = constant(inputs[2])
        if not is_crop and source == made and (scales is None or all(scales == 1)):
            rewrite.replace(y, x, what="Resize to the same size")
        return
    if all(name in node.attributes for name in _RESIZE_DEFAULTS):
        return
    policy = attribute(node, "keep_aspect_ratio_policy", "stretch")
    changed = attributes(node)
    values = {name: attribute(node, name, default) for name, default in _RESIZE_DEFAULTS.items()}
    axes = attribute(node, "axes")
    roi, scales_in, sizes_in = (constant(value) for value in inputs[1:])
    if (inputs[2] is not None and scales_in is None) or (inputs[3] is not None and sizes_in is None):
        return
    if axes is not None and policy == "stretch":
        listed = [axis % len(source) for axis in axes]
        changed.pop("axes")
        if scales_in is not None and scales_in.size:
            scales_in = _spread(np.ones(len(source), np.float32), listed, scales_in)
        if sizes_in is not None and sizes_in.size:
            sizes_in = _spread(np.array(source, np.int64), listed, sizes_in)
        if roi is not None and roi.size:
            ends = np.concatenate([np.zeros(len(source)), np.ones(len(source))]).astype(roi.dtype)
            roi = _spread(ends, [*listed, *(len(source) + axis for axis in listed)], roi)
    operands = [
        rewrite.constant(array, f"{node.name}/{name}") if array is not None and array.size else None
        for name, array in (("roi", roi if is_crop else None), ("scales", scales_in), ("sizes", sizes_in))
    ]
    if is_crop and operands[0] is None:
        operands[0] = inputs[1]
    new = rewrite.node(node, "Resize", [x, *operands], {**changed, **values}, like=y)
    rewrite.replace(y, new.outputs[0])


def _spread(whole: np.ndarray, places: list[int], values: np.ndarray) -> np.ndarray:
    whole[places] = values
    return whole


def resize_scales(node: ir.Node) -> tuple[float, ...] | None:
    """For each axis what a normal Resize multiplies sizes by to map coordinates; None where it is not known.

    What the policies mean: ONNX, Operators.md, Resize.
    """
    source, made = shape(node.inputs[0]), shape(node.outputs[0])
    if source is None or made is None:
        return None
    inputs = [*node.inputs, None, None, None][:4]
    axes = [axis % len(source) for axis in attribute(node, "axes") or range(len(source))]
    result = [1.0] * len(source)
    scales, sizes = constant(inputs[2]), integers(inputs[3])
    if scales is not None and scales.size:
        given = [float(scale) for scale in scales]
    elif sizes:
        given = [size / source[axis] for size, axis in zip(sizes, axes, strict=True)]
        policy = attribute(node, "keep_aspect_ratio_policy", "stretch")
        if policy != "stretch":
            given = [min(given) if policy == "not_larger" else max(given)] * len(given)
    else:
        return None
    for axis, scale in zip(axes, given, strict=True):
        result[axis] = scale
    return tuple(result)

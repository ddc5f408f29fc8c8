"""Scales and shifts by constants go into the weights next to them: batch normalization, Mul, Add, Pad.

Products of constants are taken in float64 and rounded once.
"""

from __future__ import annotations

import msgspec
import numpy as np
import onnx_ir as ir

from edgecv.engine.fuse.fused import DOMAIN
from edgecv.graph.normal.reindex import reshaped
from edgecv.graph.rewrite import (
    Array,
    Pass,
    Rewrite,
    attribute,
    constant,
    given,
    is_constant,
    is_float32,
    made_by,
    rank,
    scalar,
    shape,
    single_use,
)

_PRODUCTS = ("Conv", "ConvTranspose", "Gemm")


class _Affine(msgspec.Struct, frozen=True):
    """y = scale x + shift, of constants that broadcast to x; x: which operand of the node it is."""

    scale: Array
    shift: Array
    x: ir.Value


def _affine(node: ir.Node, x: ir.Value | None = None) -> _Affine | None:
    """What a node does to one operand (x, or the one that is not constant): a scale and a shift, or None."""
    one, zero = np.ones((), np.float64), np.zeros((), np.float64)
    operands = list(node.inputs)
    if not is_float32(node.outputs[0]) or not operands or operands[0] is None:
        return None
    if node.domain == DOMAIN and node.op_type == "Affine" and "activation" not in node.attributes:
        scale, shift = constant(operands[1]), constant(operands[2])
        found = operands[0]
    elif node.domain:
        return None
    elif node.op_type == "BatchNormalization":
        of_batch = _batch_normalization(node)
        if of_batch is None:
            return None
        (scale, shift), found = of_batch, operands[0]
    elif node.op_type == "Neg":
        scale, shift, found = -one, zero, operands[0]
    elif node.op_type in ("Add", "Mul"):
        array, found = constant(operands[1]), operands[0]
        scale, shift = (one, array) if node.op_type == "Add" else (array, zero)
    elif node.op_type == "Sub" and operands[1] is not None:
        scale, shift, found = -one, constant(operands[0]), operands[1]
    else:
        return None
    if scale is None or shift is None or is_constant(found) or (x is not None and found is not x):
        return None
    if shape(found) is None or shape(found) != shape(node.outputs[0]):
        return None
    return _Affine(scale.astype(np.float64), shift.astype(np.float64), found)


def _batch_normalization(node: ir.Node) -> tuple[Array, Array] | None:
    """scale, shift of shape (C, 1…). Source: ONNX, Operators.md."""
    arrays = [constant(value) for value in node.inputs[1:5]]
    axes = rank(node.inputs[0])
    if axes is None or any(a is None for a in arrays) or attribute(node, "training_mode", 0):
        return None
    gamma, beta, mean, variance = (np.asarray(a, np.float64) for a in arrays)
    scale = gamma / np.sqrt(variance + attribute(node, "epsilon", 1e-5))
    wide = (-1, *(1,) * (axes - 2)) if axes > 1 else (-1,)
    return scale.reshape(wide), (beta - mean * scale).reshape(wide)


def _along(array: Array, sizes: tuple[int, ...], axis: int) -> Array | None:
    """(n,) for the axis, of an array that is the same along all others of a value of these sizes."""
    wide = (1,) * (len(sizes) - array.ndim) + array.shape
    if len(wide) > len(sizes) or any(n != 1 for i, n in enumerate(wide) if i != axis):
        return None
    return np.broadcast_to(array.reshape(-1), (sizes[axis],))


# ---- Into what comes before


def fold_into_product(rewrite: Rewrite) -> None:
    """Scales and shifts of each channel after a Conv, ConvTranspose or Gemm go into its weights and bias."""
    for node in rewrite.nodes(*_PRODUCTS):
        sizes = shape(node.outputs[0])
        weights = constant(node.inputs[1])
        bias_value = given(node, 2)
        if sizes is None or not is_float32(node.outputs[0]):
            continue
        chain = _chain(node)
        if not chain:
            continue
        if weights is None or (bias_value is not None and constant(bias_value) is None):
            rewrite.miss(chain[0][0], "the weights before it are known only at run time")
            continue
        n = sizes[1]
        scale, shift = np.ones(n), np.zeros(n)
        for _, of_scale, of_shift, _ in chain:
            scale, shift = scale * of_scale, shift * of_scale + of_shift
        bias = np.zeros(n)
        if bias_value is not None:
            found = _along(np.asarray(constant(bias_value), np.float64), (1, n), 1)
            if found is None:
                rewrite.miss(chain[0][0], "what is added before it differs from row to row")
                continue
            bias = found
        if (scale != 1).any():
            scaled = _scaled(node, weights, scale)
            rewrite.set_input(node, 1, rewrite.constant(scaled, _named(node, 1, "weights")))
        new_bias = (bias * scale + shift).astype(np.float32)
        if bias_value is not None or new_bias.any():
            rewrite.set_input(node, 2, rewrite.constant(new_bias, _named(node, 2, "bias")))
        ops = ", ".join(link.op_type for link, *_ in chain)
        rewrite.note(f"{ops} in the weights of {node.op_type}", [node, *(link for link, *_ in chain)])
        for link, _, _, x in reversed(chain):
            rewrite.replace(link.outputs[0], x)


def _named(node: ir.Node, index: int, name: str) -> str:
    value = node.inputs[index] if index < len(node.inputs) else None
    return value.name if value is not None and value.name else f"{node.name}/{name}"


def _chain(node: ir.Node) -> list[tuple[ir.Node, Array, Array, ir.Value]]:
    """(node, scale, shift, operand) of what follows, channel by channel, Reshapes and Transposes passed."""
    value, axis = node.outputs[0], 1
    channels = (shape(value) or (0, 0))[1]
    chain: list[tuple[ir.Node, Array, Array, ir.Value]] = []
    while True:
        reader = single_use(value)
        sizes = shape(value)
        if reader is None or sizes is None or reader.graph is not node.graph:
            return chain
        passed = _channel_axis(reader, sizes, axis, channels)
        if passed is not None:
            value, axis = reader.outputs[0], passed
            continue
        affine = _affine(reader, value)
        if affine is None:
            return chain
        scale, shift = _along(affine.scale, sizes, axis), _along(affine.shift, sizes, axis)
        if scale is None or shift is None:
            return chain
        chain.append((reader, scale, shift, value))
        value = reader.outputs[0]


def _channel_axis(node: ir.Node, sizes: tuple[int, ...], axis: int, channels: int) -> int | None:
    """Where the axis of channels is after a Reshape or Transpose that keeps it whole."""
    if node.domain:
        return None
    if node.op_type == "Transpose":
        order: list[int] = attribute(node, "perm")
        return order.index(axis)
    made = shape(node.outputs[0])
    if node.op_type != "Reshape" or made is None or node.inputs[0] is None or node.inputs[0].shape is None:
        return None
    before = int(np.prod(sizes[:axis]))
    for i, size in enumerate(made):
        if size == channels and int(np.prod(made[:i])) == before and size == sizes[axis]:
            return i
    return None


def _scaled(node: ir.Node, weights: Array, scale: Array) -> Array:
    """Weights times one number for each channel of the output."""
    wide = weights.astype(np.float64)
    if node.op_type == "Gemm":
        return (wide * scale).astype(np.float32)
    ones = (1,) * (weights.ndim - 2)
    if node.op_type == "Conv":
        return (wide * scale.reshape(-1, 1, *ones)).astype(np.float32)
    groups = attribute(node, "group", 1)
    split = wide.reshape(groups, -1, *weights.shape[1:]) * scale.reshape(groups, 1, -1, *ones)
    return split.reshape(weights.shape).astype(np.float32)


# ---- Into what comes after


def fold_into_next(rewrite: Rewrite) -> None:
    """Scales of channels before a Conv or Gemm go into its weights too, shifts where nothing is padded."""
    for node in rewrite.nodes("Conv", "Gemm"):
        x = node.inputs[0]
        producer = None if x is None else x.producer()
        weights = constant(node.inputs[1])
        if x is None or producer is None or single_use(x) is not node or weights is None:
            continue
        affine, sizes = _affine(producer), shape(x)
        if affine is None or sizes is None or weights.dtype != np.float32:
            continue
        scale, shift = _along(affine.scale, sizes, 1), _along(affine.shift, sizes, 1)
        if scale is None or shift is None:
            continue
        if shift.any() and any(attribute(node, "pads", ())):
            rewrite.miss(producer, f"{node.name} pads with zeros, which would have to be shifted too")
            continue
        bias_value = given(node, 2)
        bias = np.zeros(()) if bias_value is None else constant(bias_value)
        if bias is None:
            rewrite.miss(producer, f"the bias of {node.name} is known only at run time")
            continue
        wide = weights.astype(np.float64)
        if node.op_type == "Gemm":
            scaled, added = wide * scale[:, None], shift @ wide
        else:
            groups = attribute(node, "group", 1)
            split = wide.reshape(groups, -1, *weights.shape[1:])
            ones = (1,) * (weights.ndim - 2)
            scaled = (split * scale.reshape(groups, 1, -1, *ones)).reshape(weights.shape)
            shifted = split * shift.reshape(groups, 1, -1, *ones)
            added = shifted.reshape(weights.shape[0], -1).sum(axis=1)
        rewrite.note(f"{producer.op_type} in the weights of {node.op_type} after it", [producer, node])
        rewrite.set_input(node, 1, rewrite.constant(scaled.astype(np.float32), _named(node, 1, "weights")))
        if bias_value is not None or added.any():
            new_bias = (np.asarray(bias, np.float64) + added).astype(np.float32)
            rewrite.set_input(node, 2, rewrite.constant(new_bias, _named(node, 2, "bias")))
        rewrite.set_input(node, 0, affine.x)


# ---- On their own


def fuse_affine(rewrite: Rewrite) -> None:
    """What is left of scales and shifts in a row is one edgecv::Affine: x a + b."""
    for node in rewrite.nodes("BatchNormalization", "Mul", "Add", "Neg", "Sub"):
        first = _affine(node)
        if first is None:
            if node.op_type == "BatchNormalization":
                _write_out(rewrite, node)
            continue
        sizes = shape(first.x) or ()
        chain, scale, shift = [node], first.scale, first.shift
        while True:
            value = chain[-1].outputs[0]
            reader = single_use(value)
            following = None if reader is None or reader.graph is not node.graph else _affine(reader, value)
            if reader is None or following is None:
                break
            scale, shift = scale * following.scale, shift * following.scale + following.shift
            chain.append(reader)
        if len(chain) == 1 and node.op_type != "BatchNormalization":
            continue
        name = node.name or node.op_type
        operands = [
            rewrite.constant(array.astype(np.float32), f"{name}/{kind}")
            for kind, array in (("scale", scale), ("shift", shift))
        ]
        last = chain[-1].outputs[0]
        new = rewrite.value(node, "Affine", [first.x, *operands], domain=DOMAIN, like=last)
        assert shape(new) == sizes
        rewrite.replace(last, new, what="one scale and shift", nodes=chain)


def _write_out(rewrite: Rewrite, node: ir.Node) -> None:
    """BatchNormalization whose statistics are known only at run time."""
    x, gamma, beta, mean, variance = node.inputs[:5]
    axes, channels = rank(x), shape(gamma)
    if attribute(node, "training_mode", 0) or axes is None or channels is None:
        return
    if gamma is None or beta is None or mean is None or x is None or not is_float32(x):
        return
    epsilon = rewrite.constant(np.array(attribute(node, "epsilon", 1e-5), np.float32), f"{node.name}/epsilon")
    deviation = rewrite.value(node, "Sqrt", [rewrite.value(node, "Add", [variance, epsilon])])
    scale = rewrite.value(node, "Div", [gamma, deviation])
    shift = rewrite.value(node, "Sub", [beta, rewrite.value(node, "Mul", [mean, scale])])
    wide = (*channels, *(1,) * (axes - 2))
    scaled = rewrite.value(node, "Mul", [x, reshaped(rewrite, node, scale, wide)])
    result = rewrite.value(node, "Add", [scaled, reshaped(rewrite, node, shift, wide)])
    rewrite.replace(node.outputs[0], result, what="BatchNormalization written out")


# ---- Padding


def fold_pads(rewrite: Rewrite) -> None:
    """A Pad of zeros goes into the Conv or pool after it, where the result is the same."""
    for node in rewrite.nodes("Conv", "AveragePool", "MaxPool"):
        x = node.inputs[0]
        pad = made_by(x, "Pad")
        axes = rank(x)
        own = attribute(node, "pads")
        if pad is None or axes is None or own is None:
            continue
        numbers = constant(pad.inputs[1])
        if numbers is None or attribute(pad, "mode", "constant") != "constant":
            rewrite.miss(
                pad, f"padding by {attribute(pad, 'mode', 'constant')}, or of sizes known at run time"
            )
            continue
        begin, end = np.reshape(numbers, (2, -1))
        why = _why_not_padded(node, pad, [*begin[:2], *end[:2]])
        if why:
            rewrite.miss(pad, why)
            continue
        both = [int(n) for n in np.add(own, [*begin[2:], *end[2:]])]
        node.attributes["pads"] = ir.AttrInt64s("pads", both)
        if node.op_type == "AveragePool":
            node.attributes["count_include_pad"] = ir.AttrInt64("count_include_pad", 1)
        rewrite.note(f"Pad in the padding of {node.op_type}", [pad, node])
        rewrite.set_input(node, 0, pad.inputs[0])


def _why_not_padded(node: ir.Node, pad: ir.Node, elsewhere: list[int]) -> str:
    if scalar(pad.inputs[2]) != 0:
        return "it pads with another number than zero"
    if any(elsewhere):
        return "it pads the axis of channels, or of the batch"
    if node.op_type == "MaxPool":
        source = None if pad.inputs[0] is None else pad.inputs[0].producer()
        is_positive = source is not None and (
            source.op_type in ("Relu", "Sigmoid") or attribute(source, "activation") in ("relu", "sigmoid")
        )
        if not is_positive or len(node.outputs) > 1:
            return "a maximum takes padding for less than any number, and zero is not"
    if node.op_type == "AveragePool":
        is_plain = not any(attribute(node, "pads")) or attribute(node, "count_include_pad", 0)
        if not is_plain or attribute(node, "ceil_mode", 0):
            return "the average would count other pixels"
    return ""


INTO_PRODUCT = Pass("affine", fold_into_product)
INTO_NEXT = Pass("affine before", fold_into_next)
AFFINE = Pass("affine alone", fuse_affine)
PADS = Pass("pads", fold_pads)

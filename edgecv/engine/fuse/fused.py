"""The operators of domain "edgecv": an ONNX operator, what is added to its result, and an activation.

| operator | inputs | attributes |
|---|---|---|
| Conv | x, weights, bias (may be empty), residual (where has_residual is 1) | those of ONNX, has_residual |
| ConvTranspose, Gemm, MatMul, Add, Sub, Mul, Div, Max, Min | those of ONNX | those of ONNX |
| Affine | x, scale, shift: constants that broadcast to x | |
| Activation | x | |

All have the attributes activation, alpha, beta as well, and are of float32. y = activation(operator(...) +
residual); the residual has the shape of y. activation: one of ACTIVATIONS, "none" by default; alpha and beta
(0 by default) are what that operator of ONNX calls so:

clip: the bounds alpha and beta, which may be infinite; leaky_relu, elu: alpha; selu: alpha, and gamma as
beta; hard_sigmoid: max(0, min(1, alpha x + beta)); silu: x sigmoid(x); hard_swish: x hard_sigmoid(x) of 1/6
and 1/2; gelu: by erf; gelu_tanh: its approximation by tanh.
"""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from edgecv.graph.rewrite import (
    Pass,
    Rewrite,
    attribute,
    attributes,
    is_constant,
    is_float32,
    made_by,
    shape,
    single_use,
)

# The domain of these operators.
DOMAIN = "edgecv"

ACTIVATIONS = (
    "none",
    "relu",
    "clip",
    "leaky_relu",
    "sigmoid",
    "silu",
    "hard_sigmoid",
    "hard_swish",
    "tanh",
    "mish",
    "gelu",
    "gelu_tanh",
    "elu",
    "selu",
    "softplus",
    "exp",
    "softsign",
)

# The attributes that say how a fused node ends.
ENDING = ("activation", "alpha", "beta")

# What an activation can be fused into.
FUSABLE = ("Conv", "ConvTranspose", "Gemm", "MatMul", "Affine", "Add", "Sub", "Mul", "Div", "Max", "Min")


def activation(
    rewrite: Rewrite, before: ir.Node, kind: str, x: ir.Value, alpha: float = 0.0, beta: float = 0.0
) -> ir.Value:
    """The output of a new edgecv::Activation in front of a node."""
    assert kind in ACTIVATIONS, kind
    numbers = {"activation": kind, "alpha": float(alpha), "beta": float(beta)}
    return rewrite.value(before, "Activation", [x], numbers, domain=DOMAIN, like=x)


def has_activation(node: ir.Node) -> bool:
    """Whether a node ends with an activation."""
    return node.domain == DOMAIN and attribute(node, "activation", "none") != "none"


def _fused(
    rewrite: Rewrite, at: ir.Node, node: ir.Node, inputs: list[ir.Value | None], **more: Any
) -> ir.Value:
    """A node of the domain in front of `at`, in place of `node` and whatever follows it up to there."""
    return rewrite.value(
        at,
        node.op_type,
        inputs,
        {**attributes(node), **more},
        domain=DOMAIN,
        like=at.outputs[0],
        name=node.name or "",
    )


def fuse_activations(rewrite: Rewrite) -> None:
    """An activation becomes part of the node before it."""
    for node in rewrite.nodes("Activation", domain=DOMAIN):
        x = node.inputs[0]
        producer = None if x is None else x.producer()
        if (
            x is None
            or producer is None
            or producer.op_type not in FUSABLE
            or producer.domain not in ("", DOMAIN)
        ):
            continue
        kind = attribute(node, "activation")
        if single_use(x) is not node:
            others = len(x.uses()) - 1
            reason = f"{others} other nodes read" if others else "the network gives out"
            rewrite.miss(node, f"{reason} what is before {kind}")
            continue
        if has_activation(producer):
            rewrite.miss(node, f"{kind} follows {attribute(producer, 'activation')}")
            continue
        if producer.graph is not node.graph or not is_float32(x):
            continue
        new = _fused(rewrite, node, producer, list(producer.inputs), **attributes(node))
        rewrite.replace(
            node.outputs[0], new, what=f"{kind} at the end of {producer.op_type}", nodes=[producer, node]
        )


def fuse_residuals(rewrite: Rewrite) -> None:
    """A sum with what a convolution gives, of the same shape, is taken by the convolution."""
    order = {node: index for index, node in enumerate(rewrite.graph)}
    for node in rewrite.nodes("Add"):
        choices: list[tuple[int, int]] = []
        convs: dict[int, ir.Node] = {}
        for side in (0, 1):
            conv = made_by(node.inputs[side], "Conv") or made_by(node.inputs[side], "Conv", domain=DOMAIN)
            if conv is None:
                continue
            why = _why_not_added(node, conv, node.inputs[1 - side])
            if why:
                rewrite.miss(node, f"{conv.name}: {why}")
                continue
            # The later one: the other sum is ready by then, and its lifetime is the shortest.
            choices.append((order.get(conv, len(order)), side))
            convs[side] = conv
        if not choices:
            continue
        side = max(choices)[1]
        conv = convs[side]
        inputs = [*conv.inputs, None][:3]
        new = _fused(rewrite, node, conv, [*inputs, node.inputs[1 - side]], has_residual=1)
        order[new.producer()] = order.get(node, len(order))  # type: ignore[index]
        rewrite.replace(node.outputs[0], new, what="the sum at the end of Conv", nodes=[conv, node])


def _why_not_added(node: ir.Node, conv: ir.Node, other: ir.Value | None) -> str:
    value = conv.outputs[0]
    sizes = shape(value)
    if single_use(value) is not node or conv.graph is not node.graph:
        return "its result is read elsewhere too"
    if has_activation(conv):
        return f"its {attribute(conv, 'activation')} comes before the sum"
    if attribute(conv, "has_residual", 0):
        return "it takes another sum already"
    if not is_float32(value):
        return "it is not of float32"
    if sizes is None or shape(other) != sizes or other is None or is_constant(other):
        return "the shapes differ, or the other is a constant"
    if is_depthwise(conv):
        return "a depthwise convolution takes no sum"
    return ""


def is_depthwise(conv: ir.Node) -> bool:
    """Whether each channel of the output is made of one of the input, and there are several groups."""
    weights = shape(conv.inputs[1])
    return weights is not None and weights[1] == 1 and attribute(conv, "group", 1) > 1


def hoist_activations(rewrite: Rewrite) -> None:
    """An activation after a Reshape or Transpose moves before it, to the node that it can be fused into."""
    for node in rewrite.nodes("Activation", domain=DOMAIN):
        value = node.inputs[0]
        assert value is not None
        moved = value
        while (mover := made_by(moved, "Reshape", "Transpose")) is not None and single_use(moved) is not None:
            source = mover.inputs[0]
            if source is None or mover.graph is not node.graph:
                break
            moved = source
        producer = moved.producer()
        is_reached = moved is not value and single_use(moved) is not None and producer is not None
        if not is_reached or producer is None or producer.op_type not in FUSABLE or has_activation(producer):
            continue
        if not is_float32(moved) or producer.domain not in ("", DOMAIN):
            continue
        reader = single_use(moved)
        assert reader is not None
        numbers = attribute(node, "alpha", 0.0), attribute(node, "beta", 0.0)
        kind = attribute(node, "activation")
        new = activation(rewrite, reader, kind, moved, *numbers)
        rewrite.set_input(reader, 0, new)
        rewrite.replace(node.outputs[0], value, what=f"{kind} before {reader.op_type}", nodes=[reader, node])


ACTIVATE = Pass("activations", fuse_activations)
RESIDUAL = Pass("residuals", fuse_residuals)
HOIST = Pass("hoist activations", hoist_activations)

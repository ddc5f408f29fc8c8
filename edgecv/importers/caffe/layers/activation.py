"""Layers that change each value by itself."""

from __future__ import annotations

import math

import numpy as np

from edgecv.importers.caffe.step import Converter, Result, Step


def relu(step: Step) -> str:
    """max(x, 0) + negative_slope * min(x, 0)."""
    slope = step.message.relu_param.negative_slope
    if slope:
        return step.add("LeakyRelu", [step.input], alpha=slope)
    return step.add("Relu", [step.input])


def relu6(step: Step) -> str:
    """min(max(x, 0), 6)."""
    p = step.message.relu6_param
    if p.negative_slope:
        raise step.error(f"negative_slope {p.negative_slope} of a ReLU6: expected 0")
    return _clip(step, 0.0, p.threshold)


def clip(step: Step) -> str:
    """min(max(x, min), max)."""
    p = step.message.clip_param
    return _clip(step, p.min, p.max)


def prelu(step: Step) -> str:
    """max(x, 0) + slope * min(x, 0), a slope a channel or one for all."""
    if len(step.shape) < 2:
        raise step.error(f"a bottom of shape {step.shape}: expected (batch, channels...)")
    slopes = 1 if step.message.prelu_param.channel_shared else step.channels
    (slope,) = step.blobs(("slopes", (slopes,)))
    slope = slope.reshape(slopes, *(1,) * (len(step.shape) - 2))
    return step.add("PRelu", [step.input, step.constant(slope, "slopes")])


def elu(step: Step) -> str:
    """x where x > 0, else alpha * (exp(x) - 1)."""
    return step.add("Elu", [step.input], alpha=step.message.elu_param.alpha)


def power(step: Step) -> str:
    """(shift + scale * x) ^ power."""
    p = step.message.power_param
    return _chain(step, [("Mul", p.scale, 1.0), ("Add", p.shift, 0.0), ("Pow", p.power, 1.0)])


def exp(step: Step) -> str:
    """base ^ (shift + scale * x); base -1 stands for e."""
    p = step.message.exp_param
    rate = _log_of_base(step, p.base)
    inside = _chain(
        step, [("Mul", p.scale * rate, 1.0), ("Add", p.shift * rate, 0.0)], part="exponent", whole=False
    )
    return step.add("Exp", [inside])


def log(step: Step) -> str:
    """The logarithm to base of shift + scale * x; base -1 stands for e."""
    p = step.message.log_param
    rate = _log_of_base(step, p.base)
    if rate == 0:
        raise step.error("base 1 has no logarithm: expected another over 0, or -1 for e")
    inside = _chain(step, [("Mul", p.scale, 1.0), ("Add", p.shift, 0.0)], part="argument", whole=False)
    if rate == 1:
        return step.add("Log", [inside])
    value = step.add("Log", [inside], part="log")
    return step.add("Mul", [value, step.scalar(1 / rate, "factor")])


def bnll(step: Step) -> str:
    """log(1 + exp(x))."""
    return step.add("Softplus", [step.input])


def threshold(step: Step) -> str:
    """1 where x > threshold, else 0."""
    level = step.scalar(step.message.threshold_param.threshold, "threshold")
    over = step.add("Greater", [step.input, level], part="over")
    return step.add("Cast", [over], to=1)


def swish(step: Step) -> str:
    """x * sigmoid(beta * x)."""
    gate = _chain(step, [("Mul", step.message.swish_param.beta, 1.0)], part="scaled", whole=False)
    gate = step.add("Sigmoid", [gate], part="gate")
    return step.add("Mul", [step.input, gate])


def mish(step: Step) -> str:
    """x * tanh(log(1 + exp(x)))."""
    gate = step.add("Softplus", [step.input], part="softplus")
    return step.add("Mul", [step.input, step.add("Tanh", [gate], part="gate")])


def dropout(step: Step) -> Result:
    """Nothing when a network runs, but where it was trained with `scale_train: false`."""
    p = step.message.dropout_param
    if p.scale_train:
        return step.tensor()
    return step.add("Mul", [step.input, step.scalar(1 - p.dropout_ratio, "kept")])


def plain(op: str) -> Converter:
    """A layer that is one operator."""
    return lambda step: step.add(op, [step.input])


def _chain(
    step: Step, operations: list[tuple[str, float, float]], *, part: str = "", whole: bool = True
) -> str:
    """The operations (operator, operand, operand that changes nothing) which change something.

    whole: whether they are all that the layer does, so that one must be left.
    """
    left = [each for each in operations if each[1] != each[2]]
    if not left and whole:
        return step.add("Identity", [step.input])
    value = step.input
    for number, (op, operand, _) in enumerate(left, 1):
        name = part if number == len(left) else op.lower()
        value = step.add(op, [value, step.scalar(operand, f"{op.lower()}.by")], part=name)
    return value


def _clip(step: Step, least: float, most: float) -> str:
    bounds = [step.scalar(least, "min"), step.scalar(most, "max")]
    return step.add("Clip", [step.input, *bounds])


def _log_of_base(step: Step, base: float) -> float:
    if base == -1:
        return 1.0
    if base <= 0 or not np.isfinite(base):
        raise step.error(f"base {base}: expected one over 0, or -1 for e")
    return math.log(base)


CONVERTERS: dict[str, Converter] = {
    "ReLU": relu,
    "ReLU6": relu6,
    "Clip": clip,
    "PReLU": prelu,
    "ELU": elu,
    "Sigmoid": plain("Sigmoid"),
    "TanH": plain("Tanh"),
    "AbsVal": plain("Abs"),
    "BNLL": bnll,
    "Power": power,
    "Exp": exp,
    "Log": log,
    "Threshold": threshold,
    "Swish": swish,
    "Mish": mish,
    "Dropout": dropout,
}

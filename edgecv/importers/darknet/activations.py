"""Darknet's activation functions as ONNX nodes; formulas: activations.h of AlexeyAB/darknet."""

from __future__ import annotations

from collections.abc import Callable

from edgecv.importers.darknet.cfg import Section, shown
from edgecv.importers.darknet.layers import Emitter

# Added to the sum that normalizes over channels.
_CHANNEL_EPSILON = 1e-4


def _linear(e: Emitter, x: str) -> str:
    return x


def _loggy(e: Emitter, x: str) -> str:
    return e.op("Sub", e.op("Mul", e.op("Sigmoid", x), e.number(2)), e.number(1))


def _ramp(e: Emitter, x: str) -> str:
    return e.op("Add", e.op("Relu", x), e.op("Mul", x, e.number(0.1)))


def _clip(e: Emitter, x: str, low: float, high: float) -> str:
    return e.op("Clip", x, e.scalar(low), e.scalar(high))


def _beyond(e: Emitter, x: str, inside: str, slope: float) -> str:
    return e.op("Mul", e.op("Sub", x, inside), e.number(slope))


def _plse(e: Emitter, x: str) -> str:
    inside = _clip(e, x, -4, 4)
    line = e.op("Add", e.op("Mul", inside, e.number(0.125)), e.number(0.5))
    return e.op("Add", line, _beyond(e, x, inside, 0.01))


def _lhtan(e: Emitter, x: str) -> str:
    inside = _clip(e, x, 0, 1)
    return e.op("Add", inside, _beyond(e, x, inside, 0.001))


def _stair(e: Emitter, x: str) -> str:
    step = e.op("Floor", x)
    half = e.op("Floor", e.op("Mul", x, e.number(0.5)))
    is_odd = e.op("Sub", step, e.op("Mul", half, e.number(2)))
    return e.op("Add", half, e.op("Mul", is_odd, e.op("Sub", x, step)))


def _gelu(e: Emitter, x: str) -> str:
    cube = e.op("Mul", e.op("Mul", x, x), e.op("Mul", x, e.number(0.035677)))
    bend = e.op("Tanh", e.op("Add", e.op("Mul", x, e.number(0.797885)), cube))
    return e.op("Mul", e.op("Mul", x, e.number(0.5)), e.op("Add", bend, e.number(1)))


def _swish(e: Emitter, x: str) -> str:
    return e.op("Mul", x, e.op("Sigmoid", x))


def _mish(e: Emitter, x: str) -> str:
    return e.op("Mul", x, e.op("Tanh", e.op("Softplus", x)))


def _hard_mish(e: Emitter, x: str) -> str:
    below = _clip(e, x, -2, 0)
    curve = e.op("Add", e.op("Mul", e.op("Mul", below, below), e.number(0.5)), below)
    return e.op("Add", e.op("Relu", x), curve)


def _share(e: Emitter, parts: str) -> str:
    """Each channel's part of the sum over the channels."""
    total = e.op("Add", e.op("ReduceSum", parts, axes=[1], keepdims=1), e.number(_CHANNEL_EPSILON))
    return e.op("Div", parts, total)


def _normalize_channels(e: Emitter, x: str) -> str:
    return _share(e, e.op("Relu", x))


def _normalize_channels_softmax(e: Emitter, x: str) -> str:
    return _share(e, e.op("Exp", x))


def _normalize_channels_softmax_maxval(e: Emitter, x: str) -> str:
    largest = e.op("ReduceMax", x, axes=[1], keepdims=1)
    return _share(e, e.op("Exp", e.op("Sub", x, largest)))


_ACTIVATIONS: dict[str, Callable[[Emitter, str], str]] = {
    "linear": _linear,
    "logistic": lambda e, x: e.op("Sigmoid", x),
    "loggy": _loggy,
    "relu": lambda e, x: e.op("Relu", x),
    "relu6": lambda e, x: _clip(e, x, 0, 6),
    "elu": lambda e, x: e.op("Elu", x, alpha=1.0),
    "selu": lambda e, x: e.op("Selu", x, alpha=1.6732, gamma=1.0507),
    "gelu": _gelu,
    "relie": lambda e, x: e.op("LeakyRelu", x, alpha=0.01),
    "ramp": _ramp,
    "leaky": lambda e, x: e.op("LeakyRelu", x, alpha=0.1),
    "revleaky": lambda e, x: e.op("LeakyRelu", x, alpha=0.1),
    "tanh": lambda e, x: e.op("Tanh", x),
    "plse": _plse,
    "stair": _stair,
    "hardtan": lambda e, x: _clip(e, x, -1, 1),
    "lhtan": _lhtan,
    "swish": _swish,
    "mish": _mish,
    "hard_mish": _hard_mish,
    "normalize_channels": _normalize_channels,
    "normalize_channels_softmax": _normalize_channels_softmax,
    "normalize_channels_softmax_maxval": _normalize_channels_softmax_maxval,
}


def activation_of(section: Section, default: str) -> str:
    """The activation that a section states. Raises ModelFileError for one that Darknet does not define."""
    name = section.text("activation", default)
    if name not in _ACTIVATIONS:
        raise section.error(
            f"unknown activation {shown(name)}; known: {', '.join(_ACTIVATIONS)}", "activation"
        )
    return name


def activate(e: Emitter, x: str, name: str) -> str:
    """The value after an activation."""
    return _ACTIVATIONS[name](e, x)

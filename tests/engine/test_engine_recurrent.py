"""LSTM, GRU and RNN on the engine, against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper

from edgecv.errors import UnsupportedOperatorError
from edgecv.graph.model import OnnxModel
from edgecv.graph.normal.unrolled import MOST_NODES
from tests.engine.against_runtime import Array, check, model_of, operators
from tests.graph.evaluate import run_proto

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
DIRECTIONS = ("forward", "reverse", "bidirectional")
BATCH, INPUTS, HIDDEN = 2, 3, 4


def network(
    op: str,
    steps: int = 5,
    direction: str = "forward",
    *,
    lengths: list[int] | None = None,
    with_bias: bool = True,
    with_state: bool = True,
    peepholes: bool = False,
    brought: tuple[str, ...] = (),
    opset: int = 14,
    **attributes: Any,
) -> tuple[OnnxModel, dict[str, Array]]:
    """One operator, and what it is fed. brought: operands that are inputs of the graph and no weights."""
    rng = np.random.default_rng(3)

    def some(*shape: int) -> Array:
        return (rng.standard_normal(shape) / 2).astype(np.float32)

    count, gates = (2 if direction == "bidirectional" else 1), GATES[op] * HIDDEN
    operands: dict[str, Array | None] = {
        "x": some(steps, BATCH, INPUTS),
        "w": some(count, gates, INPUTS),
        "r": some(count, gates, HIDDEN),
        "b": some(count, 2 * gates) if with_bias else None,
        "lengths": None if lengths is None else np.array(lengths, np.int32),
        "h": some(count, BATCH, HIDDEN) if with_state else None,
    }
    outputs = ["y", "last_h"]
    if op == "LSTM":
        operands["c"] = some(count, BATCH, HIDDEN) if with_state else None
        operands["p"] = some(count, 3 * HIDDEN) if peepholes else None
        outputs.append("last_c")
    names = [name if value is not None else "" for name, value in operands.items()]
    node = helper.make_node(op, names, outputs, "node", hidden_size=HIDDEN, direction=direction, **attributes)
    given = {name: value for name, value in operands.items() if value is not None}
    feeds = {name: value for name, value in given.items() if name in ("x", "h", "c", *brought)}
    weights = {name: value for name, value in given.items() if name not in feeds}
    return model_of([node], feeds, outputs, weights, opset), feeds


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"with_state": False, "with_bias": False},
        {"steps": 1, "opset": 7},
        {"lengths": [5, 5]},
        {"lengths": [5, 3]},
        {"lengths": [0, 4], "with_state": False},
        {"lengths": [3, 2]},
        {"lengths": [2, 4], "brought": ("lengths",)},
        {"lengths": [0, 3], "brought": ("lengths", "w", "r", "b"), "with_state": False},
    ],
    ids=[
        "all",
        "least",
        "one step",
        "full",
        "lengths",
        "none",
        "short",
        "lengths of the run",
        "all of the run",
    ],
)
@pytest.mark.parametrize("op", GATES)
def test_directions_and_lengths(op: str, options: dict[str, Any], direction: str) -> None:
    model, feeds = network(op, direction=direction, **options)
    assert operators(check(model, feeds, tolerance=1e-5)).isdisjoint(GATES)


@pytest.mark.parametrize(
    ("op", "options"),
    [
        ("LSTM", {"peepholes": True}),
        ("LSTM", {"peepholes": True, "direction": "bidirectional", "with_state": False}),
        ("LSTM", {"clip": 0.3}),
        ("LSTM", {"clip": 0.3, "peepholes": True}),
        ("LSTM", {"input_forget": 1}),
        ("LSTM", {"input_forget": 1, "peepholes": True}),
        ("LSTM", {"peepholes": True, "brought": ("p",)}),
        ("LSTM", {"activations": ["Sigmoid", "LeakyRelu", "Tanh"], "activation_alpha": [0.25]}),
        (
            "LSTM",
            {
                "direction": "bidirectional",
                "activations": ["HardSigmoid", "Tanh", "ScaledTanh", "Sigmoid", "Elu", "Relu"],
                "activation_alpha": [0.25, 1.2, 0.9],
                "activation_beta": [0.4, 0.7],
            },
        ),
        ("GRU", {"linear_before_reset": 1}),
        ("GRU", {"linear_before_reset": 1, "direction": "bidirectional", "lengths": [5, 2]}),
        ("GRU", {"linear_before_reset": 1, "with_bias": False, "with_state": False}),
        ("GRU", {"clip": 0.2, "brought": ("w", "r", "b")}),
        ("GRU", {"linear_before_reset": 1, "brought": ("w", "r", "b")}),
        ("GRU", {"activations": ["sigmoid", "RELU"]}),
        ("RNN", {"clip": 0.2}),
        *(("RNN", {"activations": [name]}) for name in ("Relu", "Sigmoid", "Softsign", "Softplus", "Elu")),
        *(("RNN", {"activations": [name]}) for name in ("LeakyRelu", "HardSigmoid")),
        ("RNN", {"activations": ["ThresholdedRelu"], "activation_alpha": [0.3]}),
        ("RNN", {"activations": ["Affine"], "activation_alpha": [0.3], "activation_beta": [0.1]}),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(f"{k} {v}" for k, v in value.items()),
)
def test_attributes(op: str, options: dict[str, Any]) -> None:
    model, feeds = network(op, **options)
    check(model, feeds, tolerance=1e-5)


@pytest.mark.parametrize("op", GATES)
def test_the_batch_may_come_first(op: str) -> None:
    # ONNX Runtime has no such layout.
    usual, feeds = network(op, lengths=[5, 2], direction="bidirectional")
    turned, _ = network(op, lengths=[5, 2], direction="bidirectional", layout=1)
    wanted = run_proto(usual.proto, feeds)
    orders = [(2, 0, 1, 3), *[(1, 0, 2)] * (len(wanted) - 1)]
    batches = {name: x.swapaxes(0, 1).copy() for name, x in feeds.items()}
    for value in turned.proto.graph.input:
        for dim, size in zip(value.type.tensor_type.shape.dim, batches[value.name].shape, strict=True):
            dim.dim_value = size
    expected = [y.transpose(order) for y, order in zip(wanted, orders, strict=True)]
    check(turned, batches, tolerance=1e-5, expected=expected)


def test_the_default_of_a_threshold_is_the_operators() -> None:
    model, feeds = network("RNN", activations=["ThresholdedRelu"])
    told, _ = network("RNN", activations=["ThresholdedRelu"], activation_alpha=[1.0])
    check(model, feeds, tolerance=1e-5, expected=run_proto(told.proto, feeds))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"op": "LSTM", "steps": MOST_NODES},
            rf"node 'node' \(LSTM\): {MOST_NODES} steps.*at most {MOST_NODES}",
        ),
        ({"op": "GRU", "activations": ["Sigmoid", "Wave"]}, r"node 'node' \(GRU\): activation 'Wave'"),
        ({"op": "RNN", "activations": ["Affine"]}, "activation 'Affine' without its activation_alpha"),
        ({"op": "RNN", "activations": ["Tanh", "Tanh"]}, "2 activations: expected 1"),
    ],
    ids=["too long", "unknown activation", "no parameters", "too many activations"],
)
def test_refusals_say_why(options: dict[str, Any], message: str) -> None:
    model, feeds = network(**options)
    with pytest.raises(UnsupportedOperatorError, match=message):
        check(model, feeds, expected=[])

"""Activations: every operator and spelling becomes one node, and goes into the node before it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import numpy as np
import pytest

from edgecv.engine.fuse.fused import ACTIVATE, ACTIVATIONS, HOIST, RESIDUAL
from edgecv.engine.fuse.recognize import OPERATORS, PARTS, PRODUCTS
from edgecv.engine.pipeline import optimize
from edgecv.graph.normal.normalize import NORMALIZE
from edgecv.graph.rewrite import attribute
from tests.conftest import ROOT
from tests.graph.little import Net, alone, ops, optimized, why

_RECOGNIZE = (NORMALIZE, PARTS, OPERATORS, PRODUCTS)


def _erf(n: Net, x: str) -> str:
    return n("Add", n("Erf", n("Div", x, n.const(math.sqrt(2)))), n.const(1.0))


def _cubed(n: Net, x: str) -> str:
    return n("Add", x, n("Mul", n("Pow", x, n.const(3.0)), n.const(0.044715)))


def _softplus(n: Net, x: str) -> str:
    return n("Log", n("Add", n("Exp", x), n.const(1.0)))


# name -> (spelling, activation, alpha, beta)
SPELLINGS: dict[str, tuple[Callable[[Net, str], str], str, float, float]] = {
    "relu": (lambda n, x: n("Relu", x), "relu", 0, 0),
    "relu by max": (lambda n, x: n("Max", n.const(0.0), x), "relu", 0, 0),
    "relu by clip": (lambda n, x: n("Clip", x, n.const(0.0)), "relu", 0, 0),
    "relu6": (lambda n, x: n("Clip", x, n.const(0.0), n.const(6.0)), "clip", 0, 6),
    "relu6 by min": (lambda n, x: n("Min", n("Relu", x), n.const(6.0)), "clip", 0, 6),
    "clip twice": (
        lambda n, x: n("Clip", n("Clip", x, n.const(-1.0), n.const(1.0)), n.const(-2.0), n.const(0.5)),
        "clip",
        -1,
        0.5,
    ),
    "clip from above": (lambda n, x: n("Clip", x, "", n.const(1.0)), "clip", -math.inf, 1),
    "leaky relu": (lambda n, x: n("LeakyRelu", x, alpha=0.1), "leaky_relu", 0.1, 0),
    "leaky relu by max": (lambda n, x: n("Max", x, n("Mul", x, n.const(0.1))), "leaky_relu", 0.1, 0),
    "prelu of one slope": (lambda n, x: n("PRelu", x, n.const([[[0.2]]] * 3)), "leaky_relu", 0.2, 0),
    "sigmoid": (lambda n, x: n("Sigmoid", x), "sigmoid", 0, 0),
    "sigmoid by exp": (
        lambda n, x: n("Div", n.const(1.0), n("Add", n.const(1.0), n("Exp", n("Neg", x)))),
        "sigmoid",
        0,
        0,
    ),
    "sigmoid by reciprocal": (
        lambda n, x: n("Reciprocal", n("Add", n("Exp", n("Mul", x, n.const(-1.0))), n.const(1.0))),
        "sigmoid",
        0,
        0,
    ),
    "silu": (lambda n, x: n("Mul", x, n("Sigmoid", x)), "silu", 0, 0),
    "silu turned": (lambda n, x: n("Mul", n("Sigmoid", x), x), "silu", 0, 0),
    "silu by exp": (lambda n, x: n("Div", x, n("Add", n.const(1.0), n("Exp", n("Neg", x)))), "silu", 0, 0),
    "hard sigmoid": (lambda n, x: n("HardSigmoid", x, alpha=0.25, beta=0.4), "hard_sigmoid", 0.25, 0.4),
    "hard sigmoid by clip": (
        lambda n, x: n("Div", n("Clip", n("Add", x, n.const(3.0)), n.const(0.0), n.const(6.0)), n.const(6.0)),
        "hard_sigmoid",
        1 / 6,
        0.5,
    ),
    "hard swish": (lambda n, x: n("HardSwish", x), "hard_swish", 0, 0),
    "hard swish by gate": (
        lambda n, x: n("Mul", x, n("HardSigmoid", x, alpha=1 / 6, beta=0.5)),
        "hard_swish",
        0,
        0,
    ),
    "hard swish, divided last": (
        lambda n, x: n(
            "Div", n("Mul", x, n("Clip", n("Add", x, n.const(3.0)), n.const(0.0), n.const(6.0))), n.const(6.0)
        ),
        "hard_swish",
        0,
        0,
    ),
    "hard swish, times a sixth": (
        lambda n, x: n(
            "Mul",
            n("Mul", n("Clip", n("Add", n.const(3.0), x), n.const(0.0), n.const(6.0)), x),
            n.const(1 / 6),
        ),
        "hard_swish",
        0,
        0,
    ),
    "hard swish, gate divided": (
        lambda n, x: n(
            "Mul", x, n("Div", n("Min", n("Relu", n("Add", x, n.const(3.0))), n.const(6.0)), n.const(6.0))
        ),
        "hard_swish",
        0,
        0,
    ),
    "tanh": (lambda n, x: n("Tanh", x), "tanh", 0, 0),
    "mish": (lambda n, x: n("Mul", x, n("Tanh", n("Softplus", x))), "mish", 0, 0),
    "mish by log": (lambda n, x: n("Mul", n("Tanh", _softplus(n, x)), x), "mish", 0, 0),
    "gelu": (lambda n, x: n("Mul", n("Mul", x, n.const(0.5)), _erf(n, x)), "gelu", 0, 0),
    "gelu, half last": (lambda n, x: n("Mul", n("Mul", x, _erf(n, x)), n.const(0.5)), "gelu", 0, 0),
    "gelu, gate halved": (lambda n, x: n("Mul", x, n("Mul", _erf(n, x), n.const(0.5))), "gelu", 0, 0),
    "gelu by tanh": (
        lambda n, x: n(
            "Mul",
            n("Mul", x, n.const(0.5)),
            n("Add", n("Tanh", n("Mul", _cubed(n, x), n.const(math.sqrt(2 / math.pi)))), n.const(1.0)),
        ),
        "gelu_tanh",
        0,
        0,
    ),
    "gelu by tanh, factored": (
        lambda n, x: n(
            "Mul",
            n("Mul", x, n.const(0.5)),
            n(
                "Add",
                n.const(1.0),
                n(
                    "Tanh",
                    n(
                        "Mul",
                        n("Mul", x, n.const(0.7978845608)),
                        n("Add", n("Mul", n("Mul", x, n.const(0.044715)), x), n.const(1.0)),
                    ),
                ),
            ),
        ),
        "gelu_tanh",
        0,
        0,
    ),
    "elu": (lambda n, x: n("Elu", x, alpha=0.7), "elu", 0.7, 0),
    "selu": (lambda n, x: n("Selu", x, alpha=1.5, gamma=1.1), "selu", 1.5, 1.1),
    "selu by default": (lambda n, x: n("Selu", x), "selu", 1.6732632, 1.0507010),
    "softplus": (lambda n, x: n("Softplus", x), "softplus", 0, 0),
    "softplus by log": (_softplus, "softplus", 0, 0),
    "exp": (lambda n, x: n("Exp", x), "exp", 0, 0),
    "softsign": (lambda n, x: n("Softsign", x), "softsign", 0, 0),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_spelling(name: str) -> None:
    make, kind, alpha, beta = SPELLINGS[name]
    net = Net()
    y = make(net, net("Abs" if kind == "exp" else "Neg", net.input(2, 3, 4, 4)))
    graph, _ = alone(net.model(y), *_RECOGNIZE)
    assert ops(graph)[1:] == [kind]
    node = list(graph.graph)[-1]
    found = attribute(node, "alpha"), attribute(node, "beta")
    assert found == pytest.approx((alpha, beta), rel=1e-6)


@pytest.mark.parametrize("name", SPELLINGS)
def test_goes_into_a_convolution(name: str) -> None:
    make, kind, *_ = SPELLINGS[name]
    net = Net()
    x = net("Conv", net.input(1, 3, 4, 4), net.weight(3, 3, 3, 3), net.weight(3), pads=[1, 1, 1, 1])
    graph, _ = optimized(net.model(make(net, x)), reference=True)
    assert ops(graph) == [f"Conv+{kind}"]


def test_activations_are_those_of_the_kernels() -> None:
    header = (ROOT / "ext/simd/ops.h").read_text()
    listed = header.partition("#define ECV_ACTIVATIONS(X)")[2].partition("#define")[0].partition("\n\n")[0]
    assert tuple(re.findall(r"X\((\w+)\)", listed)) == ACTIVATIONS


def test_every_activation_is_spelled() -> None:
    assert {kind for _, kind, *_ in SPELLINGS.values()} == set(ACTIVATIONS) - {"none"}


@pytest.mark.parametrize(
    "make",
    [
        lambda n, x: n("Mul", n("Neg", x), n("Sigmoid", x)),
        lambda n, x: n("Mul", x, n("HardSigmoid", x, alpha=0.2)),
        lambda n, x: n("Mul", x, n("Clip", n("Add", x, n.const(2.0)), n.const(0.0), n.const(6.0))),
        lambda n, x: n("Mul", x, n("Tanh", x)),
        lambda n, x: n("Mul", x, n("Add", n("Erf", x), n.const(1.0))),
        lambda n, x: n("PRelu", x, n.const([[[0.1]], [[0.2]], [[0.3]]])),
        lambda n, x: n("Clip", x, n.input(name="low"), n.const(6.0)),
        lambda n, x: n("Max", x, n("Mul", x, n.const(1.5))),
        lambda n, x: n("Min", x, n.weight(3, 1, 1)),
    ],
    ids=[
        "other x",
        "other slope",
        "other shift",
        "tanh alone",
        "other scale",
        "prelu",
        "clip",
        "steep",
        "bounds",
    ],
)
def test_what_only_looks_so(make: Callable[[Net, str], str]) -> None:
    net = Net()
    graph, _ = alone(net.model(make(net, net("Neg", net.input(1, 3, 4, 4)))), *_RECOGNIZE)
    assert len(graph.graph) > 2 or ops(graph)[-1] in ("PRelu", "Clip", "Min")


def test_other_types_keep_their_operators() -> None:
    from onnx import TensorProto

    for op, kind in (("Relu", TensorProto.INT32), ("Sigmoid", TensorProto.DOUBLE)):
        net = Net()
        y = net(op, net.input(2, 3, kind=kind))
        graph, _ = optimized(net.model(y, kinds={y: kind}))
        assert ops(graph) == [op]


# ---- What they are fused into


@pytest.mark.parametrize(
    ("make", "result"),
    [
        (lambda n, x: n("ConvTranspose", x, n.weight(3, 4, 2, 2)), "ConvTranspose+relu"),
        (lambda n, x: n("Add", x, n("Neg", x)), "Add+relu"),
        (lambda n, x: n("Mul", x, n.weight(3, 1, 1)), "Mul+relu"),
        (lambda n, x: n("Div", x, n("Neg", x)), "Div+relu"),
        (lambda n, x: n("Max", x, n("Neg", x)), "Max+relu"),
        (lambda n, x: n("MatMul", x, n("Neg", x)), "MatMul+relu"),
        (lambda n, x: n("Add", n("Mul", x, n.weight(3, 1, 1)), n.const(1.0)), "Affine+relu"),
        (lambda n, x: n("MaxPool", x, kernel_shape=[2, 2]), "relu"),
    ],
    ids=["transposed", "add", "mul", "div", "max", "matmul", "affine", "pool"],
)
def test_relu_after(make: Callable[[Net, str], str], result: str) -> None:
    net = Net()
    graph, _ = optimized(net.model(net("Relu", make(net, net.input(2, 3, 4, 4)))), reference=True)
    assert ops(graph)[-1] == result


def test_gemm() -> None:
    net = Net()
    y = net("Sigmoid", net("Gemm", net.input(3, 4), net.weight(4, 5), net.weight(5)))
    graph, _ = optimized(net.model(y), reference=True)
    assert ops(graph) == ["Gemm+sigmoid"]


def test_what_is_read_elsewhere_is_left() -> None:
    net = Net()
    x = net("Conv", net.input(1, 3, 4, 4), net.weight(3, 3, 1, 1))
    graph, report = optimized(net.model(net("Relu", x), x))
    assert ops(graph) == ["Conv", "relu"]
    assert why(report, "activations") == ["the network gives out what is before relu"]
    net = Net()
    x = net("Conv", net.input(1, 3, 4, 4), net.weight(3, 3, 1, 1))
    graph, report = optimized(net.model(net("Relu", x), net("Sigmoid", x)))
    assert ops(graph) == ["Conv", "relu", "sigmoid"]
    assert why(report, "activations") == [
        f"1 other nodes read what is before {kind}" for kind in ("relu", "sigmoid")
    ]


def test_one_after_another() -> None:
    net = Net()
    x = net("Conv", net.input(1, 3, 4, 4), net.weight(3, 3, 1, 1))
    graph, report = optimized(net.model(net("Tanh", net("Relu", x))))
    assert ops(graph) == ["Conv+relu", "tanh"]
    assert why(report, "activations") == ["tanh follows relu"]


def test_behind_a_reshape() -> None:
    net = Net()
    x = net("Conv", net.input(1, 3, 4, 5), net.weight(6, 3, 1, 1))
    x = net("Transpose", net("Reshape", x, net.const([1, 6, 20])), perm=[0, 2, 1])
    graph, _ = optimized(net.model(net("Sigmoid", x)))
    assert ops(graph) == ["Conv+sigmoid", "Reshape", "Transpose"]
    assert [v.name for v in graph.graph.outputs] == ["v3"]


def test_behind_a_reshape_of_something_else() -> None:
    net = Net()
    x = net("Reshape", net("MaxPool", net.input(1, 3, 4, 5), kernel_shape=[2, 2]), net.const([3, 12]))
    graph, _ = alone(net.model(net("Sigmoid", x)), *_RECOGNIZE, HOIST, ACTIVATE)
    assert ops(graph) == ["MaxPool", "Reshape", "sigmoid"]


# ---- Sums


def _conv(net: Net, x: str, group: int = 1) -> str:
    return net("Conv", x, net.weight(4, 4 // group, 3, 3), net.weight(4), pads=[1, 1, 1, 1], group=group)


def test_sum_and_activation_at_the_end_of_a_convolution() -> None:
    net = Net()
    x = net.input(2, 4, 5, 5)
    graph, report = optimized(net.model(net("Relu", net("Add", _conv(net, x), x))), reference=True)
    assert ops(graph) == ["Conv+residual+relu"]
    node = next(iter(graph.graph))
    assert node.inputs[3] is graph.graph.inputs[0]
    assert ("Conv0", "Add1") in [change.nodes for change in report.changes if change.pass_name == "residuals"]


def test_a_convolution_without_bias_takes_a_sum() -> None:
    net = Net()
    x = net.input(2, 4, 5, 5)
    graph, _ = optimized(net.model(net("Add", x, net("Conv", x, net.weight(4, 4, 1, 1)))), reference=True)
    assert ops(graph) == ["Conv+residual"]
    assert next(iter(graph.graph)).inputs[2] is None


def test_the_later_of_two_convolutions_takes_the_sum() -> None:
    for order in (1, -1):
        net = Net()
        x = net.input(2, 4, 5, 5)
        first, second = _conv(net, x), _conv(net, net("MaxPool", x, kernel_shape=[1, 1]))
        graph, _ = optimized(net.model(net("Add", *(first, second)[::order])))
        assert ops(graph) == ["Conv", "MaxPool", "Conv+residual"]


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda n, x: n("Add", n("Relu", _conv(n, x)), x), "Conv0: its relu comes before the sum"),
        (lambda n, x: n("Add", _conv(n, x, group=4), x), "Conv0: a depthwise convolution takes no sum"),
        (
            lambda n, x: n("Add", _conv(n, x), n("MaxPool", x, kernel_shape=[5, 5])),
            "Conv0: the shapes differ, or the other is a constant",
        ),
        (lambda n, x: n("Add", c := _conv(n, x), n("Exp", c)), "Conv0: its result is read elsewhere too"),
    ],
    ids=["activated", "depthwise", "shapes", "read twice"],
)
def test_sums_that_stay(make: Callable[[Net, str], str], reason: str) -> None:
    net = Net()
    x = net.input(2, 4, 5, 5)
    graph, report = optimized(net.model(make(net, x)))
    assert "residual" not in " ".join(ops(graph))
    assert reason in why(report, "residuals")


def test_three_in_a_sum() -> None:
    net = Net()
    x = net.input(2, 4, 5, 5)
    y = net("Add", net("Add", _conv(net, x), x), net("Neg", x))
    graph, report = alone(net.model(y), NORMALIZE, RESIDUAL)
    assert ops(graph) == ["Conv+residual", "Neg", "Add"]
    assert why(report, "residuals") == ["Conv0: it takes another sum already"]


def test_names_of_the_file_stay_with_what_they_name() -> None:
    net = Net()
    x = net("Conv", net.input(1, 3, 4, 4), net.weight(3, 3, 1, 1))
    y = net("Relu", x)
    graph, _ = optimize(net.model(net("MaxPool", y, kernel_shape=[2, 2])))
    assert [v.name for v in next(iter(graph.graph)).outputs] == [y]
    assert np.all([node.name for node in graph.graph] == ["Conv0", "MaxPool2"])

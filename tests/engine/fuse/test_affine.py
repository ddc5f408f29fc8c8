"""Scales, shifts and padding in the weights next to them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from edgecv.engine.fuse.affine import AFFINE, INTO_NEXT, INTO_PRODUCT, PADS
from edgecv.graph.normal.constants import FOLD
from edgecv.graph.normal.normalize import NORMALIZE
from edgecv.graph.rewrite import attribute, constant
from tests.graph.little import Net, alone, ops, optimized, why


def _norm(net: Net, x: str, channels: int) -> str:
    operands = (net.positive(channels), net.weight(channels), net.weight(channels), net.positive(channels))
    return net("BatchNormalization", x, *operands, epsilon=1e-3)


_AFTER: dict[str, Callable[[Net, str], str]] = {
    "norm": lambda n, y: _norm(n, y, 6),
    "mul": lambda n, y: n("Mul", y, n.weight(6, 1, 1)),
    "mul left": lambda n, y: n("Mul", n.weight(1, 6, 1, 1), y),
    "add": lambda n, y: n("Add", y, n.weight(6, 1, 1)),
    "number": lambda n, y: n("Add", n("Mul", y, n.const(0.5)), n.const([[3.0]])),
    "sub, div": lambda n, y: n("Div", n("Sub", y, n.weight(6, 1, 1)), n.positive(6, 1, 1)),
    "sub from": lambda n, y: n("Sub", n.const(1.0), y),
    "neg": lambda n, y: n("Neg", y),
    "all of them": lambda n, y: n(
        "Mul", n("Add", _norm(n, n("Neg", y), 6), n.weight(6, 1, 1)), n.weight(6, 1, 1)
    ),
    "after a reshape": lambda n, y: n("Mul", n("Reshape", y, n.const([0, 6, -1])), n.weight(6, 1)),
    "after a transpose": lambda n, y: n("Add", n("Transpose", y, perm=[0, 2, 3, 1]), n.weight(6)),
}
_BEFORE: dict[str, Callable[[Net, str], str]] = {
    "conv": lambda n, x: n("Conv", x, n.weight(6, 4, 3, 3), pads=[1, 1, 1, 1]),
    "conv with bias": lambda n, x: n("Conv", x, n.weight(6, 4, 1, 1), n.weight(6)),
    "grouped": lambda n, x: n("Conv", x, n.weight(6, 2, 3, 3), n.weight(6), group=2),
    "transposed": lambda n, x: n("ConvTranspose", x, n.weight(4, 6, 2, 2), n.weight(6), strides=[2, 2]),
    "transposed, grouped": lambda n, x: n("ConvTranspose", x, n.weight(4, 3, 2, 2), group=2),
}


@pytest.mark.parametrize("before", _BEFORE)
@pytest.mark.parametrize("after", _AFTER)
def test_into_a_convolution(before: str, after: str) -> None:
    net = Net()
    y = _AFTER[after](net, _BEFORE[before](net, net.input(2, 4, 5, 6)))
    graph, report = alone(net.model(y), NORMALIZE, INTO_PRODUCT)
    left = [op for op in ops(graph) if op not in ("Reshape", "Transpose")]
    assert left == [net.nodes[0].op_type]
    changed = [change for change in report.changes if change.pass_name == "affine"]
    assert len(changed) == 1
    assert changed[0].what.endswith(f" in the weights of {net.nodes[0].op_type}")
    assert all(
        array.dtype == np.float32
        for array in map(constant, graph.graph.initializers.values())
        if array.ndim > 1
    )


def test_into_a_product_of_matrices() -> None:
    net = Net()
    x = net.input(2, 3, 4)
    y = net("Add", net("Mul", net("MatMul", x, net.weight(4, 5)), net.weight(5)), net.weight(5))
    graph, _ = optimized(net.model(y))
    assert ops(graph) == ["Reshape", "Gemm", "Reshape"]
    net = Net()
    y = net("Add", net("Gemm", net.input(3, 4), net.weight(4, 5), net.const([1.0])), net.weight(5))
    graph, _ = optimized(net.model(y))
    assert ops(graph) == ["Gemm"]
    assert constant(next(iter(graph.graph)).inputs[2]).shape == (5,)


def test_one_rounding() -> None:
    # (1/3) * 3 is 1 in float64; 3 * float32(1/3) is not what stands here.
    net = Net()
    x = net.input(1, 1, 1, 1)
    third = np.float32(1 / 3)
    y = net("Conv", x, net.const([[[[3.0]]]]))
    for _ in range(3):
        y = net("Mul", y, net.const(third))
    graph, _ = alone(net.model(y), INTO_PRODUCT)
    weights = constant(next(iter(graph.graph)).inputs[1])
    assert weights.item() == np.float32(3 * np.float64(third) ** 3)


@pytest.mark.parametrize(
    ("make", "left"),
    [
        (lambda n, y: n("Mul", y, n.weight(5, 6)), ["Conv", "Mul"]),
        (lambda n, y: n("Mul", y, n.weight(2, 6, 1, 1)), ["Conv", "Mul"]),
        (lambda n, y: n("Add", n("Mul", y, n.const(2.0)), y), ["Conv", "Mul", "Add"]),
        (lambda n, y: n("Mul", y, y), ["Conv", "Mul"]),
        (lambda n, y: n("Sub", n("Exp", y), n.const(1.0)), ["Conv", "Exp", "Sub"]),
        (
            lambda n, y: n("Add", n("Reshape", y, n.const([2, 30, 6])), n.weight(30, 1)),
            ["Conv", "Reshape", "Add"],
        ),
    ],
    ids=[
        "each pixel",
        "each picture",
        "read twice",
        "squared",
        "behind something else",
        "channels taken apart",
    ],
)
def test_what_is_not_of_a_channel_stays(make: Callable[[Net, str], str], left: list[str]) -> None:
    net = Net()
    x = net.input(2, 6, 5, 6)
    graph, report = alone(net.model(make(net, net("Conv", x, net.weight(6, 6, 1, 1)))), INTO_PRODUCT)
    assert ops(graph) == left
    assert not report.changes


def test_weights_of_the_run_are_left() -> None:
    net = Net()
    x, w = net.input(1, 2, 3, 3), net.input(4, 2, 1, 1, name="w")
    y = net("Mul", net("Conv", x, w), net.const(2.0))
    graph, report = alone(net.model(y), INTO_PRODUCT)
    assert ops(graph) == ["Conv", "Mul"]
    assert why(report, "affine") == ["the weights before it are known only at run time"]


def test_weights_of_two_convolutions_stay_apart() -> None:
    net = Net()
    x, w = net.input(1, 2, 3, 3), net.weight(4, 2, 1, 1)
    y = net("Mul", net("Conv", x, w), net.const(2.0))
    graph, _ = optimized(net.model(y, net("Conv", x, w)))
    assert len(graph.graph.initializers) >= 2


@pytest.mark.parametrize("pads", [0, 1])
@pytest.mark.parametrize("group", [1, 2])
def test_before_a_convolution(pads: int, group: int) -> None:
    net = Net()
    x = net.input(2, 4, 5, 6)
    y = net("Mul", net("Add", x, net.weight(4, 1, 1)), net.weight(4, 1, 1))
    y = net("Conv", y, net.weight(6, 4 // group, 3, 3), group=group, pads=[pads] * 4)
    graph, report = alone(net.model(y), NORMALIZE, INTO_NEXT)
    assert ops(graph) == (["Add", "Conv"] if pads else ["Conv"])
    expected = ["Conv2 pads with zeros, which would have to be shifted too"] if pads else []
    assert why(report, "affine before") == expected


def test_before_a_product_of_matrices() -> None:
    net = Net()
    x = net.input(3, 4)
    y = net("Gemm", net("Add", net("Mul", x, net.weight(4)), net.weight(4)), net.weight(4, 5), net.weight(5))
    graph, _ = alone(net.model(y), NORMALIZE, INTO_NEXT)
    assert ops(graph) == ["Gemm"]


def test_a_norm_alone() -> None:
    net = Net()
    x = net.input(2, 4, 5, 6)
    graph, report = alone(net.model(net("Relu", _norm(net, net("Concat", x, x, axis=1), 8))), AFFINE)
    assert ops(graph) == ["Concat", "Affine", "Relu"]
    affine = list(graph.graph)[1]
    assert [constant(value).shape for value in affine.inputs[1:]] == [(8, 1, 1), (8, 1, 1)]
    assert [change.nodes for change in report.changes] == [("BatchNormalization1",)]


def test_a_norm_of_the_run_is_written_out() -> None:
    net = Net()
    x = net.input(2, 3, 4, 4)
    mean = net.input(3, name="mean")
    y = net("BatchNormalization", x, net.positive(3), net.weight(3), mean, net.positive(3))
    graph, _ = optimized(net.model(y))
    assert ops(graph) == ["Affine", "Mul", "Reshape", "Add"]


def test_norms_of_an_old_opset_by_element() -> None:
    net = Net(7)
    x = net.input(2, 3, 4)
    operands = [net.positive(3, 4), net.weight(3, 4), net.weight(3, 4), net.positive(3, 4)]
    y = net("BatchNormalization", x, *operands, spatial=0)
    from edgecv.engine.pipeline import optimize

    graph, _ = optimize(net.model(y))
    assert ops(graph) == ["Affine"]
    gamma, beta, mean, variance = (net.weights[name].astype(np.float64) for name in operands)
    scale = gamma / np.sqrt(variance + 1e-5)
    found = [constant(value) for value in next(iter(graph.graph)).inputs[1:]]
    np.testing.assert_allclose(found[0], scale, rtol=1e-5)
    np.testing.assert_allclose(found[1], beta - mean * scale, rtol=1e-4, atol=1e-6)


def test_what_is_not_written_after_another_stays_single() -> None:
    net = Net()
    x = net.input(2, 3)
    graph, report = alone(net.model(net("Mul", x, net.weight(3)), net("Add", x, net.weight(3))), AFFINE)
    assert ops(graph) == ["Mul", "Add"]
    assert not report.changes


def test_decoding_of_a_grid() -> None:
    net = Net()
    x = net.input(1, 8, 2)
    y = net("Mul", net("Add", x, net.weight(1, 8, 2)), net.weight(1, 8, 1))
    graph, _ = alone(net.model(y), AFFINE)
    assert ops(graph) == ["Affine"]


@pytest.mark.parametrize(
    ("op", "options", "after"),
    [
        ("Conv", {"pads": [1, 1, 1, 1]}, [3, 1, 1, 4]),
        ("AveragePool", {}, [2, 0, 0, 3]),
        ("AveragePool", {"pads": [1, 0, 0, 0], "count_include_pad": 1}, [3, 0, 0, 3]),
        ("MaxPool", {}, [2, 0, 0, 3]),
    ],
    ids=["conv", "average", "average of padding", "maximum of what is positive"],
)
def test_pads_go_into_the_window(op: str, options: dict[str, object], after: list[int]) -> None:
    net = Net()
    x = net.input(1, 3, 8, 8)
    if op == "MaxPool":
        x = net("Relu", x)
    x = net("Pad", x, net.const([0, 0, 2, 0, 0, 0, 0, 3]))
    operands = [net.weight(4, 3, 4, 4)] if op == "Conv" else []
    y = net(op, x, *operands, **options, kernel_shape=[4, 4])
    graph, _ = alone(net.model(y), NORMALIZE, PADS)
    assert "Pad" not in ops(graph)
    assert attribute(list(graph.graph)[-1], "pads") == after


@pytest.mark.parametrize(
    ("op", "pad", "options", "reason"),
    [
        ("Conv", {"mode": "edge"}, {}, "padding by edge, or of sizes known at run time"),
        ("Conv", {"value": 1.0}, {}, "it pads with another number than zero"),
        ("MaxPool", {}, {}, "a maximum takes padding for less than any number, and zero is not"),
        ("AveragePool", {}, {"pads": [1, 1, 1, 1]}, "the average would count other pixels"),
    ],
    ids=["edge", "one", "maximum", "average"],
)
def test_pads_that_stay(op: str, pad: dict[str, object], options: dict[str, object], reason: str) -> None:
    net = Net()
    x = net.input(1, 3, 8, 8)
    value = [net.const(pad.pop("value"))] if "value" in pad else []
    x = net("Pad", x, net.const([0, 0, 1, 1, 0, 0, 1, 1]), *value, **pad)
    operands = [net.weight(4, 3, 3, 3)] if op == "Conv" else []
    graph, report = alone(
        net.model(net(op, x, *operands, kernel_shape=[3, 3], **options)), FOLD, NORMALIZE, PADS
    )
    assert ops(graph) == ["Pad", op]
    assert why(report, "pads") == [reason]


def test_padding_of_channels_stays() -> None:
    net = Net()
    x = net("Pad", net.input(1, 3, 8, 8), net.const([0, 0, 0, 0, 0, 1, 0, 0]))
    graph, report = alone(net.model(net("Conv", x, net.weight(4, 4, 3, 3))), NORMALIZE, PADS)
    assert ops(graph) == ["Pad", "Conv"]
    assert why(report, "pads") == ["it pads the axis of channels, or of the batch"]

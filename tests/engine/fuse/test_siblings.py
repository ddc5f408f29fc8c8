"""Convolutions of one input as one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from edgecv.engine.fuse.fused import ACTIVATE
from edgecv.engine.fuse.recognize import OPERATORS
from edgecv.engine.fuse.siblings import APART, SIBLINGS
from edgecv.graph.normal.normalize import NORMALIZE
from edgecv.graph.rewrite import attribute, integers, shape
from tests.graph.little import Net, alone, ops, optimized, why


def _convs(net: Net, x: str, counts: Sequence[int], kernel: int = 1, bias: bool = True) -> list[str]:
    side = kernel // 2
    return [
        net("Conv", x, net.weight(n, 8, kernel, kernel), *([net.weight(n)] if bias else []), pads=[side] * 4)
        for n in counts
    ]


def test_a_head_of_four() -> None:
    net = Net()
    parts = _convs(net, net.input(2, 8, 6, 6), (1, 4, 1, 10))
    graph, report = alone(net.model(*parts), SIBLINGS)
    assert ops(graph) == ["Conv", "Split"]
    conv, split = graph.graph
    assert shape(conv.inputs[1]) == (16, 8, 1, 1)
    assert integers(split.inputs[1]) == (1, 4, 1, 10)
    assert [c.what for c in report.changes] == [
        "one convolution of [1, 4, 1, 10] channels: 1 blocks of 16 for 4"
    ]


def test_kernels_of_three_and_activations() -> None:
    net = Net()
    x = net.input(1, 8, 6, 6)
    parts = [net("Relu", y) for y in _convs(net, x, (6, 10), 3)]
    graph, _ = alone(net.model(*parts), NORMALIZE, OPERATORS, ACTIVATE, SIBLINGS)
    assert ops(graph) == ["Conv+relu", "Split"]


@pytest.mark.parametrize("counts", [(4, 1), (10, 6)], ids=str)
def test_activations_differ_within_a_block(counts: Sequence[int]) -> None:
    net = Net()
    first, second = _convs(net, net.input(1, 8, 6, 6), counts)
    graph, report = alone(net.model(first, net("Sigmoid", second)), NORMALIZE, OPERATORS, ACTIVATE, SIBLINGS)
    assert ops(graph) == ["Conv", "Split", "sigmoid"]
    assert [c.what for c in report.changes if c.pass_name == SIBLINGS.name] == [
        f"one convolution of {list(counts)} channels: 1 blocks of 16 for 2"
    ]


def test_one_has_no_bias() -> None:
    net = Net()
    x = net.input(1, 8, 6, 6)
    graph, _ = alone(net.model(*_convs(net, x, (3, 5)), *_convs(net, x, (4,), bias=False)), SIBLINGS)
    assert ops(graph) == ["Conv", "Split"]


def test_whole_blocks_come_first() -> None:
    net = Net()
    parts = _convs(net, net.input(1, 8, 6, 6), (5, 16, 6, 32))
    graph, _ = alone(net.model(*parts), SIBLINGS)
    assert integers(list(graph.graph)[1].inputs[1]) == (16, 32, 5, 6)


@pytest.mark.parametrize(
    ("counts", "is_one"),
    [
        ((4, 1), True),
        ((1, 4, 1, 10), True),
        ((80, 5, 11), True),
        ((16, 16), True),
        ((16, 5), True),
        ((80, 32), False),
        ((32, 32), False),
        ((32, 5), False),
        ((12, 13), False),
    ],
    ids=str,
)
def test_one_where_that_saves_blocks_or_each_is_no_more_than_one(counts: Sequence[int], is_one: bool) -> None:
    net = Net()
    graph, _ = alone(net.model(*_convs(net, net.input(1, 8, 6, 6), counts)), SIBLINGS)
    assert ops(graph) == (["Conv", "Split"] if is_one else ["Conv"] * len(counts))


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        ((64, 48), "2 convolutions of one input have [64, 48] channels: no block would be saved"),
        ((20, 13), "2 convolutions of one input have [20, 13] channels: no block would be saved"),
    ],
    ids=["whole blocks", "no block saved"],
)
def test_those_that_stay(counts: Sequence[int], reason: str) -> None:
    net = Net()
    graph, report = alone(net.model(*_convs(net, net.input(1, 8, 6, 6), counts)), SIBLINGS)
    assert ops(graph) == ["Conv", "Conv"]
    assert why(report, "siblings") == [reason]


def test_a_reader_that_needs_whole_blocks() -> None:
    net = Net()
    first, second = _convs(net, net.input(1, 8, 6, 6), (6, 10))
    graph, report = alone(net.model(net("MaxPool", first, kernel_shape=[2, 2]), second), SIBLINGS)
    assert ops(graph) == ["Conv", "Conv", "MaxPool"]
    assert why(report, "siblings") == [
        "2 convolutions of one input have [6, 10] channels: MaxPool MaxPool2 would need a copy"
    ]


@pytest.mark.parametrize("difference", ["kernel", "activation", "input", "weights"])
def test_no_siblings(difference: str) -> None:
    net = Net()
    x = net.input(1, 8, 6, 6)
    first, second = {
        "kernel": lambda: (*_convs(net, x, (6,)), *_convs(net, x, (6,), 3)),
        "activation": lambda: (net("Relu", *_convs(net, x, (9,))), *_convs(net, x, (9,))),
        "input": lambda: (*_convs(net, x, (6,)), *_convs(net, net("Abs", x), (6,))),
        "weights": lambda: (*_convs(net, x, (6,)), net("Conv", x, net.input(6, 8, 1, 1, name="w"))),
    }[difference]()
    graph, report = alone(net.model(first, second), NORMALIZE, OPERATORS, ACTIVATE, SIBLINGS)
    assert "Split" not in ops(graph)
    assert not why(report, "siblings")


def _depthwise(net: Net, x: str, channels: int, kernel: int = 3) -> str:
    side = kernel // 2
    weights = net.weight(channels, 1, kernel, kernel)
    return net("Conv", x, weights, net.weight(channels), group=channels, pads=[side] * 4)


@pytest.mark.parametrize("same", [True, False], ids=["alike", "activations differ"])
def test_depthwise_convolutions_of_the_parts(same: bool) -> None:
    net = Net()
    counts = (1, 4, 1, 10)
    parts = _convs(net, net.input(2, 8, 6, 6), counts)
    ends = [_depthwise(net, part, n) for part, n in zip(parts, counts, strict=True)]
    ends = [net("Sigmoid", y) if same or n == 1 else y for y, n in zip(ends, counts, strict=True)]
    graph, _ = optimized(net.model(*ends))
    assert ops(graph)[:3] == (["Conv", "Conv+sigmoid", "Split"] if same else ["Conv", "Conv", "Split"])
    assert ops(graph)[3:] == ([] if same else ["sigmoid", "sigmoid"])
    depthwise = list(graph.graph)[1]
    assert attribute(depthwise, "group") == 16


def test_depthwise_convolutions_that_differ() -> None:
    net = Net()
    parts = _convs(net, net.input(2, 8, 6, 6), (6, 10))
    ends = [_depthwise(net, parts[0], 6, 3), _depthwise(net, parts[1], 10, 5)]
    graph, report = alone(net.model(*ends), SIBLINGS, rounds=1)
    assert ops(graph) == ["Conv", "Split", "Conv", "Conv"]
    assert why(report, "siblings") == ["the depthwise convolutions of its parts differ"]


def _parts(
    net: Net, counts: Sequence[int], *, kernel: int = 1, bias: bool = True, before: str = ""
) -> tuple[str, list[str]]:
    """What a convolution gives, `before` after it, and the parts that it is split into."""
    (whole,) = _convs(net, net.input(2, 8, 6, 6), (sum(counts),), kernel, bias)
    whole = net(before, whole) if before else whole
    return whole, net("Split", whole, net.const(counts), outputs=len(counts), axis=1)


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("counts", [(80, 32), (32, 48, 20)], ids=str)
def test_parts_that_end_with_activations(counts: Sequence[int], bias: bool) -> None:
    net = Net()
    _, (first, *others) = _parts(net, counts, bias=bias)
    graph, report = optimized(net.model(net("Sigmoid", first), *others))
    assert Counter(ops(graph)) == {"Conv+sigmoid": 1, "Conv": len(others)}
    assert [c.what for c in report.changes if c.pass_name == APART.name] == [
        f"{len(counts)} convolutions of {list(counts)} channels"
    ]


@pytest.mark.parametrize(
    ("counts", "kernel", "reason"),
    [
        ((40, 40), 1, "apart they take more blocks"),
        ((64, 16), 1, "so few are too little work for an input that is read again"),
        ((64, 32), 3, "the windows of its input would be gathered again"),
    ],
    ids=["more blocks", "one block", "windows"],
)
def test_parts_that_stay_together(counts: Sequence[int], kernel: int, reason: str) -> None:
    net = Net()
    _, (first, second) = _parts(net, counts, kernel=kernel)
    graph, report = alone(net.model(net("Sigmoid", first), second), NORMALIZE, OPERATORS, APART, ACTIVATE)
    assert ops(graph) == ["Conv", "Split", "sigmoid"]
    assert why(report, APART.name) == [f"Conv0: its parts have {list(counts)} channels: {reason}"]


@pytest.mark.parametrize("difference", ["no activation", "given out", "an activation before", "pixels"])
def test_nothing_to_take_apart(difference: str) -> None:
    net = Net()
    whole, (first, second) = _parts(
        net, (64, 32), before="Relu" if difference == "an activation before" else ""
    )
    outputs = [first if difference == "no activation" else net("Sigmoid", first), second]
    if difference == "given out":
        outputs.append(whole)
    if difference == "pixels":
        net.nodes[-2].attribute[0].i = 2
        net.nodes[-2].input[1] = net.const((2, 4))
    graph, report = alone(net.model(*outputs), NORMALIZE, OPERATORS, ACTIVATE, APART, ACTIVATE)
    assert "Split" in ops(graph)
    assert not why(report, APART.name)

"""Pictures taken apart and convolved: one strided convolution."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from edgecv.engine.fuse.focus import FOCUS
from edgecv.graph.normal.constants import FOLD, NOOPS
from edgecv.graph.normal.functions import FUNCTIONS
from edgecv.graph.normal.normalize import NORMALIZE
from edgecv.graph.rewrite import attribute, shape
from tests.graph.little import Net, alone, ops, optimized, why


def _slice(net: Net, x: str, start: int, axis: int, step: int = 2, end: int = 1 << 31) -> str:
    return net("Slice", x, net.const([start]), net.const([end]), net.const([axis]), net.const([step]))


def _parts(net: Net, x: str, order: tuple[tuple[int, int], ...]) -> str:
    parts = [_slice(net, _slice(net, x, row, 2), column, 3) for row, column in order]
    return net("Concat", *parts, axis=1)


_YOLOX = ((0, 0), (1, 0), (0, 1), (1, 1))


@pytest.mark.parametrize("order", [_YOLOX, ((0, 0), (0, 1), (1, 0), (1, 1))], ids=["yolox", "by rows"])
@pytest.mark.parametrize("pads", [[1, 1, 1, 1], [0, 1, 2, 0]], ids=["even", "ragged"])
@pytest.mark.parametrize("strides", [[1, 1], [2, 1]], ids=["single", "steps"])
def test_slices(order: tuple[tuple[int, int], ...], pads: list[int], strides: list[int]) -> None:
    net = Net()
    x = _parts(net, net.input(2, 3, 12, 16), order)
    y = net("Conv", x, net.weight(5, 12, 3, 3), net.weight(5), pads=pads, strides=strides)
    graph, report = alone(net.model(y), NORMALIZE, FOCUS)
    assert ops(graph) == ["Conv"]
    conv = next(iter(graph.graph))
    assert shape(conv.inputs[1]) == (5, 3, 6, 6)
    assert attribute(conv, "pads") == [2 * n for n in pads]
    assert attribute(conv, "strides") == [2 * n for n in strides]
    assert [c.what for c in report.changes if c.pass_name == "focus"] == [
        "Concat of parts and a convolution: one of 6x6"
    ]


def test_one_slice_for_both_axes() -> None:
    net = Net()
    x = net.input(1, 2, 6, 6)
    parts = [
        net("Slice", x, net.const([r, c]), net.const([99, 99]), net.const([2, 3]), net.const([3, 2]))
        for r in range(3)
        for c in range(2)
    ]
    y = net("Relu", net("Conv", net("Concat", *parts, axis=1), net.weight(4, 12, 1, 1)))
    graph, _ = optimized(net.model(y))
    assert ops(graph) == ["Conv+relu"]
    assert shape(next(iter(graph.graph)).inputs[1]) == (4, 2, 3, 2)


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_spelled_by_reshapes(mode: str) -> None:
    net = Net()
    x = net.input(2, 3, 8, 12)
    six = net("Reshape", x, net.const([2, 3, 4, 2, 6, 2]))
    turned = net("Transpose", six, perm=[0, 3, 5, 1, 2, 4] if mode == "DCR" else [0, 1, 3, 5, 2, 4])
    whole = net("Reshape", turned, net.const([2, 12, 4, 6]))
    y = net("Conv", whole, net.weight(5, 12, 3, 3), pads=[1, 1, 1, 1])
    graph, _ = alone(net.model(y), NORMALIZE, FOCUS)
    assert ops(graph) == ["Conv"]


def test_space_to_depth() -> None:
    net = Net()
    y = net("Conv", net("SpaceToDepth", net.input(2, 3, 8, 12), blocksize=4), net.weight(5, 48, 1, 1))
    graph, _ = alone(net.model(y), FOLD, NORMALIZE, FUNCTIONS, NOOPS, FOCUS)
    assert ops(graph) == ["Conv"]
    assert shape(next(iter(graph.graph)).inputs[1]) == (5, 3, 4, 4)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (
            lambda n, x: n("Conv", _parts(n, x, _YOLOX), n.weight(8, 4, 1, 1), group=2),
            "the convolution is grouped or dilated",
        ),
        (
            lambda n, x: n("Conv", _parts(n, x, _YOLOX), n.weight(8, 8, 2, 2), dilations=[2, 2]),
            "the convolution is grouped or dilated",
        ),
        (
            lambda n, x: n("Conv", _parts(n, x, _YOLOX[:2]), n.weight(8, 4, 1, 1)),
            "not every pixel is taken once, which would cost more",
        ),
        (
            lambda n, x: n(
                "Conv", n("Concat", *(_slice(n, x, r, 2, 3) for r in (0, 1)), axis=1), n.weight(8, 4, 1, 1)
            ),
            "the picture's sides are no multiple of the steps",
        ),
        (
            lambda n, x: n("Add", n("Conv", p := _parts(n, x, _YOLOX), n.weight(8, 8, 1, 1)), p),
            "the parts are read elsewhere too",
        ),
    ],
    ids=["grouped", "dilated", "two parts", "left over", "read twice"],
)
def test_what_stays(make: Callable[[Net, str], str], reason: str) -> None:
    net = Net()
    graph, report = alone(net.model(make(net, net.input(1, 2, 8, 8))), NORMALIZE, FOCUS)
    assert "Slice" in ops(graph)
    assert why(report, "focus") == [reason]


@pytest.mark.parametrize("case", ["ends early", "another axis", "two pictures", "rows alone"])
def test_what_is_no_such_picture(case: str) -> None:
    net = Net()
    x = net.input(1, 2, 8, 8)
    parts = {
        "ends early": lambda: [_slice(net, x, r, 2, end=6 + r) for r in (0, 1)],
        "another axis": lambda: [_slice(net, x, r, 1) for r in (0, 1)],
        "two pictures": lambda: [_slice(net, x, 0, 2), _slice(net, net("Abs", x), 1, 2)],
        "rows alone": lambda: [_slice(net, x, r, 2, 1, 5 + r) for r in (0, 1)],
    }[case]()
    joined = net("Concat", *parts, axis=1)
    y = net("Conv", joined, net.weight(4, 2 if case == "another axis" else 4, 1, 1))
    graph, _ = alone(net.model(y), NORMALIZE, FOCUS)
    assert "Concat" in ops(graph)

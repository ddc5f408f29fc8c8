"""Folding, nodes that do nothing, dead code, equal nodes."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from edgecv.graph.ir import to_ir
from edgecv.graph.normal.constants import DEAD, EQUAL, FOLD, NOOPS
from edgecv.graph.rewrite import Change, Report, constant
from tests.graph.little import Net, alone, ops, optimized, why


def test_a_shape_computed_by_nodes_is_known() -> None:
    net = Net()
    x = net.input(2, 3, 4, 5)
    shape = net("Shape", x)
    rows = net("Gather", shape, net.const(0))
    target = net("Concat", net("Unsqueeze", rows, net.const([0])), net.const([-1]), axis=0)
    graph, report = alone(net.model(net("Reshape", x, target)), FOLD)
    assert ops(graph) == ["Reshape"]
    assert [change.what for change in report.changes] == [
        "Shape is known: [2, 3, 4, 5]",
        "Gather is known: 2",
        "Unsqueeze is known: [2]",
        "Concat is known: [2, -1]",
    ]


def test_a_shape_of_unknown_sizes_stays() -> None:
    net = Net()
    x = net.input("n", 3)
    graph, _ = alone(net.model(net("Shape", x), kinds={"v0": TensorProto.INT64}), FOLD)
    assert ops(graph) == ["Shape"]


@pytest.mark.parametrize(
    "attribute",
    [
        {"value_int": 3},
        {"value_ints": [3, 4]},
        {"value_float": 0.5},
        {"value_floats": [0.5]},
        {"value": helper.make_tensor("t", TensorProto.FLOAT, [2], [1.0, 2.0])},
    ],
    ids=lambda a: next(iter(a)),
)
def test_constant_nodes_become_initializers(attribute: dict[str, object]) -> None:
    net = Net()
    x = net.input(2)
    number = net("Cast", net("Constant", **attribute), to=TensorProto.FLOAT)
    graph, _ = alone(net.model(net("Add", x, number)), FOLD)
    assert ops(graph) == ["Add"]


def test_a_constant_output_keeps_its_name() -> None:
    net = Net()
    x = net.input(2, 3)
    size = net("Size", x)
    graph, _ = optimized(net.model(net("Relu", x), size, kinds={size: TensorProto.INT64}))
    assert sorted(ops(graph)) == ["Identity", "relu"]
    assert [int(constant(node.inputs[0])) for node in graph.graph if node.op_type == "Identity"] == [6]


def test_large_results_stay_with_the_run() -> None:
    net = Net()
    x = net.input(1)
    big = net("ConstantOfShape", net.const([5000, 5000]))
    graph, report = to_ir(net.model(net("Add", x, big))), Report()
    FOLD.run(graph, report)
    assert ops(graph) == ["ConstantOfShape", "Add"]
    assert why(report, "fold") == ["ConstantOfShape of constants would hold 95 MB more"]


def test_random_numbers_are_not_folded() -> None:
    net = Net()
    x = net.input(2)
    noise = net("RandomUniformLike", net.const(np.zeros(2)))
    graph = to_ir(
        net.model(net("Add", x, noise), net("Add", x, net("RandomUniformLike", net.const(np.zeros(2)))))
    )
    report = Report()
    for one in (FOLD, EQUAL):
        one.run(graph, report)
    assert ops(graph).count("RandomUniformLike") == 2


def _noop(net: Net, case: str, x: str) -> str:
    make = {
        "identity": lambda: net("Identity", x),
        "dropout": lambda: net("Dropout", x),
        "dropout of inference": lambda: net("Dropout", x, net.const(0.3), net.const(False)),
        "cast to the same": lambda: net("Cast", x, to=TensorProto.FLOAT),
        "reshape to the same": lambda: net("Reshape", x, net.const([2, 3, 4])),
        "transpose to the same": lambda: net("Transpose", x, perm=[0, 1, 2]),
        "slice of all": lambda: net("Slice", x, net.const([0]), net.const([9]), net.const([2])),
        "pad by nothing": lambda: net("Pad", x, net.const([0] * 6)),
        "concat of one": lambda: net("Concat", x, axis=1),
        "sum of one": lambda: net("Sum", x),
        "split in one": lambda: net("Split", x, net.const([4]), axis=2),
        "expand to the same": lambda: net("Expand", x, net.const([1, 3, 1])),
        "tile once": lambda: net("Tile", x, net.const([1, 1, 1])),
        "times one": lambda: net("Mul", x, net.const(1.0)),
        "plus zero": lambda: net("Add", x, net.const(0.0)),
        "by one": lambda: net("Div", x, net.const(1.0)),
        "minus zero": lambda: net("Sub", x, net.const(0.0)),
    }
    return make[case]()


_NOOPS = [
    "identity",
    "dropout",
    "dropout of inference",
    "cast to the same",
    "reshape to the same",
    "transpose to the same",
    "slice of all",
    "pad by nothing",
    "concat of one",
    "sum of one",
    "split in one",
    "expand to the same",
    "tile once",
    "times one",
    "plus zero",
    "by one",
    "minus zero",
]


@pytest.mark.parametrize("case", _NOOPS)
def test_nodes_that_do_nothing_go(case: str) -> None:
    net = Net()
    y = net("Exp", _noop(net, case, net("Abs", net.input(2, 3, 4))))
    graph, report = alone(net.model(y), NOOPS)
    assert ops(graph) == ["Abs", "Exp"]
    assert len(report.changes) == 1


@pytest.mark.parametrize("case", ["slice backwards", "cast", "transpose", "times one that repeats", "pad"])
def test_nodes_that_do_something_stay(case: str) -> None:
    net = Net()
    x = net.input(2, 2)
    y = {
        "slice backwards": lambda: net(
            "Slice", x, net.const([-1]), net.const([-9]), net.const([1]), net.const([-1])
        ),
        "cast": lambda: net("Cast", x, to=TensorProto.DOUBLE),
        "transpose": lambda: net("Transpose", x),
        "times one that repeats": lambda: net("Mul", x, net.const(np.ones((1, 1, 1)))),
        "pad": lambda: net("Pad", x, net.const([0, 0, 0, 1])),
    }[case]()
    kinds = {y: TensorProto.DOUBLE} if case == "cast" else {}
    graph, report = alone(net.model(y, kinds=kinds), NOOPS)
    assert len(graph.graph) == 1
    assert not report.changes


def test_names_of_outputs_last() -> None:
    net = Net()
    x = net.input(2, 2)
    y = net("Abs", x)
    first, second = net("Identity", y), net("Identity", y)
    graph, _ = alone(net.model(first, second, net("Identity", x)), NOOPS)
    assert ops(graph) == ["Abs", "Identity", "Identity"]


def test_dead_code_goes() -> None:
    net = Net()
    x = net.input(2, 2)
    net("Exp", net("Mul", x, net.weight(2, 2)))
    graph, report = alone(net.model(net("Abs", x)), DEAD)
    assert ops(graph) == ["Abs"]
    assert not graph.graph.initializers
    assert report.changes == [
        Change("dead code", ("Exp1",), "nothing needs this Exp"),
        Change("dead code", ("Mul0",), "nothing needs this Mul"),
    ]


def test_equal_nodes_are_one() -> None:
    net = Net()
    x = net.input(2, 2)
    left = net("Mul", net("Abs", x), net.const(2.0))
    right = net("Mul", net("Abs", x), net.const(2.0))
    graph, report = alone(net.model(net("Add", left, right)), EQUAL, DEAD)
    assert ops(graph) == ["Abs", "Mul", "Add"]
    assert [change.what for change in report.changes] == [
        "Abs is the same as Abs0",
        "Mul is the same as Mul1",
    ]


def test_nodes_of_other_attributes_are_two() -> None:
    net = Net()
    x = net.input(2, 2)
    graph, report = alone(net.model(net("Add", net("Elu", x, alpha=1.0), net("Elu", x, alpha=2.0))), EQUAL)
    assert ops(graph) == ["Elu", "Elu", "Add"]
    assert not report.changes

"""Loading, operands of the plan, the report and the listing."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper

from edgecv.engine.pipeline import PASSES, optimize
from edgecv.engine.planned import shape_operands
from edgecv.engine.text import to_text
from edgecv.graph.ir import to_ir
from edgecv.graph.model import OnnxModel
from edgecv.graph.rewrite import Change, constant, shape
from tests.graph.little import Net, ops, optimized


def test_every_pass_says_what_it_does() -> None:
    names = [one.name for one in PASSES]
    assert len(set(names)) == len(names) > 10
    for one in PASSES:
        assert one.about.endswith(".")
        assert len(one.about) < 110


def test_the_model_is_not_changed() -> None:
    net = Net()
    x = net("Mul", net("Conv", net.input(1, 3, 5, 5), net.weight(4, 3, 3, 3)), net.const(2.0))
    model = net.model(net("Relu", x))
    before = model.proto.SerializeToString()
    optimize(model)
    assert model.proto.SerializeToString() == before


def test_large_weights_that_no_pass_touches_are_those_of_the_file() -> None:
    net = Net()
    model = net.model(net("Conv", net.input(1, 64, 5, 5), net.weight(64, 64, 3, 3)))
    graph, _ = optimize(model)
    assert [constant(v).tobytes() for v in graph.graph.initializers.values()] == [
        model.proto.graph.initializer[0].raw_data
    ]


def test_sizes_given_at_run_time() -> None:
    net = Net()
    x = net.input("n", 3, "h", "w")
    y = net("Conv", x, net.weight(4, 3, 3, 3), strides=[2, 2], auto_pad="SAME_UPPER")
    model = net.model(net("Flatten", net("Relu", y)))
    graph, _ = optimized(model, {"x": (2, 3, 9, 12)})
    assert ops(graph) == ["Conv+relu", "Reshape"]
    assert shape(graph.graph.outputs[0]) == (2, 120)


def test_operands_of_the_plan() -> None:
    net = Net()
    x = net.input(2, 6)
    s = net.input(2, name="s", kind=TensorProto.INT64)
    k = net.input(1, name="k", kind=TensorProto.INT64)
    data = net.input(1, name="data", kind=TensorProto.INT64)
    last = net("Concat", net("Shape", x), k, axis=0)
    y = net("Reshape", x, s)
    z = net("Reshape", x, net("Slice", last, net.const([0]), net.const([2])))
    model = net.model(y, z, net("Add", data, data), kinds={"v5": TensorProto.INT64})
    assert shape_operands(model) == ("s", "k")
    graph, _ = optimized(model, operands={"s": np.array([3, 4]), "k": np.array([7])})
    assert [value.name for value in graph.graph.inputs] == ["x", "data"]
    assert shape(graph.graph.outputs[0]) == (3, 4)


def test_operands_behind_a_branch() -> None:
    net = Net()
    x, n = net.input(4, 6), net.input(2, name="n", kind=TensorProto.INT64)
    body = {
        name: helper.make_graph(
            [helper.make_node(op, ["n"], [name])], name, [], [helper.make_tensor_value_info(name, 7, [2])]
        )
        for name, op in (("then_branch", "Abs"), ("else_branch", "Neg"))
    }
    model = net.model(net("Reshape", x, net("If", net.const(True), **body)))
    assert shape_operands(model) == ("n",)
    graph, _ = optimized(model, operands={n: np.array([3, 8])})
    assert ops(graph) == ["Reshape"]


def test_scales_are_operands_though_no_integers() -> None:
    net = Net()
    x, scales = net.input(1, 1, 4, 4), net.input(4, name="scales")
    model = net.model(net("Resize", x, "", scales))
    assert shape_operands(model) == ("scales",)
    graph, _ = optimized(model, operands={"scales": np.array([1, 1, 2, 3], np.float32)})
    assert shape(graph.graph.outputs[0]) == (1, 1, 8, 12)


def test_functions_of_the_model_are_written_out() -> None:
    function = helper.make_function(
        "mine",
        "Swish",
        ["x"],
        ["y"],
        [helper.make_node("Sigmoid", ["x"], ["s"]), helper.make_node("Mul", ["x", "s"], ["y"])],
        [helper.make_opsetid("", 17)],
    )
    net = Net()
    y = net("Swish", net("Conv", net.input(1, 3, 4, 4), net.weight(3, 3, 1, 1)), domain="mine")
    proto = net.model(y).proto
    proto.functions.append(function)
    proto.opset_import.append(helper.make_opsetid("mine", 1))
    graph, _ = optimized(OnnxModel(proto, "functions"))
    assert ops(graph) == ["Conv+silu"]


def test_an_operator_of_nobody_stays() -> None:
    net = Net()
    y = net("Exp", net("Strange", net.input(2, 3), domain="elsewhere", power=3))
    proto = net.model(y).proto
    proto.opset_import.append(helper.make_opsetid("elsewhere", 1))
    graph, _ = optimize(OnnxModel(proto, "strange"))
    assert [node.op_type for node in graph.graph] == ["Strange", "Exp"]


def test_listing() -> None:
    net = Net()
    x = net("Conv", net.input("n", 3, 4, 4), net.weight(20, 3, 1, 1), strides=[2, 2])
    y = net("Clip", x, net.const(0.0), net.const(6.0))
    model = net.model(
        net("Cast", net("Reshape", y, net.const([-1, 4])), to=TensorProto.INT64), kinds={"v3": 7}
    )
    assert to_text(to_ir(model)).splitlines() == [
        "input x: nx3x4x4",
        "v0: nx20x2x2 = Conv(x, c0: 20x3x1x1) strides=[2, 2]",
        "v1: nx20x2x2 = Clip(v0, 0, 6)",
        f"v2: {_rows(model)}x4 = Reshape(v1, [-1, 4])",
        f"v3: {_rows(model)}x4 int64 = Cast(v2) to=7",
        "output v3",
    ]
    graph, report = optimize(model, {"x": (1, 3, 4, 4)})
    assert to_text(graph).splitlines() == [
        "input x: 1x3x4x4",
        "v1: 1x20x2x2 = edgecv::Conv(x, c0: 20x3x1x1) activation=clip beta=6 strides=[2, 2]",
        "v2: 20x4 = Reshape(v1, [20, 4])",
        "v3: 20x4 int64 = Cast(v2) to=7",
        "output v3",
    ]
    assert Change("activations", ("Conv0", "Clip1"), "clip at the end of Conv") in report.changes
    assert [one for one in report.changes if one.pass_name == "normalize"] == [
        Change("normalize", ("Reshape2",), "Reshape to [20, 4]")
    ]


def _rows(model: OnnxModel) -> str:
    """What inference calls the number of rows that it cannot tell."""
    value = to_ir(model).graph.outputs[0]
    return str(value.shape[0])

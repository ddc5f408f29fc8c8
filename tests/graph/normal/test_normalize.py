"""Every spelling of an operator, in every opset, in its one form; a table of cases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from edgecv.engine.pipeline import optimize
from edgecv.errors import InputError, ModelFileError
from edgecv.graph.ir import to_ir
from edgecv.graph.normal.windows import resize_scales, same_pads
from edgecv.graph.rewrite import attribute, integers, shape
from tests.graph.little import Net, alone, ops, optimized


@dataclass(frozen=True)
class Case:
    """make: adds nodes to x of `shape`, returns the output. attributes, operands: of the last node."""

    name: str
    make: Callable[[Net, str], str]
    result: list[str]
    shape: tuple[int, ...] = (2, 3, 8, 6)
    opset: int = 17
    kind: int = TensorProto.FLOAT
    attributes: dict[str, Any] = field(default_factory=dict)
    operands: dict[int, tuple[int, ...]] = field(default_factory=dict)


CASES = [
    # Elements moved.
    Case("flatten", lambda n, x: n("Flatten", x, axis=2), ["Reshape"], operands={1: (6, 48)}),
    Case("reshape -1", lambda n, x: n("Reshape", x, n.const([0, -1])), ["Reshape"], operands={1: (2, 144)}),
    Case(
        "reshapes in a row",
        lambda n, x: n("Reshape", n("Reshape", x, n.const([-1])), n.const([6, 48])),
        ["Reshape"],
        operands={1: (6, 48)},
    ),
    Case("squeeze", lambda n, x: n("Squeeze", x, n.const([1])), ["Reshape"], (2, 1, 3), operands={1: (2, 3)}),
    Case(
        "squeeze 11",
        lambda n, x: n("Squeeze", x, axes=[-1]),
        ["Reshape"],
        (2, 1, 1),
        11,
        operands={1: (2, 1)},
    ),
    Case("squeeze all", lambda n, x: n("Squeeze", x), ["Reshape"], (1, 2, 1), operands={1: (2,)}),
    Case(
        "unsqueeze 7",
        lambda n, x: n("Unsqueeze", x, axes=[0, 2]),
        ["Reshape"],
        (3,),
        7,
        operands={1: (1, 3, 1)},
    ),
    Case("transpose", lambda n, x: n("Transpose", x), ["Transpose"], attributes={"perm": [3, 2, 1, 0]}),
    Case(
        "transposes in a row",
        lambda n, x: n("Transpose", n("Transpose", x, perm=[0, 2, 3, 1]), perm=[2, 0, 3, 1]),
        ["Transpose"],
        attributes={"perm": [3, 0, 1, 2]},
    ),
    Case("transposes back", lambda n, x: n("Abs", n("Transpose", n("Transpose", x))), ["Abs"]),
    Case(
        "transpose of ones",
        lambda n, x: n("Transpose", x, perm=[0, 2, 3, 1]),
        ["Reshape"],
        (2, 1, 4, 5),
        operands={1: (2, 4, 5, 1)},
    ),
    Case(
        "slice 9",
        lambda n, x: n("Slice", x, starts=[1, -3], ends=[9999, -1], axes=[3, 2]),
        ["Slice"],
        opset=9,
        operands={1: (5, 1), 2: (7, 6), 3: (2, 3), 4: (1, 1)},
    ),
    Case(
        "slice steps",
        lambda n, x: n("Slice", x, n.const([0, 1]), n.const([99, 6]), n.const([-2, -1]), n.const([3, 2])),
        ["Slice"],
        operands={1: (0, 1), 2: (8, 6), 3: (2, 3), 4: (3, 2)},
    ),
    Case(
        "slice backwards",
        lambda n, x: n("Slice", x, n.const([99]), n.const([-99]), n.const([3]), n.const([-2])),
        ["Slice"],
        operands={1: (5,), 2: (-7,), 3: (3,), 4: (-2,)},
    ),
    Case(
        "slice of a part",
        lambda n, x: n(
            "Slice", n("Concat", n("Abs", x), n("Exp", x), axis=1), n.const([4]), n.const([6]), n.const([1])
        ),
        ["exp", "Slice"],
        operands={1: (1,), 2: (3,)},
    ),
    Case(
        "slice of a whole part",
        lambda n, x: n(
            "Neg", n("Slice", n("Concat", x, n("Erf", x), axis=1), n.const([3]), n.const([6]), n.const([1]))
        ),
        ["Erf", "Neg"],
    ),
    Case(
        "pad 7",
        lambda n, x: n("Pad", x, pads=[0, 0, 1, 0, 0, 0, 2, 1], value=1.5),
        ["Pad"],
        opset=7,
        operands={1: (0, 0, 1, 0, 0, 0, 2, 1)},
        attributes={"mode": "constant"},
    ),
    Case(
        "pad of axes",
        lambda n, x: n("Pad", x, n.const([1, 2]), "", n.const([-1])),
        ["Pad"],
        opset=18,
        operands={1: (0, 0, 0, 1, 0, 0, 0, 2)},
    ),
    Case(
        "pad edge",
        lambda n, x: n("Pad", x, n.const([0, 0, 1, 1] * 2), mode="edge"),
        ["Pad"],
        attributes={"mode": "edge"},
    ),
    Case("pad less", lambda n, x: n("Pad", x, n.const([0, 0, -1, 1, 0, 0, 0, -2])), ["Slice", "Pad"]),
    Case(
        "expand", lambda n, x: n("Expand", x, n.const([2, 1, 4])), ["Expand"], (3, 1), operands={1: (2, 3, 4)}
    ),
    Case(
        "tile of ones", lambda n, x: n("Tile", x, n.const([1, 4])), ["Expand"], (3, 1), operands={1: (3, 4)}
    ),
    Case("tile", lambda n, x: n("Tile", x, n.const([2, 1])), ["Tile"], (3, 2)),
    Case(
        "concat", lambda n, x: n("Concat", x, n("Abs", x), axis=-2), ["Abs", "Concat"], attributes={"axis": 2}
    ),
    Case(
        "concat of nothing",
        lambda n, x: n("Concat", n("Abs", x), n("Slice", x, n.const([0]), n.const([0])), axis=0),
        ["Abs"],
    ),
    Case(
        "gather", lambda n, x: n("Gather", x, n.const([[-1, 0]]), axis=-1), ["Gather"], operands={1: (5, 0)}
    ),
    Case(
        "depth to space",
        lambda n, x: n("DepthToSpace", x, blocksize=2),
        ["Reshape", "Transpose", "Reshape"],
        (1, 8, 2, 3),
    ),
    Case(
        "depth to space by columns",
        lambda n, x: n("DepthToSpace", x, blocksize=2, mode="CRD"),
        ["Reshape", "Transpose", "Reshape"],
        (1, 8, 2, 3),
    ),
    Case(
        "space to depth", lambda n, x: n("SpaceToDepth", x, blocksize=2), ["Reshape", "Transpose", "Reshape"]
    ),
    # Windows.
    Case(
        "conv",
        lambda n, x: n("Conv", x, n.weight(4, 3, 3, 3)),
        ["Conv"],
        attributes={
            "kernel_shape": [3, 3],
            "pads": [0] * 4,
            "strides": [1, 1],
            "dilations": [1, 1],
            "group": 1,
        },
    ),
    Case(
        "conv same upper",
        lambda n, x: n("Conv", x, n.weight(4, 3, 3, 2), auto_pad="SAME_UPPER", strides=[2, 3]),
        ["Conv"],
        attributes={"pads": [0, 0, 1, 0], "auto_pad": None},
    ),
    Case(
        "conv same lower",
        lambda n, x: n("Conv", x, n.weight(4, 3, 4, 2), auto_pad="SAME_LOWER"),
        ["Conv"],
        attributes={"pads": [2, 1, 1, 0]},
    ),
    Case(
        "conv valid",
        lambda n, x: n("Conv", x, n.weight(4, 3, 3, 3), auto_pad="VALID"),
        ["Conv"],
        attributes={"pads": [0] * 4},
    ),
    Case(
        "conv of one axis",
        lambda n, x: n("Conv", x, n.weight(4, 3, 3), n.weight(4), pads=[1, 2], strides=[2]),
        ["Reshape", "Conv", "Reshape"],
        (2, 3, 9),
        attributes={},
    ),
    Case(
        "transposed conv",
        lambda n, x: n("ConvTranspose", x, n.weight(3, 4, 3, 3), strides=[2, 2], output_padding=[1, 0]),
        ["ConvTranspose"],
        attributes={"pads": [0] * 4, "output_padding": [1, 0], "kernel_shape": [3, 3]},
    ),
    Case(
        "transposed conv same",
        lambda n, x: n("ConvTranspose", x, n.weight(3, 4, 3, 3), strides=[2, 2], auto_pad="SAME_UPPER"),
        ["ConvTranspose"],
        attributes={"pads": [0, 0, 1, 1], "auto_pad": None},
    ),
    Case(
        "max pool",
        lambda n, x: n("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]),
        ["MaxPool"],
        opset=8,
        attributes={"pads": [0] * 4, "dilations": [1, 1], "ceil_mode": 0, "storage_order": 0},
    ),
    Case(
        "max pool ceil",
        lambda n, x: n("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
        ["MaxPool"],
        (1, 2, 7, 6),
        attributes={"pads": [0, 0, 0, 1], "ceil_mode": 0},
    ),
    Case(
        "average pool",
        lambda n, x: n("AveragePool", x, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
        ["AveragePool"],
        attributes={"count_include_pad": 1, "strides": [1, 1]},
    ),
    Case(
        "pool of one axis",
        lambda n, x: n("MaxPool", x, kernel_shape=[3]),
        ["Reshape", "MaxPool", "Reshape"],
        (2, 3, 9),
    ),
    Case(
        "pool of all",
        lambda n, x: n("AveragePool", x, kernel_shape=[8, 6]),
        ["ReduceMean"],
        operands={1: (2, 3)},
        attributes={"keepdims": 1},
    ),
    Case(
        "max pool of all",
        lambda n, x: n("MaxPool", x, kernel_shape=[8, 6]),
        ["ReduceMax"],
        operands={1: (2, 3)},
    ),
    Case("global average pool", lambda n, x: n("GlobalAveragePool", x), ["ReduceMean"], operands={1: (2, 3)}),
    Case("global max pool", lambda n, x: n("GlobalMaxPool", x), ["ReduceMax"], operands={1: (2, 3)}),
    Case("global lp pool", lambda n, x: n("GlobalLpPool", x, p=1), ["ReduceL1"], operands={1: (2, 3)}),
    Case(
        "lp pool",
        lambda n, x: n("LpPool", x, kernel_shape=[2, 2], p=3),
        ["Abs", "Pow", "AveragePool", "Mul", "Pow"],
    ),
    Case(
        "upsample 7",
        lambda n, x: n("Upsample", x, scales=[1.0, 1.0, 2.0, 2.0]),
        ["Resize"],
        opset=7,
        attributes={
            "mode": "nearest",
            "nearest_mode": "floor",
            "coordinate_transformation_mode": "asymmetric",
        },
    ),
    Case(
        "upsample 9",
        lambda n, x: n("Upsample", x, n.const([1.0, 1.0, 2.0, 1.5]), mode="linear"),
        ["Resize"],
        (1, 1, 4, 4),
        9,
        attributes={"mode": "linear", "coordinate_transformation_mode": "asymmetric"},
    ),
    Case(
        "resize 10",
        lambda n, x: n("Resize", x, n.const([1.0, 1.0, 2.0, 2.0])),
        ["Resize"],
        opset=10,
        attributes={"nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"},
    ),
    Case(
        "resize sizes of axes",
        lambda n, x: n("Resize", x, "", "", n.const([16, 3]), axes=[2, -1], mode="linear"),
        ["Resize"],
        opset=18,
        attributes={"axes": None, "coordinate_transformation_mode": "half_pixel", "antialias": 0},
        operands={3: (2, 3, 16, 3)},
    ),
    Case(
        "resize to the same", lambda n, x: n("Abs", n("Resize", x, "", n.const([1.0] * 4))), ["Abs"], opset=13
    ),
    # Reductions.
    Case(
        "reduce 11",
        lambda n, x: n("ReduceMean", x, axes=[-1, 1], keepdims=0),
        ["ReduceMean", "Reshape"],
        opset=11,
        operands={},
    ),
    Case(
        "reduce all",
        lambda n, x: n("ReduceSum", x),
        ["ReduceSum"],
        operands={1: (0, 1, 2, 3)},
        attributes={"keepdims": 1},
    ),
    Case("reduce none", lambda n, x: n("ReduceL1", x, noop_with_empty_axes=1), ["Abs"], opset=18),
    Case(
        "reduce 18",
        lambda n, x: n("ReduceMax", x, n.const([-1])),
        ["ReduceMax"],
        opset=18,
        operands={1: (3,)},
    ),
    Case(
        "argmax",
        lambda n, x: n("Cast", n("ArgMax", x, axis=-1, keepdims=0), to=TensorProto.FLOAT),
        ["ArgMax", "Reshape", "Cast"],
    ),
    Case("softmax 12", lambda n, x: n("Softmax", x, axis=-1), ["Softmax"], opset=12, attributes={"axis": 3}),
    Case("softmax 7", lambda n, x: n("Softmax", x), ["Reshape", "Softmax", "Reshape"], opset=7),
    Case(
        "log softmax 11",
        lambda n, x: n("LogSoftmax", x, axis=2),
        ["Reshape", "LogSoftmax", "Reshape"],
        opset=11,
    ),
    Case("hardmax 13", lambda n, x: n("Hardmax", x, axis=-2), ["Hardmax"], opset=13, attributes={"axis": 2}),
    Case(
        "topk 9", lambda n, x: n("TopK", x, k=2, axis=-1, outputs=2)[0], ["TopK"], opset=9, operands={1: (2,)}
    ),
    # Arithmetic.
    Case("sum", lambda n, x: n("Sum", x, n("Erf", x), n("Neg", x)), ["Erf", "Neg", "Add", "Add"]),
    Case("mean", lambda n, x: n("Mean", x, n("Erf", x)), ["Erf", "Add", "Mul"]),
    Case("max of three", lambda n, x: n("Max", x, n("Erf", x), n("Neg", x)), ["Erf", "Neg", "Max", "Max"]),
    Case("constant left", lambda n, x: n("Mul", n.weight(6), x), ["Mul"], operands={}),
    Case("minus", lambda n, x: n("Sub", x, n.const(2.0)), ["Add"]),
    Case("over", lambda n, x: n("Div", x, n.positive(6)), ["Mul"]),
    Case("over, then floor", lambda n, x: n("Floor", n("Div", x, n.const(3.0))), ["Div", "Floor"]),
    Case("over zero", lambda n, x: n("Div", x, n.const(0.0)), ["Div"]),
    Case("of integers", lambda n, x: n("Div", x, n.const(3)), ["Div"], kind=TensorProto.INT64),
    Case("square", lambda n, x: n("Pow", x, n.const(2.0)), ["Mul"]),
    Case("root", lambda n, x: n("Pow", n("Abs", x), n.const(0.5)), ["Abs", "Sqrt"]),
    Case(
        "gemm",
        lambda n, x: n("Gemm", x, n.weight(5, 4), n.weight(5), transB=1, alpha=0.5, beta=2.0),
        ["Gemm"],
        (3, 4),
    ),
    Case("gemm turned", lambda n, x: n("Gemm", x, n.weight(3, 5), transA=1), ["Transpose", "Gemm"], (3, 4)),
    Case(
        "gemm without c", lambda n, x: n("Gemm", x, n.weight(4, 5), n.weight(5), beta=0.0), ["Gemm"], (3, 4)
    ),
    Case("matmul", lambda n, x: n("MatMul", x, n.weight(4, 5)), ["Gemm"], (3, 4)),
    Case(
        "matmul of many",
        lambda n, x: n("MatMul", x, n.weight(4, 5)),
        ["Reshape", "Gemm", "Reshape"],
        (2, 3, 4),
    ),
    Case("matmul and a vector", lambda n, x: n("MatMul", x, n.weight(4)), ["Gemm", "Reshape"], (3, 4)),
    Case(
        "matmul of a vector",
        lambda n, x: n("MatMul", x, n.weight(4, 5)),
        ["Reshape", "Gemm", "Reshape"],
        (4,),
    ),
    Case("matmul of stacks", lambda n, x: n("MatMul", x, n.weight(2, 4, 5)), ["MatMul"], (2, 3, 4)),
    Case(
        "instance normalization",
        lambda n, x: n("InstanceNormalization", x, n.positive(3), n.weight(3)),
        ["ReduceMean", "Sub", "Mul", "ReduceMean", "Add", "Sqrt", "Div", "Mul", "Add"],
        operands={},
    ),
    Case("lp normalization", lambda n, x: n("LpNormalization", x, axis=1), ["ReduceL2", "clip", "Div"]),
    Case(
        "quantized",
        lambda n, x: n(
            "DequantizeLinear", n("QuantizeLinear", x, s := n.const(0.1), z := n.const(7, np.uint8)), s, z
        ),
        ["Div", "Round", "Add+clip", "Cast", "Cast", "edgecv::Affine"],
    ),
    Case(
        "clip 7",
        lambda n, x: n("Clip", x, min=-1.0, max=0.5),
        ["clip"],
        opset=7,
        attributes={"alpha": -1.0, "beta": 0.5},
    ),
    Case("dropout 7", lambda n, x: n("Abs", n("Dropout", x, ratio=0.3)), ["Abs"], opset=7),
    Case(
        "scatter 10",
        lambda n, x: n("Scatter", x, n.const([[1]]), n.const([[9.0]])),
        ["ScatterElements"],
        (2, 2),
        10,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_form(case: Case) -> None:
    net = Net(case.opset)
    x = net.input(*case.shape, kind=case.kind)
    y = case.make(net, x)
    graph, _ = optimized(net.model(y, kinds={y: case.kind}))
    assert ops(graph) == [name.removeprefix("edgecv::") for name in case.result]
    if "x" in {v.name for node in graph.graph for v in node.inputs if v is not None}:
        assert graph.graph.opset_imports[""] >= case.opset
    node = list(graph.graph)[-1]
    for name, value in case.attributes.items():
        assert attribute(node, name) == value, name
    for index, numbers in case.operands.items():
        assert integers(node.inputs[index]) == numbers, index


def test_split_in_every_opset() -> None:
    for opset, options in ((11, {}), (11, {"split": [2, 4]}), (13, {}), (18, {"num_outputs": 2})):
        net = Net(opset)
        x = net.input(2, 6)
        parts = net("Split", x, axis=-1, outputs=2, **options)
        graph, _ = optimized(net.model(*parts))
        split = next(iter(graph.graph))
        assert integers(split.inputs[1]) == ((2, 4) if "split" in options else (3, 3))
        assert attribute(split, "axis") == 1


@pytest.mark.parametrize("auto_pad", ["NOTSET", "SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize("wanted", [[10, 13], [9, 12], [12, 15]], ids=str)
def test_transposed_convolutions_to_a_size(auto_pad: str, wanted: list[int]) -> None:
    net = Net(11)
    x = net.input(1, 2, 5, 6)
    y = net(
        "ConvTranspose", x, net.weight(2, 3, 3, 4), strides=[2, 2], auto_pad=auto_pad, output_shape=wanted
    )
    graph, _ = optimized(net.model(y))
    assert shape(graph.graph.outputs[0]) == (1, 3, *wanted)
    assert "output_shape" not in next(iter(graph.graph)).attributes


def test_same_padding_of_dilated_windows() -> None:
    # Source: the sizes that ONNX, Operators.md, Conv, asks for: ceil(9 / 2) outputs of 5 pixels' extent.
    assert same_pads([9], [3], [2], [2], upper=True) == (2, 2)
    assert same_pads([8], [3], [2], [2], upper=True) == (1, 2)
    assert same_pads([8], [3], [2], [2], upper=False) == (2, 1)
    assert same_pads([8], [1], [3], [1], upper=True) == (0, 0)


def test_indices_of_max_pool_stay_with_it() -> None:
    net = Net()
    x = net.input(1, 2, 4, 4)
    y, indices = net("MaxPool", x, kernel_shape=[4, 4], outputs=2)
    graph, _ = optimized(net.model(y, indices, kinds={indices: TensorProto.INT64}))
    assert ops(graph) == ["MaxPool"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"sizes": [7, 8], "axes": [2, 3]}, (1.0, 1.0, 7 / 4, 2.0)),
        ({"sizes": [7, 8], "axes": [2, 3], "policy": "not_larger"}, (1.0, 1.0, 1.75, 1.75)),
        ({"sizes": [7, 8], "axes": [2, 3], "policy": "not_smaller"}, (1.0, 1.0, 2.0, 2.0)),
        ({"scales": [1, 1, 2.5, 1.5]}, (1.0, 1.0, 2.5, 1.5)),
    ],
    ids=["stretch", "not larger", "not smaller", "scales"],
)
def test_resize_scales(options: dict[str, Any], expected: tuple[float, ...]) -> None:
    net = Net(18)
    x = net.input(1, 1, 4, 4)
    given = {"axes": options["axes"]} if "axes" in options else {}
    sizes = [net.const(options["sizes"])] if "sizes" in options else []
    scales = net.const(np.array(options["scales"], np.float32)) if "scales" in options else ""
    policy = options.get("policy", "stretch")
    y = net("Resize", x, "", scales, *sizes, keep_aspect_ratio_policy=policy, mode="linear", **given)
    graph, _ = optimized(net.model(y))
    assert resize_scales(next(iter(graph.graph))) == expected


def test_group_normalization_by_groups() -> None:
    net = Net(18)
    x = net.input(2, 6, 3, 3)
    y = net("GroupNormalization", x, net.positive(3), net.weight(3), num_groups=3)
    graph, _ = optimize(net.model(y))
    new = Net(21)
    scale = np.repeat(net.weights["c0"], 2)
    bias = np.repeat(net.weights["c1"], 2)
    new.input(2, 6, 3, 3)
    z = new("GroupNormalization", "x", new.const(scale), new.const(bias), num_groups=3)
    same, _ = optimized(new.model(z))
    assert ops(graph) == ops(same)
    assert "GroupNormalization" not in ops(graph)


@pytest.mark.parametrize(
    ("op", "attributes", "shapes"),
    [
        ("LayerNormalization", {}, [(6,), (6,)]),
        ("Celu", {"alpha": 0.7}, []),
        ("MeanVarianceNormalization", {}, []),
        ("ThresholdedRelu", {"alpha": 0.3}, []),
        ("Shrink", {"lambd": 0.4, "bias": 0.1}, []),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_definitions_are_written_out(
    op: str, attributes: dict[str, Any], shapes: list[tuple[int, ...]]
) -> None:
    net = Net(17)
    x = net.input(2, 3, 4, 6)
    graph, report = optimized(net.model(net(op, x, *(net.positive(*s) for s in shapes), **attributes)))
    assert op not in ops(graph)
    assert any(change.what.startswith(f"{op} is written out as ") for change in report.changes)


def test_gelu_of_onnx_is_an_activation() -> None:
    for approximate, name in (("none", "gelu"), ("tanh", "gelu_tanh")):
        net = Net(20)
        graph, _ = optimized(net.model(net("Gelu", net.input(2, 3), approximate=approximate)))
        assert ops(graph) == [name]


def test_weights_known_at_run_time_only() -> None:
    net = Net()
    x, w = net.input(1, 3, 5, 5), net.input(4, 3, 3, 3, name="w")
    graph, _ = optimized(net.model(net("Relu", net("Conv", x, w))))
    assert ops(graph) == ["Conv+relu"]


def test_sizes_unknown() -> None:
    net = Net()
    x = net.input("n", 3, "h", "w")
    y = net("Conv", x, net.weight(4, 3, 3, 3), auto_pad="SAME_UPPER", strides=[2, 2])
    graph, report = alone(net.model(y), *_stage())
    assert attribute(next(iter(graph.graph)), "auto_pad") == "SAME_UPPER"
    assert [missed.why for missed in report.missed] == ["the padding depends on sizes that are not known"]


def _stage() -> tuple[Any, ...]:
    from edgecv.graph.normal.normalize import NORMALIZE

    return (NORMALIZE,)


def test_branch_of_a_known_condition() -> None:
    from onnx import helper, numpy_helper

    for truth, expected in ((True, ["exp"]), (False, ["Add"])):
        net = Net()
        net.input(2, 3)
        then = helper.make_graph(
            [helper.make_node("Exp", ["x"], ["t"])], "then", [], [helper.make_tensor_value_info("t", 1, None)]
        )
        other = helper.make_graph(
            [helper.make_node("Add", ["x", "k"], ["e"])],
            "else",
            [],
            [helper.make_tensor_value_info("e", 1, None)],
            [numpy_helper.from_array(np.ones((), np.float32), "k")],
        )
        y = net("If", net.const(truth), then_branch=then, else_branch=other)
        graph, _ = optimized(net.model(y))
        assert ops(graph) == expected


def test_branch_of_an_unknown_condition_stays() -> None:
    from onnx import helper

    net = Net(11)
    net.input(2, 3)
    net.input(name="c", kind=TensorProto.BOOL)
    bodies = {
        name: helper.make_graph(
            # Its axis is an attribute in this opset, and an input in the newest.
            [helper.make_node("ReduceSum", ["x"], [name], axes=[axis])],
            name,
            [],
            [helper.make_tensor_value_info(name, 1, None)],
        )
        for name, axis in (("then_branch", 1), ("else_branch", -1))
    }
    graph, report = alone(net.model(net("If", "c", **bodies)))
    assert ops(graph) == ["If"]
    assert not report.changes


@pytest.mark.parametrize(
    ("opset", "op", "message"),
    [(6, "Add", "opset 6: expected 7 or newer"), (999, "Add", "opset 999: the installed onnx")],
)
def test_opsets_out_of_range(opset: int, op: str, message: str) -> None:
    net = Net(opset)
    x = net.input(2)
    with pytest.raises(ModelFileError, match=message):
        to_ir(net.model(net(op, x, x)))


def test_an_operator_that_never_changed_is_as_good_as_new() -> None:
    net = Net(1)
    x = net.input(2, kind=TensorProto.BOOL)
    graph, _ = optimized(net.model(net("Not", x), kinds={"v0": TensorProto.BOOL}))
    assert ops(graph) == ["Not"]


def test_training_statistics_are_refused() -> None:
    net = Net(9)
    x = net.input(1, 2, 3, 3)
    y, mean, *_ = net("BatchNormalization", x, *(net.positive(2) for _ in range(4)), outputs=5)
    with pytest.raises(ModelFileError, match=r"BatchNormalization0: BatchNormalization in training"):
        optimize(net.model(y, mean))


def test_shapes_that_do_not_fit() -> None:
    net = Net()
    x = net.input("n", "c", "h", "w")
    model = net.model(net("Add", net("Conv", x, net.weight(4, 3, 3, 3)), net.weight(1, 1, 1, 3)))
    with pytest.raises(
        ModelFileError, match=r"Conv0: Conv of 4 channels: expected 3, as its weights \(4, 3, 3, 3\)"
    ):
        optimize(model, {"x": (1, 4, 5, 5)})
    with pytest.raises(InputError, match=r"little: the graph cannot take x \(1, 3, 9, 9\)"):
        optimize(model, {"x": (1, 3, 9, 9)})
    with pytest.raises(InputError, match=r"input 'x': expected 4 axes, got \(3, 5, 5\)"):
        optimize(model, {"x": (3, 5, 5)})
    with pytest.raises(InputError, match=r"no input 'y': expected one of x"):
        optimize(model, {"y": (3, 5, 5)})
    graph, _ = optimize(model, {"x": (1, 3, 5, 5)})
    assert shape(graph.graph.outputs[0]) == (1, 4, 3, 3)

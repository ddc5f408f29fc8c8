"""Whole networks: what is fused in real ones, random ones against what they were, ONNX's own cases."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecv.engine.fuse import recognize
from edgecv.engine.pipeline import optimize
from edgecv.engine.planned import shape_operands
from edgecv.graph.model import OnnxModel
from edgecv.graph.normal import normalize
from edgecv.graph.rewrite import Report
from edgecv.importers import read_model
from tests import networks
from tests.conftest import ROOT
from tests.graph.evaluate import run_proto, run_reference, run_runtime
from tests.graph.little import Net, feeds_of, ops, optimized
from tests.onnx_cases import node_cases


def _same(
    model: OnnxModel, shapes: dict[str, tuple[int, ...]] | None = None, scale: float = 1.0
) -> tuple[ir.Model, Report]:
    """The optimized graph of a real model; its outputs are within 1e-4 of the model's by ONNX Runtime."""
    graph, report = optimize(model, shapes)
    feeds = {name: np.abs(array) * scale for name, array in feeds_of(model, shapes).items()}
    for want, got in zip(run_proto(model.proto, feeds), run_runtime(graph, feeds), strict=True):
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-4 * max(1.0, float(np.abs(want).max())))
    assert all(v.shape is not None and v.shape.is_static() for node in graph.graph for v in node.outputs)
    return graph, report


def _counts(graph: ir.Model) -> Counter[str]:
    return Counter(ops(graph))


# What is left of real networks: operators with their activations. Moves of elements are the engine's.
_MOVES = {"Reshape", "Transpose", "Split", "Concat", "Gather", "Slice"}
_REAL: dict[str, dict[str, int]] = {
    "models/onnx/nanodet_m_416.onnx": {
        "Conv": 23,
        "Conv+leaky_relu": 48,
        "Conv+residual": 2,
        "Conv+sigmoid": 3,
        "Add": 2,
        "MaxPool": 1,
        "Resize": 4,
    },
    "models/onnx/yolox_nano_416.onnx": {
        "Conv": 3,
        "Conv+silu": 103,
        "Conv+sigmoid": 3,
        "sigmoid": 3,
        "Add": 7,
        "MaxPool": 3,
        "Resize": 2,
    },
    "models/onnx/yunet_n_640.onnx": {
        "Conv": 23,
        "Conv+relu": 18,
        "sigmoid": 6,
        "Add": 2,
        "MaxPool": 4,
        "Resize": 2,
    },
    "models/onnx/fastestdet_352.onnx": {
        "Conv": 21,
        "Conv+relu": 47,
        "Conv+residual+relu": 1,
        "Conv+sigmoid": 1,
        "AveragePool": 1,
        "MaxPool": 1,
        "Resize": 1,
        "Softmax": 1,
    },
    "models/onnx/ultraface_rfb_640.onnx": {
        "Conv": 13,
        "Conv+relu": 36,
        "Conv+residual+relu": 1,
        "Affine": 2,
        "Add": 1,
        "Mul+exp": 1,
        "Sub": 1,
        "Softmax": 1,
    },
    "models/caffe/ultraface_rfb_320.prototxt": {
        "Conv": 13,
        "Conv+relu": 36,
        "Conv+residual+relu": 1,
        "Softmax": 1,
    },
    "models/darknet/yolo_fastest_1.1_coco.cfg": {},
    "models/caffe/mobilenetv2_yolov3_nano_voc.prototxt": {},
}


@pytest.mark.parametrize("name", _REAL)
def test_real_networks(name: str, shared: Callable[[str], Path]) -> None:
    graph, report = _same(read_model(shared(name)))
    left = {op: count for op, count in _counts(graph).items() if op not in _MOVES}
    if _REAL[name]:
        assert left == _REAL[name]
    assert not {op.partition("+")[0] for op in left} & {
        "BatchNormalization",
        "Mul",
        "Sigmoid",
        "Relu",
        "LeakyRelu",
    } - ({"Mul"} if "ultraface" in name else set())
    assert not [m for m in report.missed if m.pass_name in ("fold", "normalize", "functions", "affine")]


def test_focus_of_yolox_is_gone(shared: Callable[[str], Path]) -> None:
    graph, report = optimize(read_model(shared("models/onnx/yolox_nano_416.onnx")))
    first = next(iter(graph.graph))
    assert ops(graph)[0] == "Conv+silu"
    assert first.inputs[0] is graph.graph.inputs[0]
    assert [c.what for c in report.changes if c.pass_name == "focus"] == [
        "Concat of parts and a convolution: one of 6x6"
    ]


def test_parts_nano_with_sizes_given() -> None:
    fixed = read_model(ROOT / "models/parts-nano/parts-nano.onnx")
    dynamic = read_model(ROOT / "models/parts-nano/parts-nano-dynamic.onnx")
    graph, _ = optimize(fixed)
    name = dynamic.facts.inputs[0].name
    same, _ = _same(dynamic, {name: (1, 3, 160, 224)})
    assert _counts(graph) == _counts(same)
    assert _counts(graph)["Conv+residual+relu"] == 28


def test_dynamic_networks() -> None:
    model = OnnxModel.from_bytes(networks.tiny_yolov8(dynamic=True), origin="tiny")
    graph, _ = _same(model, {"images": (1, 3, 64, 96)})
    assert ops(graph).count("Conv") == 3


# ---- Random networks


@st.composite
def _networks(draw: st.DrawFn) -> Net:
    """A trunk of convolutions with norms, activations in many spellings, sums, pools and moves."""
    net = Net(draw(st.sampled_from([11, 13, 17])), seed=draw(st.integers(0, 99)))
    channels = draw(st.sampled_from([1, 3, 4, 8]))
    values: list[tuple[str, tuple[int, int, int]]] = [
        (net.input(draw(st.integers(1, 2)), channels, 8, 10), (channels, 8, 10))
    ]
    for _ in range(draw(st.integers(2, 9))):
        x, sizes = values[draw(st.integers(max(0, len(values) - 3), len(values) - 1))]
        step = draw(
            st.sampled_from([_conv, _norm, _activation, _sum, _shuffle, _pool, _scale, _pad, _siblings])
        )
        values += step(draw, net, x, sizes, values)
    return net


def _conv(draw: st.DrawFn, net: Net, x: str, sizes: tuple[int, int, int], _: Any) -> list[Any]:
    channels, h, w = sizes
    group = draw(st.sampled_from([g for g in (1, 2, channels) if channels % g == 0]))
    made = group * draw(st.integers(1, 4))
    kernel = draw(st.sampled_from([1, 3]))
    bias = [net.weight(made)] if draw(st.booleans()) else []
    y = net(
        "Conv",
        x,
        net.weight(made, channels // group, kernel, kernel),
        *bias,
        pads=[kernel // 2] * 4,
        group=group,
    )
    return [(y, (made, h, w))]


def _norm(_: st.DrawFn, net: Net, x: str, sizes: tuple[int, int, int], __: Any) -> list[Any]:
    c = sizes[0]
    return [
        (net("BatchNormalization", x, net.positive(c), net.weight(c), net.weight(c), net.positive(c)), sizes)
    ]


def _activation(draw: st.DrawFn, net: Net, x: str, sizes: tuple[int, int, int], _: Any) -> list[Any]:
    kinds: list[Callable[[], str]] = [
        lambda: net("Relu", x),
        lambda: net("LeakyRelu", x, alpha=0.1),
        lambda: net("Mul", x, net("Sigmoid", x)),
        lambda: net("Clip", x, net.const(0.0), net.const(6.0)),
        lambda: net("Mul", x, net("HardSigmoid", x, alpha=1 / 6, beta=0.5)),
        lambda: net("Mul", x, net("Tanh", net("Softplus", x))),
        lambda: net("PRelu", x, net.positive(sizes[0], 1, 1)),
        lambda: net("Tanh", x),
    ]
    return [(draw(st.sampled_from(kinds))(), sizes)]


def _sum(draw: st.DrawFn, net: Net, x: str, sizes: tuple[int, int, int], values: list[Any]) -> list[Any]:
    others = [value for value, shape in values if shape == sizes]
    return [(net(draw(st.sampled_from(["Add", "Mul", "Max"])), x, draw(st.sampled_from(others))), sizes)]


def _shuffle(_: st.DrawFn, net: Net, x: str, sizes: tuple[int, int, int], __: Any) -> list[Any]:
    c, h, w = sizes
    if c % 2:
        return [(net("Concat", x, x, axis=1), (2 * c, h, w))]
    five = net("Reshape", x, net.const([0, 2, c // 2, h, w]))
    turned = net("Transpose", five, perm=[0, 2, 1, 3, 4])
    whole = net("Reshape", turned, net.const([0, c, h, w]))
    left, right = net("Split", whole, axis=1, outputs=2)
    return [(whole, sizes), (left, (c // 2, h, w)), (right, (c // 2, h, w))]


def _pool(draw: st.DrawFn, net: Net, x: str, sizes: tuple[int, int, int], _: Any) -> list[Any]:
    op = draw(st.sampled_from(["MaxPool", "AveragePool"]))
    return [(net(op, x, kernel_shape=[3, 3], pads=[1, 1, 1, 1]), sizes)]


def _scale(draw: st.DrawFn, net: Net, x: str, sizes: tuple[int, int, int], _: Any) -> list[Any]:
    operand = net.positive(*draw(st.sampled_from([(), (sizes[0], 1, 1), (1, 1, sizes[2])])))
    return [(net(draw(st.sampled_from(["Mul", "Add", "Sub", "Div"])), x, operand), sizes)]


def _pad(_: st.DrawFn, net: Net, x: str, sizes: tuple[int, int, int], __: Any) -> list[Any]:
    c, h, w = sizes
    padded = net("Pad", x, net.const([0, 0, 1, 0, 0, 0, 1, 2]))
    return [(net("Conv", padded, net.weight(4, c, 3, 3)), (4, h, w))]


def _siblings(_: st.DrawFn, net: Net, x: str, sizes: tuple[int, int, int], __: Any) -> list[Any]:
    c, h, w = sizes
    return [(net("Conv", x, net.weight(n, c, 1, 1), net.weight(n)), (n, h, w)) for n in (1, 4)]


@given(_networks())
@settings(max_examples=40, deadline=None)
def test_random_networks(net: Net) -> None:
    read = {name for node in net.nodes for name in node.input}
    made = [name for node in net.nodes for name in node.output]
    optimized(net.model(*[name for name in made if name not in read]))


# ---- ONNX's own cases


@pytest.mark.slow
def test_cases_of_onnx() -> None:
    """Every node case of ONNX of an operator that the passes rewrite."""
    ran = 0
    wrong: list[str] = []
    for case in node_cases():
        inputs, outputs = case.data_sets[0]
        rewritten = any(node.op_type in _REWRITTEN for node in case.model.graph.node)
        if not inputs or not rewritten or any(part in case.name for part in _NOT_OURS):
            continue
        if any(value.type.WhichOneof("value") != "tensor_type" for value in _ends(case.model.graph)):
            continue
        if any(np.asarray(array).dtype.kind not in "fiub" for array in (*inputs, *outputs)):
            continue
        model = OnnxModel.from_bytes(case.model.SerializeToString(), origin=case.name)
        feeds = {spec.name: np.asarray(array) for spec, array in zip(model.facts.inputs, inputs, strict=True)}
        planned = shape_operands(model)
        shapes = {name: array.shape for name, array in feeds.items()}
        graph, _ = optimize(model, shapes, {name: feeds[name] for name in planned})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = _run(graph, {name: array for name, array in feeds.items() if name not in planned})
        ran += 1
        if not all(_is_near(got, np.asarray(want)) for got, want in zip(found, outputs, strict=True)):
            wrong.append(case.name)
    assert ran > 500
    assert wrong == []


_REWRITTEN = {
    *normalize.RULES,
    *recognize.OPERATORS_OF_ONNX,
    *("Identity", "Cast", "Shape", "Size", "Constant", "ConstantOfShape", "Range", "BatchNormalization"),
    *(
        "DepthToSpace",
        "SpaceToDepth",
        "LayerNormalization",
        "GroupNormalization",
        "Celu",
        "Shrink",
        "CastLike",
    ),
    *("MeanVarianceNormalization", "ThresholdedRelu", "RMSNormalization", "CenterCropPad", "AffineGrid"),
}
# Of large definitions, of random numbers, of operators that onnx.reference or ONNX itself has no result for.
_NOT_OURS = (
    "attention",
    "bernoulli",
    "dropout",
    "expanded",
    "training",
    "image_decoder",
    "ai_onnx_ml",
    "adagrad",
    "adam",
    "momentum",
    "float8",
    "bfloat16",
    "float4",
    "e4m3",
    "e5m2",
    "sce_",
    "nllloss",
)


def _ends(graph: Any) -> list[Any]:
    return [*graph.input, *graph.output]


def _run(graph: ir.Model, feeds: dict[str, Any]) -> list[Any]:
    """By ONNX Runtime, whose pools pad as ONNX says, or by onnx.reference where that lacks a type."""
    if any("Pool" in node.op_type for node in graph.graph):
        return run_runtime(graph, feeds)
    return run_reference(graph, feeds)


def _is_near(got: Any, want: Any) -> bool:
    got = np.asarray(got)
    if got.shape != want.shape or got.dtype != want.dtype:
        return False
    return bool(np.allclose(got, want, rtol=1e-3, atol=1e-5, equal_nan=True))

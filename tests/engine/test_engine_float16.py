"""Networks of float16 and bfloat16: computed in float32, given and made as the file says."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper

import edgecv
from edgecv.engine.pipeline import optimize
from edgecv.errors import PlacementError
from edgecv.graph.model import OnnxModel
from tests.engine.against_runtime import Array, check, graph_of, model_of, operators
from tests.graph.evaluate import run_proto

HALF, FLOAT, BRAIN = TensorProto.FLOAT16, TensorProto.FLOAT, TensorProto.BFLOAT16
RNG = np.random.default_rng(2)
# Of what float16 keeps of a number.
ROUGH = 4e-3


def half(*shape: int) -> Array:
    return (RNG.standard_normal(shape) / 3).astype(np.float16)


def node(op: str, inputs: str, output: str, **attributes: object) -> NodeProto:
    return helper.make_node(op, inputs.split(), [output], output, **attributes)


X = half(1, 4, 6, 6)
WEIGHTS = {
    "w": half(8, 4, 3, 3),
    "b": half(8),
    "low": np.array(-0.5, np.float16),
    "two": np.array(2, np.float16),
}
CONV = node("Conv", "x w b", "c", pads=[1, 1, 1, 1])


def exported() -> OnnxModel:
    """As exporters write it: inputs and outputs of float16 too, constants in nodes."""
    constant = helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(half(8, 1, 1)))
    nodes = [
        CONV,
        constant,
        node("Mul", "c k", "m"),
        node("Clip", "m low", "y"),
        node("MaxPool", "y", "z", kernel_shape=[2, 2]),
    ]
    return model_of(nodes, {"x": X}, ["y", "z"], WEIGHTS, kinds={"y": HALF, "z": HALF})


def mixed() -> OnnxModel:
    """Casts around what is kept in float32, inputs and outputs included."""
    nodes = [
        node("Cast", "x32", "x", to=HALF),
        CONV,
        node("Cast", "c", "c32", to=FLOAT),
        node("Softmax", "c32", "s", axis=1),
        node("Cast", "s", "s16", to=HALF),
        node("Mul", "s16 two", "m"),
        node("Cast", "m", "y", to=FLOAT),
    ]
    return model_of(nodes, {"x32": X.astype(np.float32)}, ["y"], WEIGHTS)


def typed() -> OnnxModel:
    """Operators whose attributes name a type or hold numbers of it."""
    nodes = [
        node("Shape", "x", "shape"),
        node("ConstantOfShape", "shape", "ones", value=numpy_helper.from_array(np.ones(1, np.float16))),
        node("Greater", "x low", "is_over"),
        node("Cast", "is_over", "truth", to=HALF),
        node("Add", "ones truth", "sum"),
        node("Where", "is_over sum x", "y"),
        node("ArgMax", "y", "best", axis=1),
        node("Cast", "best", "z", to=HALF),
    ]
    return model_of(nodes, {"x": X}, ["y", "z"], WEIGHTS, kinds={"y": HALF, "z": HALF})


def repeated() -> OnnxModel:
    """A body of a Scan, and an LSTM."""
    body = graph_of(
        [node("Add", "s part", "sum"), node("Mul", "sum two", "row")],
        {"s": FLOAT, "part": FLOAT},
        {"sum": FLOAT, "row": FLOAT},
    )
    for value in (*body.input, *body.output):
        value.type.tensor_type.elem_type = HALF
    scan = helper.make_node("Scan", ["start", "x"], ["last", "rows"], "scan", body=body, num_scan_inputs=1)
    weights = {"two": WEIGHTS["two"], "start": half(4, 6, 6)}
    return model_of([scan], {"x": X}, ["last", "rows"], weights, kinds={"last": HALF, "rows": HALF})


def joined() -> OnnxModel:
    """An operator of com.microsoft before one of an older form."""
    nodes = [
        helper.make_node("QuickGelu", ["x"], ["g"], "g", domain="com.microsoft"),
        node("Clip", "g", "y", min=-0.1, max=0.2),
    ]
    return model_of(nodes, {"x": X}, ["y"], opset=10, kinds={"y": HALF})


MODELS = {"exported": exported, "mixed": mixed, "typed": typed, "repeated": repeated, "joined": joined}


@pytest.mark.parametrize("name", MODELS)
def test_networks_of_float16(name: str) -> None:
    model = MODELS[name]()
    feeds = {model.facts.inputs[0].name: X.astype(model.facts.inputs[0].dtype)}
    compiled = check(model, feeds, tolerance=ROUGH)
    within = {v.dtype.name for n in compiled.graph.graph if n.op_type != "Cast" for v in n.outputs if v.dtype}
    assert within.isdisjoint(("FLOAT16", "BFLOAT16"))


def test_casts_to_float16_and_back_change_nothing() -> None:
    nodes = [node("Sqrt", "x", "r"), node("Cast", "r", "h", to=HALF), node("Cast", "h", "y", to=FLOAT)]
    x = np.linspace(0, 1, 7, dtype=np.float32)
    compiled = check(model_of(nodes, {"x": x}, ["y"]), {"x": x}, expected=[np.sqrt(x)])
    assert operators(compiled) == {"Sqrt"}


def test_what_float16_cannot_hold_stays_finite() -> None:
    nodes = [node("Mul", "x x", "square"), node("Sqrt", "square", "y")]
    x = np.array([1000, 2000], np.float16)
    check(model_of(nodes, {"x": x}, ["y"], kinds={"y": HALF}), {"x": x}, expected=[x])


def test_the_placement_tells_both_precisions() -> None:
    data = exported().data
    with edgecv.compile(data, backend="simd", threads=1) as session:
        placed = session.placement
        assert (placed.stored, placed.precision) == ("fp16", "fp32")
        assert [spec.dtype for spec in (*session.inputs, *session.outputs)] == [np.float16] * 3
        out = session.empty_outputs()
        session.run({"x": X}, out=out)
        assert {array.dtype for array in out.values()} == {np.dtype(np.float16)}
    with pytest.raises(PlacementError, match="precision fp16 was asked for"):
        edgecv.compile(data, backend="simd", threads=1, precision="fp16")


def test_what_is_an_input_and_an_output_by_itself() -> None:
    nodes = [node("Identity", "x", "same"), node("Relu", "x", "y")]
    model = model_of(
        nodes, {"x": X}, ["same", "y", "w"], WEIGHTS, kinds=dict.fromkeys(("same", "y", "w"), HALF)
    )
    check(model, {"x": X}, tolerance=0)


def test_weights_of_bfloat16() -> None:
    weights = RNG.standard_normal((8, 4, 3, 3)).astype(np.float32)
    bits = (weights.view(np.uint32) >> 16).astype(np.uint16)
    nodes = [node("Cast", "x32", "x", to=BRAIN), node("Conv", "x w", "c"), node("Cast", "c", "y", to=FLOAT)]
    x = X.astype(np.float32)
    model = model_of(nodes, {"x32": x}, ["y"])
    stored = TensorProto(name="w", data_type=BRAIN, dims=weights.shape, raw_data=bits.tobytes())
    model.proto.graph.initializer.append(stored)
    model = OnnxModel.from_bytes(model.proto.SerializeToString(), origin="bfloat16")
    assert model.precision == "bf16"
    wide = (bits.astype(np.uint32) << 16).view(np.float32)
    told = model_of([node("Conv", "x32 w", "y")], {"x32": x}, ["y"], {"w": wide})
    check(model, {"x32": x}, expected=run_proto(told.proto, {"x32": x}))


def test_a_network_of_float32_is_left_alone() -> None:
    x = X.astype(np.float32)
    _, report = optimize(model_of([node("Relu", "x", "y")], {"x": x}, ["y"]))
    assert "float16" not in {change.pass_name for change in report.changes}

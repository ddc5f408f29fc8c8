"""What is told about a compiled model is what was compiled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

import edgecv
from edgecv import _simd
from edgecv.engine.explain import Explanation
from edgecv.errors import InputError
from edgecv.explain import explain_model
from edgecv.options import LoadOptions
from tests.networks import model_bytes


def write(folder: Path, nodes: list[onnx.NodeProto], out: list[int], **weights: np.ndarray) -> str:
    """A network of x, float32 (1, 16, 8, 6), to y."""
    path = folder / "net.onnx"
    data = model_bytes(nodes, inputs=[("x", [1, 16, 8, 6])], outputs=[("y", out)], weights=weights)
    path.write_bytes(data)
    return str(path)


def explained(path: str, repeats: int = 0) -> Explanation:
    (explanation,) = explain_model(path, LoadOptions(threads=1), repeats=repeats).values()
    return explanation


def weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).random(shape, np.float32)


def test_a_block_of_a_residual_network(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "deep"], ["a"], name="a", pads=[1, 1, 1, 1], group=16),
        helper.make_node("Relu", ["a"], ["b"], name="b"),
        helper.make_node("Conv", ["b", "wide"], ["c"], name="c"),
        helper.make_node("Add", ["c", "x"], ["d"], name="d"),
        helper.make_node("LeakyRelu", ["d"], ["e"], name="e"),
        helper.make_node("MaxPool", ["e"], ["f"], name="f", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Softmax", ["f"], ["y"], name="g", axis=3),
    ]
    path = write(tmp_path, nodes, [1, 16, 4, 3], deep=weights(16, 1, 3, 3), wide=weights(16, 16, 1, 1))
    found = explained(path)
    steps = [(step.label, f"{step.op} {step.how}", step.result) for step in found.steps if not step.is_copy]
    pairs = " in pairs" if found.lanes == 16 else ""
    assert steps == [
        ("a", "depthwise 3x3 +relu", (1, 16, 8, 6)),
        ("c", f"conv 1x1{pairs} +residual +leaky_relu", (1, 16, 8, 6)),
        ("f", "pool max 2x2/2", (1, 16, 4, 3)),
        ("g", "softmax_nd softmax", (1, 16, 4, 3)),
    ]
    assert [step.blocks for step in found.steps if step.op in ("depthwise", "conv", "pool")] == [
        found.lanes
    ] * 3
    assert [step.blocks for step in found.steps if step.op == "softmax_nd"] == [0]
    flops = {step.label: step.flops for step in found.steps}
    assert flops["a"] == 2 * 9 * 16 * 48
    assert flops["c"] >= 2 * 16 * 16 * 48
    assert ("activations", ("a", "b"), "relu at the end of Conv") in found.changes
    assert found.before == {"Add": 1, "Conv": 2, "LeakyRelu": 1, "MaxPool": 1, "Relu": 1, "Softmax": 1}
    assert found.after == {"MaxPool": 1, "Softmax": 1, "edgecv::Conv": 2}


def test_what_costs_nothing(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Split", ["x"], ["left", "right"], name="split", axis=1),
        helper.make_node("Concat", ["right", "left"], ["turned"], name="turn", axis=1),
        helper.make_node("Conv", ["turned", "wide"], ["y"], name="conv"),
    ]
    found = explained(write(tmp_path, nodes, [1, 4, 8, 6], wide=weights(4, 16, 1, 1)))
    assert found.views == {"Concat": 1, "Split": 1}
    assert "conv" in [step.label for step in found.steps]


def test_why_not(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "wide"], ["a"], name="conv"),
        helper.make_node("Add", ["a", "x"], ["b"], name="sum"),
        helper.make_node("Mul", ["a", "b"], ["y"], name="product"),
    ]
    found = explained(write(tmp_path, nodes, [1, 16, 8, 6], wide=weights(16, 16, 1, 1)))
    assert ("residuals", "sum", "conv: its result is read elsewhere too") in found.missed


def test_memory_is_the_session_s() -> None:
    for threads in (1, 2):
        (found,) = explain_model("parts-nano", LoadOptions(threads=threads)).values()
        with edgecv.load("parts-nano", backend="simd", threads=threads, warmup=False) as detector:
            memory = detector.memory
        assert (found.weight_bytes, found.arena_bytes + found.scratch_bytes) == (memory.weights, memory.arena)
        assert found.memory_bytes == found.weight_bytes + found.arena_bytes + found.scratch_bytes


def test_steps_are_the_plan_s_own() -> None:
    found = explained("parts-nano", repeats=2)
    assert {step.op for step in found.steps} <= set(_simd.OPS)
    assert all(step.ns is not None and step.ns > 0 for step in found.steps)
    assert found.ns == sum(step.ns for step in found.steps if step.ns is not None)
    # Multiplications and additions of its convolutions, counted from the shapes of their weights.
    assert 0.40e9 < found.flops < 0.42e9


def test_caffe(shared: Callable[[str], Path]) -> None:
    path = shared("models/caffe/ultraface_rfb_320.prototxt")
    assert explained(str(path)).inputs == {"input": (1, 3, 240, 320)}


def test_an_input_that_says_a_shape(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Reshape", ["x", "shape"], ["y"])],
        "reshape",
        [
            helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [4, 6]),
            helper.make_tensor_value_info("shape", onnx.TensorProto.INT64, [2]),
        ],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["a", "b"])],
    )
    path = tmp_path / "reshape.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    with pytest.raises(InputError, match="the value of its input 'shape', which says a shape"):
        explain_model(str(path))

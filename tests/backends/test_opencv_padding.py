"""Padding as nodes of its own: the same numbers, and nothing touched that need not be."""

from __future__ import annotations

import msgspec
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from edgecv.backends.opencv_padding import with_padding_of_points
from edgecv.graph.model import OnnxModel

WEIGHT = np.arange(6, dtype=np.float32).reshape(2, 3, 1, 1)


def network(
    opset: int, *, kernel: int = 1, out: tuple[int, int] = (6, 8), **attributes: list[int]
) -> OnnxModel:
    """Two convolutions one after the other, the first with the attributes."""
    weights = {"w": np.broadcast_to(WEIGHT, (2, 3, kernel, kernel)), "v": np.ones((1, 2, 1, 1), np.float32)}
    first = helper.make_node("Conv", ["x", "w"], ["h"], kernel_shape=[kernel, kernel], **attributes)
    second = helper.make_node("Conv", ["h", "v"], ["h/padded"], kernel_shape=[1, 1])
    graph = helper.make_graph(
        [first, second],
        "padded",
        [helper.make_tensor_value_info("x", 1, [1, 3, 5, 5])],
        [helper.make_tensor_value_info("h/padded", 1, [1, 1, *out])],
        [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in weights.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=6)
    onnx.checker.check_model(proto, full_check=True)
    return OnnxModel(proto, "test")


@pytest.mark.parametrize("opset", [7, 11, 13])
def test_the_network_computes_the_same(opset: int) -> None:
    model = network(opset, pads=[0, 1, 1, 2])
    before = model.proto.SerializeToString()
    changed = with_padding_of_points(model)
    assert model.proto.SerializeToString() == before
    onnx.checker.check_model(changed.proto, full_check=True)
    assert [node.op_type for node in changed.proto.graph.node] == ["Pad", "Conv", "Conv"]
    assert changed.facts == type(model.facts)(
        **{**msgspec.structs.asdict(model.facts), "operators": changed.facts.operators}
    )
    x = np.random.default_rng(0).standard_normal((1, 3, 5, 5)).astype(np.float32)
    expected, got = (ReferenceEvaluator(m.proto).run(None, {"x": x})[0] for m in (model, changed))
    np.testing.assert_array_equal(expected, got)


UNTOUCHED = {
    "no padding": {"pads": [0, 0, 0, 0], "out": (5, 5)},
    "none stated": {"out": (5, 5)},
    "larger kernels": {"kernel": 3, "pads": [1, 1, 1, 1], "out": (5, 5)},
    "larger steps": {"pads": [1, 1, 1, 1], "strides": [2, 2], "out": (4, 4)},
}


@pytest.mark.parametrize("options", UNTOUCHED.values(), ids=UNTOUCHED)
def test_what_needs_no_change_stays_as_it_is(options: dict[str, object]) -> None:
    model = network(11, **options)  # type: ignore[arg-type]
    assert with_padding_of_points(model) is model

"""To onnx_ir and back, and what the normal forms leave: standard ONNX that computes the same."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator

from edgecv.graph import normal
from edgecv.graph.ir import from_ir, to_ir
from edgecv.graph.model import OnnxModel
from edgecv.graph.rewrite import Report, run_stages
from tests import networks
from tests.graph.little import feeds_of

TINY: dict[str, Callable[[], bytes]] = {
    "yolov8": networks.tiny_yolov8,
    "classifier": lambda: networks.tiny_classifier(softmax=True),
    "trunk": networks.tiny_trunk,
}


def computed(model: OnnxModel, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    return ReferenceEvaluator(model.proto).run(None, feeds)


@pytest.mark.parametrize("name", TINY)
def test_there_and_back(name: str) -> None:
    model = OnnxModel.from_bytes(TINY[name](), origin=name)
    back = from_ir(to_ir(model), name)
    assert (back.origin, back.opset, back.facts.metadata) == (name, model.opset, model.facts.metadata)
    assert (back.facts.inputs, back.facts.outputs) == (model.facts.inputs, model.facts.outputs)
    feeds = feeds_of(model)
    for was, found in zip(computed(model, feeds), computed(back, feeds), strict=True):
        assert found.tobytes() == was.tobytes()


@pytest.mark.parametrize("name", TINY)
def test_normal_forms_are_standard_onnx(name: str) -> None:
    model = OnnxModel.from_bytes(TINY[name](), origin=name)
    graph, report = to_ir(model), Report()
    run_stages(graph, normal.STAGES, report, name)
    assert report.changes
    made = from_ir(graph, name)
    onnx.checker.check_model(made.proto, full_check=True)
    assert {o.domain for o in made.proto.opset_import} == {""}
    feeds = feeds_of(model)
    for was, found in zip(computed(model, feeds), computed(made, feeds), strict=True):
        np.testing.assert_allclose(found, was, rtol=0, atol=1e-5 * float(np.abs(was).max()))


def test_nodes_are_put_in_order() -> None:
    # Converters to float16 append the Casts that they add.
    then = helper.make_graph(
        [helper.make_node("Neg", ["late"], ["chosen"])],
        "then",
        [],
        [helper.make_tensor_value_info("chosen", 1, None)],
    )
    nodes = [
        helper.make_node("If", ["yes"], ["z"], "if", then_branch=then, else_branch=then),
        helper.make_node("Add", ["late", "x"], ["y"], "add"),
        helper.make_node("Abs", ["x"], ["alone"], "abs"),
        helper.make_node("Exp", ["x"], ["late"], "exp"),
    ]
    graph = helper.make_graph(
        nodes,
        "turned",
        [helper.make_tensor_value_info("x", 1, [2]), helper.make_tensor_value_info("yes", 9, [])],
        [helper.make_tensor_value_info(name, 1, [2]) for name in ("y", "z", "alone")],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model = OnnxModel.from_bytes(proto.SerializeToString(), origin="turned")
    assert [node.name for node in model.proto.graph.node] == ["abs", "exp", "if", "add"]
    to_ir(model)

"""Little graphs for the tests of passes, and what every rewritten graph has to fulfill."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper

from edgecv.engine.pipeline import optimize
from edgecv.graph.ir import to_ir
from edgecv.graph.model import OnnxModel
from edgecv.graph.normal.opsets import UPGRADE
from edgecv.graph.rewrite import Pass, Report
from tests.graph.evaluate import run_proto, run_reference, run_runtime

Array = np.ndarray


class Net:
    """A graph put together node by node; values go by name."""

    def __init__(self, opset: int = 17, seed: int = 0) -> None:
        self.opset = opset
        self.rng = np.random.default_rng(seed)
        self.inputs: dict[str, tuple[Sequence[int | str], int]] = {}
        self.weights: dict[str, Array] = {}
        self.nodes: list[onnx.NodeProto] = []

    def input(self, *shape: int | str, name: str = "x", kind: int = TensorProto.FLOAT) -> str:
        self.inputs[name] = (shape, kind)
        return name

    def weight(self, *shape: int) -> str:
        """Random numbers of about one sum's size."""
        fan = max(1, int(np.prod(shape[1:])))
        return self.const((self.rng.standard_normal(shape) / np.sqrt(fan)).astype(np.float32))

    def positive(self, *shape: int) -> str:
        return self.const(self.rng.uniform(0.5, 2, shape).astype(np.float32))

    def const(self, value: Any, kind: Any = None) -> str:
        array = np.asarray(value, kind)
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        name = f"c{len(self.weights)}"
        self.weights[name] = array
        return name

    def __call__(self, op: str, *inputs: str, outputs: int = 1, domain: str = "", **attributes: Any) -> Any:
        names = [f"v{len(self.nodes)}" if i == 0 else f"v{len(self.nodes)}_{i}" for i in range(outputs)]
        node = helper.make_node(
            op, list(inputs), names, name=f"{op}{len(self.nodes)}", domain=domain, **attributes
        )
        self.nodes.append(node)
        return names[0] if outputs == 1 else names

    def model(self, *outputs: str, kinds: Mapping[str, int] | None = None) -> OnnxModel:
        """The network; the types of its outputs are float32 but for `kinds`."""
        graph = helper.make_graph(
            self.nodes,
            "little",
            [helper.make_tensor_value_info(n, kind, list(shape)) for n, (shape, kind) in self.inputs.items()],
            [
                helper.make_tensor_value_info(n, (kinds or {}).get(n, TensorProto.FLOAT), None)
                for n in outputs
            ],
            [numpy_helper.from_array(array, name) for name, array in self.weights.items()],
        )
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)
        return OnnxModel.from_bytes(proto.SerializeToString(), origin="little")


def feeds_of(model: OnnxModel, shapes: Mapping[str, tuple[int, ...]] | None = None) -> dict[str, Array]:
    """Random inputs of both signs."""
    rng = np.random.default_rng(7)
    feeds = {}
    for spec in model.facts.inputs:
        shape = (shapes or {}).get(spec.name) or tuple(n if isinstance(n, int) else 2 for n in spec.shape)
        numbers = np.asarray(rng.standard_normal(shape) * 2)
        scaled = numbers if spec.dtype.kind == "f" else numbers * 4
        feeds[spec.name] = np.array(scaled, spec.dtype)
    return feeds


def alone(model: OnnxModel, *passes: Pass, rounds: int = 3) -> tuple[ir.Model, Report]:
    """The graph after some passes and no others, and what they said; it computes what the model does."""
    graph, report = to_ir(model), Report()
    UPGRADE.run(graph, report)
    for _ in range(rounds):
        for one in passes:
            one.run(graph, report)
    _check(model, graph, feeds_of(model))
    return graph, report


def optimized(
    model: OnnxModel,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    operands: Mapping[str, Array] | None = None,
    tolerance: float = 1e-5,
    reference: bool = False,
) -> tuple[ir.Model, Report]:
    """The graph after all passes, and what they said; it computes what the model does.

    reference: by onnx.reference too, which cannot run every form.
    """
    graph, report = optimize(model, shapes, operands)
    feeds = {**feeds_of(model, shapes), **(operands or {})}
    _check(model, graph, feeds, tolerance, reference)
    unknown = [
        v.name for node in graph.graph for v in node.outputs if v.shape is None or not v.shape.is_static()
    ]
    assert not unknown
    return graph, report


def _check(
    model: OnnxModel,
    graph: ir.Model,
    feeds: Mapping[str, Array],
    tolerance: float = 1e-5,
    reference: bool = False,
) -> None:
    assert [v.name for v in graph.graph.outputs] == [v.name for v in model.proto.graph.output]
    names = [node.name for node in graph.graph]
    values = [v.name for node in graph.graph for v in node.outputs] + list(graph.graph.initializers)
    assert len(set(values)) == len(values)
    assert all(names)
    remaining = {value.name for value in graph.graph.inputs}
    kept = {name: array for name, array in feeds.items() if name in remaining}
    with np.errstate(all="ignore"):
        expected = run_proto(model.proto, feeds)
        found = run_runtime(graph, kept)
        by_reference = run_reference(graph, kept) if reference else found
    for value, want, got, also in zip(graph.graph.outputs, expected, found, by_reference, strict=True):
        assert got.shape == want.shape
        assert got.dtype == want.dtype
        if value.shape is not None and value.shape.is_static():
            assert got.shape == tuple(value.shape)
        scale = (
            max(1.0, float(np.abs(want[np.isfinite(want)]).max(initial=0))) if want.dtype.kind == "f" else 1.0
        )
        np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * scale)
        np.testing.assert_allclose(also, want, rtol=0, atol=tolerance * scale)


def ops(graph: ir.Model) -> list[str]:
    """Operators in order; those of domain "edgecv" with their activation: "Conv+relu"."""
    found = []
    for node in graph.graph:
        activation = node.attributes.get("activation")
        name = node.op_type if node.op_type != "Activation" else ""
        residual = (
            "+residual" if "has_residual" in node.attributes and node.attributes["has_residual"].value else ""
        )
        ending = f"+{activation.value}" if activation is not None and activation.value != "none" else ""
        found.append((name + residual + ending).lstrip("+"))
    return found


def why(report: Report, pass_name: str) -> list[str]:
    """Reasons for what a pass had to leave."""
    return [missed.why for missed in report.missed if missed.pass_name == pass_name]

"""Small models run by the engine and by ONNX Runtime, which does not change the graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from edgecv import _isa
from edgecv.engine.compile import Compiled, compile_model
from edgecv.engine.planned import shape_operands
from edgecv.graph.model import OnnxModel
from tests.engine.one_node import run
from tests.graph.evaluate import run_proto

Array = NDArray[Any]
# Those that files of ONNX Runtime's tools import.
DOMAINS = {"": 17, "com.microsoft": 1}


def model_of(
    nodes: Sequence[NodeProto],
    feeds: Mapping[str, Array],
    outputs: Sequence[str],
    weights: Mapping[str, Array] | None = None,
    opset: int = 17,
    kinds: Mapping[str, int] | None = None,
) -> OnnxModel:
    """A model of opset 17 by default. kinds: element types of outputs that are not float32."""
    graph = helper.make_graph(
        nodes,
        "small",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
            for name, x in feeds.items()
        ],
        [
            helper.make_tensor_value_info(name, (kinds or {}).get(name, TensorProto.FLOAT), None)
            for name in outputs
        ],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in (weights or {}).items()],
    )
    imports = [helper.make_opsetid(name, n) for name, n in {**DOMAINS, "": opset}.items()]
    proto = helper.make_model(graph, opset_imports=imports, ir_version=8)
    return OnnxModel.from_bytes(proto.SerializeToString(), origin="small")


def check(
    model: OnnxModel,
    feeds: Mapping[str, Array],
    *,
    tolerance: float = 3e-6,
    steps: int = 0,
    expected: Sequence[Array] | None = None,
) -> Compiled:
    """Raise AssertionError unless the engine gives what ONNX Runtime gives.

    tolerance: of the difference, times the largest expected value. steps: by which whole numbers may differ.
    expected: where ONNX Runtime means something else.
    """
    results = run_proto(model.proto, feeds) if expected is None else expected
    shapes = {name: x.shape for name, x in feeds.items()}
    operands = {name: feeds[name] for name in shape_operands(model)}
    compiled = compile_model(model, shapes, isa=_isa.active(), operands=operands)
    for value, wanted in zip(run(compiled, feeds), results, strict=True):
        assert (value.dtype, value.shape) == (wanted.dtype, wanted.shape)
        if wanted.dtype.kind == "f":
            limit = tolerance * max(float(np.abs(wanted).max(initial=0)), 1e-6)
            np.testing.assert_allclose(value.astype(float), wanted.astype(float), rtol=0, atol=limit)
        else:
            assert np.abs(value.astype(np.int64) - wanted.astype(np.int64)).max(initial=0) <= steps
    return compiled


def operators(compiled: Compiled) -> set[str]:
    """What the passes have left."""
    return {node.op_type for node in compiled.graph.graph}


def graph_of(
    nodes: Sequence[NodeProto],
    inputs: Mapping[str, int],
    outputs: Mapping[str, int],
    weights: Mapping[str, Array] | None = None,
) -> onnx.GraphProto:
    """A body of a loop. inputs, outputs: element types by name; what is not float32 is one number."""

    def declared(values: Mapping[str, int]) -> list[onnx.ValueInfoProto]:
        return [
            helper.make_tensor_value_info(name, kind, None if kind == TensorProto.FLOAT else [])
            for name, kind in values.items()
        ]

    initializers = [numpy_helper.from_array(np.asarray(x), name) for name, x in (weights or {}).items()]
    return helper.make_graph(nodes, "body", declared(inputs), declared(outputs), initializers)

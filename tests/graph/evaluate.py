"""Runs graphs that hold operators of domain "edgecv": by onnx.reference, or by ONNX Runtime.

Both get the operators of ONNX that such a node stands for, as edgecv/engine/fuse/fused.py says.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx import NodeProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from edgecv.engine.fuse.fused import DOMAIN, FUSABLE
from edgecv.graph.rewrite import NEWEST_OPSET

Array = np.ndarray

# What onnxruntime takes.
RUNTIME_OPSET = 21


def run_reference(model: ir.Model, feeds: Mapping[str, Array]) -> list[Array]:
    """Outputs by onnx.reference."""
    return ReferenceEvaluator(ir.to_proto(model), new_ops=list(OPERATORS)).run(None, dict(feeds))


def run_runtime(model: ir.Model, feeds: Mapping[str, Array]) -> list[Array]:
    """Outputs by ONNX Runtime, which does not change the graph."""
    return run_proto(to_onnx(model), feeds)


def run_proto(proto: onnx.ModelProto, feeds: Mapping[str, Array]) -> list[Array]:
    """Outputs of any model by ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, dict(feeds))


def to_onnx(model: ir.Model) -> onnx.ModelProto:
    """The same network of ONNX's operators alone."""
    proto = ir.to_proto(model)
    names = iter(range(1 << 30))
    nodes: list[NodeProto] = []
    for node in proto.graph.node:
        nodes += _expanded(node, names) if node.domain == DOMAIN else [node]
    kept = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    for node in kept:
        # After some passes several still have the name of the node that they come of.
        node.name = ""
    del proto.graph.node[:]
    proto.graph.node.extend(kept)
    del proto.opset_import[:]
    proto.opset_import.extend([helper.make_opsetid("", min(NEWEST_OPSET, RUNTIME_OPSET))])
    proto.ir_version = 10
    return proto


def _expanded(node: NodeProto, names: Iterator[int]) -> list[NodeProto]:
    """The nodes that one stands for."""
    values = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    kind = values.pop("activation", b"none").decode()
    alpha, beta = values.pop("alpha", 0.0), values.pop("beta", 0.0)
    has_residual = values.pop("has_residual", 0)
    made: list[NodeProto] = []

    def add(op: str, inputs: Sequence[str], **attributes: Any) -> str:
        output = f"expanded{next(names)}"
        made.append(helper.make_node(op, list(inputs), [output], **attributes))
        return output

    def number(value: float) -> str:
        return add("Constant", [], value=numpy_helper.from_array(np.array(value, np.float32)))

    inputs = list(node.input)
    residual = inputs.pop() if has_residual else ""
    if node.op_type == "Activation":
        y = inputs[0]
    elif node.op_type == "Affine":
        y = add("Add", [add("Mul", inputs[:2]), inputs[2]])
    else:
        y = add(node.op_type, inputs, **values)
    if residual:
        y = add("Add", [y, residual])
    plain = {
        "none": "Identity",
        "relu": "Relu",
        "sigmoid": "Sigmoid",
        "hard_swish": "HardSwish",
        "tanh": "Tanh",
        "mish": "Mish",
        "gelu": "Gelu",
        "softplus": "Softplus",
        "exp": "Exp",
        "softsign": "Softsign",
    }
    if kind == "clip":
        bounds = [number(value) if math.isfinite(value) else "" for value in (alpha, beta)]
        y = add("Clip", [y, *bounds])
    elif kind == "silu":
        y = add("Mul", [y, add("Sigmoid", [y])])
    elif kind == "gelu_tanh":
        y = add("Gelu", [y], approximate="tanh")
    elif kind == "leaky_relu":
        y = add("LeakyRelu", [y], alpha=alpha)
    elif kind == "elu":
        y = add("Elu", [y], alpha=alpha)
    elif kind == "selu":
        y = add("Selu", [y], alpha=alpha, gamma=beta)
    elif kind == "hard_sigmoid":
        y = add("HardSigmoid", [y], alpha=alpha, beta=beta)
    else:
        y = add(plain[kind], [y])
    made.append(helper.make_node("Identity", [y], [node.output[0]]))
    return made


def _operator(op: str) -> type[OpRun]:
    """One operator of the domain for onnx.reference."""

    def run(self: OpRun, *inputs: Array, **attributes: Any) -> tuple[Array, ...]:
        given = {k: v for k, v in attributes.items() if v is not None}
        names = [f"x{i}" if value is not None else "" for i, value in enumerate(inputs)]
        node = helper.make_node(op, names, ["y"], domain=DOMAIN, **given)
        graph = helper.make_graph(
            _expanded(node, iter(range(1 << 30))),
            op,
            [
                helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
                for name, value in zip(names, inputs, strict=True)
                if name
            ],
            [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", NEWEST_OPSET)])
        feeds = {name: value for name, value in zip(names, inputs, strict=True) if name}
        return tuple(ReferenceEvaluator(model).run(None, feeds))

    return type(op, (OpRun,), {"op_domain": DOMAIN, "_run": run})


OPERATORS = tuple(_operator(op) for op in (*FUSABLE, "Activation"))

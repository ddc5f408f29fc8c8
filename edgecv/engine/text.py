"""A graph as text, for `edgecv compile --explain`."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

from edgecv import extras
from edgecv.engine.fuse.fused import DOMAIN
from edgecv.graph.rewrite import Array, constant, is_constant

with extras.required("models"):
    import onnx
    import onnx_ir as ir

# A constant of no more elements is written out.
_SHOWN = 8


def to_text(model: ir.Model) -> str:
    """One node a line, with shapes: `y: 1x16x8x8 = Conv(x, w: 16x3x3x3) strides=[2, 2]`.

    Attributes at their defaults, and sizes of windows that are those of the weights, are left out.
    """
    graph = model.graph
    lines = [f"input {_typed(value)}" for value in graph.inputs]
    lines += [_line(node) for node in graph]
    lines.append("output " + ", ".join(value.name or "?" for value in graph.outputs))
    return "\n".join(lines)


def _line(node: ir.Node) -> str:
    outputs = ", ".join(_typed(value) for value in node.outputs)
    op = f"{node.domain}::{node.op_type}" if node.domain else node.op_type
    operands = ", ".join("-" if value is None else _operand(value) for value in node.inputs)
    telling = {
        name: found for name, found in node.attributes.items() if not _goes_without_saying(node, found)
    }
    settings = " ".join(f"{name}={_setting(found)}" for name, found in sorted(telling.items()))
    return f"{outputs} = {op}({operands}) {settings}".rstrip()


def _goes_without_saying(node: ir.Node, found: ir.Attr) -> bool:
    """Whether an attribute says what holds without it, or what the shapes beside it tell."""
    value, name = found.value, found.name
    if name in ("strides", "dilations", "pads"):
        return set(value) <= {0 if name == "pads" else 1}
    if name == "kernel_shape" and len(node.inputs) > 1:
        weights = node.inputs[1]
        return weights is not None and weights.shape is not None and tuple(weights.shape)[2:] == tuple(value)
    if node.domain == DOMAIN and name in ("alpha", "beta", "activation", "has_residual"):
        return value in (0, "none")
    resizes = {"cubic_coeff_a": "cubic", "nearest_mode": "nearest"}
    if name in resizes and node.op_type == "Resize":
        mode = node.attributes.get("mode")
        return mode is None or mode.value != resizes[name]
    default = _default(node.op_type, name)
    return default is not None and bool(default == value)


@cache
def _default(operator: str, attribute: str) -> Any:
    """By the newest definition of the operator that a fused one is made of; None where it has none."""
    if not onnx.defs.has(operator):
        return None
    definition = onnx.defs.get_schema(operator).attributes.get(attribute)
    if definition is None or not definition.default_value.type:
        return None
    default = onnx.helper.get_attribute_value(definition.default_value)
    return default.decode() if isinstance(default, bytes) else default


def _typed(value: ir.Value) -> str:
    kind = "" if value.dtype in (None, ir.DataType.FLOAT) else f" {str(value.dtype).lower()}"
    sizes = "?" if value.shape is None else "x".join(str(n) for n in value.shape) or "scalar"
    return f"{value.name}: {sizes}{kind}"


def _operand(value: ir.Value) -> str:
    array = constant(value) if is_constant(value, _SHOWN) else None
    if array is not None:
        return _numbers(array)
    return _typed(value) if is_constant(value) else value.name or "?"


def _numbers(array: Array) -> str:
    if array.dtype.kind == "f":
        rounded = [float(f"{n:.6g}") for n in array.reshape(-1)]
        return f"{rounded[0]:g}" if array.ndim == 0 else str(np.reshape(rounded, array.shape).tolist())
    return str(array.tolist())


def _setting(found: ir.Attr) -> str:
    value = found.value
    if isinstance(value, float):
        return f"{value:g}" if math.isfinite(value) else str(value)
    if isinstance(value, tuple):
        return str(list(value))
    if found.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS, ir.AttributeType.TENSOR):
        return found.type.name.lower()
    return str(value)

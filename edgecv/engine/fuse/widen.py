"""Networks of float16 and bfloat16, computed in float32.

A network that stores or passes on such numbers is computed in float32 from the first operator to the last:
its weights become float32, which loses nothing; its inputs and outputs keep the file's types, by a Cast at
the border. Nothing within is rounded to the narrow type. A Cast to float16 and back in the file, which
rounds there, therefore changes nothing here: exporters write such pairs around operators that they keep in
float32, and what they round away is what the narrow type cannot hold. Sums beyond 65504 stay finite.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from edgecv.graph.rewrite import Pass, Rewrite, constant

NARROW = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)

# Marks a model that has been through it: at its border the narrow types stay.
_DONE = "wide"

# Attributes that name the type of a result, or of what an operator computes in.
_TYPES = ("to", "dtype", "output_dtype", "precision", "stash_type", "softmax_precision")


def widen(rewrite: Rewrite) -> None:
    """float16 and bfloat16 within the network become float32."""
    if rewrite.model.meta.get(_DONE):
        return
    rewrite.model.meta[_DONE] = True
    graphs = [rewrite.graph, *rewrite.graph.subgraphs()]
    narrow = [value for graph in graphs for value in _values(graph) if value.dtype in NARROW]
    named = [node for graph in graphs for node in graph if _names_narrow(node)]
    if not narrow and not named:
        return
    given, made = _border(rewrite)
    for value in narrow:
        if value in given:
            continue
        array = constant(value)
        if array is not None:
            value.const_value = ir.Tensor(array.astype(np.float32), name=value.name)
        value.type = ir.TensorType(ir.DataType.FLOAT)
    for node in named:
        _name_float(node)
    rewrite.note("float16 and bfloat16 are computed in float32", [])
    real = int(ir.DataType.FLOAT)
    for value in given:
        first = next(iter(rewrite.graph), None)
        if first is not None and value.uses():
            users = [(use.node, use.idx) for use in value.uses()]
            wide = rewrite.value(first, "Cast", [value], {"to": real}, name=f"{value.name}/wide")
            for node, index in users:
                node.replace_input_with(index, wide)
    for index, kind in made.items():
        _narrow_output(rewrite, index, kind)


def _values(graph: ir.Graph) -> Iterator[ir.Value]:
    yield from graph.inputs
    yield from graph.initializers.values()
    for node in graph:
        yield from node.outputs


def _names_narrow(node: ir.Node) -> bool:
    """Whether an attribute holds such numbers, or names their type."""
    for name, found in node.attributes.items():
        if found.type == ir.AttributeType.TENSOR:
            if found.as_tensor().dtype in NARROW:
                return True
        elif name in _TYPES and found.type == ir.AttributeType.INT and found.value in NARROW:
            return True
    return False


def _name_float(node: ir.Node) -> None:
    for name, found in list(node.attributes.items()):
        if found.type == ir.AttributeType.TENSOR and found.as_tensor().dtype in NARROW:
            array = found.as_tensor().numpy().astype(np.float32)
            node.attributes[name] = ir.AttrTensor(name, ir.Tensor(array))
        elif name in _TYPES and found.type == ir.AttributeType.INT and found.value in NARROW:
            node.attributes[name] = ir.AttrInt64(name, int(ir.DataType.FLOAT))


def _border(rewrite: Rewrite) -> tuple[list[ir.Value], dict[int, ir.DataType]]:
    """Inputs of these types, and which outputs are, by number."""
    given = [value for value in rewrite.graph.inputs if value.dtype in NARROW]
    made = {
        index: value.dtype
        for index, value in enumerate(rewrite.graph.outputs)
        if value.dtype is not None and value.dtype in NARROW and not value.is_graph_input()
    }
    return given, made


def _narrow_output(rewrite: Rewrite, index: int, kind: ir.DataType) -> None:
    """Give an output out in the file's type and under the file's name."""
    value = rewrite.graph.outputs[index]
    name = value.name or ""
    cast = ir.node("Cast", [value], {"to": int(kind)}, name=f"{name}/narrow")
    rewrite.graph.append(cast)
    result = cast.outputs[0]
    result.shape, result.type = value.shape, ir.TensorType(kind)
    rewrite.graph.outputs[index] = result
    value.name = rewrite.name(f"{name}/wide")
    result.name = name


WIDEN = Pass("float16", widen)

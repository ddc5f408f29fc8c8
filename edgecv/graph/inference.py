"""Shapes of a graph's values by ONNX's own inference.

What a file declares of its outputs and of the values between is a hint, and often stale: none of it is
believed here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgecv.errors import InputError, ModelFileError
from edgecv.graph.definitions import KEEP, has_definition

Array: TypeAlias = NDArray[Any]
Shape: TypeAlias = tuple[int, ...]
# A size, the name of a free one, or None of what is not known.
Sizes: TypeAlias = tuple[int | str | None, ...]

# Weights above this many elements are not shown to shape inference, which would only copy them.
_SHOWN_ELEMENTS = 1024

_INTRODUCTION = "[ShapeInferenceError] Inference error(s): "

# Inference for pools of older opsets counts a window that would start in the padding at the end, which the
# operator has never had.
_ROUNDING = ("MaxPool", "AveragePool", "LpPool")
_ROUNDS_RIGHT_SINCE = 22


def skeleton(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model without the content of its large weights."""
    bare = onnx.ModelProto(ir_version=proto.ir_version)
    bare.opset_import.extend(proto.opset_import)
    bare.functions.extend(proto.functions)
    bare.metadata_props.extend(proto.metadata_props)
    graph = bare.graph
    graph.name = proto.graph.name or "graph"
    graph.node.extend(proto.graph.node)
    graph.input.extend(proto.graph.input)
    graph.output.extend(proto.graph.output)
    graph.value_info.extend(proto.graph.value_info)
    for tensor in proto.graph.initializer:
        if int(np.prod(tensor.dims, dtype=np.int64)) <= _SHOWN_ELEMENTS:
            graph.initializer.append(tensor)
        else:
            graph.initializer.add(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
    return bare


def fix_inputs(
    proto: onnx.ModelProto, origin: str, shapes: Mapping[str, Shape], operands: Mapping[str, Array]
) -> None:
    """Write the given sizes and values into the graph."""
    graph = proto.graph
    names = {value.name for value in graph.input}
    for name in (*shapes, *operands):
        if name not in names:
            raise InputError(f"{origin}: no input {name!r}: expected one of {', '.join(sorted(names))}")
    for value in graph.input:
        sizes = shapes.get(value.name)
        if sizes is None:
            continue
        tensor = value.type.tensor_type
        if tensor.HasField("shape") and len(tensor.shape.dim) != len(sizes):
            raise InputError(
                f"{origin}: input {value.name!r}: expected {len(tensor.shape.dim)} axes, got {tuple(sizes)}"
            )
        tensor.shape.SetInParent()
        tensor.shape.ClearField("dim")
        for size in sizes:
            tensor.shape.dim.add().dim_value = size
    if operands:
        kept = [value for value in graph.input if value.name not in operands]
        for value in graph.input:
            if value.name in operands:
                kind = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
                array = np.asarray(operands[value.name], kind, order="C")
                graph.initializer.append(numpy_helper.from_array(array, value.name))
        del graph.input[:]
        graph.input.extend(kept)


def inferred(proto: onnx.ModelProto, origin: str, shapes: Mapping[str, Shape]) -> onnx.ModelProto:
    """The model with shapes by ONNX's inference; those that it declares of outputs are not trusted.

    shapes: that were given to `fix_inputs`; without any, outputs that inference tells nothing of keep what is
    declared. Raises InputError where the graph cannot take them, ModelFileError where it is unsound.
    """
    found = _inferred(proto, origin, shapes)
    if not shapes:
        declared = {value.name: value.type for value in proto.graph.output}
        for value in found.graph.output:
            if not value.type.tensor_type.HasField("shape"):
                value.type.CopyFrom(declared[value.name])
    return found


def output_shapes(
    proto: onnx.ModelProto, origin: str, shapes: Mapping[str, Shape]
) -> dict[str, Sizes | None]:
    """What inference proves of the outputs: sizes, names of free ones, None for what it cannot tell; None for
    an output whose number of axes it cannot tell.

    shapes: of inputs, in place of what the file says. Raises as `inferred`.
    """
    bare = skeleton(proto)
    fix_inputs(bare, origin, shapes, {})
    return {value.name: sizes_of(value) for value in _inferred(bare, origin, shapes).graph.output}


def graphs_in(graph: onnx.GraphProto) -> Iterable[onnx.GraphProto]:
    """A graph and all within it."""
    waiting = [graph]
    while waiting:
        part = waiting.pop()
        yield part
        for node in part.node:
            for attribute in node.attribute:
                waiting += [attribute.g] if attribute.HasField("g") else attribute.graphs


def forget(graph: onnx.GraphProto) -> None:
    """Drop the shapes that a graph declares of its outputs and of what lies between."""
    del graph.value_info[:]
    for value in graph.output:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")


def sizes_of(value: onnx.ValueInfoProto) -> Sizes | None:
    """The sizes that are stated of a value; None where not even the number of its axes is."""
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return tuple(
        dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None for dim in tensor.shape.dim
    )


def _inferred(proto: onnx.ModelProto, origin: str, shapes: Mapping[str, Shape]) -> onnx.ModelProto:
    bare = onnx.ModelProto()
    bare.CopyFrom(proto)
    forget(bare.graph)
    # Of outputs that are inputs or weights: no node makes them, so that inference passes them over.
    kinds = {value.name: value.type for value in bare.graph.input}
    for tensor in bare.graph.initializer:
        kinds[tensor.name] = helper.make_tensor_type_proto(tensor.data_type, tensor.dims)
    for value in bare.graph.output:
        if value.name in kinds:
            value.type.CopyFrom(kinds[value.name])
    _round_pools(bare, origin)
    try:
        return _with_branches(bare)
    except onnx.shape_inference.InferenceError as error:
        # What follows from the first is told behind it.
        reason = str(error).strip().splitlines()[0].removeprefix(_INTRODUCTION)
        if shapes:
            given = ", ".join(f"{name} {tuple(sizes)}" for name, sizes in shapes.items())
            raise InputError(f"{origin}: the graph cannot take {given}: {reason}") from error
        raise ModelFileError(f"{origin}: {reason}") from error


def _with_branches(bare: onnx.ModelProto) -> onnx.ModelProto:
    """The model with shapes; what branches and loops declare is believed unless it contradicts what is known,
    since inference writes nothing into them."""
    try:
        return _infer_shapes(bare)
    except onnx.shape_inference.InferenceError:
        graphs = list(graphs_in(bare.graph))
        if len(graphs) == 1:
            raise
        for graph in graphs[1:]:
            forget(graph)
        return _infer_shapes(bare)


def _round_pools(proto: onnx.ModelProto, origin: str) -> None:
    """Write pools whose rounding up inference gets wrong as such that do not round."""
    opset = next((o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")), 0)
    pools = [
        node
        for node in proto.graph.node
        if node.op_type in _ROUNDING and any(a.name == "ceil_mode" and a.i for a in node.attribute)
    ]
    while pools and opset < _ROUNDS_RIGHT_SINCE:
        known = onnx.shape_inference.infer_shapes(proto, data_prop=True).graph
        sizes = {
            value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
            for value in (*known.input, *known.value_info, *known.output)
        }
        # One at a time: those behind it get other sizes.
        if not any(_rounded(node, sizes.get(node.input[0], [])[2:], origin) for node in pools):
            return


def _rounded(node: onnx.NodeProto, sizes: list[int], origin: str) -> bool:
    given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    axes = len(sizes)
    is_automatic = given.get("auto_pad", b"NOTSET") != b"NOTSET"
    if is_automatic or not given["ceil_mode"] or not axes or 0 in sizes or len(given["kernel_shape"]) != axes:
        return False
    strides, dilations = given.get("strides", [1] * axes), given.get("dilations", [1] * axes)
    pads = list(given.get("pads", [0] * (2 * axes)))
    is_wrong = is_longer = False
    for i, (n, k, stride, dilation) in enumerate(
        zip(sizes, given["kernel_shape"], strides, dilations, strict=True)
    ):
        rest = n + pads[i] + pads[axes + i] - (k - 1) * dilation - 1
        if rest % stride and -(-rest // stride) * stride >= n + pads[i]:
            is_wrong = True
        elif rest % stride:
            is_longer = True
            pads[axes + i] += stride - rest % stride
    if not is_wrong:
        return False
    if is_longer and given.get("count_include_pad", 0):
        raise ModelFileError(
            f"{origin}: node {node.name!r} ({node.op_type}): its size depends on the opset; "
            f"convert the model to opset {_ROUNDS_RIGHT_SINCE} with onnx.version_converter"
        )
    kept = [a for a in node.attribute if a.name not in ("pads", "ceil_mode")]
    del node.attribute[:]
    made = {"pads": pads, "ceil_mode": 0}
    node.attribute.extend([*kept, *(helper.make_attribute(name, value) for name, value in made.items())])
    return True


def _infer_shapes(proto: onnx.ModelProto) -> onnx.ModelProto:
    try:
        return onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True)
    except onnx.shape_inference.InferenceError as error:
        # Inference fails inside the definitions of some operators (MeanVarianceNormalization), which is no
        # fault of the model: they are written out later.
        op = str(error).partition("op_type:")[2].partition(",")[0].partition(")")[0]
        if op in KEEP or not onnx.defs.has(op) or not has_definition(onnx.defs.get_schema(op)):
            raise
        return onnx.shape_inference.infer_shapes(proto, data_prop=True)

"""The way from an OnnxModel to a graph of onnx_ir, sizes fixed, shapes inferred, weights shared; and back."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgecv import extras
from edgecv.errors import InputError, ModelFileError
from edgecv.graph.model import OnnxModel
from edgecv.graph.rewrite import Array, Shape

with extras.required("models"):
    import onnx
    import onnx.inliner
    import onnx_ir as ir
    from onnx import helper, numpy_helper
from edgecv.graph.definitions import KEEP, has_definition

# The first version whose Add, Mul, Gemm… broadcast as NumPy does.
OLDEST_OPSET = 7

# Weights above this many elements are not shown to shape inference, which would only copy them.
_SHOWN_ELEMENTS = 1024

# Inference for pools of older opsets counts a window that would start in the padding at the end, which the
# operator has never had.
_ROUNDING = ("MaxPool", "AveragePool", "LpPool")
_ROUNDS_RIGHT_SINCE = 22


def to_ir(
    model: OnnxModel,
    shapes: Mapping[str, Shape] | None = None,
    operands: Mapping[str, Array] | None = None,
) -> ir.Model:
    """The network as it is in the file, for the passes; every value with its shape where that can be told.

    shapes: of inputs, in place of what the file says. operands: inputs that become constants. The weights
    stay `model`'s. Raises InputError where the graph cannot take these inputs, ModelFileError where it is
    unsound, or of an opset below OLDEST_OPSET.
    """
    if 0 < model.opset < OLDEST_OPSET and not _is_as_in_oldest(model):
        raise ModelFileError(
            f"{model.origin}: opset {model.opset}: expected {OLDEST_OPSET} or newer; "
            "convert the model with onnx.version_converter"
        )
    if model.opset > onnx.defs.onnx_opset_version():
        raise ModelFileError(
            f"{model.origin}: opset {model.opset}: the installed onnx {onnx.__version__} knows up to "
            f"{onnx.defs.onnx_opset_version()}; install a newer one"
        )
    if model.proto.graph.sparse_initializer:
        raise ModelFileError(
            f"{model.origin}: sparse weights: expected dense ones; export the model without them"
        )
    skeleton = _skeleton(model.proto)
    _fix_inputs(skeleton, model.origin, shapes or {}, operands or {})
    if skeleton.functions:
        skeleton = onnx.inliner.inline_local_functions(skeleton, convert_version=True)
    inferred = _inferred(skeleton, model.origin, shapes or {})
    graph_model = ir.from_proto(inferred)
    weights = {tensor.name: tensor for tensor in model.proto.graph.initializer}
    for name, value in graph_model.graph.initializers.items():
        if name in weights:
            value.const_value = ir.serde.deserialize_tensor(weights[name])
        if value.const_value is not None and value.shape is None:
            value.shape = ir.Shape(value.const_value.numpy().shape)
            value.type = ir.TensorType(value.const_value.dtype)
    for node in graph_model.graph.all_nodes():
        node.name = node.name or next((v.name for v in node.outputs if v.name), node.op_type)
    return graph_model


def from_ir(graph: ir.Model, origin: str) -> OnnxModel:
    """The network of a graph whose operators are all ONNX's. origin: where it came from, for messages."""
    return OnnxModel(ir.to_proto(graph), origin)


def _is_as_in_oldest(model: OnnxModel) -> bool:
    """Whether no operator of the model changed between its opset and the oldest."""
    return all(
        onnx.defs.has(op)
        and onnx.defs.get_schema(op, model.opset, "").since_version
        == onnx.defs.get_schema(op, OLDEST_OPSET, "").since_version
        for op in model.facts.operators
    )


def _skeleton(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model without the content of its large weights."""
    skeleton = onnx.ModelProto(ir_version=proto.ir_version)
    skeleton.opset_import.extend(proto.opset_import)
    skeleton.functions.extend(proto.functions)
    skeleton.metadata_props.extend(proto.metadata_props)
    graph = skeleton.graph
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
    return skeleton


def _fix_inputs(
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


def _inferred(proto: onnx.ModelProto, origin: str, shapes: Mapping[str, Shape]) -> onnx.ModelProto:
    """The model with shapes by ONNX's inference; those that it states of outputs are not trusted."""
    declared = {value.name: value.type for value in proto.graph.output}
    bare = onnx.ModelProto()
    bare.CopyFrom(proto)
    del bare.graph.value_info[:]
    for value in bare.graph.output:
        value.type.tensor_type.ClearField("shape")
    _round_pools(bare, origin)
    try:
        inferred = _infer_shapes(bare)
    except onnx.shape_inference.InferenceError as error:
        reason = str(error).strip().splitlines()[-1]
        if shapes:
            given = ", ".join(f"{name} {tuple(sizes)}" for name, sizes in shapes.items())
            raise InputError(f"{origin}: the graph cannot take {given}: {reason}") from error
        raise ModelFileError(f"{origin}: {reason}") from error
    if not shapes:
        for value in inferred.graph.output:
            if not value.type.tensor_type.HasField("shape"):
                value.type.CopyFrom(declared[value.name])
    return inferred


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

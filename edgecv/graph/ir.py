"""The way from an OnnxModel to a graph of onnx_ir, sizes fixed, shapes inferred, weights shared; and back."""

from __future__ import annotations

from collections.abc import Mapping

from edgecv import extras
from edgecv.errors import ModelFileError
from edgecv.graph.model import OnnxModel
from edgecv.graph.rewrite import Array, Shape

with extras.required("models"):
    import onnx
    import onnx.inliner
    import onnx_ir as ir

    from edgecv.graph import inference

# The first version whose Add, Mul, Gemm… broadcast as NumPy does.
OLDEST_OPSET = 7


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
    skeleton = inference.skeleton(model.proto)
    inference.fix_inputs(skeleton, model.origin, shapes or {}, operands or {})
    if skeleton.functions:
        skeleton = onnx.inliner.inline_local_functions(skeleton, convert_version=True)
    inferred = inference.inferred(skeleton, model.origin, shapes or {})
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

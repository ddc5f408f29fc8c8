"""Operators that ONNX itself defines by others, and branches whose condition is known, written out."""

from __future__ import annotations

import onnx
import onnx.inliner
import onnx_ir as ir
from onnx import helper

from edgecv.graph.definitions import KEEP, has_definition
from edgecv.graph.rewrite import NEWEST_OPSET, Pass, Rewrite, copy_type, infer, scalar


def expand_functions(rewrite: Rewrite) -> None:
    """Operators that ONNX defines by others, and that the engine has no kernel for, are written out."""
    for node in rewrite.nodes():
        if node.domain or node.op_type in KEEP:
            continue
        try:
            schema = onnx.defs.get_schema(node.op_type, NEWEST_OPSET, "")
        except onnx.defs.SchemaError:
            continue
        if not has_definition(schema):
            continue
        body = _body(node)
        if body is None:
            rewrite.miss(node, f"{node.op_type} cannot be written out for these types")
            continue
        _insert(rewrite, node, body)


def _body(node: ir.Node) -> onnx.GraphProto | None:
    """The node's definition with its attributes in place, by onnx's inliner: one step."""
    inputs = []
    for value in dict.fromkeys(node.inputs):
        if value is None or value.type is None:
            continue
        kind = ir.serde.serialize_type(value.type)
        if value.shape is not None:
            ir.serde.serialize_shape_into(kind, value.shape)
        inputs.append(helper.make_value_info(value.name or "", kind))
    outputs = []
    for value in node.outputs:
        kind = onnx.TypeProto() if value.type is None else ir.serde.serialize_type(value.type)
        outputs.append(helper.make_value_info(value.name or "", kind))
    call = ir.to_proto(node)
    given = {a.name for a in call.attribute}
    # The inliner leaves a reference to an attribute that is not given, whatever its default.
    defaults = onnx.defs.get_schema(node.op_type, NEWEST_OPSET, "").attributes.values()
    call.attribute.extend(a.default_value for a in defaults if a.name not in given and a.default_value.name)
    model = helper.make_model(
        helper.make_graph([call], "function", inputs, outputs),
        opset_imports=[helper.make_opsetid("", NEWEST_OPSET)],
    )
    try:
        graph = onnx.inliner.inline_selected_functions(
            model, [("", node.op_type)], inline_schema_functions=True
        ).graph
    except (RuntimeError, onnx.checker.ValidationError):
        return None
    is_same = len(graph.node) == 1 and graph.node[0].op_type == node.op_type
    return None if is_same or not graph.node else graph


def _insert(rewrite: Rewrite, node: ir.Node, definition: onnx.GraphProto) -> None:
    """Put the definition in the node's place."""
    body = ir.serde.deserialize_graph(definition)
    given = {value.name: value for value in node.inputs if value is not None}
    for value in list(body.inputs):
        value.replace_all_uses_with(given[value.name])
    results = {value.name: value for value in body.outputs}
    body.inputs.clear()
    body.outputs.clear()
    for inner in body.all_nodes():
        inner.name = node.name
        for value in inner.outputs:
            if value.name:
                value.name = rewrite.name(f"{node.name}/{value.name.split('/')[-1]}")
    made = list(body)
    body.remove(made)
    rewrite.graph.insert_before(node, made)
    for inner in made:
        infer(inner)
    names = ", ".join(dict.fromkeys(inner.op_type for inner in made))
    rewrite.note(f"{node.op_type} is written out as {names}", [node])
    for output in list(node.outputs):
        new = results.get(output.name or "")
        if new is not None and (output.uses() or output.is_graph_output()):
            if new.shape is None or not new.shape.is_static():
                copy_type(output, new)
            rewrite.replace(output, new)
    rewrite.drop(node)


def take_branches(rewrite: Rewrite) -> None:
    """An If whose condition is known is the branch that it takes."""
    for node in rewrite.nodes("If"):
        condition = scalar(node.inputs[0])
        if condition is None:
            rewrite.miss(node, "the condition is known only at run time")
            continue
        take_branch(rewrite, node, bool(condition))


def take_branch(rewrite: Rewrite, node: ir.Node, condition: bool) -> list[ir.Node]:
    """Put a branch in the place of an If; returns the branch's nodes."""
    name = "then_branch" if condition else "else_branch"
    branch: ir.Graph = node.attributes[name].as_graph()
    for value in list(branch.initializers.values()):
        branch.initializers.pop(value.name or "")
        value.name = rewrite.name(value.name or "constant")
        rewrite.graph.register_initializer(value)
    results = list(branch.outputs)
    branch.outputs.clear()
    inner = list(branch)
    branch.remove(inner)
    rewrite.graph.insert_before(node, inner)
    rewrite.note(f"the condition is known: {name}", [node])
    for old, new in zip(list(node.outputs), results, strict=True):
        if new.shape is None:
            copy_type(old, new)
        rewrite.replace(old, new)
    rewrite.drop(node)
    return inner


FUNCTIONS = Pass("functions", expand_functions)
BRANCHES = Pass("branches", take_branches)

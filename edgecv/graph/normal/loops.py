"""Loop and Scan of a known number of iterations, written out: a copy of the body for each.

What of a body does not depend on the iteration stands in front of the copies, once. How often a Loop repeats
is known where its count and condition are constants, or where the condition follows from constants and what
the body makes of them, a counter above all: these few operators are then run by onnx.reference.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import onnx
import onnx_ir as ir
from onnx import helper
from onnx.reference import ReferenceEvaluator

from edgecv.graph.normal.constants import RANDOM
from edgecv.graph.normal.unrolled import MOST_NODES, take
from edgecv.graph.rewrite import (
    NEWEST_OPSET,
    Array,
    Rewrite,
    attribute,
    constant,
    copy_type,
    given,
    infer,
    is_constant,
    made_by,
    owner,
    scalar,
    shape,
)


def unroll(rewrite: Rewrite) -> None:
    """Loop and Scan of a known number of iterations are written out."""
    for node in rewrite.nodes("Loop", "Scan"):
        results = _loop(rewrite, node) if node.op_type == "Loop" else _scan(rewrite, node)
        if results is None:
            continue
        for output, result in zip(list(node.outputs), results, strict=True):
            if output.uses() or output.is_graph_output():
                if result.shape is None or not result.shape.is_static():
                    copy_type(output, result)
                rewrite.replace(output, result)
        rewrite.drop(node)


def _loop(rewrite: Rewrite, node: ir.Node) -> list[ir.Value] | None:
    """What takes the place of a Loop's outputs."""
    body = node.attributes["body"].as_graph()
    count = _count(rewrite, node, body)
    if count is None or not take(rewrite, node, count, len(body)):
        return None
    state: list[ir.Value] = list(_present(node.inputs[2:]))
    scanned: list[list[ir.Value]] = [[] for _ in body.outputs[1 + len(state) :]]
    empty = [] if count else [_empty(value) for value in body.outputs[1 + len(state) :]]
    if any(array is None for array in empty):
        rewrite.miss(node, "no iteration, and what it would give out has no known shape")
        return None
    if count:
        _take_out(rewrite, node, body)
    going = rewrite.constant(np.array(True), f"{node.name}/going") if count else None
    for i in range(count):
        number = rewrite.constant(np.array(i, np.int64), f"{node.name}/iteration")
        _, *made = _copy(rewrite, node, body, [number, _required(going), *state], i)
        size = len(state)
        state = made[:size]
        for rows, value in zip(scanned, made[size:], strict=True):
            rows.append(value)
    rewrite.note(f"Loop of {count} iterations written out", [node])
    if not count:
        stacked = [rewrite.constant(a, f"{node.name}/empty") for a in empty if a is not None]
    else:
        stacked = [_stacked(rewrite, node, rows, 0) for rows in scanned]
    return [*state, *stacked]


def _scan(rewrite: Rewrite, node: ir.Node) -> list[ir.Value] | None:
    """What takes the place of a Scan's outputs."""
    body = node.attributes["body"].as_graph()
    scans = attribute(node, "num_scan_inputs")
    states = len(node.inputs) - scans
    inputs = list(_present(node.inputs))
    axes = attribute(node, "scan_input_axes", [0] * scans)
    sizes = [shape(value) for value in inputs[states:]]
    if any(size is None for size in sizes):
        rewrite.miss(node, "the length of its sequence is not known before the run")
        return None
    count = (sizes[0] or ())[axes[0]]
    if count == 0:
        rewrite.miss(node, "a sequence without elements")
        return None
    if not take(rewrite, node, count, len(body) + scans):
        return None
    _take_out(rewrite, node, body)
    backwards = attribute(node, "scan_input_directions", [0] * scans)
    state = inputs[:states]
    made_rows: list[list[ir.Value]] = [[] for _ in body.outputs[states:]]
    for i in range(count):
        elements = []
        for value, axis, is_back in zip(inputs[states:], axes, backwards, strict=True):
            at = rewrite.constant(np.array(count - 1 - i if is_back else i, np.int64), f"{node.name}/at")
            name = f"{node.name}/{i}"
            elements.append(rewrite.value(node, "Gather", [value, at], {"axis": axis}, name=name))
        made = _copy(rewrite, node, body, [*state, *elements], i)
        state = made[:states]
        for rows, value in zip(made_rows, made[states:], strict=True):
            rows.append(value)
    rewrite.note(f"Scan of {count} iterations written out", [node])
    of_outputs = attribute(node, "scan_output_axes", [0] * len(made_rows))
    turned = attribute(node, "scan_output_directions", [0] * len(made_rows))
    return [
        *state,
        *(
            _stacked(rewrite, node, rows[::-1] if is_back else rows, axis)
            for rows, axis, is_back in zip(made_rows, of_outputs, turned, strict=True)
        ),
    ]


def _present(values: Sequence[ir.Value | None]) -> list[ir.Value]:
    return [_required(value) for value in values]


def _required(value: ir.Value | None) -> ir.Value:
    assert value is not None
    return value


def _stacked(rewrite: Rewrite, node: ir.Node, rows: Sequence[ir.Value], axis: int) -> ir.Value:
    at = rewrite.operand([axis], f"{node.name}/axis")
    name = f"{node.name}/stack"
    lines = [rewrite.value(node, "Unsqueeze", [row, at], name=name) for row in rows]
    return rewrite.value(node, "Concat", lines, {"axis": axis}, name=name) if len(lines) > 1 else lines[0]


def _empty(value: ir.Value) -> Array | None:
    """What no iteration makes of an output that is stacked."""
    sizes = shape(value)
    return None if sizes is None or value.dtype is None else np.zeros((0, *sizes), value.dtype.numpy())


# ---- Bodies


def _take_out(rewrite: Rewrite, node: ir.Node, body: ir.Graph) -> None:
    """Move what does not depend on the iteration in front of a node."""
    outer = owner(node)
    for value in list(body.initializers.values()):
        body.initializers.pop(value.name or "")
        value.name = rewrite.name(value.name or "constant")
        rewrite.graph.register_initializer(value)
    depends = set(body.inputs)
    for inner in list(body):
        has_graph = any(
            a.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) for a in inner.attributes.values()
        )
        if (
            has_graph
            or inner.op_type in RANDOM
            or any(value in depends for value in inner.inputs)
            or any(value.is_graph_output() for value in inner.outputs)
        ):
            depends.update(inner.outputs)
            continue
        body.remove(inner)
        for value in inner.outputs:
            value.name = rewrite.name(value.name or f"{node.name}/value")
        outer.insert_before(node, inner)


def _copy(
    rewrite: Rewrite, node: ir.Node, body: ir.Graph, inputs: Sequence[ir.Value], iteration: int
) -> list[ir.Value]:
    """The outputs of a copy of a body in front of a node, of these inputs."""
    copy = body.clone(allow_outer_scope_values=True)
    formal = list(copy.inputs)
    replaced = dict(zip(formal, inputs, strict=True))
    results = [replaced.get(value, value) for value in copy.outputs]
    copy.outputs.clear()
    for old, new in replaced.items():
        old.replace_all_uses_with(new)
    nodes = list(copy)
    copy.remove(nodes)
    owner(node).insert_before(node, nodes)
    for inner in nodes:
        inner.name = f"{node.name}/{iteration}/{inner.name or inner.op_type}"
        for value in inner.outputs:
            if value.name:
                value.name = rewrite.name(f"{node.name}/{iteration}/{value.name}")
            # A file may tell the sizes of the first iteration, which those of later ones outgrow.
            value.shape = None
        infer(inner)
    return results


# ---- Counts


def _count(rewrite: Rewrite, node: ir.Node, body: ir.Graph) -> int | None:
    """How many iterations a Loop makes; None, and a miss, where that is known only at run time."""
    most, going = given(node, 0), given(node, 1)
    limit = scalar(most) if most is not None else float(MOST_NODES + 1)
    first = scalar(going) if going is not None else 1.0
    if limit is None or first is None:
        what = "number of iterations is" if limit is None else "condition is"
        rewrite.miss(node, f"its {what} known only at run time")
        return None
    if limit <= 0 or not first:
        return 0
    needed = _condition(node, body)
    if needed is None:
        rewrite.miss(node, "whether it goes on depends on data: expected a known number of iterations")
        return None
    if needed:
        count = _simulated(node, body, needed, min(int(limit), MOST_NODES + 1))
    else:
        condition = _source(body.outputs[0])
        goes_on = condition is body.inputs[1] or bool(scalar(condition))
        count = int(limit) if goes_on else 1
    if count is None:
        rewrite.miss(node, "onnx.reference cannot compute whether it goes on")
    elif count > MOST_NODES and most is None:
        rewrite.miss(node, f"it has no end within {MOST_NODES} iterations")
        return None
    return count


def _source(value: ir.Value) -> ir.Value:
    """What a value is, whatever Identity hands it on."""
    while True:
        producer = made_by(value, "Identity")
        if producer is None or producer.inputs[0] is None:
            return value
        value = producer.inputs[0]


def _condition(node: ir.Node, body: ir.Graph) -> list[ir.Node] | None:
    """The nodes of a body that its condition follows from, in order; None where they read data."""
    inputs = {value: index for index, value in enumerate(body.inputs)}
    needed: set[ir.Node] = set()
    waiting, seen = [_source(body.outputs[0])], set()
    while waiting:
        value = waiting.pop()
        if value in seen:
            continue
        seen.add(value)
        index = inputs.get(value)
        if index is not None:
            if index >= 2:
                if not is_constant(given(node, index)):
                    return None
                waiting.append(body.outputs[index - 1])
            continue
        producer = value.producer()
        if is_constant(value):
            continue
        if producer is None or producer.graph is not body or producer.op_type in RANDOM or producer.domain:
            return None
        if any(
            a.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) for a in producer.attributes.values()
        ):
            return None
        needed.add(producer)
        waiting += [source for source in producer.inputs if source is not None]
    return [inner for inner in body if inner in needed]


def _simulated(node: ir.Node, body: ir.Graph, needed: Sequence[ir.Node], limit: int) -> int | None:
    """Iterations until the condition is false, `limit` at most."""
    read = {value for inner in needed for value in inner.inputs if value is not None} | {body.outputs[0]}
    made = {value for inner in needed for value in inner.outputs}
    carried = [i for i in range(2, len(body.inputs)) if body.inputs[i] in read]
    outputs = [body.outputs[0], *(body.outputs[i - 1] for i in carried)]
    feeds = {v.name or "": constant(v) for v in read - made - set(body.inputs)}
    feeds.update({body.inputs[i].name or "": constant(given(node, i)) for i in carried})
    names = list(dict.fromkeys(value.name or "" for value in outputs))
    try:
        graph = helper.make_graph(
            [ir.to_proto(inner) for inner in needed],
            "condition",
            [onnx.ValueInfoProto(name=v.name or "") for v in read - made],
            [onnx.ValueInfoProto(name=name) for name in names],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", NEWEST_OPSET)])
        evaluator = ReferenceEvaluator(model)
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            for i in range(limit):
                feeds[body.inputs[0].name or ""] = np.array(i, np.int64)
                feeds[body.inputs[1].name or ""] = np.array(True)
                found = dict(zip(names, evaluator.run(None, feeds), strict=True))
                if not np.asarray(found[outputs[0].name or ""]).all():
                    return i + 1
                for index, value in zip(carried, outputs[1:], strict=True):
                    feeds[body.inputs[index].name or ""] = found[value.name or ""]
    # The evaluator raises what its NumPy code happens to.
    except Exception:
        return None
    return limit

"""The pass that gives counted values their room: one walk over the graph."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from edgecv.engine import claims
from edgecv.engine.counted.arithmetic import evaluate
from edgecv.engine.counted.counting import Counting
from edgecv.engine.counted.rules import RULES
from edgecv.engine.counted.size import Unproven
from edgecv.graph.normal.functions import take_branch
from edgecv.graph.rewrite import Pass, Rewrite, infer, scalar, shape

SOURCES = ("NonZero", "Compress", "NonMaxSuppression")
_SIZES = ("Shape", "Size")
# Of what they give nothing is below 0 where nothing is in what they take.
_MOVES = ("Gather", "GatherND", "GatherElements", "Slice", "Split", "Concat", "Transpose", "Expand", "Tile")
_VIEWS = ("Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Flatten")


def count_rows(rewrite: Rewrite) -> None:
    """What data decide the length of gets room for the most there can be, and a count beside it."""
    if not any(node.op_type in SOURCES and not node.domain for node in _all(rewrite.graph)):
        return
    counting = Counting(rewrite)
    given_out = len(rewrite.graph.outputs)
    for node in rewrite.nodes():
        _visit(counting, node)
    for output in list(rewrite.graph.outputs[:given_out]):
        try:
            counting.give_out(output)
        except Unproven as why:
            producer = output.producer()
            assert producer is not None
            raise claims.refused(producer, output.name or "", str(why)) from None
    counting.finish(given_out)


def _all(graph: ir.Graph) -> Iterator[ir.Node]:
    yield from graph.all_nodes()


def _visit(counting: Counting, node: ir.Node) -> None:
    if node.op_type == "If" and not node.domain and _takes_branch(counting, node):
        return
    counted = [value for value in _read(node) if counting.is_counted(value)]
    says_sizes = any(value in counting.numbers for value in node.inputs)
    is_source = node.op_type in SOURCES and not node.domain
    if not counted and not says_sizes and not is_source:
        # Its operands may have got their shapes just now.
        if any(shape(output) is None or output.type is None for output in node.outputs):
            infer(node)
        return
    if says_sizes and not counted and _computes_sizes(counting, node):
        return
    rule = None if node.domain else RULES.get(node.op_type)
    if rule is None:
        if counted:
            raise claims.refused(node, counted[0].name or "")
        infer(node)
        return
    _apply(counting, node, counted)


def _apply(counting: Counting, node: ir.Node, counted: list[ir.Value]) -> None:
    is_natural = _is_natural(counting, node)
    outputs = [(output.name, output) for output in node.outputs]
    try:
        made = RULES[node.op_type](counting, node)
    except Unproven as why:
        about = counted or [value for value in node.inputs if value in counting.numbers] or [node.inputs[0]]
        name = next((value.name for value in about if value is not None), "")
        raise claims.refused(node, name or "", str(why)) from None
    if made is None:
        return
    for (_, output), sizes in zip(outputs, made, strict=False):
        counting.note(output, sizes)
        if is_natural:
            counting.natural.add(output)
    if any(output.type is None for output in node.outputs):
        infer(node)


def _read(node: ir.Node) -> list[ir.Value]:
    """All values that a node reads, those of its branches among them."""
    found = [value for value in node.inputs if value is not None]
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            for inner in attribute.as_graph().all_nodes():
                found += [value for value in inner.inputs if value is not None]
    return found


def _is_natural(counting: Counting, node: ir.Node) -> bool:
    data = node.inputs if node.op_type == "Concat" else node.inputs[:1]
    return node.op_type in (*_MOVES, *_VIEWS) and all(value in counting.natural for value in data)


def _computes_sizes(counting: Counting, node: ir.Node) -> bool:
    """Whether the numbers that a node makes of others can be told."""
    found = None if node.domain else evaluate(counting, node)
    if found is None:
        return False
    y = node.outputs[0]
    if y.dtype is not None and all(size.is_known for size in found.reshape(-1)):
        array = np.array([size.constant for size in found.reshape(-1)], y.dtype.numpy()).reshape(found.shape)
        made = counting.constant(array)
        counting.rewrite.replace(y, made, what=f"{node.op_type} is known: {array.tolist()}")
        y = made
    counting.state(y, found)
    return True


def _takes_branch(counting: Counting, node: ir.Node) -> bool:
    """Whether an If's condition can be told: it becomes the branch that it takes."""
    condition = node.inputs[0]
    numbers = counting.numbers_of(condition)
    value = scalar(condition)
    if value is None and numbers is not None and all(size.is_known for size in numbers.reshape(-1)):
        value = float(numbers.reshape(-1)[0].constant)
    if value is None:
        return False
    for inner in take_branch(counting.rewrite, node, bool(value)):
        _visit(counting, inner)
    return True


COUNT = Pass("counted", count_rows)

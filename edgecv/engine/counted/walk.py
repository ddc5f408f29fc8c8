"""The pass that gives counted values their room: one walk over the graph."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgecv.engine import claims
from edgecv.engine.counted import SOURCES
from edgecv.engine.counted.arithmetic import evaluate
from edgecv.engine.counted.counting import MOST_NUMBERS, Counting
from edgecv.engine.counted.movement import sizes_in
from edgecv.engine.counted.rules import RULES
from edgecv.engine.counted.size import Size, Unproven
from edgecv.engine.planned import PLANNED
from edgecv.graph.normal.constants import constant_node
from edgecv.graph.normal.functions import take_branch
from edgecv.graph.rewrite import Rewrite, Shape, infer, is_constant, scalar, shape

_SIZES = ("Shape", "Size")
# Of what they give nothing is below 0 where nothing is in what they take.
_MOVES = ("Gather", "GatherND", "GatherElements", "Slice", "Split", "Concat", "Transpose", "Expand", "Tile")
_VIEWS = ("Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Flatten")


def count_rows(rewrite: Rewrite) -> None:
    """What data decide the length of gets room for the most there can be, and a count beside it."""
    has_sources = any(node.op_type in SOURCES and not node.domain for node in rewrite.graph.all_nodes())
    if not has_sources or any(shape(value) is None for value in rewrite.graph.inputs):
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


def _visit(counting: Counting, node: ir.Node) -> None:
    if node.op_type == "If" and not node.domain and _takes_branch(counting, node):
        return
    # Of a branch that was taken just now.
    array = constant_node(node) if node.op_type == "Constant" else None
    if array is not None:
        counting.rewrite.replace(node.outputs[0], counting.constant(array))
        return
    counted = [value for value in _read(node) if counting.is_counted(value)]
    says_sizes = any(value in counting.numbers for value in node.inputs) or _is_known(node)
    is_source = node.op_type in SOURCES and not node.domain
    if not counted and not says_sizes and not is_source:
        # Its operands may have got their shapes just now.
        if any(shape(output) is None or output.type is None for output in node.outputs):
            infer(node)
        return
    if says_sizes and not counted and not node.domain and _computes_sizes(counting, node):
        return
    has_rule = not node.domain and node.op_type in RULES
    if counted and not has_rule:
        raise claims.refused(node, counted[0].name or "")
    if has_rule and (counted or is_source or node.op_type in PLANNED):
        _apply(counting, node, counted)
    else:
        infer(node)


def _is_known(node: ir.Node) -> bool:
    """Whether what a node gives may be known by now: its operand's shape, or its small operands, are."""
    if node.domain or any(
        value is not None and not is_constant(value, MOST_NUMBERS) for value in node.inputs
    ):
        return node.op_type in _SIZES and shape(node.inputs[0]) is not None
    return bool(node.inputs)


def _apply(counting: Counting, node: ir.Node, counted: list[ir.Value]) -> None:
    is_natural = _is_natural(counting, node)
    try:
        made = RULES[node.op_type](counting, node)
    except Unproven as why:
        numbers = (value for value in node.inputs if value in counting.numbers)
        about: list[ir.Value | None] = [*counted, *numbers, *node.inputs]
        name = next((value.name for value in about if value is not None), "")
        raise claims.refused(node, name or "", str(why)) from None
    if made is None:
        return
    for output, sizes in zip(node.outputs, made, strict=False):
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
    knows_shape = node.op_type in _SIZES and shape(node.inputs[0]) is not None
    found = sizes_in(counting, node) if knows_shape else evaluate(counting, node)
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
    if value is not None:
        _take(counting, node, bool(value))
        return True
    found = _zero_where(counting, condition)
    return found is not None and _takes_full_branch(counting, node, *found)


def _take(counting: Counting, node: ir.Node, condition: bool) -> list[ir.Value]:
    """Put a branch in the place of an If; returns what its results have become."""
    outputs = counting.rewrite.graph.outputs
    first, results = len(outputs), list(_branch(node, condition).outputs)
    taken = take_branch(counting.rewrite, node, condition)
    outputs.extend(results)
    for inner in taken:
        _visit(counting, inner)
    made = [counting.behind(output) for output in outputs[first : first + len(results)]]
    outputs[first : first + len(results)] = []
    return made


def _branch(node: ir.Node, condition: bool) -> ir.Graph:
    return node.attributes["then_branch" if condition else "else_branch"].as_graph()


def _takes_full_branch(counting: Counting, node: ir.Node, size: Size, is_empty: bool) -> bool:
    """Whether an If goes, one branch of which is for no rows at all, and gives results of no rows.

    size: that is 0 where the condition is `is_empty`. The other branch gives no rows either then.
    """
    condition = "" if node.inputs[0] is None else node.inputs[0].name
    empty = [shape(output) for output in _branch(node, is_empty).outputs]
    if any(sizes is None or 0 not in sizes for sizes in empty):
        return False
    for result, sizes in zip(_take(counting, node, not is_empty), empty, strict=True):
        if not _is_empty_too(counting, result, size, sizes or ()):
            raise claims.refused(node, str(condition), f"whether its branches agree where {size} is 0")
    return True


def _is_empty_too(counting: Counting, value: ir.Value, size: Size, sizes: Shape) -> bool:
    """Whether a value has these sizes, some of which are 0, wherever `size` is 0."""
    if not counting.is_counted(value):
        return shape(value) == sizes
    made = counting.sizes_of(value)
    return len(made) == len(sizes) and all(
        mine == Size(n) or (n == 0 and mine.vanishes_with(size)) for mine, n in zip(made, sizes, strict=True)
    )


def _zero_where(counting: Counting, condition: ir.Value | None) -> tuple[Size, bool] | None:
    """A size that is 0 where a condition has this value, and nowhere else; None where there is none."""
    producer = None if condition is None else condition.producer()
    if producer is None or producer.domain:
        return None
    if producer.op_type in (*_VIEWS, "Not"):
        found = _zero_where(counting, producer.inputs[0])
        return None if found is None else (found[0], found[1] != (producer.op_type == "Not"))
    if producer.op_type not in ("Equal", "Greater", "Less"):
        return None
    sides = [counting.numbers_of(value) for value in producer.inputs]
    if any(side is None or side.size != 1 for side in sides):
        return None
    a, b = (side.reshape(-1)[0] for side in sides if side is not None)
    if producer.op_type == "Less":
        a, b = b, a
    return (a - b, producer.op_type == "Equal") if (a - b).least >= 0 else None

"""Rules of the operators that choose rows: by a mask, by rank, by NonMaxSuppression; and branches."""

from __future__ import annotations

import msgspec

from edgecv import extras
from edgecv.graph.rewrite import attribute, given, scalar
from edgecv.graph.tails.arithmetic import best_of
from edgecv.graph.tails.expressions import (
    Compare,
    Count,
    Expression,
    Least,
    Nonzero,
    Ranked,
    Selected,
    Unproven,
    least,
    number,
    of,
)
from edgecv.graph.tails.reader import Index, Reader, axis_of, rule

with extras.required("models"):
    import onnx_ir as ir

# A threshold of scores that lets every one through.
NO_THRESHOLD = float("-inf")


class Suppression(msgspec.Struct, frozen=True):
    """What the operands of a NonMaxSuppression say. thresholds as the operator has them; most: of a class."""

    boxes: ir.Value
    scores: ir.Value
    iou: float
    threshold: float
    most: Expression
    is_centered: bool


def suppression(reader: Reader, node: ir.Node) -> Suppression:
    """The operands of a NonMaxSuppression. Raises Unproven where a threshold is not constant."""
    boxes, scores = node.inputs[:2]
    assert boxes is not None
    assert scores is not None
    iou, threshold = given(node, 3), given(node, 4)
    numbers = [0.0 if iou is None else scalar(iou), NO_THRESHOLD if threshold is None else scalar(threshold)]
    if None in numbers:
        raise Unproven(f"{node.name!r} (NonMaxSuppression): its thresholds are not constant")
    limit = given(node, 2)
    most = number(0) if limit is None else reader.element(limit, (number(0),) * reader.rank(limit))
    return Suppression(
        boxes,
        scores,
        float(numbers[0] or 0.0),
        float(numbers[1] or 0.0),
        most,
        bool(attribute(node, "center_point_box", 0)),
    )


def _selected_sizes(reader: Reader, node: ir.Node, value: ir.Value) -> Index:
    return of(Count(value.name or "")), number(3)


@rule("NonMaxSuppression", sizes=_selected_sizes)
def _selected(reader: Reader, node: ir.Node, value: ir.Value, index: Index) -> Expression:
    column = index[1].whole
    if column is None:
        raise Unproven(f"{node.name!r} (NonMaxSuppression): its columns are mixed")
    sizes = reader.sizes(node.inputs[1])
    if column < 2 and sizes[column] == number(1):
        return number(0)
    return of(Selected(value.name or "", index[0], column, sizes[column].whole))


# ---- Masks


def _nonzero(reader: Reader, mask: ir.Value, axis: int, row: Expression) -> Expression:
    sizes = reader.sizes(mask)
    if sizes[axis] == number(1):
        return number(0)
    count = of(Count(mask.name or ""))
    return of(Nonzero(mask.name or "", axis, row, count, sizes[axis].whole))


def _nonzero_sizes(reader: Reader, node: ir.Node, value: ir.Value) -> Index:
    mask = node.inputs[0]
    assert mask is not None
    return number(reader.rank(mask)), of(Count(mask.name or ""))


@rule("NonZero", sizes=_nonzero_sizes)
def _indices(reader: Reader, node: ir.Node, value: ir.Value, index: Index) -> Expression:
    mask, axis = node.inputs[0], index[0].whole
    assert mask is not None
    if axis is None:
        raise Unproven(f"{node.name!r} (NonZero): its axes are mixed")
    return _nonzero(reader, mask, axis, index[1])


def _compressed_sizes(reader: Reader, node: ir.Node, value: ir.Value) -> Index:
    mask = node.inputs[1]
    assert mask is not None
    sizes = list(reader.sizes(node.inputs[0]))
    sizes[_compressed_axis(node, len(sizes))] = of(Count(mask.name or ""))
    return tuple(sizes)


def _compressed_axis(node: ir.Node, rank: int) -> int:
    if "axis" not in node.attributes and rank != 1:
        raise Unproven(f"{node.name!r} (Compress) flattens")
    return axis_of(node, rank)


@rule("Compress", sizes=_compressed_sizes)
def _compress(reader: Reader, node: ir.Node, value: ir.Value, index: Index) -> Expression:
    x, mask = node.inputs
    assert mask is not None
    axis = _compressed_axis(node, len(index))
    at = _nonzero(reader, mask, 0, index[axis])
    return reader.element(x, (*index[:axis], at, *index[axis + 1 :]))


# ---- Ranks


def _ranked_sizes(reader: Reader, node: ir.Node, value: ir.Value) -> Index:
    sizes = list(reader.sizes(node.inputs[0]))
    axis = axis_of(node, len(sizes), -1)
    sizes[axis] = least(frozenset((sizes[axis], reader.items(node.inputs[1])[0])))
    return tuple(sizes)


@rule("TopK", sizes=_ranked_sizes)
def _ranked(reader: Reader, node: ir.Node, value: ir.Value, index: Index) -> Expression:
    x = node.inputs[0]
    assert x is not None
    axis = axis_of(node, len(index), -1)
    is_index = value is node.outputs[1]
    if not attribute(node, "largest", 1) or not attribute(node, "sorted", 1):
        raise Unproven(f"{node.name!r} (TopK) does not rank by falling score")
    extent = reader.sizes(x)[axis]
    if reader.items(node.inputs[1])[0] == number(1) and extent.whole is not None:
        return best_of(reader, x, list(index), axis, is_index=is_index)
    at = of(Ranked(x.name or "", axis, index, extent))
    return at if is_index else reader.element(x, (*index[:axis], at, *index[axis + 1 :]))


# ---- Branches


def _taken(reader: Reader, node: ir.Node, value: ir.Value) -> ir.Value:
    """The output of the branch that is taken where there are rows at all."""
    condition = reader.element(node.inputs[0], (number(0),) * reader.rank(node.inputs[0]))
    known = condition.number
    if known is None:
        known = _where_rows_are(reader, condition)
    if known is None:
        raise Unproven(f"{node.name!r} (If): which branch is taken is not known")
    branch = node.attributes["then_branch" if known else "else_branch"].as_graph()
    return branch.outputs[list(node.outputs).index(value)]


def _where_rows_are(reader: Reader, condition: Expression) -> bool | None:
    """A comparison of the number of rows with 0, given that there are some, which the reader remembers."""
    inner = condition.atom
    if not isinstance(inner, Compare):
        return None
    for a, b, is_swapped in ((inner.left, inner.right, False), (inner.right, inner.left, True)):
        sources = _counted(a)
        if b == number(0) and sources and all(factor > 0 for factor in a.terms.values()):
            reader.assumed |= sources
            # rows > 0 and rows >= 0 hold; 0 > rows does not; 0 >= rows and rows == 0 do not.
            return inner.kind != "==" and not is_swapped
    return None


def _counted(formula: Expression) -> set[str]:
    """What is counted, where a number is made of counts alone, each at most something."""
    found: set[str] = set()
    for product in formula.terms:
        atoms = [atom for atom, _ in product]
        if len(atoms) != 1:
            return set()
        if isinstance(atoms[0], Count):
            found.add(atoms[0].source)
        elif isinstance(atoms[0], Least):
            parts = [part for part in atoms[0].parts if part.number is None]
            if len(parts) != 1 or len(atoms[0].parts) > 2:
                return set()
            inner = _counted(parts[0])
            if not inner:
                return set()
            found |= inner
        else:
            return set()
    return found


@rule("If", sizes=lambda reader, node, value: reader.sizes(_taken(reader, node, value)))
def _if(reader: Reader, node: ir.Node, value: ir.Value, index: Index) -> Expression:
    return reader.element(_taken(reader, node, value), index)

"""Rules of the operators that move elements: where each element of the output comes from."""

from __future__ import annotations

import msgspec
import numpy as np

from edgecv import extras
from edgecv.graph.rewrite import attribute, constant, given, integers
from edgecv.graph.tails.expressions import At, Choice, Compare, Expression, Unproven, least, number, of, split
from edgecv.graph.tails.reader import (
    Index,
    Reader,
    axes_operand,
    axis_of,
    broadcast_index,
    pick_part,
    product,
    rule,
    same_sizes,
)

with extras.required("models"):
    import onnx_ir as ir


@rule("Identity", sizes=same_sizes)
def _identity(reader: Reader, node: ir.Node, value: ir.Value, index: Index) -> Expression:
    return reader.element(node.inputs[0], index)


@rule("Cast", sizes=same_sizes)
def _cast(reader: Reader, node: ir.Node, value: ir.Value, index: Index) -> Expression:
    x = node.inputs[0]
    found = reader.element(x, index)
    kinds = [
        np.dtype(v.dtype.numpy()).kind if v is not None and v.dtype is not None else "?" for v in (x, value)
    ]
    if kinds[1] == "f" or kinds[0] == kinds[1] or (kinds[0] in "iub" and kinds[1] in "iu"):
        return found
    # Numbers of rows and classes are whole in whatever type they are counted.
    if kinds[1] in "iu" and _is_counted(reader, found):
        return found
    raise Unproven(f"{node.name!r} (Cast) rounds")


def _is_counted(reader: Reader, formula: Expression) -> bool:
    whole = all(float(x).is_integer() for x in formula.terms.values())
    for atom in formula.atoms():
        if isinstance(atom, At):
            kind = reader.value(atom.value).dtype
            is_integer = kind is not None and kind.is_integer()
            whole = whole and (is_integer or atom.value in reader.whole)
    return whole


# ---- Shapes


def _squeeze_axes(reader: Reader, node: ir.Node) -> tuple[int, ...]:
    sizes = reader.sizes(node.inputs[0])
    axes = axes_operand(node, 1, len(sizes))
    return tuple(i for i, n in enumerate(sizes) if n == number(1)) if axes is None else axes


def _squeeze_sizes(reader: Reader, node: ir.Node, value: ir.Value) -> Index:
    axes = _squeeze_axes(reader, node)
    return tuple(n for i, n in enumerate(reader.sizes(node.inputs[0])) if i not in axes)


@rule("Squeeze", sizes=_squeeze_sizes)
def _squeeze(reader: Reader, node: ir.Node, value: ir.Value, index: Index) -> Expression:
    axes, rest = _squeeze_axes(reader, node), iter(index)
    rank = reader.rank(node.inputs[0])
    return reader.element(node.inputs[0], [number(0) if i in axes else next(rest) for i in range(rank)])


def _unsqueeze_axes(reader: Reader, node: ir.Node) -> tuple[int, ...]:
    axes = integers(given(node, 1))
    if axes is None:
        raise Unproven(f"{node.name!r} (Unsqueeze): its axes are not constant")
    rank = reader.rank(node.inputs[0]) + len(axes)
    return tuple(axis + rank if axis < 0 else axis for axis in axes)


def _unsqueeze_sizes(reader: Reader, node: ir.Node, value: ir.Value) -> Index:
    axes, sizes = _unsqueeze_axes(reader, node), iter(reader.sizes(node.inputs[0]))
    rank = reader.rank(node.inputs[0]) + len(axes)
    return tuple(number(1) if i in axes else next(sizes) for i in range(rank))


@rule("Unsqueeze", sizes=_unsqueeze_sizes)
def _unsqueeze(reader: Reader, node: ir.Node, value: ir.Value, index: Index) -> Expression:
    axes = _unsqueeze_axes(reader, node)
    return reader.element(node.inputs[0], [one for i, one in enumerate(index) if i not in axes])


def _reshape_sizes(reader: Reader, node: ir.Node, value: ir.Value) -> Index:
    source = reader.sizes(node.inputs[0])
    if node.op_type == "Flatten":
        axis = axis_of(node, len(source), 1)
        return product(source[:axis]), product(source[axis:])
    wanted = list(reader.items(node.inputs[1]))
    if not attribute(node, "allowzero", 0):
        wanted = [source[i] if n == number(0) else n for i, n in enumerate(wanted)]
    open_axes = [i for i, n in enumerate(wanted) if n == number(-1)]
    if open_axes:
        known = [n for n in wanted if n != number(-1)]
        wanted[open_axes[0]] = _quotient(list(source), known, node)
    return tuple(wanted)


def _quotient(sizes: list[Expression], by: list[Expression], node: ir.Node) -> Expression:
    """The size that is left of a tensor's for the axis that is not stated."""
    left, numbers = list(sizes), 1.0
    for size in by:
        if size in left:
            left.remove(size)
        elif size.number:
            numbers *= size.number
        else:
            raise Unproven(f"{node.name!r} (Reshape): an axis of it cannot be told")
    return product(left).times(1 / numbers)


@rule("Reshape", "Flatten", sizes=_reshape_sizes)
def _reshape(reader: Reader, node: ir.Node, value: ir.Value, index: Index) -> Expression:
    source, target = reader.sizes(node.inputs[0]), reader.sizes(value)
    return reader.element(node.inputs[0], regroup(source, target, index))


def regroup(source: Index, target: Index, index: Index) -> Index:
    """The index into a tensor of sizes `source` of an element of its reshape. Raises Unproven."""
    result: list[Expression] = []
    i = j = 0
    while i < len(source) or j < len(target):
        if i < len(source) and source[i] == number(1):
            result.append(number(0))
            i += 1
        elif j < len(target) and target[j] == number(1):
            j += 1
        elif i < len(source) and j < len(target) and source[i] == target[j]:
            result.append(index[j])
            i, j = i + 1, j + 1
        else:
            i, j = _regroup_some(source, target, index, i, j, result)
    return tuple(result)


def _regroup_some(
    source: Index, target: Index, index: Index, i: int, j: int, result: list[Expression]
) -> tuple[int, int]:
    """One group of axes that become others; where both lists go on."""
    first_i, first_j = i, j
    while i < len(source) or j < len(target):
        have, want = product(source[first_i:i]), product(target[first_j:j])
        if have == want and i > first_i and j > first_j:
            break
        # The shorter side grows; sizes that data decide cannot be compared, and lead.
        grows = i < len(source) and (j >= len(target) or _goes_on(have, want, i > first_i, j > first_j))
        i, j = (i + 1, j) if grows else (i, j + 1)
    if product(source[first_i:i]) != product(target[first_j:j]):
        raise Unproven("a Reshape mixes axes")
    flat = number(0)
    for at in range(first_j, j):
        flat = flat * target[at] + index[at]
    parts: list[Expression] = []
    for size in reversed(source[first_i + 1 : i]):
        stride = size.whole
        if stride is None:
            raise Unproven("a Reshape mixes rows with other axes")
        flat, rest = split(flat, stride)
        parts.append(rest)
    result += [flat, *reversed(parts)]
    return i, j


def _goes_on(have: Expression, want: Expression, has_source: bool, has_target: bool) -> bool:
    if not has_source:
        return True
    if not has_target:
        return False
    a, b = have.number, want.number
    if a is None or b is None:
        # Both start with the rows, or with a number: the one that lacks a factor gets it.
        return b is None if (a is None) != (b is None) else _factor(have) < _factor(want)
    return a < b


def _factor(size: Expression) -> float:
    return max(size.terms.values(), default=0.0)


def _transpose_sizes(reader: Reader, node: ir.Node, value: ir.Value) -> Index:
    sizes = reader.sizes(node.inputs[0])
    return tuple(sizes[axis] for axis in _order(node, len(sizes)))


def _order(node: ir.Node, rank: int) -> list[int]:
    return list(attribute(node, "perm") or range(rank)[::-1])


@rule("Transpose", sizes=_transpose_sizes)
def _transpose(reader: Reader, node: ir.Node, value: ir.Value, index: Index) -> Expression:
    order = _order(node, len(index))
    return reader.element(node.inputs[0], [index[order.index(axis)] for axis in range(len(index))])


def _expand_sizes(reader: Reader, node: ir.Node, value: ir.Value) -> Index:
    own, wanted = reader.sizes(node.inputs[0]), reader.items(node.inputs[1])
    rank, one = max(len(own), len(wanted)), number(1)
    padded = (*[one] * (rank - len(own)), *own), (*[one] * (rank - len(wanted)), *wanted)
    return tuple(a if b == one else b for a, b in zip(*padded, strict=True))


@rule("Expand", sizes=_expand_sizes)
def _expand(reader: Reader, node: ir.Node, value: ir.Value, index: Index) -> Expression:
    return reader.element(node.inputs[0], broadcast_index(reader, node.inputs[0], index))


# ---- Parts


class _Range(msgspec.Struct, frozen=True):
    """What a Slice takes of an axis: the first, how many, and how far apart."""

    first: int
    count: Expression
    step: int


def _slice_ranges(reader: Reader, node: ir.Node) -> dict[int, _Range]:
    sizes = reader.sizes(node.inputs[0])
    starts, ends = reader.items(node.inputs[1]), reader.items(node.inputs[2])
    axes = axes_operand(node, 3, len(sizes)) or tuple(range(len(starts)))
    steps = integers(given(node, 4)) or (1,) * len(starts)
    return {
        axis: _range(node, sizes[axis], start, end, step)
        for axis, start, end, step in zip(axes, starts, ends, steps, strict=True)
    }


def _range(node: ir.Node, size: Expression, start: Expression, end: Expression, step: int) -> _Range:
    whole, last = size.whole, end.number
    if whole is None:
        if start != number(0) or step != 1:
            raise Unproven(f"{node.name!r} (Slice) takes other rows than the first")
        if last is not None and last < 0:
            raise Unproven(f"{node.name!r} (Slice) leaves out the last rows")
        return _Range(0, least(frozenset((size, end))), 1)
    first = start.whole
    if last is None and first == 0 and step == 1:
        return _Range(0, least(frozenset((size, end))), 1)
    if first is None or last is None:
        raise Unproven(f"{node.name!r} (Slice): where it starts and ends is not known")
    bounded = [int(max(min(n, whole), -whole - 1)) for n in (first, last)]
    taken = range(whole)[slice(bounded[0], bounded[1], step)]
    return _Range(taken.start, number(len(taken)), step)


def _slice_sizes(reader: Reader, node: ir.Node, value: ir.Value) -> Index:
    sizes = list(reader.sizes(node.inputs[0]))
    for axis, taken in _slice_ranges(reader, node).items():
        sizes[axis] = taken.count
    return tuple(sizes)


@rule("Slice", sizes=_slice_sizes)
def _slice(reader: Reader, node: ir.Node, value: ir.Value, index: Index) -> Expression:
    at = list(index)
    for axis, taken in _slice_ranges(reader, node).items():
        at[axis] = at[axis].times(taken.step) + number(taken.first)
    return reader.element(node.inputs[0], at)


def _split_lengths(reader: Reader, node: ir.Node) -> tuple[int, list[int]]:
    sizes = reader.sizes(node.inputs[0])
    axis = axis_of(node, len(sizes))
    lengths = integers(given(node, 1))
    if lengths is None:
        size, count = sizes[axis].whole, len(node.outputs)
        if size is None:
            raise Unproven(f"{node.name!r} (Split) splits rows")
        each = -(-size // count)
        lengths = tuple(min(each, size - each * i) for i in range(count))
    return axis, list(lengths)


def _split_sizes(reader: Reader, node: ir.Node, value: ir.Value) -> Index:
    axis, lengths = _split_lengths(reader, node)
    sizes = list(reader.sizes(node.inputs[0]))
    sizes[axis] = number(lengths[list(node.outputs).index(value)])
    return tuple(sizes)


@rule("Split", sizes=_split_sizes)
def _split(reader: Reader, node: ir.Node, value: ir.Value, index: Index) -> Expression:
    axis, lengths = _split_lengths(reader, node)
    at = list(index)
    at[axis] = at[axis] + number(sum(lengths[: list(node.outputs).index(value)]))
    return reader.element(node.inputs[0], at)


def _concat_sizes(reader: Reader, node: ir.Node, value: ir.Value) -> Index:
    sizes = [reader.sizes(one) for one in node.inputs]
    axis = axis_of(node, len(sizes[0]))
    total = number(0)
    for one in sizes:
        total = total + one[axis]
    return (*sizes[0][:axis], total, *sizes[0][axis + 1 :])


@rule("Concat", sizes=_concat_sizes)
def _concat(reader: Reader, node: ir.Node, value: ir.Value, index: Index) -> Expression:
    axis = axis_of(node, len(index))
    extents = tuple(reader.sizes(one)[axis] for one in node.inputs)
    part, at = pick_part(reader, index[axis], extents)
    return reader.element(node.inputs[part], (*index[:axis], at, *index[axis + 1 :]))


def _pads(reader: Reader, node: ir.Node) -> list[Expression]:
    """How much is added behind each axis."""
    rank = reader.rank(node.inputs[0])
    axes = axes_operand(node, 3, rank) or tuple(range(rank))
    amounts = reader.items(node.inputs[1])
    before, after = amounts[: len(axes)], amounts[len(axes) :]
    if attribute(node, "mode", "constant") != "constant" or any(n != number(0) for n in before):
        raise Unproven(f"{node.name!r} (Pad) pads other than behind the rows")
    result = [number(0)] * rank
    for axis, amount in zip(axes, after, strict=True):
        result[axis] = amount
    return result


def _pad_sizes(reader: Reader, node: ir.Node, value: ir.Value) -> Index:
    sizes = reader.sizes(node.inputs[0])
    return tuple(n + more for n, more in zip(sizes, _pads(reader, node), strict=True))


@rule("Pad", sizes=_pad_sizes)
def _pad(reader: Reader, node: ir.Node, value: ir.Value, index: Index) -> Expression:
    result = reader.element(node.inputs[0], index)
    fill = given(node, 2)
    no = number(0) if fill is None else reader.element(fill, (number(0),) * reader.rank(fill))
    for one, size, more in zip(index, reader.sizes(node.inputs[0]), _pads(reader, node), strict=True):
        if more != number(0):
            result = of(Choice(of(Compare(">", size, one)), result, no))
    return result


# ---- Gathers


def _index(found: Expression, size: Expression) -> Expression:
    whole = found.whole
    if whole is None or whole >= 0:
        return found
    if size.whole is None:
        raise Unproven("a row is counted from the last")
    return number(whole + size.whole)


def _gather_sizes(reader: Reader, node: ir.Node, value: ir.Value) -> Index:
    sizes = reader.sizes(node.inputs[0])
    axis = axis_of(node, len(sizes))
    return (*sizes[:axis], *reader.sizes(node.inputs[1]), *sizes[axis + 1 :])


@rule("Gather", sizes=_gather_sizes)
def _gather(reader: Reader, node: ir.Node, value: ir.Value, index: Index) -> Expression:
    data, indices = node.inputs[:2]
    sizes = reader.sizes(data)
    axis, count = axis_of(node, len(sizes)), reader.rank(indices)
    at = _index(reader.element(indices, index[axis : axis + count]), sizes[axis])
    return reader.element(data, (*index[:axis], at, *index[axis + count :]))


@rule("GatherElements", sizes=lambda reader, node, value: reader.sizes(node.inputs[1]))
def _gather_elements(reader: Reader, node: ir.Node, value: ir.Value, index: Index) -> Expression:
    axis = axis_of(node, len(index))
    at = _index(reader.element(node.inputs[1], index), reader.sizes(node.inputs[0])[axis])
    return reader.element(node.inputs[0], (*index[:axis], at, *index[axis + 1 :]))


def _gather_nd_sizes(reader: Reader, node: ir.Node, value: ir.Value) -> Index:
    sizes, indices = reader.sizes(node.inputs[0]), reader.sizes(node.inputs[1])
    depth, batch = indices[-1].whole, int(attribute(node, "batch_dims", 0))
    if depth is None:
        raise Unproven(f"{node.name!r} (GatherND): how long an index is is not known")
    return (*indices[:-1], *sizes[batch + depth :])


@rule("GatherND", sizes=_gather_nd_sizes)
def _gather_nd(reader: Reader, node: ir.Node, value: ir.Value, index: Index) -> Expression:
    data, indices = node.inputs[:2]
    sizes, places = reader.sizes(data), reader.sizes(indices)
    depth, batch = places[-1].whole, int(attribute(node, "batch_dims", 0))
    if depth is None:
        raise Unproven(f"{node.name!r} (GatherND): how long an index is is not known")
    own = index[: len(places) - 1]
    at = [_index(reader.element(indices, (*own, number(k))), sizes[batch + k]) for k in range(depth)]
    return reader.element(data, (*own[:batch], *at, *index[len(places) - 1 :]))


@rule("ScatterND", sizes=same_sizes)
def _scatter_nd(reader: Reader, node: ir.Node, value: ir.Value, index: Index) -> Expression:
    places = constant(node.inputs[1])
    if places is None or not places.size or attribute(node, "reduction", "none") != "none":
        raise Unproven(f"{node.name!r} (ScatterND) writes where data say")
    depth = places.shape[-1]
    at = [one.whole for one in index[:depth]]
    rows = places.reshape(-1, depth)
    sizes = [n.whole for n in reader.sizes(node.inputs[0])[:depth]]
    known = [n for n in sizes if n]
    if len(known) < depth:
        raise Unproven(f"{node.name!r} (ScatterND) writes rows whose number is not known")
    if None in at:
        everything = np.stack(np.meshgrid(*map(np.arange, known), indexing="ij"), -1).reshape(-1, depth)
        if not np.array_equal(rows % known, everything):
            raise Unproven(f"{node.name!r} (ScatterND) writes some of the rows")
        flat = number(0)
        for one, size in zip(index[:depth], known, strict=True):
            flat = flat.times(size) + one
        leading = tuple(number(n) for n in places.shape[:-1])
        where = regroup((*leading, number(1)), (number(len(rows)),), (flat,))[:-1]
        return reader.element(node.inputs[2], (*where, *index[depth:]))
    found = np.flatnonzero(np.all(rows % known == np.array(at), axis=1))
    if not len(found):
        return reader.element(node.inputs[0], index)
    where = tuple(number(int(i)) for i in np.unravel_index(found[-1], places.shape[:-1]))
    return reader.element(node.inputs[2], (*where, *index[depth:]))

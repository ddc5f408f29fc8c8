"""Counted values through operators that move elements, or make values of a size: where the count ends up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from edgecv.engine.counted.counting import Counting, Sizes
from edgecv.engine.counted.size import ONE, Numbers, Size, Unproven, greater, lesser, numbers, product
from edgecv.graph.rewrite import attribute, constant, copy_type, given

# Each rule takes a node whose operands are counted, or that makes something of a counted size. It puts the
# room for all there can be where the node says a size, clears what the node must not look at, and returns the
# sizes of the node's results; None where it has replaced the node.
Made = list[Sizes] | None


def room(counting: Counting, node: ir.Node, index: int, sizes: Sequence[Size | int]) -> None:
    """Let an operand that says sizes say the room for them."""
    wanted = [size if isinstance(size, int) else max(size.most, 0) for size in sizes]
    if counting.operand(node, index) != [Size(n) for n in wanted]:
        counting.rewrite.set_input(node, index, counting.rewrite.operand(wanted, f"{node.name}/room"))


def broadcast(operands: Sequence[Sizes]) -> Sizes:
    """The sizes of what operands of these give together; raises Unproven where counts may differ."""
    made: list[Size] = []
    for place in range(-max((len(sizes) for sizes in operands), default=0), 0):
        met = {sizes[place] for sizes in operands if len(sizes) >= -place} - {ONE}
        if len(met) > 1:
            raise Unproven(f"whether {' and '.join(sorted(map(str, met)))} of one axis are as many")
        made.append(met.pop() if met else ONE)
    return tuple(made)


def transpose(counting: Counting, node: ir.Node) -> Made:
    """The axes in another order."""
    sizes = counting.sizes_of(node.inputs[0])
    order = attribute(node, "perm") or range(len(sizes))[::-1]
    return [tuple(sizes[axis] for axis in order)]


def reshape(counting: Counting, node: ir.Node) -> Made:
    """Reshape, Squeeze, Unsqueeze, Flatten: what is first in memory has to stay first."""
    before = counting.sizes_of(node.inputs[0])
    after = _SHAPES[node.op_type](counting, node, before)
    check_order(before, after)
    if node.op_type == "Reshape":
        room(counting, node, 1, after)
        node.attributes["allowzero"] = ir.AttrInt64("allowzero", int(any(size.most == 0 for size in after)))
    return [after]


def _reshaped(counting: Counting, node: ir.Node, before: Sizes) -> Sizes:
    wanted = counting.operand(node, 1)
    keeps_zero = attribute(node, "allowzero", 0)
    sizes = [
        before[axis] if size == Size() and not keeps_zero and axis < len(before) else size
        for axis, size in enumerate(wanted)
    ]
    if Size(-1) in sizes:
        rest = product(size for size in sizes if size != Size(-1))
        sizes[sizes.index(Size(-1))] = product(before) // rest
    return tuple(sizes)


def _squeezed(counting: Counting, node: ir.Node, before: Sizes) -> Sizes:
    if given(node, 1) is None and not all(size.is_known for size in before):
        raise Unproven("which axes it takes away")
    listed = counting.known(node, 1) or [axis for axis, size in enumerate(before) if size == ONE]
    axes = {axis % len(before) for axis in listed}
    if any(before[axis] != ONE for axis in axes):
        raise Unproven(f"whether the axes {sorted(axes)} are of size 1")
    return tuple(size for axis, size in enumerate(before) if axis not in axes)


def _unsqueezed(counting: Counting, node: ir.Node, before: Sizes) -> Sizes:
    axes = counting.known(node, 1)
    after = len(before) + len(axes)
    new, rest = {axis % after for axis in axes}, iter(before)
    return tuple(ONE if axis in new else next(rest) for axis in range(after))


def _flattened(counting: Counting, node: ir.Node, before: Sizes) -> Sizes:
    axis = attribute(node, "axis", 1)
    axis += len(before) if axis < 0 else 0
    return product(before[:axis]), product(before[axis:])


_SHAPES = {"Reshape": _reshaped, "Squeeze": _squeezed, "Unsqueeze": _unsqueezed, "Flatten": _flattened}


def check_order(before: Sizes, after: Sizes) -> None:
    """Whether other axes over the same elements have what counts in front: each counted axis leads a group of
    axes, and the groups of both are as large as one another."""
    groups = [_groups(before), _groups(after)]
    if groups[0] != groups[1]:
        shown = [f"({', '.join(map(str, sizes))})" for sizes in (before, after)]
        raise Unproven(f"where the elements of {shown[0]} are in {shown[1]}")


def _groups(sizes: Sizes) -> list[Size]:
    products = [ONE]
    for size in sizes:
        if size.is_known:
            products[-1] = products[-1] * size
        else:
            products.append(size)
    return products


def expand(counting: Counting, node: ir.Node) -> Made:
    """Repeats along axes of size 1."""
    made = broadcast([counting.sizes_of(node.inputs[0]), tuple(counting.operand(node, 1))])
    room(counting, node, 1, made)
    return [made]


def tile(counting: Counting, node: ir.Node) -> Made:
    """Repeats: of one element as often as a count says, of counted axes once."""
    sizes, repeats = counting.sizes_of(node.inputs[0]), counting.operand(node, 1)
    if not all(
        n == ONE if not size.is_known else n.is_known or size == ONE
        for size, n in zip(sizes, repeats, strict=True)
    ):
        raise Unproven("where the elements of repeats are")
    room(counting, node, 1, repeats)
    return [tuple(size * n for size, n in zip(sizes, repeats, strict=True))]


def constant_of_shape(counting: Counting, node: ir.Node) -> Made:
    """One value, as often as sizes say."""
    made = tuple(counting.operand(node, 0))
    room(counting, node, 0, made)
    return [made]


def range_(counting: Counting, node: ir.Node) -> Made:
    """Numbers one after the other: a start and a limit may be counted."""
    start, limit, delta = (counting.operand(node, i)[0] for i in range(3))
    y = node.outputs[0]
    if delta != ONE or y.dtype is None:
        raise Unproven(f"numbers in steps of {delta}")
    size = greater(limit - start, Size())
    steps = np.arange(size.most, dtype=y.dtype.numpy())
    if start.is_known:
        made = counting.constant(steps + steps.dtype.type(start.constant))
    else:
        made = counting.rewrite.value(node, "Add", [counting.constant(steps), node.inputs[0]])
    counting.rewrite.replace(y, made)
    counting.note(made, [size])
    return None


def slice_(counting: Counting, node: ir.Node) -> Made:
    """Ranges: of a counted axis, or up to a count, from a known place on forwards."""
    sizes = list(counting.sizes_of(node.inputs[0]))
    starts, ends = counting.operand(node, 1), counting.operand(node, 2)
    axes = counting.known(node, 3) or list(range(len(starts)))
    steps = counting.known(node, 4) or [1] * len(starts)
    firsts: list[int] = []
    lasts: list[int] = []
    for i, axis in enumerate(axes):
        size, start, end, step = sizes[axis % len(sizes)], starts[i], ends[i], steps[i]
        if size.is_known and start.is_known and end.is_known:
            made = Size(len(range(*slice(start.constant, end.constant, step).indices(size.constant))))
            first, last = start.constant, end.constant
        else:
            end = _end(size, end)
            if step != 1 or not start.is_known or start.constant < 0:
                raise Unproven(f"what it takes of {size} from {start} on in steps of {step}")
            first = min(start.constant, size.most)
            made = greater(end - Size(first), Size())
            last = first + made.most
        sizes[axis % len(sizes)] = made
        firsts.append(first)
        lasts.append(last)
    room(counting, node, 1, firsts)
    room(counting, node, 2, lasts)
    return [tuple(sizes)]


def _end(size: Size, end: Size) -> Size:
    if end.is_known and end.constant < 0:
        return greater(size + end, Size())
    if end.least < 0:
        raise Unproven(f"whether its end {end} counts from the front")
    return lesser(end, size)


def gather(counting: Counting, node: ir.Node) -> Made:
    """Entries of one axis."""
    sizes, axis = counting.sizes_of(node.inputs[0]), attribute(node, "axis", 0)
    axis %= len(sizes)
    taken = _cleared_indices(counting, node, [sizes[axis]])
    return [(*sizes[:axis], *taken, *sizes[axis + 1 :])]


def gather_elements(counting: Counting, node: ir.Node) -> Made:
    """Each element from its own place along an axis."""
    sizes = counting.sizes_of(node.inputs[0])
    return [_cleared_indices(counting, node, [sizes[attribute(node, "axis", 0) % len(sizes)]])]


def gather_nd(counting: Counting, node: ir.Node) -> Made:
    """Slices at places of several axes."""
    sizes, batches = counting.sizes_of(node.inputs[0]), attribute(node, "batch_dims", 0)
    depth = counting.sizes_of(node.inputs[1])[-1]
    if not depth.is_known:
        raise Unproven(f"of how many axes its indices are: {depth}")
    end = batches + depth.constant
    taken = _cleared_indices(counting, node, sizes[batches:end])
    return [(*taken[:-1], *sizes[end:])]


def _cleared_indices(counting: Counting, node: ir.Node, sizes: Sequence[Size]) -> Sizes:
    """Let the indices beyond a count be 0, those of counted axes from the front; their sizes."""
    indices = node.inputs[1]
    assert indices is not None
    own = counting.sizes_of(indices)
    indices = counting.from_front(node, indices, sizes)
    if counting.is_counted(indices):
        indices = counting.cleared(node, indices, 0)
    counting.rewrite.set_input(node, 1, indices)
    return own


def concat(counting: Counting, node: ir.Node) -> Made:
    """Parts after one another; behind a counted one the others move up."""
    sizes = [counting.sizes_of(value) for value in node.inputs]
    axis = attribute(node, "axis") % len(sizes[0])
    others = broadcast([(*s[:axis], ONE, *s[axis + 1 :]) for s in sizes])
    if any((*s[:axis], ONE, *s[axis + 1 :]) != others for s in sizes):
        raise Unproven("whether its parts have the same sizes")
    along = [s[axis] for s in sizes]
    total = sum(along, Size())
    made = (*others[:axis], total, *others[axis + 1 :])
    if all(size.is_known for size in along[:-1]):
        return [made]
    rewrite = counting.rewrite
    wide = rewrite.value(node, "Concat", list(node.inputs), {"axis": axis}, like=node.outputs[0])
    rooms = Size(sum(size.most for size in along))
    counting.note(wide, (*others[:axis], rooms, *others[axis + 1 :]))
    flags = [
        counting.constant(np.ones(size.constant, bool)) if size.is_known else counting.flags(node, size)
        for size in along
    ]
    places, _ = counting.nonzero(node, rewrite.value(node, "Concat", flags, {"axis": 0}))
    taken = rewrite.value(node, "Reshape", [places, rewrite.operand([rooms.most], f"{node.name}/shape")])
    if total.most < rooms.most:
        bounds = [rewrite.operand([n], f"{node.name}/operand") for n in (0, total.most, 0, 1)]
        taken = rewrite.value(node, "Slice", [taken, *bounds])
    moved = rewrite.value(node, "Gather", [wide, taken], {"axis": axis}, like=node.outputs[0])
    rewrite.replace(node.outputs[0], moved, what="parts of a Concat move up to where the counted ones end")
    counting.note(moved, made)
    return None


def pad(counting: Counting, node: ir.Node) -> Made:
    """A border: behind a count, or up to a size, of one value."""
    x = node.inputs[0]
    sizes = list(counting.sizes_of(x))
    pads = counting.operand(node, 1)
    axes = [axis % len(sizes) for axis in counting.known(node, 3)] or list(range(len(sizes)))
    begins, ends = [0] * len(axes), [0] * len(axes)
    cleared: list[int] = []
    for i, axis in enumerate(axes):
        begin, end, size = pads[i], pads[i + len(axes)], sizes[axis]
        if not begin.is_known or (begin.constant < 0 and not size.is_known):
            raise Unproven(f"where its result begins: {begin} before")
        if size.is_known and not end.is_known and end.least < 0:
            raise Unproven(f"whether it cuts: {end} behind")
        sizes[axis] = greater(begin + size + end, Size())
        begins[i] = begin.constant
        ends[i] = sizes[axis].most - begin.constant - size.most
        if not size.is_known and end != Size():
            cleared.append(axis)
    if cleared:
        if attribute(node, "mode", "constant") != "constant":
            raise Unproven("a border that repeats what is counted")
        value = constant(given(node, 2)) if given(node, 2) is not None else np.zeros(1)
        if value is None:
            raise Unproven("a border of a value that the run computes")
        counting.rewrite.set_input(node, 0, counting.cleared(node, x, value.reshape(-1)[0], cleared))
    room(counting, node, 1, [*begins, *ends])
    return [tuple(sizes)]


def one_hot(counting: Counting, node: ir.Node) -> Made:
    """An axis of its own for the values of each index."""
    sizes, (depth,) = counting.sizes_of(node.inputs[0]), counting.known(node, 1)
    axis = attribute(node, "axis", -1) % (len(sizes) + 1)
    return [(*sizes[:axis], Size(depth), *sizes[axis:])]


def shape_(counting: Counting, node: ir.Node) -> Made:
    """Shape, Size: numbers of the run, where there are counts among them."""
    rewrite, y, found = counting.rewrite, node.outputs[0], sizes_in(counting, node)
    vector = counting.vector(node, list(found.reshape(-1)))
    if node.op_type == "Size":
        made = rewrite.value(node, "Squeeze", [vector, rewrite.operand([0], "axes")])
    else:
        # A value of its own: it takes over the name of what it replaces.
        made = rewrite.value(node, "Identity", [vector])
    copy_type(y, made)
    rewrite.replace(y, made)
    counting.state(made, found)
    return None


def sizes_in(counting: Counting, node: ir.Node) -> Numbers:
    """What a Shape or a Size gives."""
    sizes = counting.sizes_of(node.inputs[0])
    if node.op_type == "Size":
        return numbers(product(sizes))
    return numbers(sizes[attribute(node, "start", 0) : attribute(node, "end")])


def split(counting: Counting, node: ir.Node) -> Made:
    """Parts along an axis that is not counted."""
    sizes, axis = counting.sizes_of(node.inputs[0]), attribute(node, "axis", 0)
    axis %= len(sizes)
    if not sizes[axis].is_known:
        raise Unproven(f"where it splits {sizes[axis]}")
    parts = counting.known(node, 1)
    if not parts:
        count = len(node.outputs)
        each = -(-sizes[axis].constant // count)
        parts = [min(each, sizes[axis].constant - i * each) for i in range(count)]
    return [(*sizes[:axis], Size(n), *sizes[axis + 1 :]) for n in parts]

"""What is known of counted values while a graph is walked, and the nodes that say what a count means.

An axis whose size data decide has room for the most there can be. What lies beyond the count is computed as
all else is, and means nothing: before an operator that would look at it, `cleared` puts a value there that
changes no result.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from edgecv.engine.counted.size import Count, Numbers, Size, Unproven, bounds, numbers
from edgecv.engine.fuse.fused import DOMAIN
from edgecv.graph.rewrite import Array, Rewrite, constant, copy_type, given, is_constant, rank, shape

Sizes = tuple[Size, ...]

INT64 = ir.TensorType(ir.DataType.INT64)
# Shapes and the like; more numbers are data.
MOST_NUMBERS = 64


class Counting:
    """Sizes of values, and of small tensors the numbers in them, as far as they are not plainly known.

    natural: values that hold no number below 0.
    """

    def __init__(self, rewrite: Rewrite) -> None:
        self.rewrite = rewrite
        self.sizes: dict[ir.Value, Sizes] = {}
        self.numbers: dict[ir.Value, Numbers] = {}
        self.natural: set[ir.Value] = set()
        self._found = 0
        self._values: dict[Size, ir.Value] = {}
        self._flags: dict[tuple[Size, int], ir.Value] = {}

    # ---- what is known

    def is_counted(self, value: ir.Value | None) -> bool:
        """Whether a size of it is found by the run."""
        return value in self.sizes

    def sizes_of(self, value: ir.Value | None) -> Sizes:
        """The size of each axis."""
        if value in self.sizes:
            return self.sizes[value]
        known = shape(value)
        if known is None:
            raise Unproven(f"the shape of {value.name if value else None!r}")
        return tuple(Size(n) for n in known)

    def numbers_of(self, value: ir.Value | None) -> Numbers | None:
        """The elements of a small tensor of whole numbers or truths; None where they are data, or others."""
        if value in self.numbers:
            return self.numbers[value]
        array = constant(value) if is_constant(value, MOST_NUMBERS) else None
        if array is None or not (array.dtype.kind in "iub" or _is_whole(array)):
            return None
        return numbers(array)

    def operand(self, node: ir.Node, index: int) -> list[Size]:
        """The numbers of an operand that says a shape, axes or ends; [] where it is left out."""
        value = given(node, index)
        if value is None:
            return []
        found = self.numbers_of(value)
        if found is None:
            raise Unproven(f"the numbers of its input {index} ({value.name!r}), which the run computes")
        return list(found.reshape(-1))

    def known(self, node: ir.Node, index: int) -> list[int]:
        """The same of an operand in which no count may be."""
        found = self.operand(node, index)
        if not all(size.is_known for size in found):
            raise Unproven(f"more of its input {index} than {', '.join(map(str, found))}")
        return [size.constant for size in found]

    def note(self, value: ir.Value, sizes: Iterable[Size]) -> None:
        """The sizes of a result: from here on its shape is the room for it."""
        found = tuple(sizes)
        value.shape = ir.Shape([max(size.most, 0) for size in found])
        self.sizes.pop(value, None)
        if not all(size.is_known for size in found):
            self.sizes[value] = found

    def state(self, value: ir.Value, found: Any) -> None:
        """The numbers in a small tensor, which says sizes."""
        self.numbers[value] = array = numbers(found)
        value.shape = ir.Shape(array.shape)

    # ---- nodes

    def found(self, value: ir.Value, most: int, bound: tuple[Size, ...] = ()) -> Size:
        """A new count, at most `most` and each of `bound`, which the graph holds in `value`, int64 (1,)."""
        self._found += 1
        size = Size(0, ((Count(0, most, self._found, of=bound), 1),))
        self._values[size] = value
        # Kept for what comes, even if all that reads it now goes.
        self.rewrite.graph.outputs.append(value)
        return size

    def value(self, before: ir.Node, size: Size) -> ir.Value:
        """The number that a size is in the run, int64 (1,)."""
        if size.is_known:
            return self.rewrite.operand([size.constant], "size")
        if not _is_there(self._values.get(size)):
            self._values[size] = self._value(before, size)
        return self._values[size]

    def _value(self, before: ir.Node, size: Size) -> ir.Value:
        rewrite, total = self.rewrite, None
        for count, factor in size.terms:
            alone = Size(0, ((count, 1),))
            if alone == size:
                first, *rest = (self.value(before, s) for s in count.of)
                return rewrite.value(before, count.kind.capitalize(), [first, *rest])
            part = self.value(before, alone)
            if factor != 1:
                part = rewrite.value(before, "Mul", [part, rewrite.operand([factor], "factor")])
            total = part if total is None else rewrite.value(before, "Add", [total, part])
        assert total is not None
        if size.constant:
            total = rewrite.value(before, "Add", [total, rewrite.operand([size.constant], "size")])
        return total

    def vector(self, before: ir.Node, sizes: Sequence[Size]) -> ir.Value:
        """Their numbers in the run, int64 (n,)."""
        if all(size.is_known for size in sizes):
            return self.rewrite.operand([size.constant for size in sizes], "sizes")
        parts = [self.value(before, size) for size in sizes]
        return parts[0] if len(parts) == 1 else self.rewrite.value(before, "Concat", parts, {"axis": 0})

    def flags(self, before: ir.Node, size: Size, after: int = 0) -> ir.Value:
        """Which places of an axis are within the count: bool (room, 1…), with `after` axes after it."""
        if not _is_there(self._flags.get((size, after))):
            places = self.constant(np.arange(size.most).reshape(-1, *(1,) * after))
            self._flags[size, after] = self.rewrite.value(before, "Less", [places, self.value(before, size)])
        return self._flags[size, after]

    def cleared(
        self, before: ir.Node, value: ir.Value | None, fill: Any, axes: Iterable[int] | None = None
    ) -> ir.Value:
        """A value with `fill` wherever it is beyond the count of one of the axes, by default of any."""
        sizes = self.sizes_of(value)
        if value is None or value.dtype is None:
            raise Unproven("an operand is left out")
        empty = self.constant(np.array(fill, value.dtype.numpy()))
        for axis in range(len(sizes)) if axes is None else axes:
            if not sizes[axis].is_known:
                within = self.flags(before, sizes[axis], len(sizes) - axis - 1)
                value = self.rewrite.value(before, "Where", [within, value, empty])
        self.note(value, sizes)
        return value

    def from_front(self, before: ir.Node, indices: ir.Value, sizes: Sequence[Size]) -> ir.Value:
        """Indices of counted axes with those that count from the end counted from the front.

        sizes: of the axes that they are of, one for all, or one for each of the indices' last axis.
        """
        known = constant(indices)
        is_natural = indices in self.natural or (known is not None and known.min(initial=0) >= 0)
        if is_natural or all(size.is_known for size in sizes):
            return indices
        rewrite, own = self.rewrite, self.sizes_of(indices)
        if indices.dtype != ir.DataType.INT64:
            indices = rewrite.value(before, "Cast", [indices], {"to": int(ir.DataType.INT64)})
        ends = self.vector(before, [Size() if size.is_known else size for size in sizes])
        if rank(indices) == 0:
            ends = rewrite.value(before, "Squeeze", [ends, rewrite.operand([0], "axes")])
        is_from_end = rewrite.value(before, "Less", [indices, self.constant(np.array(0))])
        moved = rewrite.value(before, "Add", [indices, ends])
        result = rewrite.value(before, "Where", [is_from_end, moved, indices])
        self.note(result, own)
        return result

    def nonzero(self, before: ir.Node, flags: ir.Value) -> tuple[ir.Value, Size]:
        """The coordinates of what is true of bool flags, int64 (rank, room), and how many there are."""
        room = int(np.prod(shape(flags) or (1,), dtype=np.int64))
        bound = bounds(self.sizes_of(flags))
        return self.source(before, "NonZero", [flags], (rank(flags) or 0, room), room, bound)

    def source(
        self,
        before: ir.Node,
        op: str,
        inputs: Sequence[ir.Value | None],
        sizes: tuple[int, ...],
        room: int,
        bound: tuple[Size, ...] = (),
        attributes: Any = None,
    ) -> tuple[ir.Value, Size]:
        """A node of the engine's that gives int64 of `sizes`, and a count of at most `room` and `bound`."""
        node = self.rewrite.node(before, op, inputs, attributes, domain=DOMAIN, outputs=2)
        for output, made in zip(node.outputs, (sizes, (1,)), strict=True):
            output.type, output.shape = INT64, ir.Shape(made)
        self.natural.add(node.outputs[0])
        return node.outputs[0], self.found(node.outputs[1], room, bound)

    def constant(self, array: Array) -> ir.Value:
        """A constant operand."""
        return self.rewrite.constant(array, "counted")

    def behind(self, output: ir.Value) -> ir.Value:
        """What an output gives out: a value that others give out too has an Identity behind it."""
        producer = output.producer()
        if output in self.sizes or producer is None or producer.op_type != "Identity":
            return output
        return producer.inputs[0] or output

    def give_out(self, output: ir.Value) -> None:
        """An output of the graph with a count comes from an edgecv::Counted, which says where it ends."""
        producer, value = output.producer(), self.behind(output)
        sizes = self.sizes.get(value)
        if sizes is None or producer is None:
            return
        counted = [axis for axis, size in enumerate(sizes) if not size.is_known]
        if len(counted) > 1:
            raise Unproven(f"{len(counted)} sizes of one output, only one")
        # Named, so that no two are the same: each output has its own.
        about: dict[str, int | str] = {"axis": counted[0], "output": output.name or ""}
        node = ir.node("Counted", [value, None], about, domain=DOMAIN, name=producer.name)
        copy_type(value, node.outputs[0])
        self.rewrite.graph.append(node)
        node.replace_input_with(1, self.value(node, sizes[counted[0]]))
        self.rewrite.hand_over_output(output, node.outputs[0])

    def finish(self, outputs: int) -> None:
        """Give out no more than the network does: the first so many."""
        self.rewrite.graph.outputs[outputs:] = []


def _is_whole(array: Array) -> bool:
    return bool(np.isfinite(array).all()) and np.array_equal(array, np.floor(array))


def _is_there(value: ir.Value | None) -> bool:
    """Whether a value that was made before is still in the graph: what nothing reads may have gone."""
    producer = None if value is None else value.producer()
    return producer is not None and producer.graph is not None

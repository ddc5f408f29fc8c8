"""Reads a graph backward: which formula an element of a value is, and how long its axes are.

Sizes that data decide are formulas too. A rule says both of one operator; `reindexing`, `arithmetic` and
`choosing` have the rules. What no rule can follow raises Unproven.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import msgspec
import numpy as np

from edgecv import extras
from edgecv.graph.normal.constants import given_by
from edgecv.graph.rewrite import Array, attribute, constant, given, integers, shape
from edgecv.graph.tails.expressions import At, Best, Expression, Local, NeedsPart, Unproven, number, of

with extras.required("models"):
    import onnx_ir as ir

Index: TypeAlias = tuple[Expression, ...]
ElementRule: TypeAlias = Callable[["Reader", ir.Node, ir.Value, Index], Expression]
SizesRule: TypeAlias = Callable[["Reader", ir.Node, ir.Value], Index]

# Operators whose outputs' sizes data decide.
COUNTING = frozenset(("NonMaxSuppression", "NonZero", "Compress", "Unique"))

# Terms of a formula: a network's own arithmetic is not followed further.
_MOST_TERMS = 64
# Of a branch: elements of axes, sizes and the like.
_MOST_NUMBERS = 64
# Operators between an output and what it is made of.
_MOST_STEPS = 60


class Rule(msgspec.Struct, frozen=True):
    """How an operator's output is made. element: of one index. sizes: of its axes."""

    element: ElementRule
    sizes: SizesRule


RULES: dict[str, Rule] = {}


def rule(*ops: str, sizes: SizesRule) -> Callable[[ElementRule], ElementRule]:
    """Make a function the rule of operators."""

    def enter(element: ElementRule) -> ElementRule:
        for op in ops:
            RULES[op] = Rule(element, sizes)
        return element

    return enter


class Reader:
    """Formulas of one graph's values.

    parts: which part of a Concat to read, by the index into the whole; NeedsPart is raised for any other.
    whole: floats that are whole numbers. assumed: masks and NonMaxSuppressions that were taken to let
    something through, by their `Count.source`.
    """

    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph
        self.parts: dict[Expression, int] = {}
        self.assumed: set[str] = set()
        self.whole: set[str] = set()
        self._values: dict[str, ir.Value] = {}
        self._moving: set[str] = set()
        self._known: dict[tuple[str, Index], Expression] = {}
        self._known_sizes: dict[str, Index] = {}
        for value in (*graph.inputs, *graph.initializers.values()):
            self._values[value.name or ""] = value
        for node in graph.all_nodes():
            self._enter(node)

    def _enter(self, node: ir.Node) -> None:
        for output in node.outputs:
            self._values[output.name or ""] = output
        if node.graph is not self.graph:
            # Of the graph itself, not of its branches, what is known is constants by now.
            for output, array in zip(node.outputs, given_by(node, _MOST_NUMBERS) or (), strict=False):
                output.const_value, output.shape = ir.Tensor(array), ir.Shape(array.shape)
        sources = [value.name for value in node.inputs if value is not None]
        for found in node.attributes.values():
            if found.type == ir.AttributeType.GRAPH:
                inner = found.as_graph()
                for value in inner.initializers.values():
                    self._values[value.name or ""] = value
                sources += [value.name for value in inner.outputs]
                # Nodes of a branch come after their owner.
                for one in inner.all_nodes():
                    self._enter(one)
        if node.op_type in COUNTING or any(name in self._moving for name in sources):
            self._moving.update(output.name or "" for output in node.outputs)

    def choose(self, parts: dict[Expression, int]) -> None:
        """Read these parts from now on."""
        self.parts = parts
        self._known.clear()
        self._known_sizes.clear()

    def value(self, name: str) -> ir.Value:
        """A value by its name."""
        return self._values[name]

    def is_dense(self, value: ir.Value) -> bool:
        """Whether a value is there before anything is selected."""
        return value.name not in self._moving

    # ---- Elements

    def element(self, value: ir.Value | None, index: Iterable[Expression]) -> Expression:
        """The formula of one element; of what is dense, At."""
        assert value is not None
        wanted = self._canonical(value, tuple(index))
        array = constant(value)
        if array is not None:
            return _constant(value, array, wanted)
        if self.is_dense(value):
            return of(At(value.name or "", wanted))
        key = (value.name or "", wanted)
        if key not in self._known:
            self._known[key] = self._by_rule(value, wanted)
        return self._known[key]

    def items(self, value: ir.Value | None) -> Index:
        """All elements of a vector or a scalar, such as a shape operand."""
        assert value is not None
        sizes = self.sizes(value)
        if not sizes:
            return (self.element(value, ()),)
        count = sizes[0].whole
        if len(sizes) != 1 or count is None:
            raise Unproven(f"{value.name!r} is not a vector of a known size")
        return tuple(self.element(value, (number(i),)) for i in range(count))

    def step(self, at: At) -> Expression | None:
        """The formula of an element of a dense tensor by what that was made of; None: it is not followed."""
        value = self._values[at.value]
        if value.producer() is None or constant(value) is not None:
            return None
        try:
            found = self._by_rule(value, at.index)
        except (Unproven, NeedsPart):
            return None
        return None if len(found.terms) > _MOST_TERMS or found.atom == at else found

    def deep(self, formula: Expression) -> Expression:
        """With every element of a dense tensor by what it was made of, as far as that can be followed."""
        for _ in range(_MOST_STEPS):
            nearer = formula.replace(self._nearer)
            if nearer == formula or len(nearer.terms) > _MOST_TERMS:
                break
            formula = nearer
        return formula

    def _nearer(self, atom: Any) -> Expression | None:
        if isinstance(atom, At):
            return self.step(atom)
        if isinstance(atom, Best):
            body = self.deep(atom.body)
            return None if body == atom.body else of(msgspec.structs.replace(atom, body=body))
        return None

    def _by_rule(self, value: ir.Value, index: Index) -> Expression:
        node = value.producer()
        if node is None:
            raise Unproven(f"{value.name!r} is an input")
        found = RULES.get(node.op_type) if node.domain in ("", "ai.onnx", "com.microsoft") else None
        if found is None:
            raise Unproven(f"{node.name!r} ({node.op_type}) stands behind the NonMaxSuppression")
        try:
            return found.element(self, node, value, index)
        except (IndexError, ValueError) as error:
            raise Unproven(f"{node.name!r} ({node.op_type}): its operands do not fit one another") from error

    def _canonical(self, value: ir.Value, index: Index) -> Index:
        sizes = shape(value)
        if sizes is None:
            return index
        if len(sizes) != len(index):
            raise Unproven(f"{value.name!r} has {len(sizes)} axes, and {len(index)} were expected")
        return tuple(
            number(0) if n == 1 else _from_the_end(one, n) for one, n in zip(index, sizes, strict=True)
        )

    # ---- Sizes

    def sizes(self, value: ir.Value | None) -> Index:
        """How long the axes of a value are."""
        assert value is not None
        static = shape(value)
        if static is not None:
            return tuple(number(n) for n in static)
        name = value.name or ""
        if name not in self._known_sizes:
            self._known_sizes[name] = self._sizes_by_rule(value)
        return self._known_sizes[name]

    def _sizes_by_rule(self, value: ir.Value) -> Index:
        node = value.producer()
        if node is None or self.is_dense(value):
            raise Unproven(f"the size of {value.name!r} is not known before the run")
        found = RULES.get(node.op_type)
        if found is None:
            raise Unproven(f"{node.name!r} ({node.op_type}) stands behind the NonMaxSuppression")
        try:
            return found.sizes(self, node, value)
        except (IndexError, ValueError) as error:
            raise Unproven(f"{node.name!r} ({node.op_type}): its operands do not fit one another") from error

    def rank(self, value: ir.Value | None) -> int:
        """How many axes a value has."""
        return len(self.sizes(value))


def _from_the_end(index: Expression, size: int) -> Expression:
    whole = index.whole
    return number(whole + size) if whole is not None and whole < 0 else index


def _constant(value: ir.Value, array: Array, index: Index) -> Expression:
    """An element of a constant: its number, or a line of numbers as a multiple of the index."""
    at = [one.whole for one in index]
    if array.dtype.kind not in "biuf":
        raise Unproven(f"{value.name!r} holds {array.dtype}")
    if None not in at:
        return number(float(array[tuple(i for i in at if i is not None)]))
    free = [axis for axis, i in enumerate(at) if i is None]
    part = array[tuple(slice(None) if i is None else i for i in at)]
    if part.size and np.all(part == part.reshape(-1)[0]):
        return number(float(part.reshape(-1)[0]))
    if len(free) == 1 and part.dtype.kind in "iu" and np.all(np.diff(part) == part[1] - part[0]):
        return index[free[0]].times(float(part[1] - part[0])) + number(float(part[0]))
    return of(At(value.name or "", index))


# ---- What several rules share


def axis_of(node: ir.Node, rank: int, default: int = 0, name: str = "axis") -> int:
    """An attribute that names an axis, counted from the first."""
    axis = int(attribute(node, name, default))
    return axis + rank if axis < 0 else axis


def axes_operand(node: ir.Node, position: int, rank: int) -> tuple[int, ...] | None:
    """An operand that names axes, counted from the first; None where it is left out."""
    operand = given(node, position)
    if operand is None:
        return None
    axes = integers(operand)
    if axes is None:
        raise Unproven(f"{node.name!r} ({node.op_type}): its axes are not constant")
    return tuple(axis + rank if axis < 0 else axis for axis in axes)


def same_sizes(reader: Reader, node: ir.Node, value: ir.Value) -> Index:
    """Those of the first operand."""
    return reader.sizes(node.inputs[0])


def broadcast_sizes(reader: Reader, node: ir.Node, value: ir.Value) -> Index:
    """Those that NumPy's rule gives the operands together."""
    all_sizes = [reader.sizes(one) for one in node.inputs if one is not None]
    rank = max(map(len, all_sizes))
    return tuple(
        broadcast(sizes[axis - rank] for sizes in all_sizes if axis - rank >= -len(sizes))
        for axis in range(rank)
    )


def broadcast(sizes: Iterable[Expression]) -> Expression:
    """One axis of several operands."""
    one = number(1)
    return next((size for size in sizes if size != one), one)


def broadcast_index(reader: Reader, value: ir.Value | None, index: Index) -> Index:
    """Where an operand is read for an element of the broadcast result."""
    sizes = reader.sizes(value)
    own = index[len(index) - len(sizes) :]
    return tuple(number(0) if size == number(1) else one for size, one in zip(sizes, own, strict=True))


def product(sizes: Sequence[Expression]) -> Expression:
    """Of sizes."""
    result = number(1)
    for size in sizes:
        result = result * size
    return result


def pick_part(reader: Reader, row: Expression, extents: tuple[Expression, ...]) -> tuple[int, Expression]:
    """The part of a Concat that an index falls in, and the index within it."""
    whole = row.whole
    if whole is not None:
        for part, extent in enumerate(extents):
            size = extent.whole
            if size is None:
                break
            if whole < size:
                return part, number(whole)
            whole -= size
        raise Unproven("an index past what was joined")
    real = [part for part, extent in enumerate(extents) if extent.whole != 0]
    if len(real) == 1:
        return real[0], row
    if row not in reader.parts:
        raise NeedsPart(row, extents)
    part = reader.parts[row]
    if part >= len(extents):
        raise Unproven("columns of a row are joined of different parts")
    return part, of(Local(row, part, extents))

"""The network without its tail: what leads to the dense tensors, and nodes that bring those in form."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import numpy as np

from edgecv import extras
from edgecv.graph.model import OnnxModel
from edgecv.graph.rewrite import constant
from edgecv.graph.tails.expressions import (
    CLASS,
    Applied,
    At,
    Atom,
    Clipped,
    Expression,
    Product,
    Unproven,
    Var,
    number,
    of,
)
from edgecv.graph.tails.meaning import ANCHOR, box_format_names
from edgecv.graph.tails.reader import Reader

with extras.required("models"):
    import onnx
    from onnx import helper, numpy_helper

_ROW = of(Var(ANCHOR))
# Reshapes, squeezes and slices between a row and the tensor that it is of.
_MOST_VIEWS = 6


class Table(msgspec.Struct, frozen=True):
    """A tensor with a row for each box: (1, N, columns), or (1, columns, N) where not `rows`."""

    name: str
    rows: bool
    columns: int


class Cut:
    """Collects the nodes that follow the dense tensors, and makes the network.

    anchors: how many boxes the tables have that are made now.
    """

    def __init__(self, reader: Reader, proto: onnx.ModelProto, anchors: int) -> None:
        self.anchors = anchors
        self._reader = reader
        self._proto = proto
        self._numbers: dict[tuple[Atom, int], str] = {}
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._outputs: dict[str, Table] = {}
        self._kinds: dict[str, np.dtype[Any]] = {}
        self._names = {v.name for v in (*proto.graph.input, *proto.graph.output, *proto.graph.initializer)}
        for node in proto.graph.node:
            self._names.update(node.output)
        self._made = {name for node in proto.graph.node for name in node.output}

    # ---- Tables

    def boxes(self, columns: Sequence[Expression], box_format: str) -> tuple[Table, str]:
        """Four columns, in the format that needs no arithmetic where there is one; that format."""
        if box_format == "xyxy":
            for other, named in (("xyxy", columns), *_as_formats(columns)):
                atoms = [one.atom for one in named]
                if all(isinstance(atom, At) for atom in atoms):
                    order, name = _upright([atom for atom in atoms if isinstance(atom, At)], other)
                    return self.table(order), name
        return self.combined(columns), box_format

    def combined(self, columns: Sequence[Expression]) -> Table:
        """Columns that are elements, or made of some."""
        pure = [one.atom for one in columns]
        if all(isinstance(atom, At) for atom in pure):
            return self.table([atom for atom in pure if isinstance(atom, At)])
        atoms = list(dict.fromkeys(atom for one in columns for atom in one.atoms()))
        elements = [atom for atom in atoms if isinstance(atom, At)]
        is_linear = all(
            len(product) == 1 and next(iter(product))[1] == 1
            for one in columns
            for product in one.terms
            if product
        )
        if len(elements) < len(atoms) or not is_linear:
            names = [self._number(one) for one in columns]
            return Table(self._add("Concat", names, axis=2), True, len(names))
        matrix = np.zeros((len(atoms), len(columns)), np.float32)
        shift = np.zeros(len(columns), np.float32)
        for k, one in enumerate(columns):
            for product, factor in one.terms.items():
                if product:
                    matrix[atoms.index(next(iter(product))[0]), k] = factor
                else:
                    shift[k] = factor
        table = self._as_rows(self.table(elements))
        name = self._add("MatMul", [table.name, self._weight(matrix)])
        if shift.any():
            name = self._add("Add", [name, self._weight(shift)])
        return Table(name, True, len(columns))

    def _number(self, formula: Expression) -> str:
        """One column (1, N, 1) of any formula; factors that are constants are multiplied here, as float64."""
        factors: dict[Product, np.ndarray] = {}
        for product, factor in formula.terms.items():
            known, rest = np.full((1, 1, 1), factor), []
            for atom, power in product:
                column = self._constant(atom)
                if column is None:
                    rest.append((atom, power))
                else:
                    known = known * column**power
            key = frozenset(rest)
            factors[key] = factors.get(key, 0) + known
        shift = factors.pop(frozenset(), None)
        terms = [self._term(product, factor) for product, factor in factors.items()]
        if not terms:
            raise Unproven("a number of the boxes is the same whatever the picture is")
        if shift is not None and shift.any():
            terms.append(self._weight(shift.astype(self._kind(terms[0]))))
        total = terms[0]
        for one in terms[1:]:
            total = self._add("Add", [total, one])
        return total

    def _term(self, product: Product, factor: np.ndarray) -> str:
        names = [self._atom(atom) for atom, power in product for _ in range(power)]
        if not np.all(factor == 1):
            names.append(self._weight(factor.astype(self._kind(names[0]))))
        total = names[0]
        for one in names[1:]:
            total = self._add("Mul", [total, one])
        return total

    def _atom(self, atom: Atom) -> str:
        key = (atom, self.anchors)
        if key not in self._numbers:
            self._numbers[key] = self._made_of(atom)
        return self._numbers[key]

    def _made_of(self, atom: Atom) -> str:
        if isinstance(atom, At):
            return self._as_rows(self.table([atom])).name
        if isinstance(atom, Applied):
            return self._add(atom.op, [self._number(atom.body)])
        if not isinstance(atom, Clipped):
            raise Unproven("boxes are made of their elements by other than arithmetic")
        name = self._number(atom.body)
        for op, bound in (("Max", atom.low), ("Min", atom.high)):
            if np.isfinite(bound):
                name = self._add(op, [name, self._weight(np.array(bound, self._kind(name)))])
        return name

    def _constant(self, atom: Atom) -> np.ndarray | None:
        """What is known before the run of an element of each row, float64 (1, N, 1)."""
        if not isinstance(atom, At) or atom.index.count(_ROW) != 1:
            return None
        array = constant(self._reader.value(atom.value))
        if array is None or array.shape[atom.index.index(_ROW)] != self.anchors:
            return None
        at = tuple(slice(None) if one == _ROW else _whole(one) for one in atom.index)
        return array[at].astype(np.float64).reshape(1, -1, 1)

    def joined(self, tables: Sequence[Table]) -> Table:
        """Rows of several tables, one after the other."""
        names = [self._as_rows(table).name for table in tables]
        return Table(self._add("Concat", names, axis=1), True, tables[0].columns)

    def scores(self, formula: Expression, classes: int) -> Table:
        """A column for each class, the factors multiplied."""
        tables = []
        for atom in formula.atoms():
            assert isinstance(atom, At)
            count = classes if any(_has_class(one) for one in atom.index) else 1
            tables.append(self.table([_of_class(atom, c) for c in range(count)]))
        tables.sort(key=lambda table: -table.columns)
        first = tables[0]
        for other in tables[1:]:
            if first.rows != other.rows:
                first, other = self._as_rows(first), self._as_rows(other)
            first = Table(self._add("Mul", [first.name, other.name]), first.rows, first.columns)
        return first

    def table(self, elements: Sequence[At]) -> Table:
        """Elements of dense tensors side by side, those of one tensor at a time."""
        if not elements:
            raise Unproven("there are no classes")
        if not all(_ROW in element.index for element in elements):
            raise Unproven("a column of the rows is not one of the boxes")
        groups: list[list[At]] = []
        for element in elements:
            if groups and self._is_beside(groups[-1], element):
                groups[-1].append(element)
            else:
                groups.append([element])
        tables = [self._of_one(self._nearest(group)) for group in groups]
        if len(tables) == 1:
            return tables[0]
        names = [self._as_rows(table).name for table in tables]
        return Table(self._add("Concat", names, axis=2), True, len(elements))

    def _nearest(self, elements: list[At]) -> list[At]:
        """The same elements, of a tensor further up where that has them as they are wanted."""
        given = elements
        for _ in range(_MOST_VIEWS):
            if self._is_whole(elements):
                return elements
            steps = [self._reader.step(one) for one in elements]
            atoms = [None if one is None else one.atom for one in steps]
            elements = [atom for atom in atoms if isinstance(atom, At) and _ROW in atom.index]
            one_tensor = len({one.value for one in elements}) == 1
            if len(elements) < len(atoms) or not one_tensor or self._axis(elements) is None:
                break
        return given

    def _is_whole(self, elements: Sequence[At]) -> bool:
        """Whether they are all columns of a tensor (1, N, columns) or (1, columns, N)."""
        first = elements[0]
        sizes = [n.whole for n in self._reader.sizes(self._reader.value(first.value))]
        if len(sizes) != 3 or sizes[0] != 1 or first.value not in self._made:
            return False
        axis = 3 - first.index.index(_ROW)
        return axis in (1, 2) and [one.index[axis].whole for one in elements] == list(range(sizes[axis] or 0))

    def _is_beside(self, group: list[At], element: At) -> bool:
        return group[0].value == element.value and self._axis([*group, element]) is not None

    def _axis(self, elements: Sequence[At]) -> int | None:
        """The one axis along which elements of a tensor differ; -1: there is one element; None: several."""
        first = elements[0]
        differ = {
            axis
            for one in elements
            for axis, (a, b) in enumerate(zip(first.index, one.index, strict=True))
            if a != b
        }
        if not differ:
            return -1 if len(elements) == 1 else None
        return differ.pop() if len(differ) == 1 else None

    def _of_one(self, elements: Sequence[At]) -> Table:
        first = elements[0]
        sizes = [n.whole for n in self._reader.sizes(self._reader.value(first.value))]
        row, axis = first.index.index(_ROW), self._axis(elements)
        assert axis is not None
        if sizes[row] != self.anchors:
            raise Unproven(f"{first.value!r} has {sizes[row]} rows, and there are {self.anchors} boxes")
        name = self._dense(first.value)
        if axis < 0:
            # A column alone: along any axis that is no row, so that it may be all of the tensor.
            others = [i for i in range(len(sizes)) if i != row]
            axis = next((i for i in reversed(others) if i > row or sizes[i] != 1), -1)
        left = [i for i, n in enumerate(sizes) if i not in (row, axis) and n != 1]
        for i in reversed(left):
            name = self._add("Gather", [name, self._weight(np.array([_whole(first.index[i])]))], axis=i)
        if axis >= 0:
            name = self._columns(name, [_whole(one.index[axis]) for one in elements], axis, sizes[axis])
        rows = axis < 0 or row < axis
        if len(sizes) != 3 or {row, axis} != {1, 2}:
            shape = [1, -1, len(elements)] if rows else [1, len(elements), -1]
            name = self._add("Reshape", [name, self._weight(np.array(shape, np.int64))])
        return Table(name, rows, len(elements))

    def _columns(self, name: str, wanted: list[int], axis: int, size: int | None) -> str:
        if wanted == list(range(size or 0)):
            return name
        if wanted != list(range(wanted[0], wanted[0] + len(wanted))):
            return self._add("Gather", [name, self._weight(np.array(wanted))], axis=axis)
        operands = ([wanted[0]], [wanted[-1] + 1], [axis])
        return self._add("Slice", [name, *(self._weight(np.array(one)) for one in operands)])

    def _as_rows(self, table: Table) -> Table:
        if table.rows:
            return table
        return Table(self._add("Transpose", [table.name], perm=[0, 2, 1]), True, table.columns)

    def _dense(self, name: str) -> str:
        if name not in self._made:
            raise Unproven(f"{name!r} is no value of the file's own graph")
        return name

    # ---- Scores

    def activated(self, table: Table) -> Table:
        """Logits as probabilities."""
        return Table(self._add("Sigmoid", [table.name]), table.rows, table.columns)

    def best_of_each(self, table: Table, count: int) -> Table:
        """Every class's `count` highest scores as they are, the others 0."""
        axis = 1 if table.rows else 2
        top, _ = self._add_many("TopK", [table.name, self._weight(np.array([count]))], 2, axis=axis)
        lowest = self._add("Gather", [top, self._weight(np.array([count - 1]))], axis=axis)
        return self._without(table, lowest)

    def best_of_all(self, table: Table, count: int) -> Table:
        """The `count` highest scores of a table as they are, the others 0."""
        flat = self._add("Reshape", [table.name, self._weight(np.array([-1]))])
        top, _ = self._add_many("TopK", [flat, self._weight(np.array([count]))], 2, axis=0)
        lowest = self._add("Gather", [top, self._weight(np.array([count - 1]))], axis=0)
        return self._without(table, lowest)

    def _without(self, table: Table, lowest: str) -> Table:
        is_lower = self._add("Less", [table.name, lowest])
        zero = self._weight(np.zeros((), self._kind(table.name)))
        return Table(self._add("Where", [is_lower, zero, table.name]), table.rows, table.columns)

    def _kind(self, name: str) -> np.dtype[Any]:
        if name in self._kinds:
            return self._kinds[name]
        found = self._reader.value(name).dtype
        return np.dtype(np.float32 if found is None else found.numpy())

    # ---- Nodes

    def _add(self, op: str, inputs: Sequence[str], **attributes: Any) -> str:
        return self._add_many(op, inputs, 1, **attributes)[0]

    def _add_many(self, op: str, inputs: Sequence[str], count: int, **attributes: Any) -> list[str]:
        outputs = [self._unused(f"tail/{op}") for _ in range(count)]
        kind = self._kind(inputs[1] if op == "Where" else inputs[0])
        self._kinds.update(dict.fromkeys(outputs, kind))
        self._nodes.append(helper.make_node(op, list(inputs), outputs, name=outputs[0], **attributes))
        return outputs

    def _weight(self, array: np.ndarray) -> str:
        name = self._unused("tail/operand")
        self._kinds[name] = array.dtype
        self._weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def _unused(self, wanted: str) -> str:
        name, count = wanted, 1
        while name in self._names:
            name, count = f"{wanted}.{count}", count + 1
        self._names.add(name)
        return name

    # ---- The network

    def give_out(self, table: Table, wanted: str) -> str:
        """Make a table an output; its name, which is the file's own where the tensor is."""
        name = table.name
        if name not in self._made and name not in self._outputs:
            new = self._unused(wanted)
            self._kinds[new] = self._kinds[name]
            for node in self._nodes:
                node.input[:] = [new if one == name else one for one in node.input]
                node.output[:] = [new if one == name else one for one in node.output]
            name = new
        elif name in self._outputs:
            name = self._add("Identity", [name])
        self._outputs[name] = msgspec.structs.replace(table, name=name)
        return name

    def model(self, origin: str, kept: Sequence[str]) -> OnnxModel:
        """The network, whose outputs are those that it keeps and the tables."""
        graph = self._proto.graph
        own = {output.name: output for output in graph.output}
        outputs = [own[name] for name in kept if name not in self._outputs]
        outputs += [self._output(table) for table in self._outputs.values()]
        needed = {output.name for output in outputs}
        nodes = []
        for node in (*self._nodes[::-1], *graph.node[::-1]):
            if needed.intersection(node.output):
                nodes.append(node)
                needed.update(_reads(node))
        used = {node.domain for node in nodes}
        made = onnx.ModelProto(ir_version=self._proto.ir_version, producer_name=self._proto.producer_name)
        made.opset_import.extend(o for o in self._proto.opset_import if o.domain in ("", "ai.onnx", *used))
        made.metadata_props.extend(self._proto.metadata_props)
        made.functions.extend(self._proto.functions)
        made.graph.name = graph.name or "graph"
        made.graph.node.extend(nodes[::-1])
        made.graph.input.extend(one for one in graph.input if one.name in needed)
        made.graph.output.extend(outputs)
        shown = needed - {output.name for output in outputs}
        made.graph.value_info.extend(one for one in graph.value_info if one.name in shown)
        made.graph.initializer.extend(
            one for one in (*graph.initializer, *self._weights) if one.name in needed
        )
        return OnnxModel(made, origin)

    def _output(self, table: Table) -> onnx.ValueInfoProto:
        shape = (1, self.anchors, table.columns) if table.rows else (1, table.columns, self.anchors)
        kind = self._kind(table.name)
        return helper.make_tensor_value_info(table.name, helper.np_dtype_to_tensor_dtype(kind), shape)


def _as_formats(columns: Sequence[Expression]) -> list[tuple[str, list[Expression]]]:
    """Corners as other formats: the numbers that they are made of."""
    x1, y1, x2, y2 = columns
    w, h = x2 - x1, y2 - y1
    return [
        ("cxcywh", [(x1 + x2).times(0.5), (y1 + y2).times(0.5), w, h]),
        ("xywh", [x1, y1, w, h]),
    ]


def _upright(atoms: list[At], box_format: str) -> tuple[list[At], str]:
    """Corners in the order that the tensor has them, and that order's name."""
    turned = [atoms[k] for k in (1, 0, 3, 2)]
    if box_format == "xyxy" and len({atom.value for atom in atoms}) == 1:
        whole = [tuple(one.whole for one in atom.index) for atom in turned]
        order = [tuple(-1 if n is None else n for n in one) for one in whole]
        if order == sorted(order) and len(set(order)) == len(box_format_names("yxyx")):
            return turned, "yxyx"
    return atoms, box_format


def _reads(node: onnx.NodeProto) -> Iterable[str]:
    """Names that a node reads, those that its branches take from outside included."""
    yield from node.input
    for attribute in node.attribute:
        graphs = [attribute.g] if attribute.HasField("g") else attribute.graphs
        for graph in graphs:
            for inner in graph.node:
                yield from _reads(inner)
            yield from (output.name for output in graph.output)


def _has_class(index: Expression) -> bool:
    return any(isinstance(atom, Var) and atom.name == CLASS for atom in index.atoms())


def _of_class(element: At, label: int) -> At:
    def change(atom: object) -> Expression | None:
        return number(label) if isinstance(atom, Var) and atom.name == CLASS else None

    return msgspec.structs.replace(element, index=tuple(one.replace(change) for one in element.index))


def _whole(index: Expression) -> int:
    found = index.whole
    if found is None:
        raise Unproven("a column is chosen by what is no number")
    return found

"""Passes over a graph of onnx_ir: their stages and report, and what changes a graph and keeps it right.

Importing this module takes a second: import it where it is used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgecv import extras
from edgecv.errors import ModelFileError

with extras.required("models"):
    import onnx
    import onnx_ir as ir

# The form of the operators in every graph that leaves the passes.
NEWEST_OPSET: int = onnx.defs.onnx_opset_version()

# A stage that still changes something after so many rounds goes in circles.
_ROUNDS = 30

# What shape inference may want to read: operands such as a shape, never weights.
_OPERAND_ELEMENTS = 1024

# Marks a value whose name was made up.
_NEW = "new"
# Of a node that a pass had to leave: why.
MISSED = "missed"

Array = NDArray[Any]
Shape = tuple[int, ...]


class Change(msgspec.Struct, frozen=True):
    """One rewrite. nodes: names of the nodes that went into it."""

    pass_name: str
    nodes: tuple[str, ...]
    what: str


class Missed(msgspec.Struct, frozen=True):
    """A rewrite that looked possible and was not. node: what would have gone; why: what was in the way."""

    pass_name: str
    node: str
    why: str


class Report(msgspec.Struct):
    """What the passes did, in order, and what they had to leave."""

    changes: list[Change] = msgspec.field(default_factory=list)
    missed: list[Missed] = msgspec.field(default_factory=list)


class Pass(msgspec.Struct, frozen=True):
    """A rewrite of a whole graph. name: as `--explain` prints it.

    apply: the rewrite, or "module:function". operators: types without any of which there is nothing to do,
    and the module is not imported; none: there always may be.
    """

    name: str
    apply: Callable[[Rewrite], None] | str
    operators: tuple[str, ...] = ()

    @property
    def about(self) -> str:
        """One line that says what it does."""
        return (self._function.__doc__ or "").strip().splitlines()[0]

    def run(self, model: ir.Model, report: Report) -> bool:
        """Rewrite the model in place; whether anything changed."""
        report.missed[:] = [missed for missed in report.missed if missed.pass_name != self.name]
        rewrite = Rewrite(model, report, self.name)
        if not self.operators or any(node.op_type in self.operators for node in model.graph.all_nodes()):
            self._function(rewrite)
        return rewrite.changed

    @property
    def _function(self) -> Callable[[Rewrite], None]:
        if not isinstance(self.apply, str):
            return self.apply
        module, _, name = self.apply.partition(":")
        found: Callable[[Rewrite], None] = getattr(import_module(module), name)
        return found


Stage = tuple[Pass, ...]
"""Passes that are repeated, in order, until none of them changes anything."""


def run_stages(model: ir.Model, stages: Sequence[Stage], report: Report, origin: str) -> None:
    """Rewrite the model in place, stage after stage. origin: of the model, for messages."""
    for stage in stages:
        for _ in range(_ROUNDS):
            if not [one for one in stage if one.run(model, report)]:
                break
        else:
            names = ", ".join(one.name for one in stage)
            raise ModelFileError(f"{origin}: the passes {names} find no end on this graph")


class Rewrite:
    """Changes one graph for one pass, and tells the report."""

    def __init__(self, model: ir.Model, report: Report, pass_name: str) -> None:
        self.model = model
        self.graph = model.graph
        self.changed = False
        self._report = report
        self._pass_name = pass_name
        self._names: set[str] = model.meta.setdefault("names", set())
        if not self._names:
            self._names.update(_names(model.graph))

    def nodes(self, *ops: str, domain: str = "") -> Iterator[ir.Node]:
        """Nodes of these operators (any, where none is named), in order; those removed meanwhile left out."""
        for node in self.graph:
            if node.graph is self.graph and (not ops or (node.domain == domain and node.op_type in ops)):
                yield node

    def name(self, wanted: str) -> str:
        """The name, or the name with the first number that makes it unique; it is taken from then on."""
        unused, number = wanted, 1
        while unused in self._names:
            unused, number = f"{wanted}.{number}", number + 1
        self._names.add(unused)
        return unused

    def constant(self, array: Array, wanted: str) -> ir.Value:
        """An initializer."""
        name = self.name(wanted)
        value = ir.Value(
            name=name,
            shape=ir.Shape(array.shape),
            type=ir.TensorType(ir.DataType.from_numpy(array.dtype)),
            const_value=ir.Tensor(array, name=name),
        )
        self.graph.register_initializer(value)
        return value

    def operand(self, numbers: Sequence[int], wanted: str) -> ir.Value:
        """An initializer of int64 (n,): a shape, pads, axes."""
        return self.constant(np.array(numbers, np.int64), wanted)

    def node(
        self,
        before: ir.Node,
        op: str,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, Any] | None = None,
        *,
        domain: str = "",
        like: ir.Value | None = None,
        outputs: int = 1,
        name: str = "",
    ) -> ir.Node:
        """A new node in front of another; not yet anything's source.

        like: what gives the one output its shape and type, in place of inference. name: of the node, by
        default after the one that it stands before.
        """
        node = ir.node(op, inputs, attributes, domain=domain, num_outputs=outputs)
        node.name = name or before.name or before.op_type
        for output in node.outputs:
            output.name = self.name(f"{node.name}/{op}")
            output.meta[_NEW] = True
        owner(before).insert_before(before, node)
        if like is not None:
            copy_type(like, node.outputs[0])
        else:
            infer(node)
        return node

    def value(
        self,
        before: ir.Node,
        op: str,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> ir.Value:
        """The output of a new node; see `node`."""
        return self.node(before, op, inputs, attributes, **options).outputs[0]

    def replace(self, old: ir.Value, new: ir.Value, *, what: str = "", nodes: Sequence[ir.Node] = ()) -> None:
        """Let everything that reads `old` read `new`, which takes over the name if it had none of the file's.

        what: told to the report, with the names of `nodes` (the producer of `old` by default). The producer
        goes when nothing needs it any more.
        """
        producer = old.producer()
        if what:
            self.note(what, nodes or ([producer] if producer else []))
        self.changed = True
        if old.is_graph_output():
            self.hand_over_output(old, new)
        old.replace_all_uses_with(new, replace_graph_outputs=True)
        if old.type is not None and new.type is None:
            new.type = old.type
        if old.shape is not None and new.shape is None:
            new.shape = old.shape
        if producer is not None:
            self.drop(producer)
        if new.meta.pop(_NEW, False) and not new.is_graph_output() and old.name:
            self._names.discard(new.name or "")
            old.name, new.name = self.name(f"{old.name}/old"), old.name

    def drop(self, node: ir.Node) -> None:
        """Remove a node whose outputs nothing reads, and what only it needed; else leave it."""
        waiting = [node]
        while waiting:
            node = waiting.pop()
            if node.graph is None or any(v.uses() or v.is_graph_output() for v in node.outputs):
                continue
            sources = [value for value in node.inputs if value is not None]
            owner(node).remove(node, safe=True)
            self.changed = True
            for value in sources:
                producer = value.producer()
                if producer is not None:
                    waiting.append(producer)
                elif value.is_initializer() and not value.uses() and not value.is_graph_output():
                    assert isinstance(value.graph, ir.Graph)
                    value.graph.initializers.pop(value.name or "", None)

    def set_input(self, node: ir.Node, index: int, value: ir.Value | None) -> None:
        """Change one operand; what it was goes when nothing needs it any more."""
        if index >= len(node.inputs):
            node.resize_inputs(index + 1)
        old = node.inputs[index]
        if old is value:
            return
        node.replace_input_with(index, value)
        self.changed = True
        if old is not None:
            producer = old.producer()
            if producer is not None:
                self.drop(producer)
            elif old.is_initializer() and not old.uses() and not old.is_graph_output():
                assert isinstance(old.graph, ir.Graph)
                old.graph.initializers.pop(old.name or "", None)

    def note(self, what: str, nodes: Sequence[ir.Node]) -> None:
        """Tell the report of a change."""
        self.changed = True
        names = tuple(dict.fromkeys(node.name or node.op_type for node in nodes))
        self._report.changes.append(Change(self._pass_name, names, what))

    def miss(self, node: ir.Node, why: str) -> None:
        """Tell the report, and the node, of what was not possible."""
        node.meta[MISSED] = why
        missed = Missed(self._pass_name, node.name or node.op_type, why)
        if missed not in self._report.missed:
            self._report.missed.append(missed)

    def hand_over_output(self, old: ir.Value, new: ir.Value) -> None:
        """Give `new` the name by which the user knows `old`: by a node between, where it has its own."""
        if new.producer() is None or new.is_graph_output():
            producer = old.producer()
            assert producer is not None
            between = ir.node("Identity", [new], name=producer.name)
            copy_type(old, between.outputs[0])
            owner(producer).insert_before(producer, between)
            source: ir.Value = between.outputs[0]
        else:
            source = new
        name = old.name
        old.name = self.name(f"{name}/old")
        source.name = name
        source.meta.pop(_NEW, None)
        outputs = old.graph.outputs if old.graph is not None else self.graph.outputs
        for index, output in enumerate(outputs):
            if output is old:
                outputs[index] = source


def _names(graph: ir.Graph) -> Iterator[str]:
    for value in (*graph.inputs, *graph.initializers.values()):
        yield value.name or ""
    for node in graph.all_nodes():
        for value in node.outputs:
            yield value.name or ""
    for inner in graph.subgraphs():
        for value in (*inner.inputs, *inner.initializers.values()):
            yield value.name or ""


# ---- Questions


def owner(node: ir.Node) -> ir.Graph:
    """The graph that a node is in: the model's, or a branch's."""
    assert isinstance(node.graph, ir.Graph)
    return node.graph


def given(node: ir.Node, index: int) -> ir.Value | None:
    """An operand; None where it is left out."""
    return node.inputs[index] if index < len(node.inputs) else None


def constant(value: ir.Value | None) -> Array | None:
    """The array of an initializer, not to be written to; None for any other value."""
    if value is None or value.const_value is None:
        return None
    tensor = value.const_value
    if not isinstance(tensor, ir.Tensor):
        # Read once: a tensor of a message copies its bytes each time.
        tensor = ir.Tensor(tensor.numpy(), dtype=tensor.dtype, name=value.name)
        value.const_value = tensor
    array: Array = tensor.numpy()
    return array


def is_constant(value: ir.Value | None, most: float = math.inf) -> bool:
    """Whether a value is known before the run, and has no more elements than `most`."""
    return value is not None and value.const_value is not None and value.const_value.size <= most


def scalar(value: ir.Value | None) -> float | None:
    """The number in a constant of one element."""
    array = constant(value) if is_constant(value, 1) else None
    return None if array is None or array.size != 1 else float(array.reshape(())[()])


def integers(value: ir.Value | None) -> tuple[int, ...] | None:
    """The whole numbers of a constant operand, flattened."""
    array = constant(value)
    return None if array is None else tuple(int(n) for n in array.reshape(-1))


def shape(value: ir.Value | None) -> Shape | None:
    """Sizes, where all of them are known."""
    if value is None or value.shape is None or not value.shape.is_static():
        return None
    return tuple(n for n in value.shape if isinstance(n, int))


def rank(value: ir.Value | None) -> int | None:
    """How many axes, where that is known."""
    return None if value is None or value.shape is None else len(value.shape)


def is_float32(value: ir.Value | None) -> bool:
    """Whether the element type is float32."""
    return value is not None and value.dtype == ir.DataType.FLOAT


def attribute(node: ir.Node, name: str, default: Any = None) -> Any:
    """The value of an attribute: int, float, str, list of them, or an array of a tensor."""
    found = node.attributes.get(name)
    if found is None:
        return default
    if found.type == ir.AttributeType.TENSOR:
        return found.as_tensor().numpy()
    value = found.value
    if isinstance(value, bytes):
        return value.decode()
    return list(value) if isinstance(value, tuple) else value


def attributes(node: ir.Node) -> dict[str, ir.Attr]:
    """A node's attributes, to make another node with."""
    return dict(node.attributes.items())


def single_use(value: ir.Value) -> ir.Node | None:
    """The one node that reads a value, once, where the graph does not give the value out."""
    uses = tuple(value.uses())
    return uses[0].node if len(uses) == 1 and not value.is_graph_output() else None


def made_by(value: ir.Value | None, *ops: str, domain: str = "") -> ir.Node | None:
    """The node behind a value, where it is one of these operators and this is its first output."""
    node = None if value is None else value.producer()
    if node is None or node.domain != domain or node.op_type not in ops:
        return None
    return node if node.outputs[0] is value else None


def copy_type(old: ir.Value, new: ir.Value) -> None:
    """Give a value the shape and the type of another."""
    new.shape = old.shape
    new.type = old.type


# ---- Shapes


def infer(node: ir.Node) -> None:
    """Set the shapes and types of a node's outputs by ONNX's own inference; what it cannot tell stays."""
    if node.domain not in ("", "ai.onnx") or any(
        a.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) for a in node.attributes.values()
    ):
        return
    types: dict[str, onnx.TypeProto] = {}
    data: dict[str, onnx.TensorProto] = {}
    for value in node.inputs:
        if value is None or not value.name:
            continue
        if value.type is None:
            return
        kind = ir.serde.serialize_type(value.type)
        if value.shape is not None:
            ir.serde.serialize_shape_into(kind, value.shape)
        types[value.name] = kind
        array = constant(value) if is_constant(value, _OPERAND_ELEMENTS) else None
        if array is not None:
            data[value.name] = onnx.numpy_helper.from_array(array, value.name)
    try:
        found = onnx.shape_inference.infer_node_outputs(
            onnx.defs.get_schema(node.op_type, NEWEST_OPSET, ""),
            ir.to_proto(node),
            types,
            data,
            opset_imports=[onnx.helper.make_opsetid("", NEWEST_OPSET)],
        )
    except (
        onnx.defs.SchemaError,
        onnx.shape_inference.InferenceError,
        onnx.checker.ValidationError,
        RuntimeError,
    ):
        return
    for output in node.outputs:
        kind_found = found.get(output.name or "")
        if kind_found is None or not kind_found.WhichOneof("value"):
            continue
        if kind_found.tensor_type.elem_type or output.type is None:
            output.type = ir.serde.deserialize_type_proto_for_type(kind_found)
        new = ir.serde.deserialize_type_proto_for_shape(kind_found)
        if new is not None and (output.shape is None or not output.shape.is_static()):
            output.shape = new

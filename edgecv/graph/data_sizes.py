"""What of a graph data decide: sizes of values, and choices that hang on the last digits of numbers.

A value *varies* where what it holds comes of the data of a run; sizes of inputs, and what Shape says of them,
do not. A size is decided by data where a `NonZero`, `Compress`, `Unique` or `NonMaxSuppression` looks at what
varies, where an operand that says sizes varies, where a Loop runs as often as data say, and in all that is
made of such values. Names are those of ONNX's operators, at https://onnx.ai/onnx/operators.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec
import onnx
from onnx import GraphProto, NodeProto, TensorProto

from edgecv.graph.model import OnnxModel


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# Operators of one result a value, of the sizes that their operands have together.
ELEMENTWISE = _names(
    "Add Sub Mul Div Max Min Sum Mean Mod Pow Neg Abs Sign PRelu Clip Sqrt Exp Log Reciprocal Erf Floor Ceil "
    "Round Sin Cos Tan Asin Acos Atan Sinh Cosh Asinh Acosh Atanh IsNaN IsInf Relu LeakyRelu Sigmoid "
    "HardSigmoid HardSwish Tanh Mish Elu Selu Celu Swish Softplus Softsign Gelu ThresholdedRelu Not And Or "
    "Xor Equal Less LessOrEqual Greater GreaterOrEqual Where Cast Identity Dropout"
)
# Operator -> the operand whose values decide how many results there are.
_COUNTS = {"NonZero": (0,), "Unique": (0,), "Compress": (1,), "NonMaxSuppression": (0, 1, 2, 3, 4)}
# Operator -> operands that say sizes.
_SIZES = {
    **dict.fromkeys(_names("Reshape Expand Tile Pad Split Upsample TopK OneHot"), (1,)),
    **dict.fromkeys(("CenterCropPad", "AffineGrid", "SplitToSequence"), (1,)),
    **dict.fromkeys(("ConstantOfShape", "HannWindow", "HammingWindow", "BlackmanWindow"), (0,)),
    "Slice": (1, 2, 3, 4),
    "Range": (0, 1, 2),
    "Resize": (2, 3),
    "Col2Im": (1, 2),
    "MaxUnpool": (2,),
}
# Their results have the sizes of their first operand.
_LIKE_FIRST = ("ScatterND", "ScatterElements", "Scatter")
# They take one of several by which is larger.
_CHOOSING = (*_COUNTS, "TopK", "ArgMax", "ArgMin", "Hardmax")
_RANDOM = (
    "RandomNormal",
    "RandomUniform",
    "RandomNormalLike",
    "RandomUniformLike",
    "Bernoulli",
    "Multinomial",
)
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)


class Watched(msgspec.Struct, frozen=True):
    """What of a network two libraries have to agree about, but for rounding.

    wide: the network with those values as outputs too; cut: the network up to them. names: these outputs, in
    order. choice: the first node that chooses, behind which nothing is compared; "" where none does, and the
    network is `wide` and `cut` itself.
    """

    wide: OnnxModel
    cut: OnnxModel
    names: tuple[str, ...]
    choice: str = ""


def size_of_data(model: OnnxModel) -> str | None:
    """The first node of which data decide a result's size; None where there is none."""
    flow = _Flow(model.proto.graph)
    return next(iter(flow.counted.values()), None)


def random_node(model: OnnxModel) -> str | None:
    """The first node that draws numbers; None where a network gives the same for the same."""
    for graph, node in _inner(model.proto.graph):
        if node.op_type in _RANDOM or (node.op_type == "Dropout" and _is_training(graph, node)):
            return _named(node)
    return None


def watched(model: OnnxModel) -> Watched:
    """The outputs before which nothing was chosen, and what the first choices are made of."""
    graph = model.proto.graph
    flow = _Flow(graph)
    ends = [value.name for value in graph.output]
    steady = [name for name in ends if name not in flow.chosen and name not in flow.counted]
    if len(steady) == len(ends):
        return Watched(model, model, tuple(ends))
    told = _inferred(model)
    known = {*ends, *(value.name for value in graph.input)}
    inner = [name for name in flow.chosen_from if name in told and name not in known]
    wide, cut = onnx.ModelProto(), onnx.ModelProto()
    for proto in (wide, cut):
        proto.CopyFrom(model.proto)
        proto.graph.output.extend(told[name] for name in inner)
    kept = [value for value in cut.graph.output if value.name in (*steady, *inner)]
    del cut.graph.output[:]
    cut.graph.output.extend(kept)
    _drop_unread(cut.graph)
    choice = next(label for name in ends if (label := flow.chosen.get(name) or flow.counted.get(name)))
    short = OnnxModel(cut, model.origin) if kept else model
    return Watched(OnnxModel(wide, model.origin), short, (*steady, *inner), choice)


class _Flow:
    """One walk over a graph in its order. Names of values are unique in a graph and all within it.

    varies: values that hold what comes of data. counted: value -> the node by which data decide its size.
    chosen: value -> the node by whose choice it is what it is. chosen_from: what varies and choices are made
    of, with no other choice before.
    """

    def __init__(self, graph: GraphProto) -> None:
        self.varies = {value.name for value in graph.input}
        self.counted: dict[str, str] = {}
        self.chosen: dict[str, str] = {}
        self.chosen_from: dict[str, None] = {}
        self._top = {name for node in graph.node for name in node.output} | self.varies
        self._walk(graph)

    def _walk(self, graph: GraphProto) -> None:
        for node in graph.node:
            rule = _CONTROL.get(node.op_type)
            if rule is not None and not node.domain:
                rule(self, node)
            else:
                self._visit(node)

    def _visit(self, node: NodeProto) -> None:
        op, reads = node.op_type, list(node.input)
        varies = any(name in self.varies for name in reads) or op in _RANDOM
        counted = self._first(self.counted, reads)
        chosen = self._first(self.chosen, reads)
        if op in ("Shape", "Size"):
            varies, counted = counted is not None, None
        elif op in _LIKE_FIRST:
            counted = self.counted.get(reads[0])
        if self._varying(node, _COUNTS) or self._varying(node, _SIZES):
            counted = counted or _named(node)
        if (op in _CHOOSING or "NMS" in op) and varies:
            if chosen is None:
                self.chosen_from.update(dict.fromkeys(n for n in reads if n in self.varies & self._top))
            chosen = chosen or _named(node)
        self._mark(node.output, varies=varies or counted is not None, counted=counted, chosen=chosen)
        if op == "MaxPool" and len(node.output) > 1 and varies:
            self._mark(node.output[1:], varies=True, counted=None, chosen=_named(node))

    def _varying(self, node: NodeProto, table: dict[str, tuple[int, ...]]) -> bool:
        operands = [i for i in table.get(node.op_type, ()) if i < len(node.input)]
        return any(node.input[i] in self.varies for i in operands)

    def _first(self, labels: dict[str, str], names: list[str]) -> str | None:
        return next((labels[name] for name in names if name in labels), None)

    def _mark(
        self, names: list[str], *, varies: bool, counted: str | None = None, chosen: str | None = None
    ) -> None:
        for name in names:
            if not name:
                continue
            if varies:
                self.varies.add(name)
            if counted is not None:
                self.counted.setdefault(name, counted)
            if chosen is not None:
                self.chosen.setdefault(name, chosen)

    def _copy(self, source: str, target: str) -> None:
        """What is known of one value is true of another."""
        self._mark(
            [target],
            varies=source in self.varies,
            counted=self.counted.get(source),
            chosen=self.chosen.get(source),
        )

    def branch(self, node: NodeProto) -> None:
        """An If: its results are those of one of its branches."""
        branches = list(_graphs(node))
        for graph in branches:
            self._walk(graph)
        is_open = node.input[0] in self.varies
        for i, output in enumerate(node.output):
            results = [graph.output[i] for graph in branches]
            for result in results:
                self._copy(result.name, output)
            if is_open:
                sizes = {_told(result) for result in results}
                unlike = None in sizes or len(sizes) > 1
                chosen = self.chosen.get(node.input[0]) or _named(node)
                self._mark([output], varies=True, counted=_named(node) if unlike else None, chosen=chosen)

    def loop(self, node: NodeProto) -> None:
        """A Loop: what it carries, and what it gathers, as often as it runs."""
        (body,) = _graphs(node)
        carried = list(node.input[2:])
        for outer, inner in zip(carried, body.input[2:], strict=False):
            self._copy(outer, inner.name)
        self._repeat(body, [value.name for value in body.input[2:]], [v.name for v in body.output[1:]])
        length = [*node.input[:2], body.output[0].name]
        is_open = any(name in self.varies for name in length)
        for i, output in enumerate(node.output):
            self._copy(body.output[1 + i].name, output)
            if is_open:
                gathered = i >= len(carried)
                self._mark([output], varies=True, counted=_named(node) if gathered else None)
                self._mark([output], varies=True, chosen=_named(node))

    def scan(self, node: NodeProto) -> None:
        """A Scan: what it carries, and what it gathers, once for each part of its inputs."""
        (body,) = _graphs(node)
        for outer, inner in zip(node.input, body.input, strict=False):
            self._copy(outer, inner.name)
        states = len(body.input) - next((a.i for a in node.attribute if a.name == "num_scan_inputs"), 0)
        self._repeat(body, [v.name for v in body.input[:states]], [v.name for v in body.output[:states]])
        for inner, name in zip(body.output, node.output, strict=False):
            self._copy(inner.name, name)
            for outer in node.input:
                if outer in self.counted:
                    self._mark([name], varies=True, counted=self.counted[outer])

    def _repeat(self, body: GraphProto, inputs: list[str], outputs: list[str]) -> None:
        """Walk a body until what it carries around tells nothing new."""
        known = -1
        while known < (known := len(self.varies) + len(self.counted) + len(self.chosen)):
            self._walk(body)
            for result, state in zip(outputs, inputs, strict=False):
                self._copy(result, state)


_CONTROL: dict[str, Callable[[_Flow, NodeProto], None]] = {
    "If": _Flow.branch,
    "Loop": _Flow.loop,
    "Scan": _Flow.scan,
}


def _named(node: NodeProto) -> str:
    return f"{node.op_type} {node.name!r}" if node.name else node.op_type


def _graphs(node: NodeProto) -> Iterator[GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _inner(graph: GraphProto) -> Iterator[tuple[GraphProto, NodeProto]]:
    for node in graph.node:
        yield graph, node
        for part in _graphs(node):
            yield from _inner(part)


def _told(value: onnx.ValueInfoProto) -> tuple[int, ...] | None:
    """Sizes that a branch states, or None where it leaves one open."""
    tensor = value.type.tensor_type
    if not tensor.HasField("shape") or not all(dim.HasField("dim_value") for dim in tensor.shape.dim):
        return None
    return tuple(dim.dim_value for dim in tensor.shape.dim)


def _is_training(graph: GraphProto, node: NodeProto) -> bool:
    """Whether a Dropout drops: its third operand is not known to be false."""
    if len(node.input) < 3 or not node.input[2]:
        return False
    for tensor in graph.initializer:
        if tensor.name == node.input[2]:
            return bool(onnx.numpy_helper.to_array(tensor).any())
    for other in graph.node:
        if node.input[2] in other.output and other.op_type == "Constant":
            return any(onnx.numpy_helper.to_array(a.t).any() for a in other.attribute if a.HasField("t"))
    return True


def _inferred(model: OnnxModel) -> dict[str, onnx.ValueInfoProto]:
    """The floats of the graph, with what ONNX infers of them."""
    try:
        graph = onnx.shape_inference.infer_shapes(model.proto).graph
    except (onnx.shape_inference.InferenceError, ValueError):
        graph = model.proto.graph
    return {value.name: value for value in graph.value_info if value.type.tensor_type.elem_type in _FLOATS}


def _drop_unread(graph: GraphProto) -> None:
    """Remove the nodes, and weights, of which no output is made."""
    wanted = {value.name for value in graph.output}
    kept: list[NodeProto] = []
    for node in reversed(graph.node):
        if wanted & set(node.output):
            kept.append(NodeProto.FromString(node.SerializeToString()))
            wanted.update(node.input)
            for part in _graphs(node):
                wanted.update(name for _, inner in _inner(part) for name in inner.input)
                wanted.update(value.name for value in part.output)
    del graph.node[:]
    graph.node.extend(reversed(kept))
    weights = [tensor for tensor in graph.initializer if tensor.name in wanted]
    if len(weights) < len(graph.initializer):
        copies = [TensorProto.FromString(tensor.SerializeToString()) for tensor in weights]
        del graph.initializer[:]
        graph.initializer.extend(copies)

"""Random networks: nodes of the operators that the engine claims, of shapes that fit, one after the other.

Every node is computed when it is drawn, by `onnx.reference`: so its shape is known, what would leave the
range where float32 says something is not kept, and the network comes with its truth.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from edgecv.graph.model import OnnxModel

Array = NDArray[Any]
OPSET = 18
# Around the lanes of every instruction set.
CHANNELS = (1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 24, 31, 32, 33)
PIXELS = (1, 2, 3, 4, 5, 7, 8, 9, 13)
MOST_ELEMENTS = 12_000
# Values past these say little about rounding: they are all of it, or none.
LARGEST, SMALLEST = 1e3, 1e-3


@dataclass(frozen=True)
class Value:
    """A tensor of the network. is_exact: without rounding so far, so that steps in it do no harm."""

    name: str
    array: Array
    is_exact: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """Its sizes."""
        return tuple(self.array.shape)


@dataclass(frozen=True)
class Network:
    """A model, its inputs, and what `onnx.reference` says it gives out."""

    model: OnnxModel
    inputs: dict[str, Array]
    expected: dict[str, Array]

    def _repr_pretty_(self, printer: Any, _: bool) -> None:
        """How hypothesis tells of it."""
        printer.text(str(self))

    def __str__(self) -> str:
        graph = self.model.proto.graph
        known = {t.name: tuple(t.dims) for t in graph.initializer}
        small = {t.name: numpy_helper.to_array(t).tolist() for t in graph.initializer if t.data_type == 7}
        lines = [f"{name} {array.shape}" for name, array in self.inputs.items()]
        for node in graph.node:
            operands = (f"{n}={small[n]}" if n in small else f"{n}{known.get(n, '')}" for n in node.input)
            attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            lines.append(f"{', '.join(node.output)} = {node.op_type}({', '.join(operands)}) {attributes}")
        lines.append(f"-> {', '.join(self.expected)}")
        return "\n".join(lines)


class Refused(Exception):
    """This operator cannot follow here."""


class Sketch:
    """A network in the making. draw: hypothesis' own; every choice is made by it."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.rng = np.random.default_rng(draw(st.integers(0, 1000)))
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.values: list[Value] = []
        self.inputs: dict[str, Array] = {}

    # ---- choices

    def one_of(self, options: Sequence[Any]) -> Any:
        """One of them."""
        if not options:
            raise Refused
        return self.draw(st.sampled_from(list(options)))

    def number(self, low: int, high: int) -> int:
        """From low to high, both possible."""
        if low > high:
            raise Refused
        return self.draw(st.integers(low, high))

    def flag(self) -> bool:
        """Yes or no."""
        return self.draw(st.booleans())

    def value(self, wanted: Callable[[Value], bool] = lambda _: True) -> Value:
        """A tensor of those there are; more often than not one of the latest."""
        found = [v for v in self.values[::-1] if v.array.dtype == np.float32 and wanted(v)]
        chosen: Value = self.one_of(found[:3] if self.number(0, 2) else found)
        return chosen

    def of_rank(self, *ranks: int) -> Value:
        """A tensor of one of these ranks."""
        return self.value(lambda v: len(v.shape) in ranks)

    def image(self) -> Value:
        """A tensor (n, c, h, w)."""
        return self.of_rank(4)

    # ---- nodes

    def input(self, name: str, shape: Sequence[int]) -> None:
        """An input of the network. Multiples of 1/8: sums of a few of them are exact."""
        array = (self.rng.integers(-16, 17, shape) / 8).astype(np.float32)
        array.flat[0] = 1
        self.inputs[name] = array
        self.values.append(Value(name, array, True))

    def weight(self, array: Any, dtype: Any = np.float32) -> str:
        """A constant."""
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(array, dtype), name))
        return name

    def integers(self, *values: int) -> str:
        """Whole numbers as an operand."""
        return self.weight(values, np.int64)

    def normal(self, shape: Sequence[int], scale: float = 1.0) -> Array:
        """Weights of about this size."""
        return (self.rng.standard_normal(shape) * scale).astype(np.float32)

    def add(
        self,
        op: str,
        operands: Sequence[Value | str],
        outputs: int = 1,
        *,
        exact: bool = False,
        **attributes: Any,
    ) -> list[Value]:
        """A node. exact: it only moves, picks or compares. Raises Refused where its result is of no use."""
        names = [o.name if isinstance(o, Value) else o for o in operands]
        made = [f"{op.lower()}{len(self.nodes)}" + (f"_{i}" if i else "") for i in range(outputs)]
        node = helper.make_node(op, names, made, name=f"{op}{len(self.nodes)}", **attributes)
        arrays = self._compute(node, operands)
        is_exact = exact and all(o.is_exact for o in operands if isinstance(o, Value))
        for array in arrays:
            if array.ndim > 6 or array.size > MOST_ELEMENTS or array.size == 0:
                raise Refused
            if array.dtype == np.float32 and not _says_something(array):
                raise Refused
        self.nodes.append(node)
        values = [Value(n, a, is_exact) for n, a in zip(made, arrays, strict=True)]
        self.values.extend(values)
        return values

    def _compute(self, node: onnx.NodeProto, operands: Sequence[Value | str]) -> list[Array]:
        known = {o.name: o.array for o in operands if isinstance(o, Value)}
        weights = [w for w in self.weights if w.name in node.input]
        graph = helper.make_graph(
            [node],
            "one",
            [
                helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
                for n, a in known.items()
            ],
            [helper.make_value_info(name, onnx.TypeProto()) for name in node.output],
            weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            try:
                found = ReferenceEvaluator(model).run(None, known)
            except Exception as error:
                # The reference has its own limits: pads below zero, windows of padding only.
                raise Refused from error
        return [np.asarray(array) for array in found]

    def finish(self) -> Network:
        """Give out what nothing reads, and some of what is read."""
        made = [v for v in self.values if v.name not in self.inputs]
        read = {name for node in self.nodes for name in node.input}
        outputs = [v for v in made if v.name not in read]
        others = [v for v in made if v.name in read]
        if others:
            outputs += self.draw(st.lists(st.sampled_from(others), max_size=3, unique_by=lambda v: v.name))
        graph = helper.make_graph(
            self.nodes,
            "random",
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, a.shape) for n, a in self.inputs.items()],
            [_described(v) for v in outputs],
            [w for w in self.weights if w.name in read],
        )
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
        return Network(OnnxModel(proto, "random"), self.inputs, {v.name: v.array for v in outputs})


def _described(value: Value) -> onnx.ValueInfoProto:
    dtype = helper.np_dtype_to_tensor_dtype(value.array.dtype)
    return helper.make_tensor_value_info(value.name, dtype, value.shape)


def _says_something(array: Array) -> bool:
    largest = np.abs(array).max()
    return bool(np.isfinite(array).all() and SMALLEST < largest < LARGEST)


Drawer = Callable[[Sketch], object]
# Kinds of nodes that a network may have; `random_operators` and `random_views` fill it.
OPERATORS: dict[str, Drawer] = {}


def operator(function: Drawer) -> Drawer:
    """A kind of node that a network may have."""
    OPERATORS[function.__name__] = function
    return function


def divisors(n: int) -> list[int]:
    """Whole numbers that divide n."""
    return [d for d in range(1, n + 1) if n % d == 0]


def window_of(s: Sketch, pixels: Sequence[int]) -> dict[str, list[int]]:
    """Kernel, strides, dilations and pads that leave at least one output."""
    kernel, strides, dilations, begin, end = [], [], [], [], []
    for n in pixels:
        k, d = s.one_of((3, 1, 2, 5)), s.one_of((1, 1, 1, 2))
        low = s.number(0, k // 2 * d)
        high = s.number(0, k // 2 * d)
        if (k - 1) * d + 1 > n + low + high:
            k, d = 1, 1
        kernel.append(k)
        strides.append(s.one_of((1, 1, 2, 3)))
        dilations.append(d)
        begin.append(low if k > 1 else 0)
        end.append(high if k > 1 else 0)
    return {"kernel_shape": kernel, "strides": strides, "dilations": dilations, "pads": begin + end}


def broadcasts(a: Sequence[int], b: Sequence[int]) -> bool:
    """Whether two shapes go together as NumPy has it."""
    pairs = zip(reversed(a), reversed(b), strict=False)
    return all(m == n or 1 in (m, n) for m, n in pairs)


def axis_of(s: Sketch, x: Value) -> int:
    """One of its axes, more often than others that of channels."""
    axes = [1, *range(len(x.shape))] if len(x.shape) > 1 else list(range(len(x.shape)))
    return int(s.one_of(axes))

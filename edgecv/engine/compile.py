"""From a model to a plan: the graph optimized for one set of shapes, lowered to steps, laid out in memory."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgecv import _simd
from edgecv.engine import claims
from edgecv.engine.bands import LIMITS, Limits, join_bands
from edgecv.engine.lower import LOWERINGS, Lowering, Node, Tensor
from edgecv.engine.outputs import Output
from edgecv.engine.pipeline import optimize
from edgecv.engine.program import Encoded, Program, Step, Storage
from edgecv.engine.targets import share_targets
from edgecv.engine.views import Shape, Strided
from edgecv.engine.weights import Weights
from edgecv.errors import InputError, UnsupportedOperatorError
from edgecv.graph.model import OnnxModel
from edgecv.graph.rewrite import Report

if TYPE_CHECKING:
    import onnx_ir

Array = NDArray[Any]

# Operators of which each result is made of a window of pixels.
_WINDOWS = ("Conv", "MaxPool", "AveragePool")


class Compiled(msgspec.Struct, frozen=True, dict=True):
    """A model for one set of shapes: the program, and what went into it.

    outputs: in the model's order; counts of rows follow. graph: as the passes left it. report: what they did.
    values_bytes: of the values that share the arena, were they side by side.
    """

    encoded: Encoded
    outputs: tuple[Output, ...]
    graph: onnx_ir.Model
    report: Report
    steps: tuple[Step, ...]
    values_bytes: int

    @cached_property
    def plan(self) -> _simd.Plan:
        """The program, checked by the native runtime."""
        code = self.encoded
        return _simd.Plan(
            isa=code.isa,
            steps=code.steps,
            labels=code.labels,
            constants=code.constants,
            weights=code.weights,
            state_bytes=code.state_bytes,
            arena_bytes=code.arena_bytes,
            input_bytes=code.input_bytes,
            output_bytes=code.output_bytes,
        )


def compile_model(
    model: OnnxModel,
    shapes: Mapping[str, Shape],
    *,
    isa: str,
    threads: int = 1,
    operands: Mapping[str, Array] | None = None,
    weights: Weights | None = None,
    bands: Limits | None = LIMITS,
) -> Compiled:
    """Compile for these input shapes and, of the inputs that say shapes themselves, these values.

    isa: label of the instruction set. threads: those that runs will use; results do not depend on them.
    weights: what plans of the same model for other shapes have packed already. bands: which steps
    are joined to bands, None for none; results do not depend on that either.
    Raises UnsupportedOperatorError, which names the node, where an operator cannot be run.
    """
    graph, report = optimize(model, shapes, operands)
    program = Program(isa, weights)
    lowering = Lowering(program, threads)
    _declare_inputs(lowering, graph.graph, model, operands or {}, shapes)
    _declare_constants(lowering, graph.graph)
    claims.check_operators(graph.graph)
    outputs = _declare_outputs(lowering, graph.graph)
    for item in graph.graph:
        node = _node(lowering, item)
        claims.check(node, item)
        _check_pixels(node)
        LOWERINGS[claims.name_of(item)](lowering, node)
    counts = _write_outputs(lowering, outputs)
    if bands is not None:
        join_bands(program, threads, bands)
    values = sum(s.bytes for s in program.storages if s.space == "arena" and s.first >= 0)
    return Compiled(program.finish(), counts, graph, report, tuple(program.steps), values)


def _check_pixels(node: Node) -> None:
    """Raise InputError where windows find no room."""
    x = node.inputs[0] if node.inputs else None
    made = node.made[0] if node.made else None
    if node.op not in _WINDOWS or x is None or made is None or 0 in x.shape:
        return
    if any(n < 1 for n in made):
        raise InputError(
            f"node {node.name!r} ({node.op}): its input of {x.shape} is too small for its window: expected "
            "larger inputs of the network"
        )


def _declare_inputs(
    lowering: Lowering,
    graph: onnx_ir.Graph,
    model: OnnxModel,
    operands: Mapping[str, Array],
    shapes: Mapping[str, Shape],
) -> None:
    """Inputs in the model's own order, those that the graph no longer reads included."""
    for spec in model.facts.inputs:
        shape = tuple(shapes[spec.name])
        size = int(np.prod(shape, dtype=np.int64)) * spec.dtype.itemsize
        storage = lowering.program.input(size, spec.name)
        view = Strided.contiguous(storage.ref, spec.dtype, shape)
        lowering.tensors[spec.name] = Tensor(spec.name, shape, spec.dtype, operands.get(spec.name), view)


def _declare_constants(lowering: Lowering, graph: onnx_ir.Graph) -> None:
    for name, value in graph.initializers.items():
        if value.const_value is None:
            raise UnsupportedOperatorError(f"initializer {name!r}: it has no value")
        array = value.const_value.numpy()
        lowering.tensors[name] = Tensor(name, array.shape, array.dtype, array)


def _declare_outputs(lowering: Lowering, graph: onnx_ir.Graph) -> list[tuple[onnx_ir.Value, Storage]]:
    declared = []
    for value in graph.outputs:
        name = value.name or ""
        storage = lowering.program.output(0, name)
        declared.append((value, storage))
        shape, dtype = _static(value)
        storage.bytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        if name not in lowering.tensors:
            lowering.targets.setdefault(name, Strided.contiguous(storage.ref, dtype, shape))
        if not value.uses():
            lowering.leaving.add(name)
    share_targets(lowering, graph)
    return declared


def _write_outputs(lowering: Lowering, declared: list[tuple[onnx_ir.Value, Storage]]) -> tuple[Output, ...]:
    outputs: list[Output] = []
    counts: dict[Strided, str] = {}
    for value, storage in declared:
        name = value.name or ""
        tensor = lowering.tensors[name]
        target = Strided.contiguous(storage.ref, tensor.dtype, tensor.shape)
        storage.bytes = tensor.size * tensor.dtype.itemsize
        # What has been written there for others to read is not written again.
        view = tensor.forms.get("strided", tensor.view)
        lowering.write(view if view is not None else lowering.as_strided(tensor), target, f"{name} (output)")
        rows, axis = None, 0
        if name in lowering.counts:
            axis, count = lowering.counts[name]
            counts.setdefault(count, f"{name} (count)")
            rows = len(declared) + list(counts).index(count)
        outputs.append(Output(name, tensor.shape, tensor.dtype, rows, axis))
    for count, name in counts.items():
        storage = lowering.program.output(8, name)
        lowering.write(count, Strided.contiguous(storage.ref, np.int64, (1,)), name)
        outputs.append(Output(name, (1,), np.dtype(np.int64)))
    return tuple(outputs)


def _node(lowering: Lowering, item: onnx_ir.Node) -> Node:
    return Node(
        name=item.name or item.op_type,
        op=item.op_type,
        inputs=tuple(None if v is None else lowering.tensors[v.name or ""] for v in item.inputs),
        outputs=tuple(v.name or "" for v in item.outputs),
        attributes={name: _attribute(a) for name, a in item.attributes.items()},
        made=tuple(_shape(value) for value in item.outputs),
    )


def _attribute(attribute: onnx_ir.Attr) -> Any:
    value = attribute.value
    return value.decode() if isinstance(value, bytes) else value


def _shape(value: onnx_ir.Value) -> Shape | None:
    if value.shape is None or not value.shape.is_static():
        return None
    return tuple(n for n in value.shape if isinstance(n, int))


def _static(value: onnx_ir.Value) -> tuple[Shape, np.dtype[Any]]:
    """Shape and dtype of an output of the graph."""
    shape = _shape(value)
    if shape is None or value.dtype is None:
        raise UnsupportedOperatorError(
            f"output {value.name!r}: its shape depends on data: a plan knows its sizes before the run",
            "data-dependent shape",
        )
    return shape, value.dtype.numpy()

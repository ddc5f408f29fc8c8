"""What can be known before a run is: constants folded, nodes that do nothing or nothing needs removed.

What an operator gives is asked of onnx.reference, shapes of ONNX's inference; neither is written again here.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from edgecv.graph.rewrite import (
    Array,
    Pass,
    Rewrite,
    attribute,
    constant,
    copy_type,
    given,
    infer,
    integers,
    is_constant,
    rank,
    scalar,
    shape,
)

# A constant may be this much larger than what it is made of, and all of them together.
_GROWTH = 16 << 20
_TOTAL_GROWTH = 256 << 20
# Products of weights with weights are left to the run above this many multiplications.
_WORK = 1 << 28

RANDOM = frozenset(
    (
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
        "Bernoulli",
        "Multinomial",
        "Dropout",
    )
)
# The size of their outputs depends on data, and is no more than that of their inputs.
_BOUNDED = frozenset(("NonZero", "Compress", "Unique", "NonMaxSuppression"))
_PRODUCTS = frozenset(("Conv", "ConvTranspose", "MatMul", "Gemm", "Einsum"))


def fold(rewrite: Rewrite) -> None:
    """Nodes whose inputs are known, and the shapes of values, become constants."""
    grown = 0
    for node in rewrite.nodes():
        if node.op_type == "Constant" and not node.domain:
            array = constant_node(node)
            if array is not None:
                _settle(rewrite, node, [array])
            continue
        if any(shape(output) is None or output.type is None for output in node.outputs):
            infer(node)
        if node.op_type in ("Shape", "Size") and not node.domain:
            sizes = shape(node.inputs[0])
            if sizes is not None:
                _settle(rewrite, node, [_sizes(node, sizes)])
            continue
        if not _is_foldable(node):
            continue
        growth = _growth(node)
        if growth is None or growth > _GROWTH or grown + growth > _TOTAL_GROWTH:
            rewrite.miss(node, f"{node.op_type} of constants would hold {_size(growth)} more")
            continue
        results = _evaluate(node)
        if results is None:
            rewrite.miss(node, f"onnx.reference cannot compute {node.op_type} of these constants")
            continue
        grown += max(growth, 0)
        _settle(rewrite, node, results)


def given_by(node: ir.Node, most: int) -> list[Array] | None:
    """What a node gives of constants of at most so many elements; None where it reads others."""
    if node.op_type == "Constant" and not node.domain:
        array = constant_node(node)
        return None if array is None else [array]
    small = all(value is None or is_constant(value, most) for value in node.inputs)
    return _evaluate(node) if small and node.inputs and _is_foldable(node) else None


def constant_node(node: ir.Node) -> Array | None:
    """What a Constant holds; None for strings and sparse tensors."""
    kind = next(iter(node.attributes), None)
    value = attribute(node, kind) if kind else None
    if kind == "value":
        return np.asarray(value)
    if kind in ("value_int", "value_ints"):
        return np.array(value, np.int64)
    if kind in ("value_float", "value_floats"):
        return np.array(value, np.float32)
    return None


def _sizes(node: ir.Node, sizes: tuple[int, ...]) -> Array:
    if node.op_type == "Size":
        return np.array(np.prod(sizes, dtype=np.int64))
    return np.array(sizes[attribute(node, "start", 0) : attribute(node, "end")], np.int64)


def _is_foldable(node: ir.Node) -> bool:
    if node.domain or node.op_type in RANDOM or not node.outputs:
        return False
    if node.op_type == "Identity":
        # `remove_noops` takes it, but where it stands between a constant and an output.
        return False
    if any(a.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) for a in node.attributes.values()):
        return False
    return all(value is None or is_constant(value) for value in node.inputs)


def _growth(node: ir.Node) -> int | None:
    """Bytes by which a node's outputs exceed its inputs; None where that is unknown, or takes too long."""
    known = [value.const_value for value in node.inputs if value is not None and value.const_value]
    if node.op_type in _BOUNDED:
        return 0
    if node.op_type == "Range":
        start, limit, delta = (float(np.asarray(constant(value)).flat[0]) for value in node.inputs)
        return int(8 * max(0.0, (limit - start) / delta)) if delta else None
    made = 0
    for output in node.outputs:
        sizes = shape(output)
        if sizes is None or output.dtype is None:
            return None
        elements = int(np.prod(sizes, dtype=object))
        made += elements * max(1, int(output.dtype.itemsize))
        if node.op_type in _PRODUCTS:
            largest = max((tensor.size for tensor in known), default=0)
            if elements * largest > _WORK:
                return None
    return made - sum(tensor.nbytes for tensor in known)


def _size(growth: int | None) -> str:
    return "an unknown number of bytes" if growth is None else f"{growth >> 20} MB"


def _evaluate(node: ir.Node) -> list[Array] | None:
    feeds = {v.name or "": constant(v) for v in node.inputs if v is not None}
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            results = ReferenceEvaluator(ir.to_proto(node)).run(None, feeds)
    # The evaluator raises what its NumPy code happens to: a node that it cannot run is left to the engine.
    except Exception:
        return None
    arrays = [np.asarray(result) for result in results if result is not None]
    if len(arrays) != len(node.outputs) or any(array.dtype.kind in "OUS" for array in arrays):
        return None
    return [
        array if output.dtype is None else array.astype(output.dtype.numpy(), copy=False)
        for array, output in zip(arrays, node.outputs, strict=True)
    ]


def _settle(rewrite: Rewrite, node: ir.Node, results: list[Array]) -> None:
    outputs = list(node.outputs)
    rewrite.note(f"{node.op_type} is known: {', '.join(_described(array) for array in results)}", [node])
    for output, array in zip(outputs, results, strict=True):
        if output.uses() or output.is_graph_output():
            rewrite.replace(output, rewrite.constant(np.asarray(array, order="C"), output.name or "constant"))
    rewrite.drop(node)


def _described(array: Array) -> str:
    if array.size <= 8:
        return str(array.tolist())
    return f"{array.dtype} {array.shape}"


# ---- Nodes that do nothing


def remove_noops(rewrite: Rewrite) -> None:
    """Nodes that give out what they take in are removed."""
    for node in rewrite.nodes():
        if node.domain or not node.inputs or node.inputs[0] is None:
            continue
        x, y = node.inputs[0], node.outputs[0]
        if not _does_nothing(node, x, y):
            continue
        if any(output.uses() or output.is_graph_output() for output in node.outputs[1:]):
            continue
        if (
            node.op_type == "Identity"
            and y.is_graph_output()
            and (x.producer() is None or x.is_graph_output())
        ):
            continue
        if x.shape is None:
            copy_type(y, x)
        rewrite.replace(y, x, what=f"{node.op_type} changes nothing")


def _does_nothing(node: ir.Node, x: ir.Value, y: ir.Value) -> bool:
    op = node.op_type
    if op == "Identity":
        return True
    if op == "Dropout":
        training = given(node, 2)
        return training is None or scalar(training) == 0
    if op in ("Concat", "Sum", "Max", "Min", "Mean"):
        return len(node.inputs) == 1
    same = shape(x) is not None and shape(x) == shape(y)
    if op == "Cast":
        return x.dtype is not None and x.dtype == y.dtype
    if op == "Transpose":
        order = attribute(node, "perm")
        return (rank(x) == 1) if order is None else list(order) == list(range(len(order)))
    if op == "Slice":
        steps = (1,) if given(node, 4) is None else integers(given(node, 4))
        return same and steps is not None and all(step > 0 for step in steps)
    if op == "Pad":
        pads = integers(node.inputs[1])
        return pads is not None and not any(pads)
    if op == "Split":
        return same and len(node.outputs) == 1
    if op in ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Expand", "Tile"):
        return same
    if op in ("Mul", "Add", "Sub", "Div"):
        return same and scalar(node.inputs[1]) == (1.0 if op in ("Mul", "Div") else 0.0)
    return False


# ---- What nothing needs, and what is there twice


def remove_dead(rewrite: Rewrite) -> None:
    """Nodes and weights that lead to no output are removed."""
    # onnx_ir's RemoveUnusedNodesPass takes thrice as long, and its module as long again to import.
    for node in reversed(list(rewrite.graph)):
        if not any(v.uses() or v.is_graph_output() for v in node.outputs):
            rewrite.note(f"nothing needs this {node.op_type}", [node])
            rewrite.graph.remove(node, safe=True)
    initializers = rewrite.graph.initializers
    for name, value in list(initializers.items()):
        if not (value.uses() or value.is_graph_output() or value.is_graph_input()):
            del initializers[name]


def merge_equal(rewrite: Rewrite) -> None:
    """Nodes that compute the same from the same are one."""
    seen: dict[tuple[Any, ...], ir.Node] = {}
    small: dict[tuple[Any, ...], ir.Value] = {}
    for node in rewrite.nodes():
        if node.op_type in RANDOM:
            continue
        key = _key(node, small)
        if key is None:
            continue
        first = seen.setdefault(key, node)
        if first is node:
            continue
        rewrite.note(f"{node.op_type} is the same as {first.name}", [node])
        for old, new in zip(list(node.outputs), first.outputs, strict=True):
            rewrite.replace(old, new)


def _key(node: ir.Node, small: dict[tuple[Any, ...], ir.Value]) -> tuple[Any, ...] | None:
    parts: list[Any] = [node.domain, node.op_type, node.overload, len(node.outputs)]
    for name, found in sorted(node.attributes.items()):
        if found.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS, ir.AttributeType.TENSOR):
            return None
        value = found.value
        parts.append((name, found.type, tuple(value) if isinstance(value, (list, tuple)) else value))
    for operand in node.inputs:
        parts.append(id(operand) if operand is None else id(_representative(operand, small)))
    return tuple(parts)


def _representative(value: ir.Value, small: dict[tuple[Any, ...], ir.Value]) -> ir.Value:
    """The first of the constants that are equal, of those small enough to compare."""
    array = constant(value) if is_constant(value, 64) else None
    if array is None:
        return value
    return small.setdefault((array.dtype.str, array.shape, array.tobytes()), value)


FOLD = Pass("fold", fold)
NOOPS = Pass("noops", remove_noops)
DEAD = Pass("dead code", remove_dead)
EQUAL = Pass("common subexpressions", merge_equal)

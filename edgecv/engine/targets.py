"""Where results are made: the parts of what a Concat joins at their places in the whole, if they are strided.

Nothing is moved and no step added: lowering functions that make a result with strides ask where to put it.
Results that lie in blocks are not affected; they are copied when the whole is read.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from edgecv.engine.views import Shape, Strided

if TYPE_CHECKING:
    import onnx_ir

    from edgecv.engine.lower import Lowering

# Their steps walk memory evenly, whichever axis is which.
_ALONG_ANY = ("Softmax", "LogSoftmax", "Hardmax")


def share_places(lowering: Lowering, graph: onnx_ir.Graph) -> None:
    """Tell the places of parts of outputs and of what is joined inside, through reshapes."""
    for node in reversed(tuple(graph)):
        value = node.outputs[0] if node.outputs else None
        if value is None or value.name is None or node.domain not in ("", "ai.onnx"):
            continue
        if node.op_type == "Concat":
            _tell_parts(lowering, node, _whole(lowering, value))
        elif node.op_type in ("Reshape", "Identity"):
            source = node.inputs[0]
            # Pixels that were torn apart are joined again: in the order of the result.
            is_turned = _made_by(source, "Transpose")
            target = _whole(lowering, value) if is_turned else lowering.targets.get(value.name)
            shape = None if source is None else _shape(source)
            if target is not None and source is not None and shape is not None:
                _tell(lowering, source, target.reshape(shape))
        elif node.op_type == "Transpose" and _made_by(node.inputs[0], *_ALONG_ANY):
            target = lowering.targets.get(value.name)
            order = node.attributes["perm"].as_ints()
            if target is not None and node.inputs[0] is not None:
                _tell(lowering, node.inputs[0], target.transpose([order.index(i) for i in range(len(order))]))


def _made_by(value: onnx_ir.Value | None, *operators: str) -> bool:
    producer = None if value is None else value.producer()
    return producer is not None and producer.domain in ("", "ai.onnx") and producer.op_type in operators


def _whole(lowering: Lowering, value: onnx_ir.Value) -> Strided | None:
    """The place of a whole: the caller's array, or memory that is only taken if a part is made there."""
    name, shape = value.name or "", _shape(value)
    if name not in lowering.targets and shape is not None and value.dtype is not None:
        dtype = value.dtype.numpy()
        storage = lowering.program.arena(math.prod(shape) * dtype.itemsize, name)
        lowering.targets[name] = Strided.contiguous(storage.place, dtype, shape)
    return lowering.targets.get(name)


def _tell_parts(lowering: Lowering, node: onnx_ir.Node, whole: Strided | None) -> None:
    if whole is None:
        return
    axis = node.attributes["axis"].as_int() % len(whole.shape)
    start = 0
    for part in node.inputs:
        shape = None if part is None else _shape(part)
        if part is None or shape is None:
            return
        _tell(lowering, part, whole.index(axis, slice(start, start + shape[axis])))
        start += shape[axis]


def _tell(lowering: Lowering, value: onnx_ir.Value, target: Strided | None) -> None:
    """A place with gaps is for values that nothing else reads: others may want theirs in one piece."""
    if target is None or value.producer() is None or value.is_graph_output():
        return
    if target.is_contiguous or len(tuple(value.uses())) == 1:
        lowering.targets.setdefault(value.name or "", target)


def _shape(value: onnx_ir.Value) -> Shape | None:
    if value.shape is None or not value.shape.is_static():
        return None
    return tuple(n for n in value.shape if isinstance(n, int))

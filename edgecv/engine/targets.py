"""Where results are made: the parts of what a Concat joins inside the whole, if they are strided.

Nothing is moved and no step added: lowering functions that make a result with strides ask where to put it.
Results that lie in blocks are not affected; they are copied when the whole is read. Convolutions ask too, and
write no blocks where the caller's array has the channels of a pixel side by side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgecv.engine.views import Shape, Strided

if TYPE_CHECKING:
    import onnx_ir

    from edgecv.engine.lower import Lowering

_ONNX = ("", "ai.onnx")
# Their steps walk memory evenly, whichever axis is which.
_ALONG_ANY = ("Softmax", "LogSoftmax", "Hardmax")


def share_targets(lowering: Lowering, graph: onnx_ir.Graph) -> None:
    """Tell parts of outputs, and parts of what is joined inside, where they are to lie, through reshapes."""
    turned: set[str] = set()
    for node in reversed(tuple(graph)):
        value = node.outputs[0] if node.outputs else None
        if value is None or value.name is None:
            continue
        if node.op_type == "Counted" and node.inputs[0] is not None:
            _tell(lowering, node.inputs[0], lowering.targets.get(value.name))
        if node.domain not in _ONNX:
            continue
        if node.op_type == "Concat" and value.name not in turned:
            _tell_parts(lowering, node, _whole(lowering, value))
        elif node.op_type in ("Reshape", "Identity"):
            source = node.inputs[0]
            # Pixels that were torn apart are joined again: in the order of the result.
            is_turned = _made_by(source, "Transpose")
            target = _whole(lowering, value) if is_turned else lowering.targets.get(value.name)
            if target is not None and source is not None:
                _tell(lowering, source, _reshaped(source, target))
        elif node.op_type == "Transpose":
            target = lowering.targets.get(value.name)
            order = node.attributes["perm"].as_ints()
            if target is not None and node.inputs[0] is not None:
                back = target.transpose([order.index(i) for i in range(len(order))])
                _tell_turned(lowering, node.inputs[0], back, turned)


def _made_by(value: onnx_ir.Value | None, *operators: str, domains: Sequence[str] = _ONNX) -> bool:
    producer = None if value is None else value.producer()
    return producer is not None and producer.domain in domains and producer.op_type in operators


def _whole(lowering: Lowering, value: onnx_ir.Value) -> Strided | None:
    """Where a whole is to lie: the caller's array, or memory that is only taken if a part is made there."""
    name, shape = value.name or "", _shape(value)
    if name not in lowering.targets and shape is not None and value.dtype is not None:
        dtype = value.dtype.numpy()
        storage = lowering.program.arena(math.prod(shape) * dtype.itemsize, name)
        lowering.targets[name] = Strided.contiguous(storage.ref, dtype, shape)
    return lowering.targets.get(name)


def _tell_turned(lowering: Lowering, value: onnx_ir.Value, target: Strided, turned: set[str]) -> bool:
    """A target whose axes stand in another order, for what can write so: see `_ALONG_ANY`, and convolutions.

    In the caller's array it is told through reshapes and to the parts of what is joined. turned: gets the
    names of wholes whose parts know. Returns whether any step was told.
    """
    node = value.producer()
    if node is None or not _may_take(value, target):
        return False
    is_wanted = lowering.is_given_out(target)
    is_conv = _made_by(value, "Conv", domains=(*_ONNX, "edgecv"))
    if _made_by(value, *_ALONG_ANY) or (is_conv and is_wanted):
        _tell(lowering, value, target)
        return True
    told = False
    if is_wanted and _made_by(value, "Reshape", "Identity") and node.inputs[0] is not None:
        reshaped = _reshaped(node.inputs[0], target)
        told = reshaped is not None and _tell_turned(lowering, node.inputs[0], reshaped, turned)
    elif is_wanted and _made_by(value, "Concat"):
        tell = [_tell_turned(lowering, part, own, turned) for part, own in _parts(node, target)]
        told = any(tell)
        if told:
            _tell(lowering, value, target)
            turned.add(value.name or "")
    return told


def _reshaped(value: onnx_ir.Value, target: Strided) -> Strided | None:
    """Where what is reshaped is to lie; None where strides cannot tell."""
    shape = _shape(value)
    return None if shape is None else target.reshape(shape)


def _tell_parts(lowering: Lowering, node: onnx_ir.Node, whole: Strided | None) -> None:
    for part, target in [] if whole is None else _parts(node, whole):
        _tell(lowering, part, target)


def _parts(node: onnx_ir.Node, whole: Strided) -> list[tuple[onnx_ir.Value, Strided]]:
    """What a Concat joins, up to the first part of unknown size, and the target of each."""
    axis = node.attributes["axis"].as_int() % len(whole.shape)
    found: list[tuple[onnx_ir.Value, Strided]] = []
    start = 0
    for part in node.inputs:
        shape = None if part is None else _shape(part)
        if part is None or shape is None:
            break
        found.append((part, whole.index(axis, slice(start, start + shape[axis]))))
        start += shape[axis]
    return found


def _tell(lowering: Lowering, value: onnx_ir.Value, target: Strided | None) -> None:
    if target is not None and _may_take(value, target):
        lowering.targets.setdefault(value.name or "", target)


def _may_take(value: onnx_ir.Value, target: Strided) -> bool:
    """A target with gaps is for values that nothing else reads: others may want theirs in one piece."""
    if value.producer() is None or value.is_graph_output():
        return False
    return target.is_contiguous or len(tuple(value.uses())) == 1


def _shape(value: onnx_ir.Value) -> Shape | None:
    if value.shape is None or not value.shape.is_static():
        return None
    return tuple(n for n in value.shape if isinstance(n, int))

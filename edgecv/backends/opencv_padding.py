"""Padding of convolutions as nodes of their own, for a library that overlooks it where it is an attribute."""

from __future__ import annotations

import numpy as np

from edgecv import extras
from edgecv.graph.model import OnnxModel

with extras.required("models"):
    import onnx
    from onnx import NodeProto, helper, numpy_helper

# From here on Pad takes its sizes as an input.
_PADS_ARE_INPUT = 11


def with_padding_of_points(model: OnnxModel) -> OnnxModel:
    """The network with a Pad before each padded convolution of 1x1 kernels and steps of one pixel.

    What it computes is the same. Returns `model` itself where there is none.
    """
    if not any(_is_padded_point(node) for node in model.proto.graph.node):
        return model
    proto = onnx.ModelProto()
    proto.CopyFrom(model.proto)
    graph = proto.graph
    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    nodes: list[NodeProto] = []
    for node in graph.node:
        if _is_padded_point(node):
            attribute = next(a for a in node.attribute if a.name == "pads")
            half = len(attribute.ints) // 2
            pads = [0, 0, *attribute.ints[:half], 0, 0, *attribute.ints[half:]]
            padded, sizes = (
                _unused(f"{node.output[0]}/padded", taken),
                _unused(f"{node.output[0]}/pads", taken),
            )
            if model.opset >= _PADS_ARE_INPUT:
                graph.initializer.append(numpy_helper.from_array(np.array(pads, np.int64), sizes))
                nodes.append(helper.make_node("Pad", [node.input[0], sizes], [padded], name=padded))
            else:
                nodes.append(helper.make_node("Pad", [node.input[0]], [padded], name=padded, pads=pads))
            node.input[0] = padded
            attribute.ints[:] = [0] * len(attribute.ints)
        nodes.append(node)
    kept = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(kept)
    return OnnxModel(proto, model.origin)


def _is_padded_point(node: NodeProto) -> bool:
    if node.op_type != "Conv":
        return False
    sizes = {a.name: a.ints for a in node.attribute if a.name in ("kernel_shape", "strides", "pads")}
    return (
        bool(sizes.get("kernel_shape"))
        and all(size == 1 for size in sizes["kernel_shape"])
        and all(size == 1 for size in sizes.get("strides", ()))
        and any(size > 0 for size in sizes.get("pads", ()))
    )


def _unused(name: str, taken: set[str]) -> str:
    """The name, or the name with the first number that makes it unique; it is taken from then on."""
    unused, number = name, 1
    while unused in taken:
        unused, number = f"{name}.{number}", number + 1
    taken.add(unused)
    return unused

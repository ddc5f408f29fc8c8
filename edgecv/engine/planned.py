"""Operands that a plan must know by value, not only by shape: which inputs of a network they come from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from edgecv.graph.model import OnnxModel

if TYPE_CHECKING:
    import onnx

# Inputs whose value, not only their shape, must be known before a graph can be planned: they say how large
# an output is, or along which axis it is made. None: all of them from that position on.
PLANNED: dict[str, tuple[int | None, ...]] = {
    "Reshape": (1,),
    "Expand": (1,),
    "Tile": (1, None),
    "Slice": (1, None),
    "Pad": (1, 3),
    "Squeeze": (1,),
    "Unsqueeze": (1,),
    "Split": (1,),
    "Resize": (1, None),
    "Upsample": (1,),
    "TopK": (1,),
    "ConstantOfShape": (0,),
    "Range": (0, None),
    "OneHot": (1,),
    "CumSum": (1,),
    "CumProd": (1,),
    "Trilu": (1,),
    "MaxUnpool": (2,),
    "NonMaxSuppression": (2, None),
    "Loop": (0, 1),
    "Dropout": (2,),
    "CenterCropPad": (1,),
    "Col2Im": (1, 2),
    "AffineGrid": (1,),
    "BlackmanWindow": (0,),
    "HannWindow": (0,),
    "HammingWindow": (0,),
    "DFT": (1, 2),
    **{
        f"Reduce{kind}": (1,)
        for kind in ("Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSum", "LogSumExp")
    },
}
# What tells the size of its input, whatever that holds.
SIZES_ONLY = ("Shape", "Size")


def shape_operands(model: OnnxModel) -> tuple[str, ...]:
    """Names of inputs whose values, not only shapes, a plan depends on: a Reshape's shape, a Slice's ends.

    Give them to `optimize` as operands. Inputs of whole numbers that lead there through other nodes count.
    """
    nodes = list(_all_nodes(model.proto.graph))
    producers = {name: node for node in nodes for name in node.output}
    waiting: list[tuple[str, bool]] = []
    for node in nodes:
        positions = PLANNED.get(node.op_type, ())
        wanted = {p for p in positions if p is not None}
        if None in positions:
            wanted.update(range(min(wanted), len(node.input)))
        waiting += [(node.input[p], True) for p in sorted(wanted) if p < len(node.input)]
    needed: set[str] = set()
    seen: set[str] = set()
    whole = {np.dtype(np.int32), np.dtype(np.int64)}
    integral = {spec.name for spec in model.facts.inputs if spec.dtype in whole}
    names = {spec.name for spec in model.facts.inputs}
    while waiting:
        name, is_direct = waiting.pop()
        if name in names and (is_direct or name in integral):
            needed.add(name)
        producer = producers.get(name)
        if producer is None or name in seen or producer.op_type in SIZES_ONLY:
            continue
        seen.add(name)
        waiting += [(source, False) for source in producer.input]
        for attribute in producer.attribute:
            for inner in _all_nodes(attribute.g):
                waiting += [(source, False) for source in inner.input]
    return tuple(spec.name for spec in model.facts.inputs if spec.name in needed)


def _all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Nodes of a graph and of the branches and loops in it."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _all_nodes(inner)

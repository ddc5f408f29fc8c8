"""The tail that exporters put behind a detector: recognized, read, and cut off.

A tail is a NonMaxSuppression and what gathers around it, or a TensorRT plugin in its place. `find_tail` reads
from the graph which dense tensors its rows are of, which thresholds and bounds it has, and whether boxes of
different classes suppress one another; `Found.model` is the network that ends in those tensors, so that every
backend can run it and edgecv's own NMS does the rest. Each column of each output is followed to a formula
over dense tensors, and what cannot be followed is not cut.

What is left out of the proof, since data decide it:

- Boxes without area, or with corners the other way round, which ONNX's operator keeps and edgecv drops.
- Tails that shift boxes by their class. Boxes of two classes lie apart as long as they lie within the
  picture; parts that reach past its edges may still overlap. `Tail.class_offset` is the shift.
- Which of the corner's coordinates is x: rows are x first, as PyTorch's exporters write them, unless the
  outputs' names are those of TensorFlow's detectors.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgecv import extras
from edgecv.graph.model import OnnxModel
from edgecv.graph.tails import arithmetic, choosing, reindexing
from edgecv.graph.tails.expressions import Unproven
from edgecv.graph.tails.finding import by_nms
from edgecv.graph.tails.plugins import PLUGINS, by_plugin
from edgecv.graph.tails.records import Found, Tail

with extras.required("models"):
    import onnx

__all__ = ["Found", "Tail", "find_tail"]

# Imported for the rules that they enter.
_RULES = (arithmetic, choosing, reindexing)

Shapes = Mapping[str, tuple[int, ...]]


def find_tail(model: OnnxModel, shapes: Shapes | None = None) -> Found | str | None:
    """The tail and the network without it; None: there is none; a line: why the one that is there stays.

    shapes: of inputs whose sizes are free, batch 1. Raises InputError and ModelFileError for shapes that the
    graph cannot take, and for graphs that are unsound.
    """
    nodes = list(_all_nodes(model.proto.graph))
    plugins = [node for node in nodes if node.op_type in PLUGINS]
    if not plugins and not any(node.op_type == "NonMaxSuppression" for node in nodes):
        return None
    sizes = _fixed(model, shapes or {})
    if isinstance(sizes, str):
        return sizes
    try:
        return by_plugin(model, sizes, plugins) if plugins else by_nms(model, sizes)
    except Unproven as reason:
        return str(reason)


def _all_nodes(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    found = []
    for node in graph.node:
        found.append(node)
        for attribute in node.attribute:
            for inner in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                found += _all_nodes(inner)
    return found


def _fixed(model: OnnxModel, shapes: Shapes) -> dict[str, tuple[int, ...]] | str:
    """Sizes of the inputs that have free ones: one picture, of the size given."""
    fixed = {}
    for spec in model.facts.inputs:
        if spec.name in shapes:
            fixed[spec.name] = tuple(shapes[spec.name])
        elif not spec.is_static:
            sizes = [1 if axis == 0 and not isinstance(n, int) else n for axis, n in enumerate(spec.shape)]
            known = [n for n in sizes if isinstance(n, int)]
            if len(known) < len(sizes) or not spec.is_ranked:
                return (
                    f"the size of input {spec} is free, so that how many boxes there are is not known: give "
                    "one with imgsz"
                )
            fixed[spec.name] = tuple(known)
    return fixed

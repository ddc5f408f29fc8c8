"""The one pipeline: what `optimize` makes of a network before it is lowered, stage by stage.

Importing this module takes a second: import it where it is used.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgecv import extras
from edgecv.graph.model import OnnxModel

with extras.required("models"):
    import onnx_ir as ir

    from edgecv.engine import counted, fuse
    from edgecv.engine.fuse.fused import DOMAIN
    from edgecv.graph import normal
    from edgecv.graph.ir import to_ir
    from edgecv.graph.rewrite import Array, Pass, Report, Shape, Stage, run_stages

# Activations are recognized before ONNX's definitions write some of them out, and in what those leave.
STAGES: tuple[Stage, ...] = (
    normal.NEWEST,
    fuse.FLOAT32,
    normal.ONE_FORM,
    counted.COUNTED,
    fuse.ACTIVATIONS,
    normal.WRITTEN_OUT,
    fuse.ACTIVATIONS,
    fuse.INTO_WEIGHTS,
    fuse.ENDINGS,
    fuse.TOGETHER,
)

PASSES: tuple[Pass, ...] = tuple(dict.fromkeys(one for stage in STAGES for one in stage))


def optimize(
    model: OnnxModel,
    shapes: Mapping[str, Shape] | None = None,
    operands: Mapping[str, Array] | None = None,
) -> tuple[ir.Model, Report]:
    """The network in the form that the engine lowers, and what was done to it.

    shapes: of inputs, in place of those in the file; for a plan all must be known. operands: values of
    inputs, which become constants; see `planned.shape_operands`. Every value has its shape and type where
    they can be told. `model` is not changed; weights that no pass touches are shared with it. Raises
    InputError where the graph cannot take these inputs, ModelFileError where it is unsound.
    """
    graph = to_ir(model, shapes, operands)
    report = Report()
    run_stages(graph, STAGES, report, model.origin)
    graph.graph.opset_imports[DOMAIN] = 1
    _name_apart(graph)
    return graph, report


def _name_apart(graph: ir.Model) -> None:
    """Number nodes of the same name: those that came of one node of the file."""
    taken: set[str] = set()
    for node in graph.graph:
        name, number = node.name or node.op_type, 1
        while name in taken:
            name, number = f"{node.name or node.op_type}.{number}", number + 1
        taken.add(name)
        node.name = name

"""Passes over an ONNX graph: what `optimize` makes of a network before it is lowered, imported, compressed.

The graph is an `onnx_ir.Model`. `normalize` has the table of forms that operators take, `fused` the operators
of domain "edgecv". Importing this package takes a second: import it where it is used.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgecv import extras
from edgecv.errors import ModelFileError
from edgecv.graph.model import OnnxModel

# Every pass is imported behind this door.
with extras.required("models"):
    import onnx_ir as ir

    from edgecv.graph.passes import affine, constants, focus, fused, normalize, opsets, recognize, siblings
    from edgecv.graph.passes.base import DOMAIN, Array, Change, Missed, Pass, Report, Shape
    from edgecv.graph.passes.functions import BRANCHES, FUNCTIONS, KEEP
    from edgecv.graph.passes.load import load, shape_operands
    from edgecv.graph.passes.text import to_text

__all__ = [
    "KEEP",
    "PASSES",
    "Change",
    "Missed",
    "Pass",
    "Report",
    "load",
    "optimize",
    "shape_operands",
    "to_text",
]

_TIDY = (constants.FOLD, constants.NOOPS, constants.DEAD)

# Each stage is repeated until it changes nothing; later ones rely on what earlier ones leave.
_STAGES: tuple[tuple[Pass, ...], ...] = (
    (opsets.UPGRADE,),
    (constants.FOLD, BRANCHES, constants.NOOPS, normalize.NORMALIZE, constants.EQUAL, constants.DEAD),
    (recognize.PARTS, recognize.OPERATORS, recognize.PRODUCTS),
    (FUNCTIONS, *_TIDY, normalize.NORMALIZE, constants.EQUAL),
    (recognize.PARTS, recognize.OPERATORS, recognize.PRODUCTS),
    (focus.FOCUS, affine.PADS, affine.INTO_PRODUCT, affine.INTO_NEXT, affine.AFFINE, *_TIDY),
    (fused.RESIDUAL, siblings.APART, fused.ACTIVATE, fused.HOIST, *_TIDY),
    (siblings.SIBLINGS, *_TIDY),
)

# A stage that still changes something after so many rounds goes in circles.
_ROUNDS = 30

PASSES: tuple[Pass, ...] = tuple(dict.fromkeys(one for stage in _STAGES for one in stage))


def optimize(
    model: OnnxModel,
    shapes: Mapping[str, Shape] | None = None,
    operands: Mapping[str, Array] | None = None,
) -> tuple[ir.Model, Report]:
    """The network in the form that the engine lowers, and what was done to it.

    shapes: of inputs, in place of those in the file; for a plan all must be known. operands: values of
    inputs, which become constants; see `shape_operands`. Every value has its shape and type where they can be
    told. `model` is not changed; weights that no pass touches are shared with it. Raises InputError where the
    graph cannot take these inputs, ModelFileError where it is unsound.
    """
    graph = load(model, shapes, operands)
    report = Report()
    for stage in _STAGES:
        for _ in range(_ROUNDS):
            if not [one for one in stage if one.run(graph, report)]:
                break
        else:
            names = ", ".join(one.name for one in stage)
            raise ModelFileError(f"{model.origin}: the passes {names} find no end on this graph")
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

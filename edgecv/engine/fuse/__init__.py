"""Fusions: passes that leave a graph which only the engine understands, with operators of domain "edgecv".

`fused` has the table of those. What the passes do, by stages:
"""

from edgecv import extras

# Every pass is imported behind this door.
with extras.required("models"):
    from edgecv.engine.fuse import affine, focus, fused, recognize, siblings
    from edgecv.graph.normal import TIDY
    from edgecv.graph.rewrite import Stage

ACTIVATIONS: Stage = (recognize.PARTS, recognize.OPERATORS, recognize.PRODUCTS)
INTO_WEIGHTS: Stage = (
    focus.FOCUS,
    affine.PADS,
    affine.INTO_PRODUCT,
    affine.INTO_NEXT,
    affine.AFFINE,
    *TIDY,
)
ENDINGS: Stage = (fused.RESIDUAL, siblings.APART, fused.ACTIVATE, fused.HOIST, *TIDY)
TOGETHER: Stage = (siblings.SIBLINGS, *TIDY)

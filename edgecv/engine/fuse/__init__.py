"""Fusions: passes that leave a graph which only the engine understands, with operators of domain "edgecv".

`fused` has the table of those; passes rely on the forms that `graph.normal` leaves. BatchNormalization goes
into the Conv, ConvTranspose or Gemm before it, else it becomes an edgecv::Affine; an activation of float32
becomes part of the node before it, else an edgecv::Activation.
"""

from edgecv import extras

# Every pass is imported behind this door.
with extras.required("models"):
    from edgecv.engine.fuse import affine, focus, fused, recognize, siblings, widen
    from edgecv.graph.normal import TIDY
    from edgecv.graph.rewrite import Stage

FLOAT32: Stage = (widen.WIDEN,)
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

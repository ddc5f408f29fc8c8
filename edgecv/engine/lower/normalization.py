"""Normalization across channels; what has statistics of its own, passes write out."""

from __future__ import annotations

import math

from edgecv.engine.lower.base import Lowering, Node, lowers, ref_of


@lowers("LRN")
def local_response(lowering: Lowering, node: Node) -> None:
    """Each element by the squares of its neighbors in other channels."""
    x = node.input(0)
    target = lowering.new_strided(node.outputs[0], x.shape, x.dtype)
    if target.size:
        lowering.program.add(
            "lrn",
            node.name,
            x=ref_of(lowering.as_contiguous(x)),
            y=ref_of(target),
            outer=x.shape[0],
            channels=x.shape[1],
            inner=math.prod(x.shape[2:]),
            size=node.attribute("size"),
            alpha=float(node.attribute("alpha", 1e-4)),
            beta=float(node.attribute("beta", 0.75)),
            bias=float(node.attribute("bias", 1.0)),
        )
    lowering.set(node.outputs[0], target)

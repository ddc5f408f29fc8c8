"""Operators to steps: one module for each family, each registering its operators when it is imported."""

from edgecv.engine.lower import (
    convolution,
    data,
    einsum,
    elementwise,
    matrix,
    movement,
    normalization,
    pooling,
    quantize,
    reduction,
    resizing,
    sampling,
)
from edgecv.engine.lower.base import LOWERINGS, Lowering, Node, Tensor

__all__ = [
    "LOWERINGS",
    "Lowering",
    "Node",
    "Tensor",
    "convolution",
    "data",
    "einsum",
    "elementwise",
    "matrix",
    "movement",
    "normalization",
    "pooling",
    "quantize",
    "reduction",
    "resizing",
    "sampling",
]

"""ONNX graphs in memory, and what is read from them."""

from edgecv import extras

# Every module of this package is imported behind this door.
with extras.required("models"):
    from edgecv.graph.model import OnnxModel

__all__ = ["OnnxModel"]

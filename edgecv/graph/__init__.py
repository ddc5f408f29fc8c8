"""ONNX graphs in memory, and what is read from them."""

from edgecv.graph.model import OnnxModel

__all__ = ["OnnxModel"]
